/*
 * Ranges of addresses, ports and the like: sorted and without overlap, so that one binary search answers and an
 * interval set takes them as they are.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "fwgen/model.h"
#include "site/prefix.h"

static const struct {
	const char *name;
	size_t width;
} types[] = {
	[FW_TYPE_IPV4] = { "ipv4_addr", 4 },
	[FW_TYPE_IPV6] = { "ipv6_addr", 16 },
	[FW_TYPE_PORT] = { "inet_service", 2 },
	[FW_TYPE_ICMP] = { "icmp_type", 1 },
	[FW_TYPE_ICMPV6] = { "icmpv6_type", 1 },
	[FW_TYPE_PROTOCOL] = { "inet_proto", 1 },
};

size_t fw_type_width(enum fw_type type)
{
	return types[type].width;
}

const char *fw_type_name(enum fw_type type)
{
	return types[type].name;
}

void fw_ranges_add(struct fw_ranges *r, const struct fw_range *range)
{
	if (r->count == r->room) {
		r->room = r->room > 0 ? 2 * r->room : 4;
		r->at = xreallocarray(r->at, r->room, sizeof(*r->at));
	}
	r->at[r->count++] = *range;
}

int fw_ranges_add_prefix(struct fw_ranges *r, const char *text)
{
	struct prefix p;
	struct fw_range range;

	if (prefix_parse(text, &p) == -1)
		return -1;
	if ((p.family == AF_INET6) != (r->type == FW_TYPE_IPV6))
		return 0;
	memset(&range, 0, sizeof(range));
	for (size_t i = 0; i < fw_type_width(r->type); i++) {
		unsigned bits = p.length > 8 * i ? p.length - 8 * (unsigned)i : 0;
		unsigned char mask = (unsigned char)(bits >= 8 ? 0xffu : 0xff00u >> bits & 0xffu);
		range.first[i] = p.bytes[i] & mask;
		range.last[i] = (unsigned char)(p.bytes[i] | (0xff & ~mask));
	}
	fw_ranges_add(r, &range);
	return 0;
}

void fw_ranges_add_number(struct fw_ranges *r, unsigned value)
{
	struct fw_range range = { .first = { (unsigned char)value } };

	if (fw_type_width(r->type) == 2) {
		range.first[0] = (unsigned char)(value >> 8);
		range.first[1] = (unsigned char)value;
	}
	memcpy(range.last, range.first, sizeof(range.last));
	fw_ranges_add(r, &range);
}

/* What is not of a value's width is zero, so that all bytes compare. */
static int by_first(const void *a, const void *b)
{
	return memcmp(((const struct fw_range *)a)->first, ((const struct fw_range *)b)->first, 16);
}

/* Is b the address after a? */
static bool follows(enum fw_type type, const unsigned char *a, const unsigned char *b)
{
	unsigned char next[16];

	if (type != FW_TYPE_IPV4 && type != FW_TYPE_IPV6)
		return false;
	memcpy(next, a, sizeof(next));
	for (size_t i = fw_type_width(type); i-- > 0;)
		if (++next[i] != 0)
			return memcmp(next, b, sizeof(next)) == 0;
	return false;
}

void fw_ranges_merge(struct fw_ranges *r)
{
	size_t n = 0;

	if (r->count == 0)
		return;
	qsort(r->at, r->count, sizeof(*r->at), by_first);
	for (size_t i = 1; i < r->count; i++) {
		struct fw_range *before = &r->at[n], *range = &r->at[i];

		if (memcmp(range->first, before->last, 16) > 0 && !follows(r->type, before->last, range->first))
			r->at[++n] = *range;
		else if (memcmp(range->last, before->last, 16) > 0)
			memcpy(before->last, range->last, 16);
	}
	r->count = n + 1;
}

/* The last range that begins at or before value, or NULL. */
static const struct fw_range *last_before(const struct fw_ranges *r, const unsigned char *value)
{
	size_t low = 0, high = r->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (memcmp(r->at[middle].first, value, 16) <= 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low > 0 ? &r->at[low - 1] : NULL;
}

bool fw_ranges_hold(const struct fw_ranges *r, const unsigned char *value)
{
	unsigned char whole[16] = { 0 };
	const struct fw_range *range;

	memcpy(whole, value, fw_type_width(r->type));
	range = last_before(r, whole);
	return range != NULL && memcmp(range->last, whole, 16) >= 0;
}

bool fw_ranges_meet(const struct fw_ranges *r, const struct fw_range *other)
{
	const struct fw_range *range = last_before(r, other->last);

	return range != NULL && memcmp(range->last, other->first, 16) >= 0;
}

void fw_ranges_free(struct fw_ranges *r)
{
	free(r->at);
	r->at = NULL;
	r->count = r->room = 0;
}

bool fw_range_single(enum fw_type type, const struct fw_range *range)
{
	return memcmp(range->first, range->last, fw_type_width(type)) == 0;
}

int fw_range_bits(enum fw_type type, const struct fw_range *range)
{
	size_t all = 8 * fw_type_width(type), bits = 0;

	while (bits < all && ((range->first[bits / 8] ^ range->last[bits / 8]) & (0x80 >> bits % 8)) == 0)
		bits++;
	for (size_t i = bits; i < all; i++) {
		unsigned char bit = (unsigned char)(0x80 >> i % 8);

		if ((range->first[i / 8] & bit) != 0 || (range->last[i / 8] & bit) == 0)
			return -1;
	}
	return (int)bits;
}

static const char *icmp_name(enum fw_type type, unsigned value)
{
	static const struct {
		enum fw_type type;
		unsigned value;
		const char *name;
	} names[] = {
		{ FW_TYPE_ICMP, 0, "echo-reply" },
		{ FW_TYPE_ICMP, 3, "destination-unreachable" },
		{ FW_TYPE_ICMP, 8, "echo-request" },
		{ FW_TYPE_ICMP, 11, "time-exceeded" },
		{ FW_TYPE_ICMP, 12, "parameter-problem" },
		{ FW_TYPE_ICMPV6, 1, "destination-unreachable" },
		{ FW_TYPE_ICMPV6, 2, "packet-too-big" },
		{ FW_TYPE_ICMPV6, 3, "time-exceeded" },
		{ FW_TYPE_ICMPV6, 4, "parameter-problem" },
		{ FW_TYPE_ICMPV6, 128, "echo-request" },
		{ FW_TYPE_ICMPV6, 129, "echo-reply" },
		{ FW_TYPE_ICMPV6, 130, "mld-listener-query" },
		{ FW_TYPE_ICMPV6, 131, "mld-listener-report" },
		{ FW_TYPE_ICMPV6, 132, "mld-listener-done" },
		{ FW_TYPE_ICMPV6, 133, "nd-router-solicit" },
		{ FW_TYPE_ICMPV6, 134, "nd-router-advert" },
		{ FW_TYPE_ICMPV6, 135, "nd-neighbor-solicit" },
		{ FW_TYPE_ICMPV6, 136, "nd-neighbor-advert" },
		{ FW_TYPE_ICMPV6, 141, "ind-neighbor-solicit" },
		{ FW_TYPE_ICMPV6, 142, "ind-neighbor-advert" },
		{ FW_TYPE_ICMPV6, 143, "mld2-listener-report" },
		{ FW_TYPE_PROTOCOL, IPPROTO_ICMP, "icmp" },
		{ FW_TYPE_PROTOCOL, IPPROTO_TCP, "tcp" },
		{ FW_TYPE_PROTOCOL, IPPROTO_UDP, "udp" },
		{ FW_TYPE_PROTOCOL, IPPROTO_ICMPV6, "ipv6-icmp" },
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (names[i].type == type && names[i].value == value)
			return names[i].name;
	return NULL;
}

static void value_text(enum fw_type type, const unsigned char *value, char *out, size_t size)
{
	const char *name;

	if (type == FW_TYPE_IPV4 || type == FW_TYPE_IPV6)
		inet_ntop(type == FW_TYPE_IPV4 ? AF_INET : AF_INET6, value, out, (socklen_t)size);
	else if (type == FW_TYPE_PORT)
		snprintf(out, size, "%u", value[0] * 256u + value[1]);
	else if ((name = icmp_name(type, value[0])) != NULL)
		snprintf(out, size, "%s", name);
	else
		snprintf(out, size, "%u", value[0]);
}

void fw_range_text(enum fw_type type, const struct fw_range *range, char *out, size_t size)
{
	char first[64], last[64];
	int bits = fw_range_bits(type, range);

	value_text(type, range->first, first, sizeof(first));
	value_text(type, range->last, last, sizeof(last));
	if (fw_range_single(type, range))
		snprintf(out, size, "%s", first);
	else if (bits >= 0 && (type == FW_TYPE_IPV4 || type == FW_TYPE_IPV6))
		snprintf(out, size, "%s/%d", first, bits);
	else
		snprintf(out, size, "%s-%s", first, last);
}
