/* source.h. */
#include "mailsvc/guard/source.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

int guard_source_make(uint8_t family, const unsigned char bytes[16], struct guard_source *out)
{
	struct in6_addr a;

	memset(out, 0, sizeof(*out));
	if (family != 0 && family != 4 && family != 6)
		return -1;
	memcpy(&a, bytes, sizeof(a));
	if (family == 6 && IN6_IS_ADDR_V4MAPPED(&a)) {
		family = 4;
		memmove(&a.s6_addr[0], &a.s6_addr[12], 4);
	}
	out->family = family;
	memcpy(out->address, &a, family == 0 ? 0 : family == 4 ? 4 : 8);
	/* Inside ::/64 there is loopback alone: it must not become the whole of it. */
	if (family == 6 && IN6_IS_ADDR_LOOPBACK(&a))
		out->family = 0;
	if (family == 4 && out->address[0] == 127)
		*out = (struct guard_source){ .family = 0 };
	return 0;
}

void guard_source_of(const struct sockaddr *sa, struct guard_source *out)
{
	unsigned char bytes[16] = { 0 };
	uint8_t family = 0;

	if (sa != NULL && sa->sa_family == AF_INET) {
		family = 4;
		memcpy(bytes, &((const struct sockaddr_in *)(const void *)sa)->sin_addr, 4);
	} else if (sa != NULL && sa->sa_family == AF_INET6) {
		family = 6;
		memcpy(bytes, &((const struct sockaddr_in6 *)(const void *)sa)->sin6_addr, 16);
	}
	guard_source_make(family, bytes, out);
}

int guard_source_parse(const char *text, struct guard_source *out)
{
	unsigned char bytes[16] = { 0 };
	char address[INET6_ADDRSTRLEN];
	const char *slash = strchr(text, '/');
	struct view v = { text, slash != NULL ? (size_t)(slash - text) : strlen(text) };

	if (view_copy(v, address, sizeof(address)) < 0)
		return -1;
	if (inet_pton(AF_INET, address, bytes) == 1)
		return slash != NULL && strcmp(slash, "/32") != 0 ? -1 : guard_source_make(4, bytes, out);
	if (inet_pton(AF_INET6, address, bytes) != 1)
		return -1;
	return slash != NULL && strcmp(slash, "/64") != 0 ? -1 : guard_source_make(6, bytes, out);
}

void guard_source_text(const struct guard_source *s, char out[GUARD_SOURCE_TEXT])
{
	char address[INET6_ADDRSTRLEN] = "";

	if (s->family != 0)
		inet_ntop(s->family == 4 ? AF_INET : AF_INET6, s->address, address, sizeof(address));
	snprintf(out, GUARD_SOURCE_TEXT, "%s%s", s->family == 0 ? "local" : address, s->family == 6 ? "/64" : "");
}

bool guard_source_eq(const struct guard_source *a, const struct guard_source *b)
{
	return a->family == b->family && memcmp(a->address, b->address, sizeof(a->address)) == 0;
}

void guard_source_put(struct buf *out, const struct guard_source *s)
{
	buf_put_u8(out, s->family);
	buf_add(out, s->address, sizeof(s->address));
}

int guard_source_get(struct cursor *c, struct guard_source *out)
{
	uint8_t family = cursor_u8(c);
	struct view v = cursor_bytes(c, 16);
	unsigned char bytes[16];

	if (c->bad)
		return -1;
	memcpy(bytes, v.ptr, sizeof(bytes));
	return guard_source_make(family, bytes, out);
}
