/*
 * Listening sockets.  A service listens on the host's addresses; where such an address is not on this machine and the
 * site has listen.loopback, on loopback instead.  A reload opens what is new before it closes what is gone, and keeps
 * what stays, so no connection waits or is lost.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "mailsvc/monitor/internal.h"

#define BACKLOG 1024
#define ADDRESSES_MAX 4

struct place { /* an address to listen on; the port is a service's */
	struct sockaddr_storage address;
	socklen_t length;
};
struct places {
	struct place at[ADDRESSES_MAX];
	size_t count;
};

static int parse_place(const char *text, struct place *out)
{
	struct sockaddr_in *v4 = (struct sockaddr_in *)&out->address;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&out->address;

	memset(out, 0, sizeof(*out));
	if (inet_pton(AF_INET, text, &v4->sin_addr) == 1) {
		v4->sin_family = AF_INET;
		out->length = sizeof(*v4);
		return 0;
	}
	if (inet_pton(AF_INET6, text, &v6->sin6_addr) == 1) {
		v6->sin6_family = AF_INET6;
		out->length = sizeof(*v6);
		return 0;
	}
	return -1;
}

static void set_port(struct sockaddr_storage *address, uint16_t port)
{
	if (address->ss_family == AF_INET)
		((struct sockaddr_in *)address)->sin_port = htons(port);
	else
		((struct sockaddr_in6 *)address)->sin6_port = htons(port);
}

void listeners_describe(const struct bound *b, char *address, size_t size, unsigned *port)
{
	const struct sockaddr_in *v4 = (const struct sockaddr_in *)&b->address;
	const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&b->address;
	bool is4 = b->address.ss_family == AF_INET;

	*port = ntohs(is4 ? v4->sin_port : v6->sin6_port);
	if (inet_ntop(b->address.ss_family, is4 ? (const void *)&v4->sin_addr : (const void *)&v6->sin6_addr, address,
		(socklen_t)size) == NULL)
		address[0] = '\0';
}

/* Is the address on this machine?  0, or -1 with errno. */
static int probe(const struct place *p)
{
	int fd = socket(p->address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0), r, saved;

	if (fd < 0)
		return -1;
	r = bind(fd, (const struct sockaddr *)&p->address, p->length);
	saved = errno;
	close(fd);
	errno = saved;
	return r;
}

static void add_place(struct places *all, const struct place *p)
{
	for (size_t i = 0; i < all->count; i++) {
		if (memcmp(&all->at[i].address, &p->address, sizeof(p->address)) == 0)
			return;
	}
	if (all->count < ADDRESSES_MAX)
		all->at[all->count++] = *p;
}

/* One of the host's addresses, or loopback in its stead. */
static int want_place(const struct site *site, const char *key, const char *text, struct places *all, struct error *e)
{
	static const char *const loopback[] = { "127.0.0.1", "::1" };
	struct place p;

	if (text[0] == '\0')
		return 0;
	if (parse_place(text, &p) < 0)
		return error_set(e, "host.%s: %s is not an address", key, text);
	if (probe(&p) == 0) {
		add_place(all, &p);
		return 0;
	}
	if (errno != EADDRNOTAVAIL && errno != EAFNOSUPPORT)
		return error_errno(e, "cannot listen on %s (host.%s)", text, key);
	if (!site->listen.loopback)
		return error_set(e,
		    "cannot listen on %s: host.%s is not an address of this machine; add it to an interface, correct "
		    "host.%s, or set listen.loopback = true to listen on loopback",
		    text, key, key);
	for (size_t i = 0; i < 2; i++) { /* ::1 is left out on a machine without it */
		if (parse_place(loopback[i], &p) == 0 && probe(&p) == 0)
			add_place(all, &p);
	}
	return 0;
}

static int bind_error(const struct bound *b, int err, struct error *e)
{
	char address[64];
	unsigned port;
	const char *what = "";

	listeners_describe(b, address, sizeof(address), &port);
	if (err == EADDRINUSE)
		what = "; another program listens there: stop it (ss -ltnp shows which) or set port_offset";
	else if (err == EACCES || err == EPERM)
		what = "; start as root, or set port_offset so that every port is above 1023";
	errno = err;
	return error_set(
	    e, "cannot listen on %s port %u (%s): %s%s", address, port, services[b->service].name, strerror(err), what);
}

static int open_one(struct bound *b, struct error *e)
{
	int fd = socket(b->address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), on = 1;

	if (fd < 0)
		return bind_error(b, errno, e);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (b->address.ss_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
	if (bind(fd, (const struct sockaddr *)&b->address, b->length) < 0 || listen(fd, BACKLOG) < 0) {
		bind_error(b, errno, e);
		close(fd);
		return -1;
	}
	b->fd = fd;
	return 0;
}

static const struct bound *find(const struct listeners *all, const struct bound *b)
{
	for (size_t i = 0; all != NULL && i < all->count; i++) {
		if (all->at[i].service == b->service &&
		    memcmp(&all->at[i].address, &b->address, sizeof(b->address)) == 0)
			return &all->at[i];
	}
	return NULL;
}

static int add_bound(const struct place *p, enum service service, uint16_t port, const struct listeners *old,
    struct listeners *out, struct error *e)
{
	struct bound b = { .service = service, .address = p->address, .length = p->length, .fd = -1 };
	const struct bound *kept;

	set_port(&b.address, port);
	kept = find(old, &b);
	if (kept != NULL)
		b.fd = kept->fd;
	else if (open_one(&b, e) < 0)
		return -1;
	out->at[out->count++] = b; /* SERVICE_COUNT * ADDRESSES_MAX fits */
	return 0;
}
_Static_assert(SERVICE_COUNT *ADDRESSES_MAX <= LISTENERS_MAX, "every service on every address");

int listeners_open(const struct site *site, const struct listeners *old, struct listeners *out, struct error *e)
{
	struct places places = { 0 };

	out->count = 0;
	if (want_place(site, "ipv4", site->host.ipv4, &places, e) < 0 ||
	    want_place(site, "ipv6", site->host.ipv6, &places, e) < 0)
		return -1;
	if (places.count == 0)
		return error_set(e, "there is no address to listen on; set host.ipv4 or host.ipv6");
	for (int s = 0; s < SERVICE_COUNT; s++) {
		for (size_t i = 0; site->listen.on[s] && i < places.count; i++) {
			if (add_bound(&places.at[i], (enum service)s, site_port(site, (enum service)s), old, out, e) <
			    0) {
				listeners_retire(out, old);
				return -1;
			}
		}
	}
	return 0;
}

unsigned listeners_retire(struct listeners *old, const struct listeners *current)
{
	unsigned changed = 0;

	for (size_t i = 0; current != NULL && i < current->count; i++) {
		if (find(old, &current->at[i]) == NULL)
			changed |= 1u << current->at[i].service;
	}
	for (size_t i = 0; i < old->count; i++) {
		if (find(current, &old->at[i]) == NULL) {
			changed |= 1u << old->at[i].service;
			close(old->at[i].fd);
		}
	}
	old->count = 0;
	return changed;
}

int listeners_local(const struct site *site, const char *name, int type, mode_t mode, struct error *e)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	char *path = xasprintf("%s/%s", site->run_dir, name);
	int fd = -1;

	if (view_copy(view_of(path), address.sun_path, sizeof(address.sun_path)) < 0) {
		error_set(e, "%s: a socket's path has at most %zu bytes; set a shorter run_dir", path,
		    sizeof(address.sun_path) - 1);
		goto out;
	}
	unlink(path); /* STATE/lock is ours: a socket that is there is left over */
	fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0) {
		error_errno(e, "%s", path);
		goto out;
	}
	mode_t mask = umask(0777 & ~mode);
	int r = bind(fd, (struct sockaddr *)&address, sizeof(address));
	umask(mask);
	if (r < 0 || chmod(path, mode) < 0 || listen(fd, BACKLOG) < 0) {
		error_errno(e, "cannot listen on %s", path);
		close(fd);
		fd = -1;
	}
out:
	free(path);
	return fd;
}
