/* source.h.  On the wire: u8 family (4, 6, or 0 for this machine) and 16 bytes.  ::ffff:192.0.2.1 is 192.0.2.1. */
#include "mailsvc/auth/source.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

void source_put(struct buf *out, const struct sockaddr *peer)
{
	uint8_t family = 0, bytes[16] = { 0 };

	if (peer != NULL && peer->sa_family == AF_INET) {
		family = 4;
		memcpy(bytes, &((const struct sockaddr_in *)peer)->sin_addr, 4);
	} else if (peer != NULL && peer->sa_family == AF_INET6) {
		family = 6;
		memcpy(bytes, &((const struct sockaddr_in6 *)peer)->sin6_addr, 16);
	}
	buf_put_u8(out, family);
	buf_add(out, bytes, sizeof(bytes));
}

int source_get(struct cursor *c, struct source *out)
{
	uint8_t family = cursor_u8(c);
	struct view v = cursor_bytes(c, 16);
	struct in6_addr address;

	memset(out, 0, sizeof(*out));
	if (c->bad || (family != 0 && family != 4 && family != 6))
		return -1;
	memcpy(&address, v.ptr, sizeof(address));
	if (family == 6 && IN6_IS_ADDR_V4MAPPED(&address)) {
		family = 4;
		memmove(&address.s6_addr[0], &address.s6_addr[12], 4);
	}
	out->key[0] = family;
	out->length = family == 0 ? 1 : family == 4 ? 5 : 9;
	memcpy(out->key + 1, address.s6_addr, out->length - 1);
	out->loopback = family == 0 || (family == 4 && address.s6_addr[0] == 127) ||
	                (family == 6 && IN6_IS_ADDR_LOOPBACK(&address));
	if (family == 0 || inet_ntop(family == 4 ? AF_INET : AF_INET6, &address, out->text, sizeof(out->text)) == NULL)
		view_copy(view_of("local"), out->text, sizeof(out->text));
	return 0;
}
