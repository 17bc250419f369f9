/*
 * Where mail for a domain goes (RFC 5321 5.1, RFC 7505): mail exchangers in order of preference, then their addresses.
 */
#ifndef MAILSVC_SEND_MX_H
#define MAILSVC_SEND_MX_H

#include <sys/socket.h>

#include "mailsvc/resolver/client.h"
#include "site/site.h"

#define MX_HOSTS_MAX 10
#define MX_ADDRESSES_MAX 20
#define MX_NAME_MAX 255

struct mx_host {
	char name[MX_NAME_MAX + 1];
	uint16_t preference;
};
struct mx_hosts {
	struct mx_host at[MX_HOSTS_MAX];
	size_t count;
};

struct mx_address {
	char host[MX_NAME_MAX + 1]; /* the exchanger's name */
	char text[64];              /* its address for people */
	struct sockaddr_storage to;
	socklen_t len;
};

enum mx_status { MX_OK, MX_TEMPORARY, MX_PERMANENT };
struct mx_route {
	enum mx_status status;
	char reason[160]; /* unless MX_OK: "5.1.2 ..." */
	uint32_t ttl;
	bool secure; /* DNSSEC proves which hosts these are */
	struct mx_address at[MX_ADDRESSES_MAX];
	size_t count;
};

/*
 * The pure part.  From an MX answer (or NODATA: the domain itself) the hosts to try, best first, equals in random order
 * (random is a seed); ours (own_name) and all that are not preferred to it are left out.  reason is filled unless
 * MX_OK.
 */
enum mx_status mx_select(const struct dns_answer *, const char *domain, const char *own_name, uint32_t random,
    struct mx_hosts *out, char reason[160]);

/*
 * Looks a route up; fn is called once, from the event loop or before mx_lookup returns.  name is a domain (hosts by
 * MX), a host (direct: addresses only, for a smarthost) or an address literal.  The route is valid during the call
 * only.
 */
typedef void (*mx_fn)(void *arg, const struct mx_route *);
struct mx_lookup;
void mx_lookup(
    struct dns_client *, const struct site *, const char *name, bool direct, uint16_t port, mx_fn fn, void *arg);

/* Not an address, with brackets or without. */
bool mx_is_name(const char *host);

#endif
