/* The one drop-in that commands edit: SITE.d/90-mailadm.conf. */
#ifndef CLI_DROPIN_H
#define CLI_DROPIN_H

#include <libconfig.h>

#include "cli.h"

struct dropin {
	char *path, *dir;
	int lock; /* held from open to close */
	config_t config;
};

/*
 * Takes the lock and reads the file (a missing one is empty; one that is not ours, or was edited by hand so that
 * something would be lost, is refused). -1 with a message printed; dropin_close then must not be called.
 */
int dropin_open(struct cli *, struct dropin *);
/*
 * Checks the whole site with the drop-in as it is now, and only then replaces the file. -1 with the findings or the
 * reason printed, and nothing changed.  On success cli->site is the new site.
 */
int dropin_commit(struct cli *, struct dropin *);
void dropin_close(struct dropin *);
/* Is this file of a site the drop-in, with our mark? */
bool dropin_owns(const char *site_path, const char *file);

/* The element of list `group` ("accounts") whose address this is, or NULL. *index may be NULL. */
config_setting_t *dropin_find(struct dropin *, const char *group, const char *normalised, unsigned *index);
/* A new element with its address. */
config_setting_t *dropin_add(struct dropin *, const char *group, const char *normalised);
void dropin_remove(struct dropin *, const char *group, unsigned index);
void dropin_set(config_setting_t *element, const char *name, const char *value);
void dropin_set_bool(config_setting_t *element, const char *name, bool value);
/* Appends to the list `name` of an element, made when missing; a value that is there stays once. */
void dropin_append(config_setting_t *element, const char *name, const char *value);

/* An argument as a normalised address; -1 with a message printed. */
int cli_address(const char *argument, char *out, size_t size);

#endif
