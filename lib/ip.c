/* ip.h */
#include "ip.h"

#include <netinet/in.h>
#include <stddef.h>

const unsigned char *ip_v4(const struct sockaddr *sa)
{
	const struct sockaddr_in6 *six = (const void *)sa;

	if (sa->sa_family == AF_INET)
		return (const void *)&((const struct sockaddr_in *)(const void *)sa)->sin_addr;
	return sa->sa_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&six->sin6_addr) ? &six->sin6_addr.s6_addr[12] : NULL;
}

bool ip_is_loopback(const struct sockaddr *sa)
{
	const unsigned char *v4 = ip_v4(sa);

	if (v4 != NULL)
		return v4[0] == 127;
	return sa->sa_family == AF_INET6 &&
	       IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)(const void *)sa)->sin6_addr);
}
