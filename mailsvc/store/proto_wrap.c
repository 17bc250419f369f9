/* Payloads as messages (inline, or in a sealed memfd), and which names mailboxes may have. */
#include <string.h>
#include <unistd.h>

#include "proto.h"
#include "record.h"

#define NAME_LEVELS_MAX 32

int proto_wrap(struct view payload, struct buf *data, int *fd)
{
	*fd = -1;
	if (payload.len <= STORE_INLINE_MAX) {
		buf_put_u8(data, 0);
		return buf_addv(data, payload);
	}
	buf_put_u8(data, 1);
	*fd = memfd_sealed("store", payload);
	return *fd == -1 ? -1 : 0;
}

int proto_unwrap(struct imsg *m, size_t max, struct view *payload, struct view *mapped)
{
	struct cursor c = cursor_of(m->data.ptr, m->data.len);
	uint8_t form = cursor_u8(&c);

	*mapped = VIEW_NONE;
	*payload = cursor_bytes(&c, c.left);
	if (c.bad || form > 1)
		return -1;
	if (form == 0)
		return m->fd == -1 ? 0 : -1;
	if (m->fd == -1 || payload->len != 0 || memfd_map_sealed(m->fd, max, mapped) == -1)
		return -1;
	*payload = *mapped;
	return 0;
}

/* Well-formed UTF-8 without controls (RFC 3629). */
static size_t utf8_len(const unsigned char *p, size_t left)
{
	size_t n = p[0] < 0x80                   ? 1
	           : p[0] >= 0xc2 && p[0] < 0xe0 ? 2
	           : p[0] >= 0xe0 && p[0] < 0xf0 ? 3
	           : p[0] >= 0xf0 && p[0] < 0xf5 ? 4
	                                         : 0;

	if (n == 0 || n > left || (n == 1 && (p[0] < 0x20 || p[0] == 0x7f)))
		return 0;
	for (size_t i = 1; i < n; i++)
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) || (p[0] == 0xf0 && p[1] < 0x90) ||
	    (p[0] == 0xf4 && p[1] > 0x8f) || (p[0] == 0xc2 && p[1] < 0xa0))
		return 0;
	return n;
}

bool mailbox_name_normalise(struct view name, char out[MAILBOX_NAME_MAX + 1])
{
	unsigned levels = 1;
	size_t n;

	out[0] = '\0';
	if (name.len == 0 || name.len > NAME_MAX_BYTES || name.ptr[0] == '/' || name.ptr[name.len - 1] == '/')
		return false;
	for (size_t i = 0; i < name.len; i += n) {
		char c = name.ptr[i];
		if ((n = utf8_len((const unsigned char *)name.ptr + i, name.len - i)) == 0 || c == '*' || c == '%')
			return false;
		if (c == '/' && (name.ptr[i + 1] == '/' || ++levels > NAME_LEVELS_MAX))
			return false;
	}
	memcpy(out, name.ptr, name.len);
	out[name.len] = '\0';
	if (name.len >= 5 && strncasecmp(out, "INBOX", 5) == 0 && (name.len == 5 || out[5] == '/'))
		memcpy(out, "INBOX", 5);
	return true;
}
