/*
 * Back-off.  A message's interval follows from its age and not from a count of attempts: attempts that the
 * administrator forced, or that were skipped because the destination was known to be away, do not stretch it.
 */
#include "retry.h"

int64_t retry_due(int64_t now, int64_t created, uint64_t min, uint64_t max, uint32_t random)
{
	uint64_t wait = now > created ? (uint64_t)(now - created) : 0;

	if (wait < min)
		wait = min;
	if (wait > max)
		wait = max;
	if (wait == 0)
		wait = 1;
	return now + (int64_t)(wait + random % (wait / 8 + 1));
}

bool retry_expired(int64_t now, int64_t created, uint64_t expire)
{
	return now > created && (uint64_t)(now - created) >= expire;
}

uint64_t retry_backoff(unsigned failures, uint64_t min, uint64_t max)
{
	uint64_t wait = min > 0 ? min : 1;

	while (failures > 1 && wait < max) {
		wait *= 2;
		failures--;
	}
	return wait < max ? wait : max;
}
