/* clock.h: thin over clock_gettime, which is a vDSO call and cannot fail for these clocks. */
#include "clock.h"

#include <stdio.h>
#include <string.h>
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

void clock_rfc3339(int64_t when, char out[32])
{
	time_t t = (time_t)when;
	struct tm tm;
	char date[20], zone[8];

	out[0] = '\0';
	if (localtime_r(&t, &tm) == NULL || strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%S", &tm) == 0 ||
	    strftime(zone, sizeof(zone), "%z", &tm) != 5)
		return;
	snprintf(out, 32, "%s%.3s:%s", date, zone, zone + 3);
}
