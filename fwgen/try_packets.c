/*
 * try_packets.h: a listener on each port wherever the packet may come out, a socket of the right user for each probe,
 * and one poll over all of them.  A handshake that is complete or a datagram that arrives is "accept", an error that
 * came back is "refuse", silence is "drop".  Datagrams carry the number of their probe.
 */
#include "fwgen/try_packets.h"

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/clock.h"

struct endpoint {
	struct sockaddr_storage address;
	socklen_t len;
};

static struct endpoint endpoint(const struct ip *ip, uint16_t port)
{
	struct endpoint at = { 0 };

	if (ip->ipv6) {
		struct sockaddr_in6 in6 = { .sin6_family = AF_INET6, .sin6_port = htons(port) };
		memcpy(&in6.sin6_addr, ip->bytes, 16);
		memcpy(&at.address, &in6, at.len = sizeof(in6));
	} else {
		struct sockaddr_in in4 = { .sin_family = AF_INET, .sin_port = htons(port) };
		memcpy(&in4.sin_addr, ip->bytes, 4);
		memcpy(&at.address, &in4, at.len = sizeof(in4));
	}
	return at;
}

static int listener(const struct ip *family, bool udp, uint16_t port, struct error *e)
{
	const int one = 1;
	const struct ip any = { .ipv6 = family->ipv6 };
	struct endpoint at = endpoint(&any, port);
	int fd = socket(
	    family->ipv6 ? AF_INET6 : AF_INET, (udp ? SOCK_DGRAM : SOCK_STREAM) | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd == -1)
		return error_errno(e, "socket");
	if (family->ipv6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
	if (bind(fd, (struct sockaddr *)&at.address, at.len) == -1 || (!udp && listen(fd, 128) == -1)) {
		close(fd);
		return error_errno(e, "cannot listen on port %u in a scratch network namespace", port);
	}
	return fd;
}

struct batch {
	const struct try_net *net;
	struct try_probe *probes;
	size_t count, open; /* open: not decided yet */
	struct pollfd *fds; /* first one for each probe, then the listeners */
	size_t fd_count;
};

static bool same_port(const struct try_probe *a, const struct try_probe *b)
{
	return a->udp == b->udp && a->port == b->port && a->to.ipv6 == b->to.ipv6;
}

/* In every place, once for each family, protocol and port. */
static int listen_all(struct batch *b, struct error *e)
{
	for (int place = 0; place < TRY_PLACES; place++) {
		if (b->net->ns[place] == -1)
			continue;
		if (try_net_enter(b->net, (enum try_place)place, e) == -1)
			return -1;
		for (size_t i = 0; i < b->count; i++) {
			size_t first = 0;
			while (!same_port(&b->probes[first], &b->probes[i]))
				first++;
			if (first < i)
				continue;
			int fd = listener(&b->probes[i].to, b->probes[i].udp, b->probes[i].port, e);
			if (fd == -1)
				return -1;
			b->fds[b->fd_count++] = (struct pollfd){ .fd = fd, .events = b->probes[i].udp ? POLLIN : 0 };
		}
	}
	return 0;
}

static void decide(struct batch *b, size_t i, enum fw_tried got)
{
	if (b->fds[i].fd == -1)
		return;
	b->probes[i].result->got = got;
	close(b->fds[i].fd);
	b->fds[i].fd = -1;
	b->open--;
}

/* What connect or send said.  The output chain's drop is EPERM at once for a datagram. */
static void failed(struct batch *b, size_t i, int err)
{
	if (err == EINPROGRESS || err == EAGAIN)
		return;
	decide(b, i,
	    err == ECONNREFUSED || err == EHOSTUNREACH || err == ENETUNREACH || err == EACCES ? FW_TRIED_REFUSE
											      : FW_TRIED_DROP);
}

/* What the kernel does not even send tells nothing about the rules; a neighbour or a router may send it. */
static bool unsendable(struct batch *b, size_t i, int err)
{
	struct fw_try *result = b->probes[i].result;

	if (err != EINVAL && err != EADDRNOTAVAIL && err != ENETUNREACH)
		return false;
	result->sent = false;
	snprintf(result->note, sizeof(result->note), "by the model alone: no such packet can be sent here (%s)",
	    strerror(err));
	decide(b, i, result->decision.accept ? FW_TRIED_ACCEPT : FW_TRIED_DROP);
	return true;
}

/* The socket belongs to its probe's user as nft's skuid sees it: by the fsuid that opened it. */
static int open_as(const struct try_probe *p)
{
	const int one = 1;

	setfsgid(p->group);
	setfsuid(p->user);
	int fd = socket(
	    p->to.ipv6 ? AF_INET6 : AF_INET, (p->udp ? SOCK_DGRAM : SOCK_STREAM) | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	setfsuid(0);
	setfsgid(0);
	if (fd != -1 && p->to.ipv6) /* a local route alone does not make an IPv6 address bindable */
		setsockopt(fd, IPPROTO_IPV6, IPV6_FREEBIND, &one, sizeof(one));
	return fd;
}

static int send_one(struct batch *b, size_t i, struct error *e)
{
	const struct try_probe *p = &b->probes[i];
	struct endpoint from = endpoint(&p->from, 0), to = endpoint(&p->to, p->port);
	uint32_t number = (uint32_t)i;
	int err = 0;

	if (try_net_enter(b->net, p->sender, e) == -1)
		return -1;
	int fd = open_as(p);
	if (fd == -1)
		return error_errno(e, "socket");
	b->fds[i] = (struct pollfd){ .fd = fd, .events = p->udp ? POLLIN : POLLOUT };
	b->open++;
	if ((!p->outgoing && bind(fd, (struct sockaddr *)&from.address, from.len) == -1) ||
	    connect(fd, (struct sockaddr *)&to.address, to.len) == -1 ||
	    (p->udp && send(fd, &number, sizeof(number), 0) == -1))
		err = errno;
	else if (!p->udp)
		decide(b, i, FW_TRIED_ACCEPT);
	if (err != 0 && !unsendable(b, i, err))
		failed(b, i, err);
	return 0;
}

static void answered(struct batch *b, size_t i)
{
	int err = 0;
	socklen_t len = sizeof(err);

	if (b->fds[i].fd == -1 || b->fds[i].revents == 0)
		return;
	getsockopt(b->fds[i].fd, SOL_SOCKET, SO_ERROR, &err, &len);
	if (err == ETIMEDOUT)
		err = EPERM;
	if (err != 0)
		failed(b, i, err);
	else if (!b->probes[i].udp)
		decide(b, i, FW_TRIED_ACCEPT);
}

static void arrived(struct batch *b, int fd)
{
	uint32_t number;

	while (recv(fd, &number, sizeof(number), 0) == (ssize_t)sizeof(number))
		if (number < b->count)
			decide(b, number, FW_TRIED_ACCEPT);
}

static void wait_all(struct batch *b)
{
	uint64_t end = clock_mono_ms() + TRY_WAIT_MS, now;

	while (b->open > 0 && (now = clock_mono_ms()) < end) {
		if (poll(b->fds, b->fd_count, (int)(end - now)) <= 0)
			continue;
		for (size_t i = b->count; i < b->fd_count; i++)
			if (b->fds[i].revents & POLLIN)
				arrived(b, b->fds[i].fd);
		for (size_t i = 0; i < b->count; i++)
			answered(b, i);
	}
	for (size_t i = 0; i < b->count; i++)
		decide(b, i, FW_TRIED_DROP);
}

int try_packets(const struct try_net *net, struct try_probe *probes, size_t count, struct error *e)
{
	struct batch b = { .net = net, .probes = probes, .count = count, .fd_count = count };
	int result;

	b.fds = xcalloc(count * (TRY_PLACES + 1), sizeof(*b.fds));
	for (size_t i = 0; i < count; i++)
		b.fds[i].fd = -1;
	result = listen_all(&b, e);
	for (size_t i = 0; i < count && result == 0; i++)
		result = send_one(&b, i, e);
	if (result == 0)
		wait_all(&b);
	for (size_t i = 0; i < b.fd_count; i++)
		if (b.fds[i].fd != -1)
			close(b.fds[i].fd);
	free(b.fds);
	return result;
}
