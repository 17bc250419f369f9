/*
 * A chained hash table from address to count.  An entry lives while its count is above zero, so the table is never
 * larger than the number of connections.  The hash is keyed: a peer that owns a /48 cannot aim for one chain.
 */
#include "mailsvc/smtp/peers.h"

#include <netinet/in.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "lib/buf.h"
#include "lib/ip.h"
#include "lib/log.h"

#define BUCKETS 4096

struct entry {
	struct entry *next;
	struct key {
		uint64_t bits; /* an IPv4 address, or the first half of an IPv6 one */
		bool v4;
	} key;
	unsigned count;
	uint64_t bytes;
};

struct smtp_peers {
	uint64_t seed;
	struct entry *bucket[BUCKETS];
};

struct smtp_peers *smtp_peers_new(void)
{
	struct smtp_peers *p = xcalloc(1, sizeof(*p));

	if (getrandom(&p->seed, sizeof(p->seed), GRND_NONBLOCK) != sizeof(p->seed))
		p->seed = (uint64_t)(uintptr_t)p;
	return p;
}

void smtp_peers_free(struct smtp_peers *p)
{
	if (p == NULL)
		return;
	for (size_t i = 0; i < BUCKETS; i++)
		while (p->bucket[i] != NULL) {
			struct entry *e = p->bucket[i];

			p->bucket[i] = e->next;
			free(e);
		}
	free(p);
}

static struct key key_of(const struct sockaddr *sa)
{
	const unsigned char *v4 = ip_v4(sa);
	struct key key = { 0, v4 != NULL };

	if (v4 != NULL)
		memcpy(&key.bits, v4, 4);
	else if (sa->sa_family == AF_INET6)
		memcpy(&key.bits, &((const struct sockaddr_in6 *)(const void *)sa)->sin6_addr, sizeof(key.bits));
	return key;
}

static struct entry **find(const struct smtp_peers *p, struct key key)
{
	uint64_t h = (key.bits ^ p->seed) * 0x9e3779b97f4a7c15u;
	struct entry **e = (struct entry **)&p->bucket[(h >> 32) % BUCKETS];

	while (*e != NULL && ((*e)->key.bits != key.bits || (*e)->key.v4 != key.v4))
		e = &(*e)->next;
	return e;
}

bool smtp_peers_enter(struct smtp_peers *p, const struct sockaddr *sa, unsigned limit)
{
	struct key key = key_of(sa);
	struct entry **e = find(p, key);

	if (*e == NULL) {
		if (limit == 0)
			return false;
		*e = xcalloc(1, sizeof(**e));
		(*e)->key = key;
	}
	if ((*e)->count >= limit)
		return false;
	(*e)->count++;
	return true;
}

void smtp_peers_leave(struct smtp_peers *p, const struct sockaddr *sa)
{
	struct entry **at = find(p, key_of(sa)), *e = *at;

	if (e != NULL && --e->count == 0) {
		*at = e->next;
		free(e);
	}
}

unsigned smtp_peers_count(const struct smtp_peers *p, const struct sockaddr *sa)
{
	struct entry **e = find(p, key_of(sa));

	return *e == NULL ? 0 : (*e)->count;
}

uint64_t *smtp_peers_bytes(struct smtp_peers *p, const struct sockaddr *sa)
{
	struct entry *e = *find(p, key_of(sa));

	if (e == NULL)
		fatalx("a peer that never entered");
	return &e->bytes;
}
