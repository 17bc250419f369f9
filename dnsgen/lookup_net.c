/*
 * lookup_net.h.  An answer counts when it comes from the server's address (the sockets are connected), has our random
 * id and repeats our question.  EDNS with 1232 bytes (DNS flag day 2020), so that nothing is fragmented.
 */
#include "dnsgen/lookup_net.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#define EDNS_SIZE 1232
#define UDP_MAX 4096
#define CHUNK 4096
#define DNS_PORT 53

/* "ADDRESS" or "ADDRESS@PORT". */
static socklen_t parse_server(const char *text, struct sockaddr_storage *out)
{
	struct sockaddr_in *in4 = (struct sockaddr_in *)out;
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)out;
	const char *at = strchr(text, '@');
	char address[64];
	uint64_t port = DNS_PORT;
	struct view host = { text, at ? (size_t)(at - text) : strlen(text) };
	memset(out, 0, sizeof(*out));
	if (view_copy(host, address, sizeof(address)) == -1 || (at && view_u64(view_of(at + 1), 65535, &port) == -1))
		return 0;
	if (inet_pton(AF_INET, address, &in4->sin_addr) == 1) {
		in4->sin_family = AF_INET;
		in4->sin_port = htons((uint16_t)port);
		return sizeof(*in4);
	}
	if (inet_pton(AF_INET6, address, &in6->sin6_addr) == 1) {
		in6->sin6_family = AF_INET6;
		in6->sin6_port = htons((uint16_t)port);
		return sizeof(*in6);
	}
	return 0;
}

int exchange_init(struct exchange *x, const char *name, ldns_rr_type type, bool recurse)
{
	uint8_t *wire = NULL;
	size_t size = 0;
	*x = (struct exchange){ .type = type, .fd = -1, .got = BUF_INIT(65535 + 2) };
	x->name = ldns_dname_new_frm_str(name);
	ldns_pkt *p = x->name ? ldns_pkt_query_new(ldns_rdf_clone(x->name), type, LDNS_RR_CLASS_IN,
				    (uint16_t)(recurse ? LDNS_RD | LDNS_AD : 0))
	                      : NULL;
	if (p == NULL)
		return -1;
	ldns_pkt_set_edns_udp_size(p, EDNS_SIZE);
	ldns_pkt_set_edns_do(p, true);
	if (ldns_pkt2wire(&wire, p, &size) == LDNS_STATUS_OK && size < 65535) {
		x->wire = xmalloc(size + 2);
		x->wire[0] = (uint8_t)(size >> 8);
		x->wire[1] = (uint8_t)size;
		memcpy(x->wire + 2, wire, size);
		x->len = size + 2;
	}
	free(wire);
	ldns_pkt_free(p);
	return x->wire ? 0 : -1;
}

static int open_socket(struct exchange *x)
{
	struct sockaddr_storage address;
	socklen_t len = parse_server(x->server, &address);
	if (len == 0) {
		errno = EINVAL;
		return -1;
	}
	x->fd = socket(address.ss_family, (x->tcp ? SOCK_STREAM : SOCK_DGRAM) | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (x->fd == -1)
		return -1;
	if (connect(x->fd, (struct sockaddr *)&address, len) == -1 && errno != EINPROGRESS) {
		int saved = errno;
		exchange_stop(x);
		errno = saved;
		return -1;
	}
	return 0;
}

int exchange_start(struct exchange *x, const char *server)
{
	free(x->server);
	x->server = xstrdup(server);
	x->tcp = false;
	if (getrandom(x->wire + 2, 2, 0) != 2) /* the id */
		return -1;
	if (open_socket(x) == -1)
		return -1;
	if (send(x->fd, x->wire + 2, x->len - 2, MSG_NOSIGNAL) == -1) {
		int saved = errno;
		exchange_stop(x);
		errno = saved;
		return -1;
	}
	return 0;
}

short exchange_events(const struct exchange *x)
{
	return x->tcp && x->sent < x->len ? POLLOUT : POLLIN;
}

/* Is it the answer to what we asked?  Else NULL, and it is as if nothing had come. */
static ldns_pkt *parse_answer(const struct exchange *x, const uint8_t *data, size_t len)
{
	ldns_pkt *p = NULL;
	if (len < 12 || memcmp(data, x->wire + 2, 2) != 0 || ldns_wire2pkt(&p, data, len) != LDNS_STATUS_OK)
		return NULL;
	const ldns_rr *question =
	    ldns_rr_list_rr_count(ldns_pkt_question(p)) == 1 ? ldns_rr_list_rr(ldns_pkt_question(p), 0) : NULL;
	if (ldns_pkt_qr(p) && question != NULL && ldns_rr_get_type(question) == x->type &&
	    ldns_dname_compare(ldns_rr_owner(question), x->name) == 0)
		return p;
	ldns_pkt_free(p);
	return NULL;
}

static int step_tcp(struct exchange *x, ldns_pkt **answer)
{
	if (x->sent < x->len) {
		ssize_t n = send(x->fd, x->wire + x->sent, x->len - x->sent, MSG_NOSIGNAL);
		if (n == -1)
			return errno == EAGAIN || errno == EINTR ? 0 : -1;
		x->sent += (size_t)n;
		return 0;
	}
	size_t room = x->got.max - x->got.len < CHUNK ? x->got.max - x->got.len : CHUNK;
	char *to = buf_reserve(&x->got, room);
	ssize_t n = to ? recv(x->fd, to, room, 0) : 0;
	if (n == -1)
		return errno == EAGAIN || errno == EINTR ? 0 : -1;
	if (n == 0)
		return -1;
	x->got.len += (size_t)n;
	const uint8_t *data = (const uint8_t *)x->got.data;
	size_t want = x->got.len < 2 ? 0 : (size_t)data[0] << 8 | data[1];
	if (x->got.len < 2 || x->got.len - 2 < want)
		return 0;
	*answer = parse_answer(x, data + 2, want);
	return *answer ? 0 : -1;
}

int exchange_step(struct exchange *x, ldns_pkt **answer)
{
	uint8_t data[UDP_MAX];
	if (x->tcp)
		return step_tcp(x, answer);
	ssize_t n = recv(x->fd, data, sizeof(data), 0);
	if (n == -1)
		return errno == EAGAIN || errno == EINTR ? 0 : -1; /* ECONNREFUSED: nobody listens */
	ldns_pkt *p = parse_answer(x, data, (size_t)n);
	if (p == NULL || !ldns_pkt_tc(p)) {
		*answer = p;
		return 0;
	}
	ldns_pkt_free(p);
	exchange_stop(x);
	x->tcp = true;
	x->sent = 0;
	buf_reset(&x->got);
	return open_socket(x);
}

void exchange_stop(struct exchange *x)
{
	if (x->fd != -1)
		close(x->fd);
	x->fd = -1;
}

void exchange_free(struct exchange *x)
{
	exchange_stop(x);
	free(x->wire);
	free(x->server);
	ldns_rdf_deep_free(x->name);
	buf_free(&x->got);
}
