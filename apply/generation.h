/*
 * Generations: what every apply leaves below STATE/apply (0700).
 *
 * - lock: held (flock) by whoever changes anything
 * - pending: the number of a generation that is being applied or waits for its confirmation
 * - serving: a flattened site which a start of the host serves instead of the site file (mailsvc/monitor/serving.c)
 * - log: what the watchdogs said
 * - generations/N/meta: JSON with its checksum: who, when, why, the state, checksums of the files below
 * - generations/N/site.conf: what was applied, flattened
 * - generations/N/previous.conf: what was served before (when known)
 * - generations/N/serve.conf: what is served from a confirmed rollback on
 * - generations/N/boot.nft: STATE/firewall.nft from then on
 * - generations/N/files/: the includes and block lists that the firewall was made of (kept.c)
 * - generations/N/touched: the parts whose change began, a line each, written before it
 * - generations/N/captured/PART/: the live state before the change
 * - generations/N/watchdog-a, -b: locked by who guards it, for as long as that lives
 * - generations/N/reserve: room on the disk, for writing down how it ended
 *
 * The order on the disk: everything of generations/N, then pending, then serving, then the changes.  So without
 * `pending` nothing was changed, and with it everything is there that the way back needs.
 */
#ifndef APPLY_GENERATION_H
#define APPLY_GENERATION_H

#include <jansson.h>

#include "apply/caller.h"
#include "apply/digest.h"
#include "site/site.h"

#define GENERATIONS_KEPT 50
#define GENERATION_FILES_MAX 20000

enum generation_state { GEN_APPLYING, GEN_PENDING, GEN_CONFIRMED, GEN_ROLLED_BACK, GEN_FAILED };
const char *generation_state_name(enum generation_state);

enum generation_boot { BOOT_KEEP, BOOT_WRITE, BOOT_REMOVE }; /* STATE/firewall.nft, once confirmed */

struct generation {
	unsigned number;
	enum generation_state state;
	bool rollback;   /* made by `mailadm rollback` */
	unsigned target; /* then: the generation it returned to */
	char *site;      /* the path of the site file */
	char *why;       /* the administrator's words, or "" */
	char *reason;    /* why it failed or was taken back, or "" */
	char checksum[DIGEST_HEX];
	int64_t when;      /* wall clock */
	uint64_t since;    /* CLOCK_BOOTTIME, ms: when the last change was made */
	uint64_t deadline; /* CLOCK_BOOTTIME, ms: when it is taken back; 0: never */
	unsigned confirm;  /* seconds it waits; 0: it does not */
	char boot_id[40];
	enum generation_boot boot;
	pid_t pid; /* who applies */
	uint64_t pid_start;
	struct caller caller;
	json_t *files; /* {"captured/firewall/ruleset.nft": SHA-256} */
};

struct apply_dir {
	char *path; /* STATE/apply */
	char *state_dir;
	int lock; /* -1: not held */
};

/* STATE/apply; makes it when `make`.  -1: it is not there or cannot be used. */
int apply_dir_open(const char *state_dir, bool make, struct apply_dir *, struct error *);
void apply_dir_close(struct apply_dir *);
/* Waits wait_ms for another one to end: 0, 1 somebody else holds it (with who in the error), -1. */
int apply_dir_lock(struct apply_dir *, unsigned wait_ms, struct error *);
void apply_dir_unlock(struct apply_dir *);
char *apply_file(const struct apply_dir *, const char *name);
char *generation_file(const struct apply_dir *, unsigned number, const char *name);

/* The number in `pending`: 1 with it, 0 when there is none, -1 when it is damaged. */
int pending_read(const struct apply_dir *, unsigned *number, struct error *);
int pending_write(const struct apply_dir *, unsigned number, struct error *);
int pending_remove(const struct apply_dir *, struct error *);
/* A comment line that says why, and the text; without a text the file is removed. */
int serving_write(const struct apply_dir *, const char *why, struct view text, struct error *);
int serving_remove(const struct apply_dir *, struct error *);

/* Numbers that have a folder, rising; malloc'd. */
int generations_list(const struct apply_dir *, unsigned **numbers, size_t *count, struct error *);
/* Removes the oldest beyond GENERATIONS_KEPT, and folders without meta; never `keep`. */
void generations_prune(const struct apply_dir *, unsigned keep);

int generation_load(const struct apply_dir *, unsigned number, struct generation *, struct error *);
int generation_save(const struct apply_dir *, const struct generation *, struct error *);
void generation_free(struct generation *);
/* Syncs every file of the folder and puts their checksums into g->files. */
int generation_seal(const struct apply_dir *, struct generation *, struct error *);
/* Is the file (or everything below a name that ends with '/') what was sealed, nothing missing and nothing more? */
int generation_verify(const struct apply_dir *, const struct generation *, const char *name, struct error *);
/* One of its sites: NULL with an error. */
struct site *generation_site(const struct apply_dir *, const struct generation *, const char *name, struct error *);
bool generation_has(const struct apply_dir *, unsigned number, const char *name);
/* Files that the site's firewall is made of (includes, block lists): copies into generations/N/files, and a site that
 * names those copies where the files are other ones by now, or gone. */
int kept_put(const struct apply_dir *, unsigned number, const struct site *, struct error *);
int kept_use(const struct apply_dir *, const struct generation *, struct site *, struct error *);
json_t *generation_json(const struct generation *); /* for --list */

void generation_boot_id(char out[40]);

#endif
