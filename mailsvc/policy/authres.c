/*
 * authres.h.  A result stands on a line of its own, and is folded between its properties.  A result that would not fit
 * into AUTHRES_MAX is left out, with those behind it: auth, iprev, SPF and DMARC come before DKIM, of which there may
 * be many.
 */
#include "mailsvc/policy/authres.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdio.h>
#include <strings.h>
#include <utf8proc.h>

#include "mailsvc/mime/mime.h"
#include "mailsvc/policy/arc.h"
#include "mailsvc/policy/dkim_verify.h"
#include "mailsvc/policy/dmarc.h"
#include "mailsvc/policy/iprev.h"
#include "mailsvc/policy/name.h"

#define COLUMN_MAX 78
#define VALUE_MAX 512 /* bytes of a value that are shown */
#define TSPECIALS "()<>@,;:\\\"/[]?="

/* Writing ----------------------------------------------------------------------------------------------------- */

/* The field as it grows; at: the column, about. */
struct writer {
	struct buf text;
	size_t at;
	size_t results;
};

static void put_piece(struct writer *w, struct view piece)
{
	if (w->at + 1 + piece.len > COLUMN_MAX) {
		buf_puts(&w->text, "\r\n\t  ");
		w->at = 10;
	} else {
		buf_addc(&w->text, ' ');
		w->at++;
	}
	buf_addv(&w->text, piece);
	w->at += piece.len;
}

/* A result begins: what was written so far is whole. */
static void put_method(struct writer *w, const char *method, const char *result)
{
	buf_printf(&w->text, "%s\r\n\t%s=%s", w->results++ > 0 ? ";" : "", method, result);
	w->at = 8 + strlen(method) + 1 + strlen(result);
}

static bool is_token(struct view v)
{
	for (size_t i = 0; i < v.len; i++)
		if (v.ptr[i] <= ' ' || v.ptr[i] >= 0x7f || memchr(TSPECIALS, v.ptr[i], sizeof(TSPECIALS) - 1) != NULL)
			return false;
	return v.len > 0;
}

static bool is_atext(char c)
{
	return isalnum((unsigned char)c) || (c != '\0' && strchr("!#$%&'*+-/=?^_`{|}~.", c) != NULL);
}

/* "local@domain" or "@domain" that needs no quotes. */
static bool is_address(struct view v)
{
	const char *at = v.len > 0 ? memrchr(v.ptr, '@', v.len) : NULL;

	if (at == NULL || !is_token((struct view){ at + 1, v.len - (size_t)(at - v.ptr) - 1 }))
		return false;
	for (const char *p = v.ptr; p < at; p++)
		if (!is_atext(*p))
			return false;
	return true;
}

/* In quotes: UTF-8 as it is, control bytes and what is no UTF-8 as '?'. */
static void put_quoted(struct buf *out, struct view v)
{
	buf_addc(out, '"');
	while (v.len > 0) {
		utf8proc_int32_t point;
		utf8proc_ssize_t n = utf8proc_iterate((const utf8proc_uint8_t *)v.ptr, (utf8proc_ssize_t)v.len, &point);
		if (n <= 0 || point < ' ' || (point >= 0x7f && point < 0xa0)) {
			buf_addc(out, '?');
			n = n <= 0 ? 1 : n;
		} else {
			if (point == '"' || point == '\\')
				buf_addc(out, '\\');
			buf_add(out, v.ptr, (size_t)n);
		}
		v = (struct view){ v.ptr + n, v.len - (size_t)n };
	}
	buf_addc(out, '"');
}

static void put_property(struct writer *w, const char *name, const char *value)
{
	struct buf piece = BUF_INIT(4 * VALUE_MAX);
	struct view v = view_of(value);

	if (v.len == 0)
		return;
	v.len = v.len < VALUE_MAX ? v.len : VALUE_MAX;
	buf_printf(&piece, "%s=", name);
	if (is_token(v) || is_address(v))
		buf_addv(&piece, v);
	else
		put_quoted(&piece, v);
	put_piece(w, buf_view(&piece));
	buf_free(&piece);
}

static void put_comment(struct writer *w, const char *text)
{
	struct buf piece = BUF_INIT(4 * VALUE_MAX);

	if (text[0] == '\0')
		return;
	buf_addc(&piece, '(');
	for (size_t i = 0; text[i] != '\0' && i < VALUE_MAX; i++) {
		if (strchr("()\\", text[i]) != NULL)
			buf_addc(&piece, '\\');
		buf_addc(&piece, text[i] < ' ' || text[i] >= 0x7f ? '?' : text[i]);
	}
	buf_addc(&piece, ')');
	put_piece(w, buf_view(&piece));
	buf_free(&piece);
}

static void put_address(struct writer *w, const char *name, const struct sockaddr *sa)
{
	struct policy_address a;
	char text[INET6_ADDRSTRLEN];

	if (policy_address(sa, &a) == 0 && inet_ntop(a.family, a.bytes, text, sizeof(text)) != NULL)
		put_property(w, name, text);
}

/* Methods ----------------------------------------------------------------------------------------------------- */

static void put_spf(struct writer *w, const struct spf_verdict *v, const char *mail_from)
{
	bool error = v->result == SPF_TEMPERROR || v->result == SPF_PERMERROR;

	put_method(w, "spf", spf_result_name(v->result));
	put_property(w, "reason", error ? v->problem : "");
	if (v->helo)
		put_property(w, "smtp.helo", v->domain);
	else
		put_property(w, "smtp.mailfrom", mail_from != NULL && mail_from[0] ? mail_from : v->domain);
}

static void put_dmarc(struct writer *w, const struct dmarc_verdict *v, const char *from)
{
	bool error = v->result == DMARC_TEMPERROR || v->result == DMARC_PERMERROR;

	put_method(w, "dmarc", dmarc_result_name(v->result));
	put_property(w, "reason", error ? v->reason : "");
	put_property(w, "header.from", from);
	if (v->domain[0] != '\0')
		put_property(w, "policy.dmarc", dmarc_policy_name(dmarc_wish(v)));
}

static void put_dkim(struct writer *w, const struct dkim_result *r)
{
	put_method(w, "dkim", dkim_verdict_name(r->verdict));
	put_property(w, "reason", r->verdict != DKIM_PASS ? r->reason : "");
	put_property(w, "header.d", r->domain);
	put_property(w, "header.s", r->selector);
	put_property(w, "header.i", r->identity);
	put_property(w, "header.a", r->algorithm);
	put_property(w, "header.b", r->b);
	put_comment(w, r->testing ? "the key is being tested" : "");
}

static void put_arc(struct writer *w, const struct arc_verdict *v, const struct sockaddr *peer)
{
	char instance[16];

	put_method(w, "arc", arc_result_name(v->result));
	put_property(w, "reason", v->result == ARC_FAIL ? v->reason : "");
	if (v->result == ARC_NONE)
		return;
	put_address(w, "smtp.remote-ip", peer);
	snprintf(instance, sizeof(instance), "%u", v->oldest_pass);
	if (v->result == ARC_PASS)
		put_property(w, "header.oldest-pass", instance);
}

/* The result behind before is whole, or taken back: then nothing comes behind it. */
static bool fits(struct writer *w, size_t *before)
{
	if (w->text.full || w->text.len > AUTHRES_MAX) {
		w->text.len = *before;
		w->text.full = true;
		return false;
	}
	*before = w->text.len;
	return true;
}

static void put_single(struct writer *w, const struct authres *r, size_t *before)
{
	if (r->auth_user != NULL && r->auth_user[0] != '\0') {
		put_method(w, "auth", "pass");
		put_property(w, "smtp.auth", r->auth_user);
		fits(w, before);
	}
	if (r->iprev != NULL) {
		put_method(w, "iprev", iprev_result_name(r->iprev->result));
		put_address(w, "policy.iprev", r->peer);
		put_comment(w, r->iprev->name);
		fits(w, before);
	}
	if (r->spf_helo != NULL) {
		put_spf(w, r->spf_helo, NULL);
		fits(w, before);
	}
	if (r->spf != NULL) {
		put_spf(w, r->spf, r->mail_from);
		fits(w, before);
	}
	if (r->dmarc != NULL) {
		put_dmarc(w, r->dmarc, r->header_from);
		fits(w, before);
	}
	if (r->arc != NULL) {
		put_arc(w, r->arc, r->peer);
		fits(w, before);
	}
}

int authres_put_results(struct buf *text, const struct authres *r)
{
	struct writer w = { .text = BUF_INIT(2 * AUTHRES_MAX) };
	size_t before = 0;

	put_single(&w, r, &before);
	for (size_t i = 0; i < r->dkim_count && !w.text.full; i++) {
		put_dkim(&w, &r->dkim[i]);
		fits(&w, &before);
	}
	if (r->dkim_done && r->dkim_count == 0) {
		put_method(&w, "dkim", "none");
		fits(&w, &before);
	}
	if (before == 0)
		buf_puts(text, " none");
	else
		buf_add(text, w.text.data, before);
	buf_free(&w.text);
	return text->full ? -1 : 0;
}

int authres_put(struct buf *field, const char *host, const struct authres *r)
{
	buf_printf(field, "Authentication-Results: %s;", host);
	authres_put_results(field, r);
	return buf_puts(field, "\r\n");
}

/* Reading ----------------------------------------------------------------------------------------------------- */

/* White space and comments; false when a comment has no end. */
static bool skip_cfws(struct view *v)
{
	unsigned depth = 0;

	for (; v->len > 0; *v = policy_behind(*v, 1)) {
		char c = v->ptr[0];
		if (depth > 0 && c == '\\' && v->len > 1)
			*v = policy_behind(*v, 1);
		else if (c == '(')
			depth++;
		else if (c == ')' && depth > 0)
			depth--;
		else if (depth == 0 && c != ' ' && c != '\t' && c != '\r' && c != '\n')
			break;
	}
	return depth == 0;
}

/* At a quote: its text; false when it has no end. */
static bool skip_quoted(struct view *v, struct buf *text)
{
	for (*v = policy_behind(*v, 1); v->len > 0; *v = policy_behind(*v, 1)) {
		if (v->ptr[0] == '"') {
			*v = policy_behind(*v, 1);
			return true;
		}
		if (v->ptr[0] == '\\' && v->len > 1)
			*v = policy_behind(*v, 1);
		if (v->ptr[0] != '\r' && v->ptr[0] != '\n')
			buf_addc(text, v->ptr[0]);
	}
	return false;
}

/* Takes a token or a quoted string off v: its text; -1 when there is none. */
static int take_value(struct view *v, struct buf *text)
{
	if (v->len == 0 || v->ptr[0] != '"') {
		size_t n = 0;
		while (n < v->len && (unsigned char)v->ptr[n] > ' ' && v->ptr[n] != 0x7f &&
		       memchr(TSPECIALS, v->ptr[n], sizeof(TSPECIALS) - 1) == NULL)
			n++;
		buf_add(text, v->ptr, n);
		*v = policy_behind(*v, n);
		return n > 0 ? 0 : -1;
	}
	return skip_quoted(v, text) && text->len > 0 ? 0 : -1;
}

enum owner { OWNER_HOST, OWNER_OTHER, OWNER_UNCLEAR };

/* Whose is the field whose value v is? */
static enum owner owner_of(struct view v, const char *host)
{
	struct buf text = BUF_INIT(VALUE_MAX);
	char id[256];
	enum owner owner = OWNER_UNCLEAR;

	if (skip_cfws(&v) && take_value(&v, &text) == 0 && skip_cfws(&v) && !text.full &&
	    policy_domain(buf_view(&text), id) == 0) {
		while (v.len > 0 && isdigit((unsigned char)v.ptr[0])) /* its version */
			v = policy_behind(v, 1);
		if (skip_cfws(&v) && (v.len == 0 || v.ptr[0] == ';'))
			owner = strcasecmp(id, host) == 0 ? OWNER_HOST : OWNER_OTHER;
	}
	buf_free(&text);
	return owner;
}

size_t authres_strip(struct view header, const char *host, void (*fn)(void *arg, size_t start, size_t len), void *arg)
{
	struct mime_header h;
	size_t pos = 0, count = 0;

	while (mime_header_next(header, &pos, &h)) {
		if (!view_caseeq(h.name, "Authentication-Results") || owner_of(h.value, host) == OWNER_OTHER)
			continue;
		fn(arg, (size_t)(h.field.ptr - header.ptr), h.field.len);
		count++;
	}
	return count;
}

struct view authres_own(struct view header, const char *host)
{
	struct mime_header h;
	size_t pos = 0;

	while (mime_header_next(header, &pos, &h) && !view_caseeq(h.name, "Received"))
		if (view_caseeq(h.name, "Authentication-Results") && owner_of(h.value, host) == OWNER_HOST)
			return h.value;
	return VIEW_NONE;
}

/* Goes to the next ';' outside of quotes and comments; false when one of them has no end. */
static bool skip_result(struct view *v)
{
	struct buf ignored = BUF_INIT(0);
	bool ok = true;

	while (ok && v->len > 0 && v->ptr[0] != ';') {
		if (v->ptr[0] == '(')
			ok = skip_cfws(v);
		else if (v->ptr[0] == '"')
			ok = skip_quoted(v, &ignored);
		else
			*v = policy_behind(*v, 1);
	}
	return ok;
}

/* at is at a result: "dmarc/1 = pass ..."; its word when it is of method, and then at is behind that. */
static enum authres_word result_word(struct view *at, const char *method)
{
	struct buf name = BUF_INIT(VALUE_MAX), word = BUF_INIT(VALUE_MAX);
	enum authres_word says = AUTHRES_ABSENT;
	struct view v = *at;

	if (skip_cfws(&v) && take_value(&v, &name) == 0 && view_caseeq(buf_view(&name), method)) {
		says = AUTHRES_OTHER;
		while (skip_cfws(&v) && v.len > 0 && (v.ptr[0] == '/' || isdigit((unsigned char)v.ptr[0])))
			v = policy_behind(v, 1);
		if (v.len > 0 && v.ptr[0] == '=') {
			v = policy_behind(v, 1);
			if (skip_cfws(&v) && take_value(&v, &word) == 0 && view_caseeq(buf_view(&word), "pass"))
				says = AUTHRES_PASS;
		}
		*at = v;
	}
	buf_free(&name);
	buf_free(&word);
	return says;
}

enum authres_word authres_says(struct view text, const char *method)
{
	enum authres_word says = AUTHRES_ABSENT, word;

	while (skip_result(&text)) {
		if (text.len == 0)
			return says;
		text = policy_behind(text, 1); /* the id, or a result, is behind us */
		struct view at = text;
		word = result_word(&at, method);
		says = word > says ? word : says;
	}
	return AUTHRES_OTHER;
}

/* Takes "name=value" off v; what is neither quoted nor blank belongs to the value, as "@" in an address. */
static bool take_property(struct view *v, struct buf *name, struct buf *value)
{
	if (take_value(v, name) == -1 || !skip_cfws(v) || v->len == 0 || v->ptr[0] != '=')
		return false;
	*v = policy_behind(*v, 1);
	if (!skip_cfws(v))
		return false;
	if (v->len > 0 && v->ptr[0] == '"')
		return skip_quoted(v, value);
	while (v->len > 0 && (unsigned char)v->ptr[0] > ' ' && v->ptr[0] != ';' && v->ptr[0] != '(') {
		buf_addc(value, v->ptr[0]);
		*v = policy_behind(*v, 1);
	}
	return value->len > 0;
}

void authres_passed(
    struct view text, const char *method, const char *property, void (*fn)(void *arg, struct view value), void *arg)
{
	while (skip_result(&text) && text.len > 0) {
		text = policy_behind(text, 1);
		struct view v = text;
		bool more = result_word(&v, method) == AUTHRES_PASS;
		while (more && skip_cfws(&v) && v.len > 0 && v.ptr[0] != ';') {
			struct buf name = BUF_INIT(VALUE_MAX), value = BUF_INIT(VALUE_MAX);
			more = take_property(&v, &name, &value);
			if (more && view_caseeq(buf_view(&name), property) && !value.full)
				fn(arg, buf_view(&value));
			buf_free(&name);
			buf_free(&value);
		}
	}
}
