/*
 * Text in headers that is not ASCII: RFC 2047 encoded words, RFC 2231 parameters.
 *
 * Encoded words: neighbours in the same charset are joined before they are converted, since many senders cut characters
 * in half.  Spaces inside the encoded text and words longer than 75 bytes are taken.  Linear: a candidate word ends at
 * its third question mark, so each byte is looked at a few times at most.
 */
#include <string.h>
#include <strings.h>

#include "internal.h"

#define CHARSET_LEN_MAX 64
#define SEGMENTS_MAX 64

struct word {
	struct view charset, text;
	char encoding; /* 'b' or 'q' */
	size_t len;    /* of all of it */
};

static bool charset_char(char c)
{
	return (unsigned char)c > 32 && (unsigned char)c < 127 && c != '?' && c != '=';
}

/* in starts with "=?". */
static bool read_word(struct view in, struct word *w)
{
	size_t i = 2, start;
	const char *star;

	while (i < in.len && i < 2 + CHARSET_LEN_MAX && charset_char(in.ptr[i]))
		i++;
	w->charset = (struct view){ in.ptr + 2, i - 2 };
	star = memchr(w->charset.ptr, '*', w->charset.len); /* RFC 2231 5: charset*language */
	if (star)
		w->charset.len = (size_t)(star - w->charset.ptr);
	if (w->charset.len == 0 || w->charset.len >= CHARSET_LEN_MAX || in.len - i < 3 || in.ptr[i] != '?' ||
	    in.ptr[i + 2] != '?')
		return false;
	w->encoding = in.ptr[i + 1] | 0x20;
	if (w->encoding != 'b' && w->encoding != 'q')
		return false;
	start = i + 3;
	for (i = start; i < in.len && in.ptr[i] != '?'; i++)
		;
	if (in.len - i < 2 || in.ptr[i + 1] != '=')
		return false;
	w->text = (struct view){ in.ptr + start, i - start };
	w->len = i + 2;
	return true;
}

static void decode_q(struct view text, struct buf *out)
{
	size_t start = out->len;

	mime_decode_quoted_word(text, out);
	if (!memchr(text.ptr, '_', text.len))
		return;
	/* An underscore is a space, but "=5F" is an underscore: decode piece by piece. */
	out->len = start;
	while (text.len > 0) {
		const char *bar = memchr(text.ptr, '_', text.len);
		size_t n = bar ? (size_t)(bar - text.ptr) : text.len;

		mime_decode_quoted_word((struct view){ text.ptr, n }, out);
		if (bar)
			buf_addc(out, ' ');
		n += bar != NULL;
		text.ptr += n;
		text.len -= n;
	}
}

struct pending { /* decoded bytes of a run of words in one charset */
	char charset[CHARSET_LEN_MAX];
	struct buf bytes;
};

static void flush(struct pending *p, struct buf *out)
{
	if (p->bytes.len > 0)
		mime_to_utf8(p->charset, buf_view(&p->bytes), out);
	buf_reset(&p->bytes);
}

static void add_word(struct pending *p, const struct word *w, struct buf *out)
{
	if (!view_caseeq(w->charset, p->charset)) {
		flush(p, out);
		(void)view_copy(w->charset, p->charset, sizeof(p->charset));
	}
	if (w->encoding == 'b')
		mime_decode_base64(w->text, &p->bytes);
	else
		decode_q(w->text, &p->bytes);
}

static bool all_space(struct view v)
{
	for (size_t i = 0; i < v.len; i++)
		if (v.ptr[i] != ' ' && v.ptr[i] != '\t')
			return false;
	return true;
}

static void decode_flat(struct view v, struct buf *out)
{
	struct pending pending = { "", BUF_INIT(v.len) };
	bool after_word = false;
	size_t from = 0; /* of search; below it there is plain text not yet written */

	while (from < v.len) {
		const char *at = memmem(v.ptr + from, v.len - from, "=?", 2);
		struct view plain;
		struct word w;
		size_t n;

		if (!at)
			break;
		n = (size_t)(at - v.ptr);
		if (!read_word((struct view){ at, v.len - n }, &w)) {
			from = n + 2;
			continue;
		}
		plain = (struct view){ v.ptr, n };
		if (!after_word || !all_space(plain)) {
			flush(&pending, out);
			mime_undeclared_to_utf8(plain, out);
		}
		add_word(&pending, &w, out);
		after_word = true;
		v.ptr = at + w.len;
		v.len -= n + w.len;
		from = 0;
	}
	flush(&pending, out);
	mime_undeclared_to_utf8(v, out);
	buf_free(&pending.bytes);
}

void mime_decode_header(struct view raw, struct buf *out)
{
	struct buf flat = BUF_INIT(raw.len);

	mime_unfold(raw, &flat);
	decode_flat(buf_view(&flat), out);
	buf_free(&flat);
}

/* RFC 2231 ------------------------------------------------------------------------------------------------- */
struct segment {
	bool there, encoded;
	size_t offset, len; /* in the text of all segments */
};

struct parameter {
	struct buf text;
	struct segment plain, segment[SEGMENTS_MAX];
};

/* What follows the wanted name in that of a parameter: "", "*", "*3" or "*3*"; the segment it is, or NULL. */
static struct segment *which_segment(struct parameter *p, struct view suffix, bool *encoded)
{
	uint64_t n = 0;

	*encoded = false;
	if (suffix.len == 0)
		return &p->plain;
	if (suffix.ptr[0] != '*')
		return NULL;
	*encoded = suffix.ptr[suffix.len - 1] == '*';
	if (suffix.len == 1)
		return &p->segment[0];
	suffix.ptr++;
	suffix.len -= 1 + *encoded;
	return view_u64(suffix, SEGMENTS_MAX - 1, &n) == 0 ? &p->segment[n] : NULL;
}

static void collect(struct parameter *p, struct mime_params *params, const char *name)
{
	size_t len = strlen(name);

	while (mime_params_next(params)) {
		struct segment *s;
		bool encoded;

		if (params->name.len < len || strncasecmp(params->name.ptr, name, len) != 0)
			continue;
		s = which_segment(p, (struct view){ params->name.ptr + len, params->name.len - len }, &encoded);
		if (!s || s->there)
			continue;
		*s = (struct segment){ true, encoded, p->text.len, params->value.len };
		if (buf_addv(&p->text, params->value) != 0)
			s->len = 0;
	}
}

static void unescape_percent(struct view v, struct buf *out)
{
	for (size_t i = 0; i < v.len; i++) {
		char hex[3] = { '=', 0, 0 };

		if (v.ptr[i] != '%' || v.len - i < 3) {
			buf_addc(out, v.ptr[i]);
			continue;
		}
		memcpy(hex + 1, v.ptr + i + 1, 2);
		mime_decode_quoted_word((struct view){ hex, 3 }, out);
		i += 2;
	}
}

/* charset'language'text */
static struct view take_charset(struct view v, char *charset, size_t size)
{
	const char *a = memchr(v.ptr, '\'', v.len), *b;

	b = a ? memchr(a + 1, '\'', v.len - (size_t)(a + 1 - v.ptr)) : NULL;
	if (!b)
		return v;
	(void)view_copy((struct view){ v.ptr, (size_t)(a - v.ptr) }, charset, size);
	return (struct view){ b + 1, v.len - (size_t)(b + 1 - v.ptr) };
}

bool mime_parameter(struct view raw, const char *name, struct buf *out)
{
	struct parameter p = { .text = BUF_INIT(65536) };
	struct mime_content content;
	struct mime_params params;
	char charset[CHARSET_LEN_MAX] = "";
	struct buf bytes = BUF_INIT(65536);

	(void)mime_token_read(raw, &params);
	mime_content_read(raw, false, &content);
	collect(&p, content.defaulted ? &params : &content.params, name);
	for (size_t i = 0; i < SEGMENTS_MAX && p.segment[i].there; i++) {
		struct view v = { p.text.data ? p.text.data + p.segment[i].offset : "", p.segment[i].len };

		if (i == 0 && p.segment[i].encoded)
			v = take_charset(v, charset, sizeof(charset));
		if (p.segment[i].encoded)
			unescape_percent(v, &bytes);
		else
			buf_addv(&bytes, v);
	}
	if (p.segment[0].there)
		mime_to_utf8(charset[0] ? charset : "utf-8", buf_view(&bytes), out);
	else if (p.plain.there && p.plain.len > 0)
		mime_decode_header((struct view){ p.text.data + p.plain.offset, p.plain.len }, out);
	buf_free(&bytes);
	buf_free(&p.text);
	return p.segment[0].there || p.plain.there;
}
