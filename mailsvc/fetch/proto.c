/* Packing and unpacking of fetch's messages, and the only form of URL that it fetches. */
#include "proto.h"

#include <ctype.h>
#include <string.h>

#include "lib/text.h"

int fetch_get_put(struct buf *out, const char *url, const struct fetch_limits *l)
{
	buf_put_u32(out, (uint32_t)l->bytes);
	buf_put_u32(out, l->seconds);
	return buf_put_str(out, url);
}

int fetch_get_get(struct view in, char *url, struct fetch_limits *l)
{
	struct cursor c = cursor_of(in.ptr, in.len);

	l->bytes = cursor_u32(&c);
	l->seconds = cursor_u32(&c);
	cursor_str(&c, url, FETCH_URL_MAX + 1);
	return cursor_done(&c) && l->bytes <= FETCH_BODY_MAX && l->seconds > 0 && l->seconds <= FETCH_SECONDS_MAX ? 0
	                                                                                                          : -1;
}

void fetch_answer_put(struct buf *out, const struct fetch_answer *a)
{
	buf_put_u8(out, (uint8_t)a->status);
	buf_put_u16(out, (uint16_t)a->code);
	buf_put_str(out, a->type);
	buf_put_str(out, a->reason);
	buf_put_blob(out, a->body);
}

int fetch_answer_get(struct view in, struct fetch_answer *a)
{
	struct cursor c = cursor_of(in.ptr, in.len);
	unsigned status = cursor_u8(&c);

	memset(a, 0, sizeof(*a));
	a->code = cursor_u16(&c);
	cursor_str(&c, a->type, sizeof(a->type));
	cursor_str(&c, a->reason, sizeof(a->reason));
	a->body = cursor_blob(&c, FETCH_BODY_MAX);
	if (!cursor_done(&c) || status >= FETCH_STATUS_COUNT)
		return -1;
	a->status = (enum fetch_status)status;
	if ((a->status == FETCH_OK) != (a->code >= 100 && a->code <= 599) || (a->code != 200 && a->body.len > 0))
		return -1;
	return 0;
}

/* At least two labels, the last with a letter: no address. */
static bool is_name(struct view v)
{
	const char *dot = v.len > 0 ? memrchr(v.ptr, '.', v.len) : NULL;
	bool letter = false;

	for (const char *p = dot; p != NULL && p < v.ptr + v.len; p++)
		letter = letter || isalpha((unsigned char)*p);
	return letter && text_is_host(v);
}

int fetch_url_parse(const char *url, char *host, uint16_t *port)
{
	static const char scheme[] = "https://";
	uint64_t n = 443;

	if (strncmp(url, scheme, sizeof(scheme) - 1) != 0)
		return -1;
	url += sizeof(scheme) - 1;
	struct view name = { url, strcspn(url, ":/?#@[]") };
	const char *rest = url + name.len;
	if (*rest == ':') {
		struct view digits = { rest + 1, strspn(rest + 1, "0123456789") };
		if (view_u64(digits, UINT16_MAX, &n) == -1 || n == 0)
			return -1;
		rest = digits.ptr + digits.len;
	}
	if (*rest != '/' || !is_name(name) || view_copy(name, host, 256) == -1)
		return -1;
	for (; *rest != '\0'; rest++) {
		if (!isgraph((unsigned char)*rest) || (unsigned char)*rest >= 0x80 || *rest == '#')
			return -1;
	}
	*port = (uint16_t)n;
	return 0;
}
