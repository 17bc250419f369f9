/* serials.h.  STATE/serials is lines "ZONE SERIAL SHA256" below a line that names the version. */
#include "dnsgen/serials.h"

#include <ctype.h>
#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "dnsgen/dnsgen.h"
#include "lib/proc.h"

#define HEAD "mailadm-serials 1"
#define STATE_MAX (64u << 20)
#define ZONES_MAX 500000
#define NAME_MAX_BYTES 255

bool serial_above(uint32_t a, uint32_t b)
{
	return a != b && (uint32_t)(a - b) < UINT32_C(0x80000000);
}

uint32_t serial_next(uint32_t last, uint32_t wanted)
{
	uint32_t next = wanted && serial_above(wanted, last) ? wanted : last + 1;
	return next ? next : 1;
}

bool zone_text_serial(struct view text, struct view *digits, uint32_t *value)
{
	const char *soa = text.len ? memmem(text.ptr, text.len, "\tSOA\t", 5) : NULL, *end = text.ptr + text.len;
	uint64_t number;
	if (soa == NULL)
		return false;
	soa += 5;
	for (int word = 0; word < 2; word++) {
		while (soa < end && *soa != ' ' && *soa != '\n')
			soa++;
		if (soa == end || *soa == '\n')
			return false;
		soa++;
	}
	size_t len = 0;
	while (len < (size_t)(end - soa) && isdigit((unsigned char)soa[len]))
		len++;
	*digits = (struct view){ soa, len };
	if (len == 0 || view_u64(*digits, UINT32_MAX, &number) == -1)
		return false;
	*value = (uint32_t)number;
	return true;
}

void zone_text_with_serial(struct view text, uint32_t serial, struct buf *out)
{
	struct view digits;
	uint32_t before;
	if (!zone_text_serial(text, &digits, &before)) {
		buf_addv(out, text);
		return;
	}
	buf_add(out, text.ptr, (size_t)(digits.ptr - text.ptr));
	buf_printf(out, "%u", serial);
	buf_add(out, digits.ptr + digits.len, (size_t)(text.ptr + text.len - digits.ptr - digits.len));
}

/* The text before the serial, and behind it. */
static void halves(struct view text, struct view out[2])
{
	struct view digits;
	uint32_t value;
	if (!zone_text_serial(text, &digits, &value))
		digits = (struct view){ text.ptr + text.len, 0 };
	out[0] = (struct view){ text.ptr, (size_t)(digits.ptr - text.ptr) };
	out[1] = (struct view){ digits.ptr + digits.len, text.len - out[0].len - digits.len };
}

bool zone_text_same(struct view a, struct view b)
{
	struct view x[2], y[2];
	if (a.len == 0 || b.len == 0)
		return a.len == b.len;
	halves(a, x);
	halves(b, y);
	return x[0].len == y[0].len && x[1].len == y[1].len && memcmp(x[0].ptr, y[0].ptr, x[0].len) == 0 &&
	       memcmp(x[1].ptr, y[1].ptr, x[1].len) == 0;
}

void zone_text_digest(struct view text, char out[SERIALS_DIGEST])
{
	unsigned char sum[EVP_MAX_MD_SIZE];
	struct view half[2];
	EVP_MD_CTX *c = EVP_MD_CTX_new();
	halves(text, half);
	if (c == NULL || EVP_DigestInit_ex(c, EVP_sha256(), NULL) != 1 ||
	    EVP_DigestUpdate(c, half[0].ptr, half[0].len) != 1 || EVP_DigestUpdate(c, half[1].ptr, half[1].len) != 1 ||
	    EVP_DigestFinal_ex(c, sum, NULL) != 1)
		fatalx("SHA-256 failed");
	EVP_MD_CTX_free(c);
	for (size_t i = 0; i < 32; i++)
		snprintf(out + 2 * i, 3, "%02x", sum[i]);
}

int zone_text_keep_serial(const struct zone *z, struct view old, struct buf *out)
{
	struct buf text = BUF_INIT(out->max);
	struct view digits;
	uint32_t fresh, before;
	int result = zone_text(z, &text);
	if (result == 0 && zone_text_serial(old, &digits, &before) &&
	    zone_text_serial(buf_view(&text), &digits, &fresh))
		zone_text_with_serial(
		    buf_view(&text), zone_text_same(buf_view(&text), old) ? before : serial_next(before, fresh), out);
	else if (result == 0)
		buf_addv(out, buf_view(&text));
	buf_free(&text);
	return result == 0 && !out->full ? 0 : -1;
}

static int by_zone(const void *a, const void *b)
{
	return strcmp(((const struct serial *)a)->zone, ((const struct serial *)b)->zone);
}

const struct serial *serials_find(const struct serials *s, const char *zone)
{
	struct serial key = { .zone = (char *)(uintptr_t)zone };
	return s->count ? bsearch(&key, s->at, s->count, sizeof(*s->at), by_zone) : NULL;
}

void serials_set(struct serials *s, const char *zone, uint32_t value, const char *digest)
{
	struct serial *found = (struct serial *)(uintptr_t)serials_find(s, zone);
	size_t at = s->count;
	if (found == NULL) {
		if ((s->count & (s->count - 1)) == 0)
			s->at = xreallocarray(s->at, s->count ? s->count * 2 : 1, sizeof(*s->at));
		for (; at > 0 && strcmp(s->at[at - 1].zone, zone) > 0; at--)
			s->at[at] = s->at[at - 1];
		s->count++;
		found = &s->at[at];
		found->zone = xstrdup(zone);
	}
	found->value = value;
	snprintf(found->digest, sizeof(found->digest), "%s", digest);
}

void serials_free(struct serials *s)
{
	for (size_t i = 0; i < s->count; i++)
		free(s->at[i].zone);
	free(s->at);
	*s = (struct serials){ 0 };
}

static bool next_part(struct view *line, char end, struct view *out)
{
	const char *p = line->len ? memchr(line->ptr, end, line->len) : NULL;
	*out = (struct view){ line->ptr, p ? (size_t)(p - line->ptr) : line->len };
	size_t used = out->len + (p != NULL);
	*line = (struct view){ line->ptr + used, line->len - used };
	return out->len > 0;
}

/* "ZONE SERIAL SHA256", in rising order of zones. */
static bool parse_line(struct view line, struct serials *s)
{
	static const char name_bytes[] = "abcdefghijklmnopqrstuvwxyz0123456789-_./";
	struct view name, number, digest;
	char zone[NAME_MAX_BYTES + 1], hex[SERIALS_DIGEST];
	uint64_t value;
	if (!next_part(&line, ' ', &name) || !next_part(&line, ' ', &number) || !next_part(&line, ' ', &digest) ||
	    line.len > 0 || view_copy(name, zone, sizeof(zone)) == -1 || zone[strspn(zone, name_bytes)] != '\0' ||
	    view_u64(number, UINT32_MAX, &value) == -1 || digest.len != SERIALS_DIGEST - 1 ||
	    view_copy(digest, hex, sizeof(hex)) == -1 || hex[strspn(hex, "0123456789abcdef")] != '\0' ||
	    s->count == ZONES_MAX || (s->count && strcmp(s->at[s->count - 1].zone, zone) >= 0))
		return false;
	serials_set(s, zone, (uint32_t)value, hex);
	return true;
}

int serials_parse(struct view text, const char *path, struct serials *s, struct error *e)
{
	struct view line;
	*s = (struct serials){ 0 };
	bool good = next_part(&text, '\n', &line) && view_eq(line, HEAD);
	size_t number = 1;
	while (good && text.len > 0) {
		number++;
		good = next_part(&text, '\n', &line) && parse_line(line, s);
	}
	if (good)
		return 0;
	serials_free(s);
	return error_set(e,
	    "%s:%zu: is no line of a file of serials; move the file away: it is made again from the zone files", path,
	    number);
}

int serials_load(const char *path, struct serials *s, struct error *e)
{
	struct buf text = BUF_INIT(STATE_MAX);
	*s = (struct serials){ 0 };
	if (access(path, F_OK) == -1 && errno == ENOENT)
		return 0;
	int result = file_read(path, STATE_MAX, &text, e);
	if (result == 0)
		result = serials_parse(buf_view(&text), path, s, e);
	buf_free(&text);
	return result;
}

void serials_text(const struct serials *s, struct buf *out)
{
	buf_puts(out, HEAD "\n");
	for (size_t i = 0; i < s->count; i++)
		buf_printf(out, "%s %u %s\n", s->at[i].zone, s->at[i].value, s->at[i].digest);
}
