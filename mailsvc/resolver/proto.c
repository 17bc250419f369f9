/*
 * Encoding and decoding of resolver messages.  Both ends check: a name longer than DNS_NAME_MAX, an unknown type,
 * a record count over DNS_RECORDS_MAX or bytes left over make a message malformed.
 */
#include "proto.h"

static bool known_type(unsigned type)
{
	return type == DNS_A || type == DNS_CNAME || type == DNS_PTR || type == DNS_MX || type == DNS_TXT || type == DNS_AAAA ||
	       type == DNS_TLSA;
}

int dns_query_put(struct buf *out, const char *name, enum dns_type type)
{
	buf_put_u16(out, (uint16_t)type);
	return buf_put_str(out, name);
}

int dns_query_get(struct view in, char *name, enum dns_type *type)
{
	struct cursor c = cursor_of(in.ptr, in.len);
	unsigned t = cursor_u16(&c);

	cursor_str(&c, name, DNS_NAME_MAX + 1);
	if (!cursor_done(&c) || !known_type(t))
		return -1;
	*type = (enum dns_type)t;
	return 0;
}

void dns_answer_put(struct buf *out, const struct dns_answer *a)
{
	size_t size = 8 + 4 + a->canonical.len, count = 0;

	while (count < a->count && count < DNS_RECORDS_MAX) {
		size_t len = a->records[count].data.len;
		if (len > DNS_DATA_MAX || len + 6 > DNS_ANSWER_MAX - size)
			break;
		size += len + 6;
		count++;
	}
	buf_put_u8(out, (uint8_t)a->status);
	buf_put_u8(out, a->secure);
	buf_put_u32(out, a->ttl);
	buf_put_blob(out, a->canonical);
	buf_put_u16(out, (uint16_t)count);
	for (size_t i = 0; i < count; i++) {
		buf_put_u16(out, a->records[i].preference);
		buf_put_blob(out, a->records[i].data);
	}
}

int dns_answer_get(struct view in, struct dns_answer *a, struct dns_record *records)
{
	struct cursor c = cursor_of(in.ptr, in.len);
	unsigned status = cursor_u8(&c), secure = cursor_u8(&c);

	*a = (struct dns_answer){ .secure = secure == 1, .records = records };
	a->ttl = cursor_u32(&c);
	a->canonical = cursor_blob(&c, DNS_NAME_MAX);
	a->count = cursor_u16(&c);
	if (c.bad || status > DNS_TEMPFAIL || secure > 1 || a->count > DNS_RECORDS_MAX)
		return -1;
	a->status = (enum dns_status)status;
	for (size_t i = 0; i < a->count; i++) {
		records[i].preference = cursor_u16(&c);
		records[i].data = cursor_blob(&c, DNS_DATA_MAX);
	}
	if (!cursor_done(&c) || (a->status == DNS_OK) != (a->count > 0))
		return -1;
	return 0;
}
