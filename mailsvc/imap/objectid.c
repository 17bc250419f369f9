/* Object identifiers, from numbers that the store never gives twice. */
#include "objectid.h"

#include "lib/crc32c.h"

void objectid_put_email(struct buf *out, const struct message_row *row)
{
	buf_printf(out, "E%llu-%08x", (unsigned long long)row->body, crc32c(0, row->prefix.ptr, row->prefix.len));
}

void objectid_put_mailbox(struct buf *out, uint32_t mailbox)
{
	buf_printf(out, "M%u", mailbox);
}

bool objectid_is_email(struct view id, const struct message_row *row)
{
	struct buf own = BUF_INIT(OBJECTID_MAX);
	bool same;

	objectid_put_email(&own, row);
	same = id.len == own.len && memcmp(id.ptr, own.data, id.len) == 0;
	buf_free(&own);
	return same;
}

bool objectid_valid(struct view id)
{
	for (size_t i = 0; i < id.len; i++) {
		char c = id.ptr[i];

		if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' ||
			c == '_'))
			return false;
	}
	return id.len > 0 && id.len <= OBJECTID_MAX;
}
