/*
 * Rolling something that stands in DNS and is cached there: a DKIM key now, a certificate's TLSA later.  What is rolled
 * is a struct rollover_kind; the machine knows stages, times and what is on disk.
 *
 *   idle      `current` is in use; nothing else is published
 *   published the next one is made and published; waiting until every authoritative server answers with it
 *   visible   it does; waiting for the TTL, so that no cache holds what was there before
 *   active    it is in use; the old one stays published as long as what was made with it may be on its way
 *   revoked   the old one is published as revoked
 *   removed   the old one is gone: becomes idle in the same step
 *
 * Where there was none before, `active` is the end: it becomes idle in the same step.
 *
 * Each stage is written to disk before its action and marked done behind it, and actions are idempotent: whoever is
 * killed anywhere repeats at most one action.
 */
#ifndef DNSGEN_ROLLOVER_H
#define DNSGEN_ROLLOVER_H

#include "lib/buf.h"
#include "lib/log.h"
#include "site/site.h"

enum rollover_stage {
	ROLLOVER_IDLE,
	ROLLOVER_PUBLISHED,
	ROLLOVER_VISIBLE,
	ROLLOVER_ACTIVE,
	ROLLOVER_REVOKED,
	ROLLOVER_REMOVED,
	ROLLOVER_STAGES
};
const char *rollover_stage_name(enum rollover_stage);

#define ROLLOVER_ID_MAX 63 /* bytes of current and next: a DKIM selector is one label */

struct rollover_item {
	char *kind;           /* "dkim", "dkim-ed25519" */
	char *subject;        /* a domain */
	char *current, *next; /* in use, "" before the first one is; the one that comes, "" when idle. From ACTIVE on,
	                         next is in use. */
	enum rollover_stage stage;
	bool done;     /* the stage's action has been carried out */
	int64_t since; /* when it was: seconds since 1970; 0 while not done */
};
struct rollover {
	struct rollover_item *at; /* by kind and subject */
	size_t count;
};
#define ROLLOVER_ITEMS_MAX 20000

/* What is rolled. Every function may be called again for the same item; 0, or -1 with the reason. */
struct rollover_kind {
	const char *const *names; /* the kinds of its items, ended by NULL */
	void *arg;
	/* Entering a stage: PUBLISHED makes next and its record, ACTIVE switches to it, REVOKED and REMOVED do that to
	 * current. */
	int (*enter)(void *arg, const struct rollover_item *, struct error *);
	/* After all that were entered together: the zones are served anew, whoever uses the things is told. */
	int (*commit)(void *arg, struct error *);
	/* 1: every authoritative server answers with next; 0: not yet, why says who does not; -1: cannot be asked, why
	 * too. */
	int (*visible)(void *arg, const struct rollover_item *, struct buf *why);
	/* Seconds to stay in VISIBLE, ACTIVE and REVOKED. */
	uint64_t ttl, retention, revoked;
};

/*
 * STATE/rollover.  A missing file is empty; a malformed one is an error that names what is wrong (nothing of it is
 * used).  rollover_save writes atomically.
 */
int rollover_load(const char *path, struct rollover *, struct error *);
int rollover_save(const char *path, const struct rollover *, struct error *);
int rollover_parse(struct view text, const char *path, struct rollover *, struct error *);
void rollover_free(struct rollover *);

struct rollover_item *rollover_find(struct rollover *, const char *kind, const char *subject);
/* A new idle item, of which current has been in use since `since`; with current "" it has to be begun. NULL: there are
 * too many. */
struct rollover_item *rollover_add(
    struct rollover *, const char *kind, const char *subject, const char *current, int64_t since);
void rollover_drop(struct rollover *, struct rollover_item *);

/* Begins: idle, or added with current "" -> published, in memory; rollover_run saves it and acts. */
void rollover_start(struct rollover_item *, const char *next);

enum rollover_result {
	ROLLOVER_WAITS, /* nothing to do yet; why says for what */
	ROLLOVER_WENT,  /* the stage was entered and its action carried out */
	ROLLOVER_FAILED /* why says so; the next run tries again */
};
typedef void rollover_tell(void *arg, const struct rollover_item *, enum rollover_result, const char *why);
/*
 * Takes every item of the kind as far as it can go at `now`: all that are due enter their next stage together, are
 * saved, act, are committed once, and are saved as done.  Tells each step, and what every item that is not idle waits
 * for.  How many failed, or -1 when the state cannot be saved.
 */
int rollover_run(const struct rollover_kind *, struct rollover *, const char *path, int64_t now, rollover_tell *tell,
    void *arg, struct error *);

#endif
