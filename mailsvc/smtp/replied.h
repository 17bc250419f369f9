/* Who was sent an automatic reply lately: a shared_table of the minute of each. */
#ifndef MAILSVC_SMTP_REPLIED_H
#define MAILSVC_SMTP_REPLIED_H

#include <stdbool.h>
#include <stdint.h>

#define REPLIED_BITS 24 /* minutes since 2025 last until 2056 */
#define REPLIED_DAYS 7

struct shared_table; /* SHARED_REPLIED_BYTES, REPLIED_BITS */
/* May account (an address) reply to sender now?  When it may, that is remembered: of several who ask, one may. */
bool replied_take(struct shared_table *, const char *account, const char *sender, int64_t now);

#endif
