/*
 * kept.h.  Delivery here puts, from the top: Return-Path, Delivered-To (for the
 * account), Authentication-Results and X-Mailadm-Checks, then Received with the name of EHLO and the peer's address.
 */
#include "mailsvc/smtp/kept.h"

#include <arpa/inet.h>
#include <string.h>

#include "mailsvc/mime/mime.h"

#define VALUE_MAX 8192

static struct view token(struct view v)
{
	size_t start = 0, n = 0;

	if (v.len == 0)
		return VIEW_NONE;
	while (start < v.len && strchr(" \t\r\n", v.ptr[start]) != NULL)
		start++;
	while (start + n < v.len && strchr(" \t\r\n;()", v.ptr[start + n]) == NULL)
		n++;
	return (struct view){ v.ptr + start, n };
}

/* "<a@b>" or "a@b", which must be an address; "<>" is "". */
static int path(struct view v, char out[ADDRESS_MAX])
{
	struct address a;

	v = token(v);
	if (v.len >= 2 && v.ptr[0] == '<' && v.ptr[v.len - 1] == '>')
		v = (struct view){ v.ptr + 1, v.len - 2 };
	if (v.len > 0 && address_parse(v, &a) == -1)
		return -1;
	return view_copy(v, out, ADDRESS_MAX);
}

/* The address in "[192.0.2.1]" or "[IPv6:2001:db8::1]". */
static bool literal(struct view v, char out[64])
{
	const char *open = memchr(v.ptr, '[', v.len), *shut;
	unsigned char bytes[16];
	struct view inside;

	for (; open != NULL; open = memchr(shut, '[', v.len - (size_t)(shut - v.ptr))) {
		shut = memchr(open, ']', v.len - (size_t)(open - v.ptr));
		if (shut == NULL)
			return false;
		inside = (struct view){ open + 1, (size_t)(shut - open) - 1 };
		if (inside.len > 5 && view_caseeq((struct view){ inside.ptr, 5 }, "IPv6:"))
			inside = (struct view){ inside.ptr + 5, inside.len - 5 };
		if (view_copy(inside, out, 64) == 0 &&
		    (inet_pton(AF_INET, out, bytes) == 1 || inet_pton(AF_INET6, out, bytes) == 1))
			return true;
	}
	out[0] = '\0';
	return false;
}

/* "from NAME (... [ADDRESS]) by HOST ...": the parts that are there; false when it names no address. */
static bool received(struct view value, char helo[ADDRESS_MAX], char peer[64], bool *ours, const char *host_name)
{
	const char *by = value.len > 0 ? memmem(value.ptr, value.len, " by ", 4) : NULL;
	struct view from = { value.ptr, by != NULL ? (size_t)(by - value.ptr) : value.len };

	*ours = by != NULL &&
	        view_caseeq(token((struct view){ by + 4, value.len - (size_t)(by + 4 - value.ptr) }), host_name);
	if (from.len < 5 || !view_caseeq((struct view){ from.ptr, 5 }, "from ") || !literal(from, peer))
		return false;
	if (view_copy(token((struct view){ from.ptr + 5, from.len - 5 }), helo, ADDRESS_MAX) == -1)
		helo[0] = '\0';
	return true;
}

struct found {
	struct kept_envelope *to;
	const char *host_name;
	bool from, recipients, hop; /* what was not given, and is to be looked for */
	size_t own;                 /* bytes that are delivery's */
	bool on_top;                /* nothing but delivery's fields so far */
	bool older;                 /* behind the first Received: of what another host delivered */
};

static void take_received(struct found *f, struct view value, size_t end)
{
	char helo[ADDRESS_MAX] = "", peer[64] = "";
	bool ours, names = received(value, helo, peer, &ours, f->host_name);

	if (f->on_top && ours)
		f->own = end;
	f->on_top = false;
	f->older = true;
	if (!names || !f->hop)
		return;
	f->hop = false;
	if (f->to->peer[0] == '\0')
		memcpy(f->to->peer, peer, sizeof(peer));
	if (f->to->helo[0] == '\0')
		memcpy(f->to->helo, helo, sizeof(helo));
}

static void take_recipient(struct found *f, struct view value)
{
	struct kept_envelope *e = f->to;

	if (f->recipients && e->to_count < KEPT_RECIPIENTS_MAX && path(value, e->to[e->to_count]) == 0 &&
	    e->to[e->to_count][0] != '\0')
		e->to_count++;
}

/* A field in front of the topmost Received. */
static void take_delivery(struct found *f, struct view name, struct view value, size_t end)
{
	if (view_caseeq(name, "Return-Path")) {
		if (f->from && path(value, f->to->from) == 0)
			f->to->from_known = true;
		f->from = false;
		f->own = f->on_top ? end : f->own;
	} else if (view_caseeq(name, "Delivered-To")) {
		take_recipient(f, value);
		f->own = f->on_top ? end : f->own;
	} else if (!view_caseeq(name, "Authentication-Results") && !view_caseeq(name, "X-Mailadm-Checks")) {
		f->on_top = false;
	}
}

static void take(struct found *f, const struct mime_header *field, size_t end)
{
	struct buf value = BUF_INIT(VALUE_MAX);

	mime_unfold(field->value, &value);
	for (size_t i = 0; i < value.len; i++)
		if (value.data[i] == '\t')
			value.data[i] = ' ';
	if (view_caseeq(field->name, "Received"))
		take_received(f, buf_view(&value), end);
	else if (!f->older)
		take_delivery(f, field->name, buf_view(&value), end);
	buf_free(&value);
}

size_t kept_envelope_fill(struct view message, const char *host_name, struct kept_envelope *e)
{
	struct found f = {
		.to = e,
		.host_name = host_name,
		.from = !e->from_known,
		.recipients = e->to_count == 0,
		.hop = e->peer[0] == '\0' || e->helo[0] == '\0',
		.on_top = true,
	};
	struct view header = { message.ptr, mime_header_len(message) };
	struct mime_header field;
	size_t pos = 0;

	while (mime_header_next(header, &pos, &field))
		take(&f, &field, pos);
	return f.own;
}
