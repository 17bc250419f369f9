/*
 * SRS addresses.  Hosts on the way may change the case of a local part, so that everything of ours is compared without
 * case; the hash is over the lower-case text for the same reason.  Ours is base32: no letter that case would change.
 */
#include "mailsvc/smtp/srs.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "lib/log.h"
#include "lib/text.h"

#define HASH_LEN 8
#define DAY_LEN 2
#define DAY (24 * 3600)
#define DAYS_MOD 1024
#define LOCAL_LONGEST                                                                                                  \
	200 /* of what we make: beyond 64 octets (RFC 5321 4.5.3.1.1) most hosts, not all, still take it */

struct parts {
	int kind;
	char day[DAY_LEN + 1], hash[HASH_LEN + 1]; /* in lower case */
	struct view rest;
};

static const char base32[] = "abcdefghijklmnopqrstuvwxyz234567";

/* The first 40 bits of HMAC-SHA256 over the text in lower case. */
static void hash_of(const struct srs *srs, struct view text, char out[HASH_LEN + 1])
{
	unsigned char mac[EVP_MAX_MD_SIZE];
	unsigned len = 0;
	char *lower = view_dup(text);

	text_lower(lower);
	if (HMAC(EVP_sha256(), srs->key, SRS_KEY_LEN, (const unsigned char *)lower, text.len, mac, &len) == NULL ||
	    len < 5)
		fatalx("cannot compute HMAC-SHA256");
	uint64_t bits = 0;
	for (size_t i = 0; i < 5; i++)
		bits = bits << 8 | mac[i];
	for (size_t i = 0; i < HASH_LEN; i++)
		out[i] = base32[bits >> (35 - 5 * i) & 31];
	out[HASH_LEN] = '\0';
	free(lower);
}

static void day_text(int64_t now, char out[DAY_LEN + 1])
{
	unsigned day = (unsigned)(now / DAY % DAYS_MOD);

	out[0] = base32[day >> 5];
	out[1] = base32[day & 31];
	out[2] = '\0';
}

static int digit(char c)
{
	const char *at = c != '\0' ? strchr(base32, c | 0x20) : NULL;

	return at != NULL ? (int)(at - base32) : -1;
}

static bool expired(const char *text, int64_t now)
{
	int high = digit(text[0]), low = digit(text[1]);
	unsigned today = (unsigned)(now / DAY % DAYS_MOD);

	if (high == -1 || low == -1)
		return true;
	/* A day ahead is another zone's clock. */
	return (today + 1 + DAYS_MOD - ((unsigned)high * 32 + (unsigned)low)) % DAYS_MOD > SRS_DAYS + 1;
}

/* "SRS0" or "SRS1", then one of = + -, as others write it. */
static int kind_of(struct view local)
{
	if (local.len < 6 || strncasecmp(local.ptr, "SRS", 3) != 0 || (local.ptr[3] != '0' && local.ptr[3] != '1') ||
	    strchr("=+-", local.ptr[4]) == NULL)
		return -1;
	return local.ptr[3] - '0';
}

bool srs_looks_like(struct view address)
{
	return kind_of(address) != -1;
}

/* What is hashed of "SRS0=HASH=rest" and "SRS1=day,HASH=rest": kind, day and rest. */
static void seal(const struct srs *srs, int kind, const char *day, struct view rest, char hash[HASH_LEN + 1])
{
	struct buf text = BUF_INIT(2 * ADDRESS_MAX);

	buf_printf(&text, "%d%s=", kind, kind == 1 ? day : "");
	buf_addv(&text, rest);
	hash_of(srs, buf_view(&text), hash);
	buf_free(&text);
}

/* "TT=domain=local" or, of SRS1, "domain=" and what followed SRS0 there: the address that it stands for. */
static int open_rest(int kind, struct view rest, struct buf *out)
{
	if (kind == 0) {
		if (rest.len < DAY_LEN + 2 || rest.ptr[DAY_LEN] != '=')
			return -1;
		rest = (struct view){ rest.ptr + DAY_LEN + 1, rest.len - DAY_LEN - 1 };
	}
	const char *equal = memchr(rest.ptr, '=', rest.len);
	if (equal == NULL)
		return -1;
	struct view domain = { rest.ptr, (size_t)(equal - rest.ptr) };
	struct view local = { equal + 1, rest.len - domain.len - 1 };
	buf_printf(out, "%s%.*s@%.*s", kind == 1 ? "SRS0" : "", (int)local.len, local.ptr, (int)domain.len, domain.ptr);
	return 0;
}

static int original(int kind, struct view rest, char out[ADDRESS_MAX])
{
	struct buf whole = BUF_INIT(ADDRESS_MAX - 1);
	struct address parsed;
	bool ok = open_rest(kind, rest, &whole) == 0 && !whole.full && address_parse(buf_view(&whole), &parsed) == 0 &&
	          view_copy(buf_view(&whole), out, ADDRESS_MAX) == 0;

	buf_free(&whole);
	return ok ? 0 : -1;
}

/* What of another forwarder's address goes into ours; false: it is no right one of those, and is taken as any address.
 */
static bool put_foreign(const struct address *a, struct buf *rest)
{
	int before = kind_of(a->local);
	char back[ADDRESS_MAX];

	if (before == 1) { /* the first forwarder stays named; the one before us is left out */
		const char *at = memchr(a->local.ptr + 5, '=', a->local.len - 5);
		if (at != NULL)
			buf_add(rest, at + 1, a->local.len - (size_t)(at + 1 - a->local.ptr));
	} else if (before == 0) {
		buf_printf(
		    rest, "%.*s=%.*s", (int)a->domain.len, a->domain.ptr, (int)(a->local.len - 4), a->local.ptr + 4);
	}
	if (rest->len > 0 && !rest->full && original(1, buf_view(rest), back) == 0)
		return true;
	buf_reset(rest);
	return false;
}

int srs_forward(const struct srs *srs, const char *sender, const char *our_domain, int64_t now, char out[ADDRESS_MAX])
{
	struct address a;
	struct buf rest = BUF_INIT(ADDRESS_MAX), whole = BUF_INIT(ADDRESS_MAX - 1);
	char hash[HASH_LEN + 1], day[DAY_LEN + 1];

	if (address_parse(view_of(sender), &a) == -1 || a.literal || a.local.ptr[0] == '"')
		return -1;
	day_text(now, day);
	int kind = put_foreign(&a, &rest);
	if (kind == 0)
		buf_printf(&rest, "%s=%.*s=%.*s", day, (int)a.domain.len, a.domain.ptr, (int)a.local.len, a.local.ptr);
	seal(srs, kind, day, buf_view(&rest), hash);
	buf_printf(&whole, "SRS%d=%s%s=%s", kind, kind == 1 ? day : "", hash, buf_str(&rest));
	bool fits = !rest.full && whole.len <= LOCAL_LONGEST;
	buf_printf(&whole, "@%s", our_domain);
	int result = fits && !whole.full ? view_copy(buf_view(&whole), out, ADDRESS_MAX) : -1;
	buf_free(&rest);
	buf_free(&whole);
	return result;
}

/* "SRSn=TTHHHHHHHH=rest@ours" in its parts; -1: it is none of ours. */
static int split(struct view address, struct parts *out)
{
	const char *at = memrchr(address.ptr, '@', address.len);
	struct view local = { address.ptr, at != NULL ? (size_t)(at - address.ptr) : 0 };
	int kind = kind_of(local);
	size_t head = 5 + (kind == 1 ? DAY_LEN : 0) + HASH_LEN;

	if (kind == -1 || local.len < head + 2 || local.ptr[head] != '=')
		return -1;
	*out = (struct parts){ .kind = kind, .rest = { local.ptr + head + 1, local.len - head - 1 } };
	memcpy(out->hash, local.ptr + head - HASH_LEN, HASH_LEN);
	memcpy(out->day, kind == 1 ? local.ptr + 5 : out->rest.ptr, out->rest.len < DAY_LEN ? 0 : DAY_LEN);
	text_lower(out->hash);
	text_lower(out->day);
	return 0;
}

int srs_origin(struct view address, char out[ADDRESS_MAX])
{
	struct parts p;

	return split(address, &p) == 0 ? original(p.kind, p.rest, out) : -1;
}

enum srs_status srs_reverse(const struct srs *srs, struct view address, int64_t now, char out[ADDRESS_MAX])
{
	struct parts p;
	char hash[HASH_LEN + 1];

	if (split(address, &p) == -1)
		return SRS_FORGED;
	seal(srs, p.kind, p.day, p.rest, hash);
	if (!secret_eq(hash, HASH_LEN, p.hash, HASH_LEN) || original(p.kind, p.rest, out) == -1)
		return SRS_FORGED;
	return expired(p.day, now) ? SRS_EXPIRED : SRS_OK;
}
