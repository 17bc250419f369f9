/*
 * RFC 5322 3.3 and 4.3: date-time, with the obsolete years and zones, comments anywhere, and without seconds or zone
 * (then UTC).  The name of the day is not compared with the date.
 */
#include <string.h>
#include <strings.h>

#include "internal.h"

struct reader {
	const char *p, *end;
};

static void skip(struct reader *r)
{
	r->p = mime_skip_cfws(r->p, r->end);
}

/* A number of min..max digits; -1 when there is none. */
static int number(struct reader *r, int min, int max, int *digits)
{
	int v = 0, n = 0;

	skip(r);
	while (r->p < r->end && *r->p >= '0' && *r->p <= '9' && n < max) {
		v = v * 10 + (*r->p++ - '0');
		n++;
	}
	if (digits)
		*digits = n;
	return n < min || (r->p < r->end && *r->p >= '0' && *r->p <= '9') ? -1 : v;
}

static struct view word(struct reader *r)
{
	const char *start;

	skip(r);
	start = r->p;
	while (r->p < r->end && ((*r->p | 0x20) >= 'a' && (*r->p | 0x20) <= 'z'))
		r->p++;
	return (struct view){ start, (size_t)(r->p - start) };
}

static bool literal(struct reader *r, char c)
{
	skip(r);
	if (r->p == r->end || *r->p != c)
		return false;
	r->p++;
	return true;
}

static int month(struct view v)
{
	static const char names[] = "janfebmaraprmayjunjulaugsepoctnovdec";

	for (int i = 0; v.len >= 3 && i < 12; i++)
		if (strncasecmp(v.ptr, names + 3 * i, 3) == 0)
			return i + 1;
	return -1;
}

static int zone_minutes(struct reader *r)
{
	static const struct {
		const char *name;
		int minutes;
	} names[] = { { "EST", -300 }, { "EDT", -240 }, { "CST", -360 }, { "CDT", -300 }, { "MST", -420 },
		{ "MDT", -360 }, { "PST", -480 }, { "PDT", -420 } };
	struct view v;

	skip(r);
	if (r->p < r->end && (*r->p == '+' || *r->p == '-')) {
		bool west = *r->p++ == '-';
		int n = number(r, 4, 4, NULL);

		if (n < 0 || n % 100 > 59 || n / 100 > 23)
			return 0;
		n = n / 100 * 60 + n % 100;
		return west ? -n : n;
	}
	v = word(r);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (view_caseeq(v, names[i].name))
			return names[i].minutes;
	return 0;
}

static int full_year(int year, int digits)
{
	if (digits == 2)
		return year < 50 ? 2000 + year : 1900 + year;
	return digits == 3 ? 1900 + year : year;
}

static bool day_exists(int year, int mon, int day)
{
	static const int days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
	bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);

	return day >= 1 && day <= days[mon - 1] + (mon == 2 && leap);
}

/* Days since 1970-01-01 of the proleptic Gregorian calendar; years count from March. */
static int64_t days_since_1970(int year, int mon, int day)
{
	int64_t y = mon > 2 ? year : year - 1, m = mon > 2 ? mon - 3 : mon + 9;

	return y * 365 + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day - 1 - 719468;
}

int mime_parse_date(struct view raw, int64_t *when, int16_t *zone)
{
	struct reader r = { raw.ptr, NULL };
	int day, mon, year, hour, min, sec = 0, digits, minutes;

	if (raw.len == 0)
		return -1;
	r.end = raw.ptr + raw.len;
	if (word(&r).len > 0)
		(void)literal(&r, ',');
	day = number(&r, 1, 2, NULL);
	(void)literal(&r, '-');
	mon = month(word(&r));
	(void)literal(&r, '-');
	year = number(&r, 2, 4, &digits);
	if (day < 0 || mon < 0 || year < 0)
		return -1;
	year = full_year(year, digits);
	hour = number(&r, 1, 2, NULL);
	if (!literal(&r, ':'))
		return -1;
	min = number(&r, 1, 2, NULL);
	if (literal(&r, ':'))
		sec = number(&r, 1, 2, NULL);
	if (!day_exists(year, mon, day) || year < 1900 || hour < 0 || hour > 23 || min < 0 || min > 59 || sec < 0 ||
	    sec > 60)
		return -1;
	minutes = zone_minutes(&r);
	*when = days_since_1970(year, mon, day) * 86400 + hour * 3600 + min * 60 + sec - minutes * 60;
	*zone = (int16_t)minutes;
	return 0;
}
