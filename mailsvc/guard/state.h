/*
 * Bans as text, which is both the file STATE/bans/list and what `mailadm fw bans` is told:
 *
 *   mailadm bans 1
 *   192.0.2.7 1764000000 1764000600 1 failed logins
 *   2001:db8:1:2::/64 1764000000 1764002400 2 by hand: scans
 *   end 2
 *
 * address, since, until (seconds since 1970), how often in a row, why.  The last line tells a whole file from a torn
 * one.
 */
#ifndef MAILSVC_GUARD_STATE_H
#define MAILSVC_GUARD_STATE_H

#include "mailsvc/guard/jail.h"
#include "site/site.h"

#define STATE_FOLDER "bans" /* below state_dir; the guard's own */
#define STATE_FILE "list"
#define STATE_TEXT_MAX (64u << 20)
#define STATE_BANS_MAX (2u * FW_BANS_MAX + 2u * JAIL_WATCHED)

/* past: those that are over and not yet forgotten too, for the file. */
void state_print(const struct jail *, bool past, int64_t now, struct buf *out);
/* Each ban in turn goes to fn, which returns NULL or what is wrong with it. -1: e says in which line and what. */
typedef const char *(*state_fn)(const struct jail_ban *, void *arg);
int state_parse(struct view text, state_fn, void *arg, struct error *e);

/*
 * dir is a descriptor of STATE/bans.  No file: an empty jail.  One that cannot be read as above is renamed to list.bad,
 * and the call is 1 with e saying so; the jail is empty then.  -1: it cannot be read at all.
 */
int guard_state_load(int dir, struct jail *, int64_t now, struct error *e);
/* Writes list.new, syncs it and renames it; the file belongs to whom the folder does. */
int guard_state_save(int dir, const struct jail *, int64_t now, struct error *e);

#endif
