/*
 * How many recipients an account and a domain may send to (limits.send_*), in a shared_table: host-wide, and over
 * restarts. Also the accounts that were stopped since they tried far more, as a hijacked one does; they stay so until
 * resumed.
 */
#ifndef MAILSVC_SMTP_RATE_H
#define MAILSVC_SMTP_RATE_H

#include "mailsvc/smtp/shared_table.h"

#define RATE_BITS 40 /* of the table's numbers */

struct rate_limits {              /* recipients; 0: no limit */
	unsigned account, domain; /* an hour */
	unsigned stop;            /* a day, those that were told to come later included */
};

enum rate_verdict {
	RATE_OK,
	RATE_LATER, /* too many at once: *seconds until the next */
	RATE_STOPS, /* the account is stopped by this one: tell the administrator */
	RATE_STOPPED,
};
/* One more recipient of account (an address). */
enum rate_verdict rate_take(
    struct shared_table *, const char *account, const struct rate_limits *, int64_t now_ms, unsigned *seconds);
bool rate_stopped(const struct shared_table *, const char *account);
/* It may send again, and its counts begin anew; false: it was not stopped. */
bool rate_resume(struct shared_table *, const char *account);

#endif
