/*
 * ENVELOPE and BODYSTRUCTURE as IMAP says them (RFC 3501 7.4.2, RFC 9051 7.5.2).
 *
 * Strings are quoted when they are short and 7-bit without CR and LF, else literals; a NUL, which no IMAP string may
 * hold, becomes "?".  Header text is sent undecoded, and parameters in their RFC 2231 form, as the RFCs want it.  Names
 * of types, encodings and parameters are in upper case, as in the RFC's examples: some clients compare so.  An address
 * without a domain has "" as its host, since NIL would make it a group.
 *
 * Limits: a string 32 KiB, an address list 96 KiB of IMAP text (what follows is left out), 32 languages.
 */
#include <string.h>

#include "internal.h"

#define STRING_MAX (32 * 1024)
#define ADDRESS_LIST_MAX (96 * 1024)
#define QUOTED_MAX 4096
#define LANGUAGES_MAX 32

void mime_imap_string(struct buf *out, struct view v)
{
	size_t escapes = 0;
	bool quoted = v.len <= QUOTED_MAX;
	char *p;

	for (size_t i = 0; i < v.len; i++) {
		unsigned char c = (unsigned char)v.ptr[i];

		escapes += c == '"' || c == '\\';
		quoted &= c < 0x80 && c != '\r' && c != '\n';
	}
	if (!quoted)
		buf_printf(out, "{%zu}\r\n", v.len);
	p = buf_reserve(out, v.len + escapes + 2);
	if (!p)
		return;
	if (quoted)
		*p++ = '"';
	for (size_t i = 0; i < v.len; i++) {
		if (quoted && (v.ptr[i] == '"' || v.ptr[i] == '\\'))
			*p++ = '\\';
		*p++ = v.ptr[i] ? v.ptr[i] : '?';
	}
	if (quoted)
		*p++ = '"';
	out->len = (size_t)(p - out->data);
}

static void upper_string(struct buf *out, struct view v)
{
	size_t start = out->len;

	mime_imap_string(out, v);
	for (size_t i = start; i < out->len; i++)
		if (out->data[i] >= 'a' && out->data[i] <= 'z')
			out->data[i] = (char)(out->data[i] - 32);
}

/* The value of a field, unfolded; NIL when it is absent. */
static void field_string(struct buf *out, struct view raw)
{
	struct buf flat = BUF_INIT(STRING_MAX);

	if (!raw.ptr) {
		buf_puts(out, "NIL");
		return;
	}
	if (raw.len > STRING_MAX)
		raw.len = STRING_MAX;
	if (raw.len > 0 && !memchr(raw.ptr, '\n', raw.len) && !memchr(raw.ptr, '\r', raw.len)) {
		while (raw.len > 0 && (raw.ptr[0] == ' ' || raw.ptr[0] == '\t'))
			raw = (struct view){ raw.ptr + 1, raw.len - 1 };
		while (raw.len > 0 && (raw.ptr[raw.len - 1] == ' ' || raw.ptr[raw.len - 1] == '\t'))
			raw.len--;
		mime_imap_string(out, raw);
		return;
	}
	mime_unfold(raw, &flat);
	mime_imap_string(out, buf_view(&flat));
	buf_free(&flat);
}

/* ENVELOPE ------------------------------------------------------------------------------------------------- */
struct address_list {
	struct buf *out;
	size_t start;
	bool any;
};

static void nstring(struct buf *out, struct view v)
{
	if (v.len == 0)
		buf_puts(out, "NIL");
	else
		mime_imap_string(out, v);
}

static void add_mailbox(void *arg, const struct mime_mailbox *m)
{
	struct address_list *list = arg;
	struct buf *out = list->out;

	if (out->len - list->start > ADDRESS_LIST_MAX)
		return;
	buf_puts(out, list->any ? "(" : "((");
	list->any = true;
	if (m->group_start) {
		buf_puts(out, "NIL NIL ");
		mime_imap_string(out, m->name);
		buf_puts(out, " NIL)");
		return;
	}
	if (m->group_end) {
		buf_puts(out, "NIL NIL NIL NIL)");
		return;
	}
	nstring(out, m->name);
	buf_addc(out, ' ');
	nstring(out, m->route);
	buf_addc(out, ' ');
	mime_imap_string(out, m->local);
	buf_addc(out, ' ');
	mime_imap_string(out, m->domain);
	buf_addc(out, ')');
}

/* True when there was an address. */
static bool address_list(struct buf *out, struct view raw)
{
	struct address_list list = { out, out->len, false };

	mime_addresses(raw, add_mailbox, &list);
	buf_puts(out, list.any ? ")" : "NIL");
	return list.any;
}

void mime_envelope(struct buf *out, const struct mime_fields *f)
{
	static const enum mime_field defaulted[] = { FIELD_SENDER, FIELD_REPLY_TO },
				     others[] = { FIELD_TO, FIELD_CC, FIELD_BCC };
	size_t from, from_len;

	buf_addc(out, '(');
	field_string(out, f->value[FIELD_DATE]);
	buf_addc(out, ' ');
	field_string(out, f->value[FIELD_SUBJECT]);
	buf_addc(out, ' ');
	from = out->len;
	address_list(out, f->value[FIELD_FROM]);
	from_len = out->len - from;
	for (size_t i = 0; i < 2; i++) {
		size_t start;

		buf_addc(out, ' ');
		start = out->len;
		if (!address_list(out, f->value[defaulted[i]]) && buf_reserve(out, from_len) && out->len >= start + 3) {
			out->len = start; /* instead of NIL */
			buf_add(out, out->data + from, from_len);
		}
	}
	for (size_t i = 0; i < 3; i++) {
		buf_addc(out, ' ');
		address_list(out, f->value[others[i]]);
	}
	buf_addc(out, ' ');
	field_string(out, f->value[FIELD_IN_REPLY_TO]);
	buf_addc(out, ' ');
	field_string(out, f->value[FIELD_MESSAGE_ID]);
	buf_addc(out, ')');
}

/* BODYSTRUCTURE -------------------------------------------------------------------------------------------- */
static void params_list(struct buf *out, struct mime_params *params)
{
	bool any = false;

	while (mime_params_next(params)) {
		buf_puts(out, any ? " " : "(");
		any = true;
		upper_string(out, params->name);
		buf_addc(out, ' ');
		mime_imap_string(out, params->value);
	}
	buf_puts(out, any ? ")" : "NIL");
}

static void disposition(struct buf *out, struct view raw)
{
	struct mime_params params;
	struct view type = mime_token_read(raw, &params);

	if (type.len == 0) {
		buf_puts(out, "NIL");
		return;
	}
	buf_addc(out, '(');
	upper_string(out, type);
	buf_addc(out, ' ');
	params_list(out, &params);
	buf_addc(out, ')');
}

/* One language is a string, several a list (RFC 3282: separated by commas). */
static void languages(struct buf *out, struct view raw)
{
	struct mime_params rest;
	struct view tag[LANGUAGES_MAX];
	size_t count = 0;

	while (raw.len > 0 && count < LANGUAGES_MAX) {
		const char *comma = memchr(raw.ptr, ',', raw.len);
		size_t n = comma ? (size_t)(comma - raw.ptr) : raw.len;

		tag[count] = mime_token_read((struct view){ raw.ptr, n }, &rest);
		count += tag[count].len > 0;
		n += comma != NULL;
		raw = (struct view){ raw.ptr + n, raw.len - n };
	}
	if (count == 0)
		buf_puts(out, "NIL");
	for (size_t i = 0; i < count; i++) {
		buf_puts(out, i > 0 ? " " : count > 1 ? "(" : "");
		mime_imap_string(out, tag[i]);
	}
	if (count > 1)
		buf_addc(out, ')');
}

static void extension(struct buf *out, const struct mime_fields *f)
{
	buf_addc(out, ' ');
	disposition(out, f->value[FIELD_CONTENT_DISPOSITION]);
	buf_addc(out, ' ');
	languages(out, f->value[FIELD_CONTENT_LANGUAGE]);
	buf_addc(out, ' ');
	field_string(out, f->value[FIELD_CONTENT_LOCATION]);
}

static void encoding(struct buf *out, struct view raw)
{
	struct mime_params rest;
	struct view v = mime_token_read(raw, &rest);

	upper_string(out, v.len > 0 ? v : VIEW_LIT("7BIT"));
}

static void render(struct buf *out, struct view message, const struct scan *scan, uint32_t index);

static void render_multipart(struct buf *out, struct view message, const struct scan *scan, uint32_t index,
    struct mime_content *content, const struct mime_fields *f)
{
	buf_addc(out, '(');
	for (uint32_t c = scan->parts[index].first_child; c != MIME_NONE; c = scan->parts[c].next_sibling)
		render(out, message, scan, c);
	buf_addc(out, ' ');
	upper_string(out, content->subtype);
	buf_addc(out, ' ');
	params_list(out, &content->params);
	extension(out, f);
	buf_addc(out, ')');
}

static void read_header(struct view message, const struct mime_part *p, struct mime_fields *f)
{
	mime_fields_read((struct view){ message.ptr + p->header, (size_t)(p->body - p->header) }, f);
}

static void render_leaf(struct buf *out, struct view message, const struct scan *scan, uint32_t index,
    struct mime_content *content, const struct mime_fields *f)
{
	const struct mime_part *p = &scan->parts[index].part;
	bool opaque = content->multipart || (content->message && !p->rfc822);

	buf_addc(out, '(');
	upper_string(out, opaque ? VIEW_LIT("TEXT") : content->type);
	buf_addc(out, ' ');
	upper_string(out, opaque ? VIEW_LIT("PLAIN") : content->subtype);
	buf_addc(out, ' ');
	if (opaque || (content->defaulted && content->text))
		buf_puts(out, "(\"CHARSET\" \"US-ASCII\")");
	else
		params_list(out, &content->params);
	buf_addc(out, ' ');
	field_string(out, f->value[FIELD_CONTENT_ID]);
	buf_addc(out, ' ');
	field_string(out, f->value[FIELD_CONTENT_DESCRIPTION]);
	buf_addc(out, ' ');
	encoding(out, f->value[FIELD_CONTENT_TRANSFER_ENCODING]);
	buf_printf(out, " %llu", (unsigned long long)(p->end - p->body));
	if (p->rfc822) {
		uint32_t inner = scan->parts[index].first_child;
		struct mime_fields inner_fields;

		read_header(message, &scan->parts[inner].part, &inner_fields);
		buf_addc(out, ' ');
		mime_envelope(out, &inner_fields);
		buf_addc(out, ' ');
		render(out, message, scan, inner);
	}
	if (p->rfc822 || opaque || content->text)
		buf_printf(out, " %u", p->lines);
	buf_addc(out, ' ');
	field_string(out, f->value[FIELD_CONTENT_MD5]);
	extension(out, f);
	buf_addc(out, ')');
}

/* Recursive: scan.c nests at most MIME_DEPTH_MAX deep. */
static void render(struct buf *out, struct view message, const struct scan *scan, uint32_t index)
{
	const struct scan_part *p = &scan->parts[index];
	struct mime_fields fields;
	struct mime_content content;

	read_header(message, &p->part, &fields);
	mime_content_read(fields.value[FIELD_CONTENT_TYPE], p->digest_child, &content);
	if (p->part.multipart)
		render_multipart(out, message, scan, index, &content, &fields);
	else
		render_leaf(out, message, scan, index, &content, &fields);
}

void mime_bodystructure(struct buf *out, struct view message, const struct scan *scan)
{
	render(out, message, scan, 0);
}
