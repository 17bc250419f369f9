/* clock.h: thin over clock_gettime, which is a vDSO call and cannot fail for these clocks. */
#include "clock.h"

#include <time.h>

static struct timespec now(clockid_t id)
{
	struct timespec ts = { 0 };

	clock_gettime(id, &ts);
	return ts;
}

int64_t clock_wall(void)
{
	return now(CLOCK_REALTIME).tv_sec;
}

int64_t clock_wall_us(void)
{
	struct timespec ts = now(CLOCK_REALTIME);

	return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

uint64_t clock_mono_ms(void)
{
	struct timespec ts = now(CLOCK_MONOTONIC);

	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}
