/*
 * Header blocks: walking the fields, unfolding, finding (RFC 5322 2.2).
 *
 * A line ends at LF, with or without a CR before it.  A line that is no field (no colon, or bytes in its name that no
 * name may have) is passed over together with its continuation lines.  Every function looks at each byte once.
 */
#include <string.h>
#include <strings.h>

#include "internal.h"

static const char *next_line(const char *p, const char *end)
{
	const char *lf = memchr(p, '\n', (size_t)(end - p));

	return lf ? lf + 1 : end;
}

static bool blank_line(const char *p, const char *end)
{
	return p < end && (*p == '\n' || (*p == '\r' && end - p > 1 && p[1] == '\n'));
}

/* Splits [p, end) at its colon. */
static bool split_field(const char *p, const char *end, struct mime_header *out)
{
	const char *start = p, *name_end;

	while (p<end && * p> 32 && *p < 127 && *p != ':')
		p++;
	name_end = p;
	while (p < end && (*p == ' ' || *p == '\t'))
		p++;
	if (p == end || *p != ':' || name_end == start)
		return false;
	p++;
	out->name = (struct view){ start, (size_t)(name_end - start) };
	out->field = (struct view){ start, (size_t)(end - start) };
	if (end > p && end[-1] == '\n')
		end--;
	if (end > p && end[-1] == '\r')
		end--;
	out->value = (struct view){ p, (size_t)(end - p) };
	return true;
}

bool mime_header_next(struct view block, size_t *pos, struct mime_header *out)
{
	while (*pos < block.len) {
		const char *end = block.ptr + block.len, *start = block.ptr + *pos, *next;

		if (blank_line(start, end))
			return false;
		next = next_line(start, end);
		while (next < end && (*next == ' ' || *next == '\t'))
			next = next_line(next, end);
		*pos = (size_t)(next - block.ptr);
		if (split_field(start, next, out))
			return true;
	}
	return false;
}

size_t mime_header_len(struct view message)
{
	const char *p = message.ptr, *end;

	if (message.len == 0)
		return 0;
	end = message.ptr + message.len;
	while (p < end) {
		bool blank = blank_line(p, end);

		p = next_line(p, end);
		if (blank)
			break;
	}
	return (size_t)(p - message.ptr);
}

struct view mime_header_find(struct view block, const char *name)
{
	struct mime_header h;
	size_t pos = 0;

	while (mime_header_next(block, &pos, &h))
		if (view_caseeq(h.name, name))
			return h.value;
	return VIEW_NONE;
}

static struct view trim(struct view v)
{
	while (v.len > 0 && strchr(" \t\r\n", v.ptr[0]) && v.ptr[0]) {
		v.ptr++;
		v.len--;
	}
	while (v.len > 0 && strchr(" \t\r\n", v.ptr[v.len - 1]) && v.ptr[v.len - 1])
		v.len--;
	return v;
}

void mime_unfold(struct view raw, struct buf *out)
{
	raw = trim(raw);
	while (raw.len > 0) {
		size_t n = 0;

		while (n < raw.len && raw.ptr[n] != '\n' && raw.ptr[n] != '\r')
			n++;
		buf_add(out, raw.ptr, n);
		while (n < raw.len && (raw.ptr[n] == '\n' || raw.ptr[n] == '\r'))
			n++;
		raw.ptr += n;
		raw.len -= n;
	}
}

static const struct {
	const char *name;
	size_t len;
} field_names[FIELD_COUNT] = {
#define NAME(id, text) [id] = { text, sizeof(text) - 1 }
	NAME(FIELD_DATE, "date"),
	NAME(FIELD_SUBJECT, "subject"),
	NAME(FIELD_FROM, "from"),
	NAME(FIELD_SENDER, "sender"),
	NAME(FIELD_REPLY_TO, "reply-to"),
	NAME(FIELD_TO, "to"),
	NAME(FIELD_CC, "cc"),
	NAME(FIELD_BCC, "bcc"),
	NAME(FIELD_IN_REPLY_TO, "in-reply-to"),
	NAME(FIELD_MESSAGE_ID, "message-id"),
	NAME(FIELD_REFERENCES, "references"),
	NAME(FIELD_CONTENT_TYPE, "content-type"),
	NAME(FIELD_CONTENT_TRANSFER_ENCODING, "content-transfer-encoding"),
	NAME(FIELD_CONTENT_ID, "content-id"),
	NAME(FIELD_CONTENT_DESCRIPTION, "content-description"),
	NAME(FIELD_CONTENT_DISPOSITION, "content-disposition"),
	NAME(FIELD_CONTENT_MD5, "content-md5"),
	NAME(FIELD_CONTENT_LANGUAGE, "content-language"),
	NAME(FIELD_CONTENT_LOCATION, "content-location"),
#undef NAME
};

void mime_fields_read(struct view block, struct mime_fields *out)
{
	struct mime_header h;
	size_t pos = 0;

	memset(out, 0, sizeof(*out));
	while (mime_header_next(block, &pos, &h)) {
		for (size_t i = 0; i < FIELD_COUNT; i++) {
			if (h.name.len != field_names[i].len || (h.name.ptr[0] | 0x20) != field_names[i].name[0])
				continue;
			if (out->value[i].ptr || strncasecmp(h.name.ptr, field_names[i].name, h.name.len) != 0)
				continue;
			out->value[i] = h.value;
			break;
		}
	}
}
