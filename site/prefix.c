/* IP addresses and prefixes as numbers: reading what the loader has normalised, and comparing. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

#include "lib/ip.h"
#include "lib/text.h"
#include "prefix.h"

int prefix_parse(const char *text, struct prefix *out)
{
	char address[INET6_ADDRSTRLEN];
	const char *slash = strchr(text, '/');
	uint64_t length;
	*out = (struct prefix){ .family = strchr(text, ':') ? AF_INET6 : AF_INET };
	length = out->family == AF_INET6 ? 128 : 32;
	if (view_copy((struct view){ text, slash ? (size_t)(slash - text) : strlen(text) }, address, sizeof(address)) <
		0 ||
	    inet_pton(out->family, address, out->bytes) != 1 ||
	    (slash && view_u64(view_of(slash + 1), length, &length) < 0))
		return -1;
	out->length = (unsigned)length;
	return 0;
}

bool prefix_holds(const struct prefix *outer, const struct prefix *inner)
{
	unsigned whole = outer->length / 8, rest = outer->length % 8;
	if (outer->family != inner->family || outer->length > inner->length ||
	    memcmp(outer->bytes, inner->bytes, whole) != 0)
		return false;
	return !rest || (outer->bytes[whole] ^ inner->bytes[whole]) >> (8 - rest) == 0;
}

bool prefix_in(const struct strings *prefixes, const char *address)
{
	struct prefix outer, inner;
	if (prefix_parse(address, &inner) < 0)
		return false;
	for (size_t i = 0; i < prefixes->count; i++)
		if (prefix_parse(prefixes->at[i], &outer) == 0 && prefix_holds(&outer, &inner))
			return true;
	return false;
}

bool prefix_in_peer(const struct strings *prefixes, const struct sockaddr *sa)
{
	char text[INET6_ADDRSTRLEN];
	const unsigned char *v4 = ip_v4(sa);
	if (prefixes->count == 0 || (sa->sa_family != AF_INET && sa->sa_family != AF_INET6))
		return false;
	if (v4)
		inet_ntop(AF_INET, v4, text, sizeof(text));
	else
		inet_ntop(AF_INET6, &((const struct sockaddr_in6 *)(const void *)sa)->sin6_addr, text, sizeof(text));
	return prefix_in(prefixes, text);
}

bool prefix_private(const char *address)
{
	static char *ranges[] = { "10.0.0.0/8", "127.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16",
		"100.64.0.0/10", "fc00::/7", "fe80::/10", "::1" };
	return prefix_in(&(struct strings){ ranges, sizeof(ranges) / sizeof(ranges[0]) }, address);
}
