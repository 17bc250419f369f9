/*
 * Who is banned, and for how long: pure logic on a clock that the caller passes (seconds since 1970), in bounded
 * tables.
 *
 * firewall.ban_after offences within ten minutes of the first one ban a source for firewall.ban_time; each further ban
 * lasts four times as long as the one before, at most firewall.ban_max.  Of the bans that a source had, one is
 * forgotten for each day (or, when that is longer, each length of its last ban) since it ended.  A source that somebody
 * logged in from within a day is not banned.
 *
 * What strangers can fill is bounded: the sources that are watched or known make room by least recent use; bans that
 * offences bring are at most JAIL_RATE a minute, and none is made while JAIL_AUTOMATIC stand, for each family of
 * addresses, so that whoever owns a /32 of IPv6 can neither fill the memory nor take the place of IPv4's.
 */
#ifndef MAILSVC_GUARD_JAIL_H
#define MAILSVC_GUARD_JAIL_H

#include "fwgen/fwgen.h"
#include "lib/log.h"
#include "mailsvc/guard/source.h"

#define JAIL_WINDOW 600
#define JAIL_KNOWN 86400
#define JAIL_FORGET 86400
#define JAIL_LONGEST (366ll * 86400)
#define JAIL_WATCHED 65536
#define JAIL_RATE 300
#define JAIL_AUTOMATIC 65536
#define JAIL_TIMES_MAX 1000
#define JAIL_WHY_MAX 96 /* bytes with NUL; printable */

enum offence {
	OFFENCE_LOGIN,  /* a failed login; the same wrong password again is none */
	OFFENCE_RELAY,  /* wanted to relay */
	OFFENCE_ERRORS, /* was cut off for its errors */
	OFFENCE_EARLY,  /* spoke before the greeting */
	OFFENCE_COUNT
};
const char *offence_text(enum offence); /* "failed logins" */
bool jail_why_good(const char *);       /* a line that can be a ban's why: not empty, printable */

struct jail_ban {
	struct guard_source who;
	int64_t since, until; /* until <= now: over, and remembered for how often */
	uint32_t times;       /* bans in a row, this one included */
	char why[JAIL_WHY_MAX];
};

struct jail;
struct jail *jail_new(void);
void jail_free(struct jail *);
void jail_rules(struct jail *, unsigned after, uint64_t time, uint64_t max);

enum jail_answer {
	JAIL_COUNTED,
	JAIL_BANNED,  /* now: *out says until when */
	JAIL_ALREADY, /* is banned */
	JAIL_SPARED,  /* would be, but somebody logged in from there */
	JAIL_CAPPED,  /* would be, but there are too many bans; its next offence asks again */
};
enum jail_answer jail_offence(
    struct jail *, const struct guard_source *, enum offence, int64_t now, struct jail_ban *out);
void jail_login(struct jail *, const struct guard_source *, int64_t now);
/* By hand, also of a known source; seconds 0: as long as the next ban by offences would be. -1: the table is full. */
int jail_ban(struct jail *, const struct guard_source *, uint64_t seconds, const char *why, int64_t now,
    struct jail_ban *out, struct error *);
/* From a file or the kernel. -1: full, or it is there already, be it as past. */
int jail_put(struct jail *, const struct jail_ban *, int64_t now);
/*
 * From the kernel, of a guard that was killed before it wrote it down: what the source had before is its past, and
 * times is counted on from there. -1: full, or it is banned.
 */
int jail_resume(struct jail *, const struct jail_ban *, int64_t now);
/* And forgets its past, but not that somebody logged in from there; false: was not banned. */
bool jail_unban(struct jail *, const struct guard_source *, int64_t now);
bool jail_find(const struct jail *, const struct guard_source *, int64_t now, struct jail_ban *out); /* banned now */
size_t jail_expire(struct jail *, int64_t now); /* moves the bans that are over out of the way; how many */
/* Those banned now, and with past those that were and are not yet forgotten. fn must not change the jail. */
void jail_each(const struct jail *, bool past, int64_t now, void (*fn)(const struct jail_ban *, void *), void *arg);
size_t jail_count(const struct jail *);   /* bans, as of the last jail_expire */
size_t jail_watched(const struct jail *); /* sources with offences or a past */

#endif
