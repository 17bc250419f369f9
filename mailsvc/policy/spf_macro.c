/*
 * spf_record.h, macro strings (RFC 7208 7): checked once, when the record is parsed, and expanded later.  A domain-spec
 * may end in any macro; syntax is not looked at again after expansion.
 */
#include <arpa/inet.h>
#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>

#include "mailsvc/policy/spf_record.h"

#define EXPANDED_MAX 8192
#define PARTS_MAX 160 /* of a value that is split; more stay together at its left */
#define DELIMITERS ".-+,/_="

/* "%{" letter [digits] ["r"] [delimiters] "}", or one of %% %_ %-. */
struct macro {
	char letter; /* lower case; '%', '_' or '-' for the short ones */
	bool url;    /* the letter was a capital: escape as in a URL */
	bool reverse;
	unsigned keep;          /* parts at the right; 0: all */
	struct view delimiters; /* none: "." */
	size_t len;             /* bytes it takes */
};

/* v begins with '%'. False when it is no macro. */
static bool parse_macro(struct view v, struct macro *m)
{
	size_t i = 2;

	*m = (struct macro){ .len = 2 };
	if (v.len < 2)
		return false;
	m->letter = v.ptr[1];
	if (m->letter != '{')
		return m->letter == '%' || m->letter == '_' || m->letter == '-';
	if (v.len < 4 || memchr("slodiphcrtv", tolower((unsigned char)v.ptr[i]), 11) == NULL)
		return false;
	m->letter = (char)tolower((unsigned char)v.ptr[i]);
	m->url = isupper((unsigned char)v.ptr[i]) != 0;
	size_t digits = ++i;
	for (; i < v.len && isdigit((unsigned char)v.ptr[i]); i++)
		m->keep = m->keep > 1000 ? m->keep : m->keep * 10 + (unsigned)(v.ptr[i] - '0');
	if (i > digits && m->keep == 0)
		return false;
	if (i < v.len && (v.ptr[i] == 'r' || v.ptr[i] == 'R')) {
		m->reverse = true;
		i++;
	}
	m->delimiters.ptr = v.ptr + i;
	while (i < v.len && memchr(DELIMITERS, v.ptr[i], sizeof(DELIMITERS) - 1) != NULL) {
		m->delimiters.len++;
		i++;
	}
	m->len = i + 1;
	return i < v.len && v.ptr[i] == '}';
}

/* Walks v; *last is where its last macro began and *end where it ended, both 0 without any. */
static bool walk(struct view v, bool explanation, size_t *last, size_t *end)
{
	struct macro m;

	*last = *end = 0;
	for (size_t i = 0; i < v.len;) {
		if (v.ptr[i] != '%') {
			unsigned char c = (unsigned char)v.ptr[i];
			if (c < (explanation ? ' ' : '!') || c >= 0x7f)
				return false;
			i++;
			continue;
		}
		if (!parse_macro(policy_behind(v, i), &m) || (!explanation && memchr("crt", m.letter, 3) != NULL))
			return false;
		*last = i;
		*end = i += m.len;
	}
	return true;
}

bool spf_macro_ok(struct view v, bool explanation)
{
	size_t last, end;

	return walk(v, explanation, &last, &end);
}

/* Letters, digits and inner hyphens, not digits alone. */
static bool is_top_label(struct view v)
{
	bool other = false;

	if (v.len == 0 || v.ptr[0] == '-' || v.ptr[v.len - 1] == '-')
		return false;
	for (size_t i = 0; i < v.len; i++) {
		if (!isalnum((unsigned char)v.ptr[i]) && v.ptr[i] != '-')
			return false;
		other = other || !isdigit((unsigned char)v.ptr[i]);
	}
	return other;
}

bool spf_macro_domain_ok(struct view v)
{
	size_t last, end;

	if (v.len == 0 || !walk(v, false, &last, &end))
		return false;
	if (end == v.len)
		return true;
	struct view tail = policy_behind(v, end);
	if (tail.ptr[tail.len - 1] == '.')
		tail.len--;
	const char *dot = tail.len > 0 ? memrchr(tail.ptr, '.', tail.len) : NULL;
	return dot != NULL && is_top_label(policy_behind(tail, (size_t)(dot - tail.ptr) + 1));
}

bool spf_macro_uses(struct view v, char letter)
{
	struct macro m;

	for (size_t i = 0; i < v.len; i++) {
		if (v.ptr[i] != '%' || !parse_macro(policy_behind(v, i), &m))
			continue;
		if (m.letter == letter)
			return true;
		i += m.len - 1;
	}
	return false;
}

static const char *text_of(const char *s)
{
	return s != NULL ? s : "";
}

/* %{i}: dotted as %{c} for IPv4, nibbles with dots for IPv6. */
static void put_nibbles(const struct policy_address *a, struct buf *out)
{
	for (size_t i = 0; i < 16; i++)
		buf_printf(out, "%s%X.%X", i > 0 ? "." : "", a->bytes[i] >> 4, a->bytes[i] & 15u);
}

static void put_value(char letter, const struct spf_facts *f, struct buf *out)
{
	char text[INET6_ADDRSTRLEN];

	switch (letter) {
	case 's':
		buf_printf(out, "%s@%s", text_of(f->local), text_of(f->sender_domain));
		break;
	case 'l':
		buf_puts(out, text_of(f->local));
		break;
	case 'o':
		buf_puts(out, text_of(f->sender_domain));
		break;
	case 'd':
		buf_puts(out, text_of(f->domain));
		break;
	case 'p':
		buf_puts(out, f->validated != NULL ? f->validated : "unknown");
		break;
	case 'h':
		buf_puts(out, text_of(f->helo));
		break;
	case 'r':
		buf_puts(out, f->host != NULL && f->host[0] != '\0' ? f->host : "unknown");
		break;
	case 't':
		buf_printf(out, "%" PRId64, f->now);
		break;
	case 'v':
		buf_puts(out, f->peer.family == AF_INET ? "in-addr" : "ip6");
		break;
	default: /* i, c */
		if (letter == 'i' && f->peer.family == AF_INET6)
			put_nibbles(&f->peer, out);
		else
			buf_puts(out, text_of(inet_ntop(f->peer.family, f->peer.bytes, text, sizeof(text))));
		break;
	}
}

static void put_escaped(struct view v, struct buf *out)
{
	for (size_t i = 0; i < v.len; i++) {
		unsigned char c = (unsigned char)v.ptr[i];
		if (c < 0x80 && (isalnum(c) || memchr("-._~", c, 4) != NULL))
			buf_addc(out, (char)c);
		else
			buf_printf(out, "%%%02X", c);
	}
}

/* Splits value, and puts the parts that m keeps with dots between them. */
static void put_parts(const struct macro *m, struct view value, struct buf *out)
{
	struct view delimiters = m->delimiters.len > 0 ? m->delimiters : VIEW_LIT("."), parts[PARTS_MAX];
	size_t count = 0, end = value.len;

	/* From the right, which is the end that counts. */
	for (size_t i = value.len; count < PARTS_MAX - 1 && i-- > 0;) {
		if (memchr(delimiters.ptr, value.ptr[i], delimiters.len) == NULL)
			continue;
		parts[count++] = (struct view){ value.ptr + i + 1, end - i - 1 };
		end = i;
	}
	parts[count++] = (struct view){ value.ptr, end };
	size_t keep = m->keep > 0 && m->keep < count ? m->keep : count;
	for (size_t i = 0; i < keep; i++) {
		/* parts[0] is the rightmost; reversed, the leftmost of the value are at the right. */
		size_t at = m->reverse ? count - keep + i : keep - 1 - i;
		if (i > 0)
			buf_addc(out, '.');
		buf_addv(out, parts[at]);
	}
}

static void expand_macro(const struct macro *m, const struct spf_facts *f, struct buf *out)
{
	struct buf value = BUF_INIT(EXPANDED_MAX), parts = BUF_INIT(EXPANDED_MAX);

	put_value(m->letter, f, &value);
	if (m->keep > 0 || m->reverse || m->delimiters.len > 0)
		put_parts(m, buf_view(&value), &parts);
	struct view v = buf_view(m->keep > 0 || m->reverse || m->delimiters.len > 0 ? &parts : &value);
	if (m->url)
		put_escaped(v, out);
	else
		buf_addv(out, v);
	buf_free(&value);
	buf_free(&parts);
}

void spf_macro_expand(struct view v, const struct spf_facts *f, struct buf *out)
{
	struct macro m;

	for (size_t i = 0; i < v.len && !out->full;) {
		if (v.ptr[i] != '%' || !parse_macro(policy_behind(v, i), &m)) {
			buf_addc(out, v.ptr[i++]);
			continue;
		}
		i += m.len;
		if (m.letter == '%')
			buf_addc(out, '%');
		else if (m.letter == '_')
			buf_addc(out, ' ');
		else if (m.letter == '-')
			buf_puts(out, "%20");
		else
			expand_macro(&m, f, out);
	}
}

int spf_macro_name(struct view v, const struct spf_facts *f, char name[256])
{
	struct buf out = BUF_INIT(EXPANDED_MAX);

	name[0] = '\0';
	spf_macro_expand(v, f, &out);
	struct view whole = buf_view(&out);
	if (whole.len > 0 && whole.ptr[whole.len - 1] == '.')
		whole.len--;
	while (whole.len > POLICY_NAME_MAX) {
		const char *dot = memchr(whole.ptr, '.', whole.len);
		if (dot == NULL)
			break;
		whole = policy_behind(whole, (size_t)(dot - whole.ptr) + 1);
	}
	bool ascii = !out.full;
	for (size_t i = 0; i < whole.len; i++)
		ascii = ascii && (unsigned char)whole.ptr[i] < 0x80; /* RFC 8616 4: such a local part matches nothing */
	int rc = ascii ? view_copy(whole, name, 256) : -1;
	if (rc == 0 && !policy_name_ok(name)) {
		name[0] = '\0';
		rc = -1;
	}
	buf_free(&out);
	return rc;
}
