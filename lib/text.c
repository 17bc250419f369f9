/* text.h: small text work.  Nothing here looks at the locale: protocols are ASCII, dates are English. */
#include "text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define KIB 1024.0

static bool is_plain(unsigned char c)
{
	return c > 0x20 && c < 0x7f && c != '"' && c != '\\';
}

void text_escape(struct buf *out, struct view v, size_t limit)
{
	size_t shown = v.len < limit ? v.len : limit;
	bool plain = v.len > 0 && v.len <= limit;

	for (size_t i = 0; i < shown && plain; i++)
		plain = is_plain((unsigned char)v.ptr[i]);
	if (plain) {
		buf_add(out, v.ptr, shown);
		return;
	}
	buf_addc(out, '"');
	for (size_t i = 0; i < shown; i++) {
		unsigned char c = (unsigned char)v.ptr[i];
		if (is_plain(c) || c == ' ')
			buf_addc(out, (char)c);
		else
			buf_printf(out, "\\x%02X", c);
	}
	buf_addc(out, '"');
	if (shown < v.len)
		buf_puts(out, "...");
}

/* The digits that s begins with; what follows them is left in *rest. */
static int leading_number(const char *s, uint64_t *n, const char **rest)
{
	size_t digits = strspn(s, "0123456789");

	*rest = s + digits;
	return view_u64((struct view){ s, digits }, UINT64_MAX, n);
}

static int scale(uint64_t n, uint64_t factor, uint64_t *out)
{
	return __builtin_mul_overflow(n, factor, out) ? -1 : 0;
}

int text_parse_size(const char *s, uint64_t *out)
{
	static const char units[] = "kmgt";
	const char *rest;
	uint64_t n;

	if (leading_number(s, &n, &rest) == -1)
		return -1;
	if (rest[0] == '\0')
		return scale(n, 1, out);
	const char *unit = strchr(units, rest[0] | 0x20);
	if (unit == NULL || *unit == '\0' || rest[1] != '\0')
		return -1;
	return scale(n, (uint64_t)1 << (10 * (unit - units + 1)), out);
}

static const struct {
	char letter;
	uint64_t seconds;
} durations[] = { { 'w', 604800 }, { 'd', 86400 }, { 'h', 3600 }, { 'm', 60 }, { 's', 1 } };
#define DURATIONS (sizeof(durations) / sizeof(durations[0]))

int text_parse_duration(const char *s, uint64_t *out)
{
	const char *rest;
	uint64_t n;

	if (leading_number(s, &n, &rest) == -1)
		return -1;
	if (rest[0] == '\0')
		return scale(n, 1, out);
	for (size_t i = 0; i < DURATIONS; i++) {
		if (rest[0] == durations[i].letter && rest[1] == '\0')
			return scale(n, durations[i].seconds, out);
	}
	return -1;
}

void text_format_size(uint64_t bytes, char out[16])
{
	static const char *const names[] = { "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
	double value = (double)bytes;
	size_t unit = 0;

	if (bytes < 1024) {
		snprintf(out, 16, "%u B", (unsigned)bytes);
		return;
	}
	for (value /= KIB; value >= KIB && unit < 5; value /= KIB)
		unit++;
	snprintf(out, 16, "%.1f %s", value, names[unit]);
}

void text_format_duration(uint64_t seconds, char out[24])
{
	for (size_t i = 0; i < DURATIONS; i++) {
		if (seconds % durations[i].seconds == 0 && seconds > 0) {
			snprintf(out, 24, "%llu%c", (unsigned long long)(seconds / durations[i].seconds),
			    durations[i].letter);
			return;
		}
	}
	snprintf(out, 24, "0s");
}

static const char base64_alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

int text_base64_encode(struct buf *out, struct view v)
{
	const unsigned char *in = (const unsigned char *)v.ptr;
	char *to = v.len > SIZE_MAX / 2 ? NULL : buf_reserve(out, (v.len + 2) / 3 * 4);

	if (to == NULL) {
		out->full = true;
		return -1;
	}
	for (size_t i = 0; i < v.len; i += 3) {
		size_t left = v.len - i;
		unsigned bits = (unsigned)in[i] << 16;

		bits |= left > 1 ? (unsigned)in[i + 1] << 8 : 0;
		bits |= left > 2 ? in[i + 2] : 0;
		*to++ = base64_alphabet[bits >> 18];
		*to++ = base64_alphabet[bits >> 12 & 63];
		*to++ = left > 1 ? base64_alphabet[bits >> 6 & 63] : '=';
		*to++ = left > 2 ? base64_alphabet[bits & 63] : '=';
	}
	out->len += (v.len + 2) / 3 * 4;
	return 0;
}

static int base64_value(unsigned char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

int text_base64_decode(struct buf *out, struct view v)
{
	if (v.len % 4 != 0)
		return -1;
	if (v.len == 0)
		return 0;
	size_t pad = (size_t)(v.ptr[v.len - 1] == '=') + (size_t)(v.ptr[v.len - 1] == '=' && v.ptr[v.len - 2] == '=');
	size_t len = v.len / 4 * 3 - pad;
	unsigned char *to = (unsigned char *)buf_reserve(out, len);
	unsigned bits = 0;

	if (to == NULL)
		return -1;
	for (size_t i = 0, n = 0; i < v.len; i++) {
		int value = i >= v.len - pad ? 0 : base64_value((unsigned char)v.ptr[i]);
		if (value == -1)
			return -1;
		bits = bits << 6 | (unsigned)value;
		if (i % 4 != 3)
			continue;
		for (unsigned shift = 24; shift > 0 && n < len; n++) {
			shift -= 8;
			to[n] = (unsigned char)(bits >> shift);
		}
		/* Bits behind the last byte must be zero (RFC 4648 3.5): one text for one value. */
		if (pad > 0 && i == v.len - 1 && (bits & ((1u << (8 * pad)) - 1)) != 0)
			return -1;
		bits = 0;
	}
	out->len += len;
	return 0;
}

void text_rfc5322_date(int64_t when, char out[40])
{
	static const char days[7][4] = { "Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat" };
	static const char months[12][4] = { "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov",
		"Dec" };
	time_t t = (time_t)when;
	struct tm tm;

	if (localtime_r(&t, &tm) == NULL) { /* a year past what int holds */
		t = 0;
		localtime_r(&t, &tm);
	}
	long zone = labs(tm.tm_gmtoff) / 60;
	int n = snprintf(out, 40, "%s, %d %s %d %02d:%02d:%02d %c%02ld%02ld", days[tm.tm_wday], tm.tm_mday,
	    months[tm.tm_mon], tm.tm_year + 1900, tm.tm_hour, tm.tm_min, tm.tm_sec, tm.tm_gmtoff < 0 ? '-' : '+',
	    zone / 60, zone % 60);
	if (n < 0 || n >= 40)
		out[0] = '\0';
}

void text_lower(char *s)
{
	for (; *s != '\0'; s++) {
		if (*s >= 'A' && *s <= 'Z')
			*s = (char)(*s | 0x20);
	}
}

bool text_is_host(struct view v)
{
	size_t label = 0;

	if (v.len == 0 || v.len > 253)
		return false;
	for (size_t i = 0; i < v.len; i++) {
		char c = v.ptr[i], lower = (char)(c | 0x20);
		bool inside = (lower >= 'a' && lower <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
		if (c == '.' ? label == 0 : !inside)
			return false;
		label = c == '.' ? 0 : label + 1;
		if (label > 63)
			return false;
	}
	return label > 0;
}

size_t text_run(struct view v, bool *eight_bit)
{
	const uint64_t ones = UINT64_MAX / 255, high = ones * 0x80;
	uint64_t all = 0;
	size_t i = 0;

	for (; v.len - i >= sizeof(all); i += sizeof(all)) { /* eight at once, while none of them is low */
		uint64_t eight;

		memcpy(&eight, v.ptr + i, sizeof(eight));
		if ((eight - ones * ('\r' + 1)) & ~eight & high)
			break;
		all |= eight;
	}
	for (; i < v.len && (unsigned char)v.ptr[i] > '\r'; i++)
		all |= (unsigned char)v.ptr[i];
	*eight_bit |= (all & high) != 0;
	return i;
}

#define DISTANCE_WORD 64

unsigned text_distance(const char *a, const char *b, unsigned limit)
{
	size_t alen = strlen(a), blen = strlen(b);
	unsigned row[DISTANCE_WORD + 1];

	if (alen > DISTANCE_WORD || blen > DISTANCE_WORD)
		return limit + 1;
	for (size_t j = 0; j <= blen; j++)
		row[j] = (unsigned)j;
	for (size_t i = 1; i <= alen; i++) {
		unsigned diagonal = row[0];

		row[0] = (unsigned)i;
		for (size_t j = 1; j <= blen; j++) {
			unsigned best = diagonal + (a[i - 1] != b[j - 1]);

			diagonal = row[j];
			if (row[j] + 1 < best)
				best = row[j] + 1;
			if (row[j - 1] + 1 < best)
				best = row[j - 1] + 1;
			row[j] = best;
		}
	}
	return row[blen] > limit ? limit + 1 : row[blen];
}
