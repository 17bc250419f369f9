/*
 * Reads the arguments of MAIL and RCPT: keyword, path in angle brackets, parameters.  The closing bracket is found with
 * quoted strings respected, so that "<\"a>b\"@c>" is one path.  A source route (RFC 5321 appendix C) is taken off and
 * otherwise ignored: what remains is judged as any other address, so a route never relays.
 *
 * One lenience: spaces between the colon and the bracket, which old but honest clients send.
 */
#include "mailsvc/smtp/path.h"

#include <string.h>
#include <strings.h>

#include "lib/xtext.h"

struct reader {
	const char *p;
	size_t left;
};

static void skip(struct reader *r, size_t n)
{
	r->p += n;
	r->left -= n;
}

static bool take_char(struct reader *r, char c)
{
	if (r->left == 0 || *r->p != c)
		return false;
	skip(r, 1);
	return true;
}

static bool take_word(struct reader *r, const char *word)
{
	size_t n = strlen(word);

	if (r->left < n || strncasecmp(r->p, word, n) != 0)
		return false;
	skip(r, n);
	return true;
}

/* Everything up to the '>' that is not inside a quoted string; false when there is none. */
static bool take_bracketed(struct reader *r, struct view *out)
{
	bool quoted = false;

	if (!take_char(r, '<'))
		return false;
	for (size_t i = 0; i < r->left; i++) {
		char c = r->p[i];

		if (quoted && c == '\\')
			i++;
		else if (c == '"')
			quoted = !quoted;
		else if (!quoted && c == '<')
			return false;
		else if (!quoted && c == '>') {
			*out = (struct view){ r->p, i };
			skip(r, i + 1);
			return true;
		}
	}
	return false;
}

/* A-d-l: "@" Domain *( "," "@" Domain ) ":".  Takes it off v; false when it is malformed. */
static bool strip_route(struct view *v)
{
	const char *colon;
	size_t i = 0, end;

	if (v->len == 0 || v->ptr[0] != '@')
		return true;
	colon = memchr(v->ptr, ':', v->len);
	if (colon == NULL)
		return false;
	end = (size_t)(colon - v->ptr);
	while (i < end) {
		size_t start;

		if (v->ptr[i++] != '@')
			return false;
		start = i;
		while (i < end && v->ptr[i] != ',') {
			unsigned char c = (unsigned char)v->ptr[i++];

			if (c <= ' ' || c == 0x7f || strchr("@<>\"()\\;[]", c) != NULL)
				return false;
		}
		if (i == start)
			return false;
		if (i < end && ++i == end) /* a comma needs another domain */
			return false;
	}
	v->ptr += end + 1;
	v->len -= end + 1;
	return true;
}

/* A local part alone: borrow the mailbox grammar by lending it a domain. */
static bool unqualified_ok(struct view v, struct address *out)
{
	static const char lent[] = "@localhost";
	char text[ADDRESS_MAX];
	struct address whole;

	if (v.len == 0 || v.len > 64 || memchr(v.ptr, '@', v.len) != NULL)
		return false;
	memcpy(text, v.ptr, v.len);
	memcpy(text + v.len, lent, sizeof(lent) - 1);
	if (address_parse((struct view){ text, v.len + sizeof(lent) - 1 }, &whole) == -1 || whole.local.len != v.len)
		return false;
	*out = (struct address){ v, { v.ptr + v.len, 0 }, whole.utf8, false };
	return true;
}

static enum smtp_path_status read_path(struct reader *r, const char *keyword, struct smtp_path *out)
{
	*out = (struct smtp_path){ 0 };
	if (!take_word(r, keyword))
		return SMTP_PATH_SYNTAX;
	while (take_char(r, ' '))
		;
	if (!take_bracketed(r, &out->mailbox))
		return SMTP_PATH_SYNTAX;
	if (r->left > 0 && *r->p != ' ')
		return SMTP_PATH_SYNTAX;
	if (out->mailbox.len == 0) {
		out->null = true;
		return SMTP_PATH_OK;
	}
	out->routed = out->mailbox.ptr[0] == '@';
	if (!strip_route(&out->mailbox))
		return SMTP_PATH_ADDRESS;
	if (out->mailbox.len >= ADDRESS_MAX)
		return SMTP_PATH_ADDRESS;
	if (address_parse(out->mailbox, &out->address) == 0)
		return SMTP_PATH_OK;
	out->unqualified = true;
	return unqualified_ok(out->mailbox, &out->address) ? SMTP_PATH_OK : SMTP_PATH_ADDRESS;
}

struct param {
	struct view keyword, value;
	bool has_value;
};

static bool keyword_char(unsigned char c, bool first)
{
	return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || (c == '-' && !first);
}

/* 1: a parameter was read; 0: the end; -1: malformed. */
static int next_param(struct reader *r, struct param *out)
{
	size_t n = 0;

	while (take_char(r, ' '))
		;
	if (r->left == 0)
		return 0;
	while (n < r->left && keyword_char((unsigned char)r->p[n], n == 0))
		n++;
	if (n == 0)
		return -1;
	*out = (struct param){ { r->p, n }, VIEW_NONE, false };
	skip(r, n);
	if (!take_char(r, '='))
		return r->left == 0 || *r->p == ' ' ? 1 : -1;
	out->has_value = true;
	for (n = 0; n < r->left && r->p[n] != ' '; n++) {
		unsigned char c = (unsigned char)r->p[n];

		if (c < 33 || c == '=' || c == 127)
			return -1;
	}
	out->value = (struct view){ r->p, n };
	skip(r, n);
	return n == 0 ? -1 : 1;
}

/* DSN (RFC 3461) -------------------------------------------------------------------------------------------------- */

/* xtext of bytes from the blank to `last` that are no DEL: what it stands for goes into a notification's header. */
static bool is_xtext(struct view v, unsigned char last)
{
	struct buf text = BUF_INIT(DSN_ORCPT_MAX);
	bool good = v.len > 0 && xtext_decode(&text, v) == 0;

	for (size_t i = 0; i < text.len && good; i++)
		good = (unsigned char)text.data[i] >= ' ' && (unsigned char)text.data[i] <= last && text.data[i] != 0x7f;
	buf_free(&text);
	return good;
}

/* RFC 6533 3: UTF-8 as it is, \x{HEX} for what may not be, and old xtext.  Bytes that no line may hold never come here.
 */
static bool is_utf8_address(struct view v)
{
	for (size_t i = 0; i < v.len; i++)
		if ((unsigned char)v.ptr[i] <= ' ' || v.ptr[i] == 0x7f)
			return false;
	return v.len > 0;
}

/*
 * Is it one?  *kept: it can be said again.  Postfix encodes UTF-8 as rfc822 xtext, which no notification could show: such
 * a one is taken and forgotten rather than the mail refused.
 */
static bool is_orcpt(struct view v, bool *kept)
{
	const char *semicolon = v.len > 0 ? memchr(v.ptr, ';', v.len) : NULL;
	struct view type, rest;

	if (semicolon == NULL || v.len > DSN_ORCPT_MAX)
		return false;
	type = (struct view){ v.ptr, (size_t)(semicolon - v.ptr) };
	rest = (struct view){ semicolon + 1, v.len - type.len - 1 };
	for (size_t i = 0; i < type.len; i++)
		if (!keyword_char((unsigned char)type.ptr[i], false))
			return false;
	if (type.len == 0)
		return false;
	if (view_caseeq(type, "utf-8"))
		return *kept = is_utf8_address(rest);
	*kept = is_xtext(rest, '~');
	return *kept || is_xtext(rest, 0xff);
}

/* NEVER, or some of the others, each once; 0: malformed. */
static unsigned notify_bits(struct view v)
{
	static const struct {
		const char *word;
		unsigned bit;
	} words[] = { { "NEVER", DSN_NEVER }, { "SUCCESS", DSN_SUCCESS }, { "FAILURE", DSN_FAILURE },
		{ "DELAY", DSN_DELAY } };
	unsigned bits = 0;

	for (;;) {
		const char *comma = v.len > 0 ? memchr(v.ptr, ',', v.len) : NULL;
		struct view word = { v.ptr, comma != NULL ? (size_t)(comma - v.ptr) : v.len };
		unsigned bit = 0;

		for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
			if (view_caseeq(word, words[i].word))
				bit = words[i].bit;
		if (bit == 0 || (bits & bit) != 0)
			return 0;
		bits |= bit;
		if (comma == NULL)
			break;
		v = (struct view){ comma + 1, v.len - word.len - 1 };
	}
	return (bits & DSN_NEVER) != 0 && bits != DSN_NEVER ? 0 : bits;
}

enum { SEEN_SIZE = 1, SEEN_BODY = 2, SEEN_UTF8 = 4, SEEN_AUTH = 8, SEEN_RET = 16, SEEN_ENVID = 32 };

static enum smtp_path_status mail_param(const struct param *p, struct smtp_path *out, unsigned *seen)
{
	unsigned bit;

	if (view_caseeq(p->keyword, "SIZE")) {
		bit = SEEN_SIZE;
		out->has_size = true;
		if (p->value.len > 20 || view_u64(p->value, UINT64_MAX, &out->size) == -1)
			return SMTP_PATH_PARAM_BAD;
	} else if (view_caseeq(p->keyword, "BODY")) {
		bit = SEEN_BODY;
		if (view_caseeq(p->value, "8BITMIME"))
			out->body = SMTP_BODY_8BITMIME;
		else if (!view_caseeq(p->value, "7BIT"))
			return SMTP_PATH_PARAM_BAD;
	} else if (view_caseeq(p->keyword, "SMTPUTF8")) {
		bit = SEEN_UTF8;
		out->smtputf8 = true;
		if (p->has_value)
			return SMTP_PATH_PARAM_BAD;
	} else if (view_caseeq(p->keyword, "AUTH")) { /* RFC 4954 5: taken and, as nobody is trusted so far, ignored */
		bit = SEEN_AUTH;
		if (!p->has_value)
			return SMTP_PATH_PARAM_BAD;
	} else if (view_caseeq(p->keyword, "RET")) {
		bit = SEEN_RET;
		out->ret = view_caseeq(p->value, "FULL")   ? DSN_RET_FULL
		           : view_caseeq(p->value, "HDRS") ? DSN_RET_HDRS
		                                           : DSN_RET_UNSAID;
		if (out->ret == DSN_RET_UNSAID)
			return SMTP_PATH_PARAM_BAD;
	} else if (view_caseeq(p->keyword, "ENVID")) {
		bit = SEEN_ENVID;
		out->envid = p->value;
		if (p->value.len > DSN_ENVID_MAX || !is_xtext(p->value, '~'))
			return SMTP_PATH_PARAM_BAD;
	} else {
		return SMTP_PATH_PARAM_UNKNOWN;
	}
	if (*seen & bit)
		return SMTP_PATH_PARAM_BAD;
	*seen |= bit;
	out->dsn |= (bit & (SEEN_RET | SEEN_ENVID)) != 0;
	return SMTP_PATH_OK;
}

enum smtp_path_status smtp_path_mail(struct view args, struct smtp_path *out)
{
	struct reader r = { args.ptr, args.len };
	enum smtp_path_status status = read_path(&r, "FROM:", out);
	struct param param;
	unsigned seen = 0;
	int n = 0;

	while (status == SMTP_PATH_OK && (n = next_param(&r, &param)) == 1)
		status = mail_param(&param, out, &seen);
	return status == SMTP_PATH_OK && n == -1 ? SMTP_PATH_PARAM_BAD : status;
}

static enum smtp_path_status rcpt_param(const struct param *p, struct smtp_path *out)
{
	bool kept;

	out->dsn = true;
	if (view_caseeq(p->keyword, "NOTIFY")) {
		if (out->notify != 0 || (out->notify = notify_bits(p->value)) == 0)
			return SMTP_PATH_PARAM_BAD;
		return SMTP_PATH_OK;
	}
	if (view_caseeq(p->keyword, "ORCPT")) {
		if (out->orcpt.len > 0 || !is_orcpt(p->value, &kept))
			return SMTP_PATH_PARAM_BAD;
		out->orcpt = kept ? p->value : VIEW_NONE;
		return SMTP_PATH_OK;
	}
	return SMTP_PATH_PARAM_UNKNOWN;
}

enum smtp_path_status smtp_path_rcpt(struct view args, struct smtp_path *out)
{
	struct reader r = { args.ptr, args.len };
	enum smtp_path_status status = read_path(&r, "TO:", out);
	struct param param;
	int n = 0;

	if (status == SMTP_PATH_OK && out->null)
		return SMTP_PATH_ADDRESS;
	while (status == SMTP_PATH_OK && (n = next_param(&r, &param)) == 1)
		status = rcpt_param(&param, out);
	return status == SMTP_PATH_OK && n == -1 ? SMTP_PATH_PARAM_BAD : status;
}
