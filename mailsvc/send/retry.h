/* When to try again. */
#ifndef MAILSVC_SEND_RETRY_H
#define MAILSVC_SEND_RETRY_H

#include <stdbool.h>
#include <stdint.h>

/*
 * The next time to try a message that is `age` seconds old: it waits as long as it has waited so far, at least
 * min and at most max, so that the intervals double.  random is any number; up to an eighth is added by it, so that
 * what failed together does not come back together.
 */
int64_t retry_due(int64_t now, int64_t created, uint64_t min, uint64_t max, uint32_t random);
bool retry_expired(int64_t now, int64_t created, uint64_t expire);
/* How long a destination that failed `failures` times in a row is left alone: min doubling to max. */
uint64_t retry_backoff(unsigned failures, uint64_t min, uint64_t max);

#endif
