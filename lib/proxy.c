/* proxy.h */
#include "proxy.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "buf.h"
#include "clock.h"
#include "ip.h"
#include "log.h"

static const unsigned char signature[12] = { 0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a };

enum { COMMAND_LOCAL = 0x20, COMMAND_PROXY = 0x21 };                   /* version and command */
enum { FAMILY_UNSPEC = 0x00, FAMILY_TCP4 = 0x11, FAMILY_TCP6 = 0x21 }; /* family and transport */

int proxy_rest(const unsigned char fixed[PROXY_FIXED])
{
	int rest = fixed[14] << 8 | fixed[15];

	if (memcmp(fixed, signature, sizeof(signature)) != 0 ||
	    (fixed[12] != COMMAND_LOCAL && fixed[12] != COMMAND_PROXY))
		return -1;
	return rest <= PROXY_REST_MAX ? rest : -1;
}

int proxy_parse(
    const unsigned char fixed[PROXY_FIXED], const unsigned char *rest, size_t len, struct sockaddr_storage *peer)
{
	struct sockaddr_in v4 = { .sin_family = AF_INET };
	struct sockaddr_in6 v6 = { .sin6_family = AF_INET6 };

	if (proxy_rest(fixed) != (int)len)
		return -1;
	if (fixed[12] == COMMAND_LOCAL || fixed[13] == FAMILY_UNSPEC)
		return 1;
	if (fixed[13] == FAMILY_TCP4 && len >= 12) { /* source, destination, their ports */
		memcpy(&v4.sin_addr, rest, 4);
		memcpy(&v4.sin_port, rest + 8, 2);
		memset(peer, 0, sizeof(*peer));
		memcpy(peer, &v4, sizeof(v4));
		return 0;
	}
	if (fixed[13] == FAMILY_TCP6 && len >= 36) {
		memcpy(&v6.sin6_addr, rest, 16);
		memcpy(&v6.sin6_port, rest + 32, 2);
		memset(peer, 0, sizeof(*peer));
		memcpy(peer, &v6, sizeof(v6));
		return 0;
	}
	return -1;
}

struct waiting {
	struct event *event;
	uint64_t deadline; /* monotonic ms */
	int fd;
	struct sockaddr_storage from;
	proxy_fn fn;
	void *arg;
	size_t have;
	unsigned char bytes[PROXY_FIXED + PROXY_REST_MAX];
};

static void finish(struct waiting *w, bool good)
{
	event_free(w->event);
	if (!good)
		close(w->fd);
	w->fn(w->arg, good ? w->fd : -1, &w->from);
	free(w);
}

/* How many bytes are wanted next; 0: the header is whole; -1: it is none. */
static int wanted(const struct waiting *w)
{
	int rest;

	if (w->have < PROXY_FIXED)
		return (int)(PROXY_FIXED - w->have);
	rest = proxy_rest(w->bytes);
	return rest < 0 ? -1 : rest - (int)(w->have - PROXY_FIXED);
}

static bool take_header(struct waiting *w)
{
	const struct sockaddr *from = (const void *)&w->from;
	const bool local = ip_is_loopback(from);

	return proxy_parse(w->bytes, w->bytes + PROXY_FIXED, w->have - PROXY_FIXED, &w->from) >= 0 &&
	       (local || !ip_is_loopback(from));
}

static void wait_on(struct waiting *w)
{
	uint64_t now = clock_mono_ms(), left = w->deadline > now ? w->deadline - now : 0;
	const struct timeval limit = { (time_t)(left / 1000), (suseconds_t)(left % 1000 * 1000) };

	event_add(w->event, &limit);
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct waiting *w = arg;
	int more;

	while ((what & EV_TIMEOUT) == 0 && (more = wanted(w)) > 0) {
		ssize_t n = recv(fd, w->bytes + w->have, (size_t)more, 0);

		if (n > 0) {
			w->have += (size_t)n;
			continue;
		}
		if (n == -1 && (errno == EAGAIN || errno == EINTR)) {
			wait_on(w);
			return;
		}
		break;
	}
	finish(w, wanted(w) == 0 && take_header(w));
}

void proxy_read(struct event_base *base, int fd, const struct sockaddr_storage *from, proxy_fn fn, void *arg)
{
	struct waiting *w = xcalloc(1, sizeof(*w));

	*w = (struct waiting){
		.deadline = clock_mono_ms() + PROXY_SECONDS * 1000, .fd = fd, .from = *from, .fn = fn, .arg = arg
	};
	w->event = event_new(base, fd, EV_READ, on_readable, w);
	if (w->event == NULL)
		fatalx("no memory for a connection");
	wait_on(w);
}
