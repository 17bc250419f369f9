/* A chained hash of the addresses that have connections now, keyed so that nobody can choose the bucket. */
#include "limits.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "lib/buf.h"
#include "lib/ip.h"
#include "lib/log.h"

#define BUCKETS 4096

struct entry {
	uint64_t key; /* an IPv4 address, or the upper half of an IPv6 one */
	bool v6;
	unsigned count;
	struct entry *next;
};

struct address_counts {
	uint64_t seed;
	struct entry *bucket[BUCKETS];
};

struct address_counts *address_counts_new(void)
{
	struct address_counts *c = xcalloc(1, sizeof(*c));

	if (getrandom(&c->seed, sizeof(c->seed), 0) != sizeof(c->seed))
		fatal("getrandom");
	c->seed |= 1;
	return c;
}

static struct entry **find(struct address_counts *c, const struct sockaddr *sa, uint64_t *key, bool *v6)
{
	const struct sockaddr_in6 *six = (const void *)sa;
	const unsigned char *v4 = ip_v4(sa);
	struct entry **at;

	*v6 = v4 == NULL;
	*key = 0;
	memcpy(key, *v6 ? six->sin6_addr.s6_addr : v4, *v6 ? sizeof(*key) : 4);
	at = &c->bucket[((*key ^ c->seed) * 0x9e3779b97f4a7c15u * c->seed) >> 40 & (BUCKETS - 1)];
	while (*at != NULL && ((*at)->key != *key || (*at)->v6 != *v6))
		at = &(*at)->next;
	return at;
}

bool address_counts_add(struct address_counts *c, const struct sockaddr *sa, unsigned max)
{
	struct entry **at, *e;
	uint64_t key;
	bool v6;

	if (ip_is_loopback(sa))
		return true;
	at = find(c, sa, &key, &v6);
	e = *at;
	if (e == NULL) {
		e = xcalloc(1, sizeof(*e));
		e->key = key;
		e->v6 = v6;
		*at = e;
	}
	if (e->count >= max && e->count > 0)
		return false;
	e->count++;
	return true;
}

void address_counts_remove(struct address_counts *c, const struct sockaddr *sa)
{
	struct entry **at, *e;
	uint64_t key;
	bool v6;

	if (ip_is_loopback(sa))
		return;
	at = find(c, sa, &key, &v6);
	e = *at;
	if (e == NULL || --e->count > 0)
		return;
	*at = e->next;
	free(e);
}
