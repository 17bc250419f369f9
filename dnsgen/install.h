/*
 * Files into dns.zone_dir, all or nothing: temporary files, named's own checks, STATE/serials, renames, rndc; when one
 * of these fails the old files are put back.
 */
#ifndef DNSGEN_INSTALL_H
#define DNSGEN_INSTALL_H

#include "dnsgen/named_conf.h"
#include "dnsgen/serials.h"

#define ZONE_TEXT_MAX (256u << 20)

struct file {
	char *name; /* below zone_dir */
	char *zone; /* NULL: no zone */
	struct buf want, now;
	bool there, differs, placed, kept; /* kept: the old one stands at .NAME.old */
	bool remove, foreign;              /* foreign: what stands there was not written by mailadm */
	mode_t mode;
};
struct files {
	struct file *at;
	size_t count;
};
struct file *files_add(struct files *, const char *name, const char *zone, mode_t);
void files_free(struct files *);
/* Files of ours in dir that are not in the list are added, to be removed. -1: the folder cannot be read. */
int files_add_stale(const char *dir, struct files *, struct error *);
/*
 * Reads what is there, and says what differs, serials aside. known: whose policies are ours (NULL: all).  -1: something
 * is there that cannot be read, so that nobody knows what it says.
 */
int files_look(const char *dir, struct files *, const struct serials *known, struct error *);
/* check: have named's tools judge first. */
int files_install(const struct site *, struct files *, bool check, struct findings *warnings, struct error *);

#endif
