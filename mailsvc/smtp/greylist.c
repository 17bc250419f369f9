/*
 * greylist.h.  A number is when the entry ends, in seconds since SHARED_TABLE_EPOCH, so that entries that wait make
 * room before networks that are known; the lowest bit is 1 in the latter.
 */
#include "mailsvc/smtp/greylist.h"

#include <netinet/in.h>
#include <string.h>

#include "lib/ip.h"
#include "mailsvc/smtp/shared_table.h"

/* Greylisting is about networks: a big sender's second try comes from a neighbour. */
static void put_network(struct buf *key, const struct sockaddr *sa)
{
	const unsigned char *v4 = ip_v4(sa);

	if (v4 != NULL)
		buf_add(key, v4, 3);
	else
		buf_add(key, &((const struct sockaddr_in6 *)(const void *)sa)->sin6_addr, 8);
}

static uint64_t seconds_of(int64_t now)
{
	return now > SHARED_TABLE_EPOCH ? (uint64_t)(now - SHARED_TABLE_EPOCH) : 1;
}

static bool extend(void *arg, uint64_t old, uint64_t *value)
{
	uint64_t now = *(const uint64_t *)arg;

	*value = (now + GREYLIST_KNOWN) << 1 | 1;
	return (old & 1) != 0 && old >> 1 >= now;
}

bool greylist_known(struct shared_table *t, const struct sockaddr *peer, int64_t now)
{
	struct buf key = BUF_INIT(64);
	uint64_t seconds = seconds_of(now);
	bool known;

	put_network(&key, peer);
	known = shared_table_update(t, buf_view(&key), extend, &seconds);
	buf_free(&key);
	return known;
}

static bool begin(void *arg, uint64_t old, uint64_t *value)
{
	(void)old;
	*value = (*(const uint64_t *)arg + GREYLIST_KNOWN) << 1 | 1;
	return true;
}

struct trial {
	uint64_t now;
	unsigned delay, wait;
};

/* The first time writes when the second try is too late. */
static bool try_again(void *arg, uint64_t old, uint64_t *value)
{
	struct trial *trial = arg;
	uint64_t end = old >> 1, first = end - GREYLIST_WAIT_MAX;

	if (old == 0 || end < trial->now || first > trial->now) { /* never, too late, or by a clock that was wrong */
		*value = (trial->now + GREYLIST_WAIT_MAX) << 1;
		trial->wait = trial->delay;
		return true;
	}
	trial->wait = first + trial->delay > trial->now ? (unsigned)(first + trial->delay - trial->now) : 0;
	return false;
}

bool greylist_pass(struct shared_table *t, const struct sockaddr *peer, const char *sender, const char *recipient,
    unsigned delay, int64_t now, unsigned *wait)
{
	struct buf key = BUF_INIT(8192);
	struct trial trial = { .now = seconds_of(now), .delay = delay };
	size_t network;

	put_network(&key, peer);
	network = key.len;
	buf_add(&key, sender, strlen(sender) + 1);
	buf_puts(&key, recipient);
	shared_table_update(t, buf_view(&key), try_again, &trial);
	if (trial.wait == 0)
		shared_table_update(t, (struct view){ key.data, network }, begin, &trial.now);
	buf_free(&key);
	*wait = trial.wait;
	return trial.wait == 0;
}
