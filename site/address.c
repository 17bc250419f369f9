/*
 * Mail addresses: the grammar of RFC 5321 4.1.2 with the UTF-8 of RFC 6531, and one normal form.
 *
 * The grammar is the strict one: no source routes, no comments, no obsolete forms, no General-address-literal.
 * The normal form is what accounts, aliases and lookups compare as bytes: the domain as lower-case A-labels, the
 * local part unquoted where a dot-string says the same, NFC and case-folded.  It is idempotent.
 */
#include <arpa/inet.h>
#include <idn2.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <utf8proc.h>

#include "address.h"
#include "lib/text.h"

#define LOCAL_MAX 200 /* RFC 5321 4.5.3.1.1 asks for 64 at least; what forwarders make (SRS) is longer */
#define DOMAIN_MAX 255
#define LABEL_MAX 63

static bool is_alnum(unsigned char c)
{
	return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z');
}

static bool is_atext(unsigned char c)
{
	return is_alnum(c) || c >= 0x80 || (c && strchr("!#$%&'*+-/=?^_`{|}~", c));
}

/* Valid UTF-8 without controls and line separators; sets *wide when a byte is not ASCII. */
static bool utf8_ok(struct view v, bool *wide)
{
	*wide = false;
	for (size_t i = 0; i < v.len;) {
		if ((unsigned char)v.ptr[i] < 0x80) {
			i++;
			continue;
		}
		utf8proc_int32_t c;
		utf8proc_ssize_t n =
		    utf8proc_iterate((const utf8proc_uint8_t *)v.ptr + i, (utf8proc_ssize_t)(v.len - i), &c);
		if (n < 1)
			return false;
		utf8proc_category_t category = utf8proc_category(c);
		if (category == UTF8PROC_CATEGORY_CC || category == UTF8PROC_CATEGORY_ZL ||
		    category == UTF8PROC_CATEGORY_ZP)
			return false;
		*wide = true;
		i += (size_t)n;
	}
	return true;
}

static bool is_dot_string(struct view v)
{
	bool atom = false; /* the byte before was part of an atom */
	for (size_t i = 0; i < v.len; i++) {
		if (v.ptr[i] == '.' && !atom)
			return false;
		if (v.ptr[i] != '.' && !is_atext((unsigned char)v.ptr[i]))
			return false;
		atom = v.ptr[i] != '.';
	}
	return atom;
}

/* The length of the quoted string that v begins with, or 0. */
static size_t quoted_string(struct view v)
{
	for (size_t i = 1; i < v.len; i++) {
		unsigned char c = (unsigned char)v.ptr[i];
		if (c == '"')
			return i + 1;
		if (c == '\\') {
			if (++i == v.len)
				return 0;
			c = (unsigned char)v.ptr[i];
			if (c >= 0x7f)
				return 0;
		}
		if (c < 0x20 || c == 0x7f)
			return 0;
	}
	return 0;
}

/* Labels of letters, digits, hyphens and (before IDNA) UTF-8, none empty. */
static bool is_domain(struct view v)
{
	if (v.len == 0 || v.len > DOMAIN_MAX)
		return false;
	size_t start = 0;
	for (size_t i = 0; i <= v.len; i++) {
		if (i < v.len && v.ptr[i] != '.') {
			unsigned char c = (unsigned char)v.ptr[i];
			if (!is_alnum(c) && c != '-' && c < 0x80)
				return false;
			continue;
		}
		if (i == start || v.ptr[start] == '-' || v.ptr[i - 1] == '-')
			return false;
		start = i + 1;
	}
	return true;
}

/* "[192.0.2.1]" or "[IPv6:2001:db8::1]": writes the canonical form to out (may be NULL). */
static int parse_literal(struct view v, char *out, size_t size)
{
	char text[64], plain[INET6_ADDRSTRLEN];
	unsigned char bytes[16];
	if (v.len < 3 || v.ptr[0] != '[' || v.ptr[v.len - 1] != ']' ||
	    view_copy((struct view){ v.ptr + 1, v.len - 2 }, text, sizeof(text)) < 0)
		return -1;
	bool six = strncasecmp(text, "IPv6:", 5) == 0;
	int family = six ? AF_INET6 : AF_INET;
	if (inet_pton(family, text + (six ? 5 : 0), bytes) != 1)
		return -1;
	if (!out)
		return 0;
	inet_ntop(family, bytes, plain, sizeof(plain));
	struct buf b = BUF_INIT(size);
	buf_printf(&b, "[%s%s]", six ? "IPv6:" : "", plain);
	int result = b.full ? -1 : view_copy(buf_view(&b), out, size);
	buf_free(&b);
	return result;
}

int address_parse(struct view v, struct address *out)
{
	*out = (struct address){ 0 };
	if (v.len == 0 || v.len >= ADDRESS_MAX || memchr(v.ptr, 0, v.len) || !utf8_ok(v, &out->utf8))
		return -1;
	size_t local;
	if (v.ptr[0] == '"') {
		local = quoted_string(v);
	} else {
		const char *at = memchr(v.ptr, '@', v.len);
		local = at ? (size_t)(at - v.ptr) : 0;
		if (!is_dot_string((struct view){ v.ptr, local }))
			return -1;
	}
	if (local == 0 || local > LOCAL_MAX || local >= v.len || v.ptr[local] != '@')
		return -1;
	out->local = (struct view){ v.ptr, local };
	out->domain = (struct view){ v.ptr + local + 1, v.len - local - 1 };
	out->literal = out->domain.len && out->domain.ptr[0] == '[';
	return (out->literal ? parse_literal(out->domain, NULL, 0) == 0 : is_domain(out->domain)) ? 0 : -1;
}

static bool labels_fit(const char *name)
{
	for (const char *p = name; *p;) {
		size_t n = strcspn(p, ".");
		if (n == 0 || n > LABEL_MAX)
			return false;
		p += n;
		if (*p == '.')
			p++;
	}
	return true;
}

int domain_normalise(struct view v, char *out, size_t size)
{
	if (size)
		out[0] = 0;
	if (v.len > 1 && v.ptr[v.len - 1] == '.')
		v.len--;
	char text[DOMAIN_MAX + 1];
	bool wide;
	if (!is_domain(v) || view_copy(v, text, sizeof(text)) < 0 || !utf8_ok(v, &wide))
		return -1;
	if (!wide) {
		text_lower(text);
		return labels_fit(text) ? view_copy(view_of(text), out, size) : -1;
	}
	uint8_t *ascii = NULL;
	if (idn2_lookup_u8((const uint8_t *)text, &ascii, IDN2_NFC_INPUT | IDN2_NONTRANSITIONAL) != IDN2_OK)
		return -1;
	struct view a = view_of((char *)ascii);
	int result = is_domain(a) && labels_fit(a.ptr) ? view_copy(a, out, size) : -1;
	idn2_free(ascii);
	if (result == 0)
		text_lower(out);
	return result;
}

/* NFC and case folding until nothing changes more (a few code points need a second pass). malloc'd, or NULL. */
static char *fold(struct view v)
{
	char *now = view_dup(v);
	for (int pass = 0; pass < 4; pass++) {
		utf8proc_uint8_t *next = NULL;
		utf8proc_ssize_t n = utf8proc_map((const utf8proc_uint8_t *)now, 0, &next,
		    UTF8PROC_NULLTERM | UTF8PROC_STABLE | UTF8PROC_COMPOSE | UTF8PROC_CASEFOLD);
		bool same = n >= 0 && strcmp((char *)next, now) == 0;
		free(now);
		if (n < 0)
			return NULL;
		now = (char *)next;
		if (same)
			return now;
	}
	free(now);
	return NULL;
}

/* The local part's text without quotes and backslashes. */
static void unquote(struct view local, struct buf *out)
{
	if (local.ptr[0] != '"') {
		buf_addv(out, local);
		return;
	}
	for (size_t i = 1; i + 1 < local.len; i++) {
		if (local.ptr[i] == '\\')
			i++;
		buf_addc(out, local.ptr[i]);
	}
}

static void requote(const char *local, struct buf *out)
{
	if (is_dot_string(view_of(local))) {
		buf_puts(out, local);
		return;
	}
	buf_addc(out, '"');
	for (const char *p = local; *p; p++) {
		if (*p == '"' || *p == '\\')
			buf_addc(out, '\\');
		buf_addc(out, *p);
	}
	buf_addc(out, '"');
}

int address_normalise(struct view v, char *out, size_t size)
{
	struct address a;
	char domain[DOMAIN_MAX + 1];
	int result = -1;
	if (size)
		out[0] = 0;
	if (address_parse(v, &a) < 0)
		return -1;
	if (a.literal ? parse_literal(a.domain, domain, sizeof(domain)) < 0
		      : domain_normalise(a.domain, domain, sizeof(domain)) < 0)
		return -1;
	struct buf local = BUF_INIT(ADDRESS_MAX), whole = BUF_INIT(ADDRESS_MAX - 1);
	unquote(a.local, &local);
	char *folded;
	if (a.utf8) {
		folded = fold(buf_view(&local));
	} else {
		folded = view_dup(buf_view(&local));
		text_lower(folded);
	}
	if (folded) {
		requote(folded, &whole);
		bool fits = !whole.full && whole.len <= LOCAL_MAX;
		buf_printf(&whole, "@%s", domain);
		if (fits && !whole.full)
			result = view_copy(buf_view(&whole), out, size);
	}
	free(folded);
	buf_free(&local);
	buf_free(&whole);
	return result;
}
