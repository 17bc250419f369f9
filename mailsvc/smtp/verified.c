/*
 * verified.h.  A number is {end, kind, subject and detail of the status}: 31, 2 and 3 + 4 bits.  The end comes first,
 * so that when a part of the table is full the refused, of which a stranger can make any number, go before those who
 * were taken.
 */
#include "mailsvc/smtp/verified.h"

#include <stdio.h>

#include "mailsvc/smtp/shared_table.h"

enum kind { KIND_NONE, KIND_TAKEN, KIND_REFUSED, KIND_UNKNOWN };

#define STATUS_BITS 7
#define END_SHIFT (STATUS_BITS + 2)

static uint64_t seconds_of(int64_t now)
{
	return now > SHARED_TABLE_EPOCH ? (uint64_t)(now - SHARED_TABLE_EPOCH) : 1;
}

static uint64_t end_of(uint64_t value)
{
	return value >> END_SHIFT;
}

static enum kind kind_of(uint64_t value)
{
	return (enum kind)(value >> STATUS_BITS & 3);
}

/* An end that lies further ahead than it can is of a clock that was wrong. */
static bool holds(uint64_t value, uint64_t now)
{
	return value != 0 && end_of(value) > now && end_of(value) <= now + VERIFIED_KEPT;
}

/*
 * The local part as it is written, which only its host understands (RFC 5321 2.4): what it says of one form, in other
 * case, quoted or in letters that fold to the same, is not to refuse or let in another, or a stranger chooses the form.
 */
static void put_key(struct buf *key, const struct next_hop *hop, const char *recipient)
{
	for (size_t i = 0; i < hop->host_count; i++)
		buf_printf(key, "%s %s %u ", hop->lmtp ? "lmtp" : "smtp", hop->hosts[i].name, hop->hosts[i].port);
	buf_puts(key, recipient);
}

struct verified verified_get(
    const struct shared_table *t, const struct next_hop *hop, const char *recipient, int64_t now)
{
	struct buf key = BUF_INIT(8192);
	struct verified v = { .state = VERIFIED_NOT };
	uint64_t value, seconds = seconds_of(now);

	put_key(&key, hop, recipient);
	value = shared_table_get(t, buf_view(&key));
	buf_free(&key);
	if (!holds(value, seconds))
		return v;
	switch (kind_of(value)) {
	case KIND_TAKEN:
		v.state = end_of(value) > seconds + VERIFIED_KEPT - VERIFIED_FRESH ? VERIFIED_TAKEN : VERIFIED_ONCE;
		break;
	case KIND_REFUSED:
		v.state = VERIFIED_REFUSED;
		snprintf(v.enhanced, sizeof(v.enhanced), "5.%u.%u", (unsigned)(value >> 4 & 7), (unsigned)(value & 15));
		break;
	case KIND_UNKNOWN:
		v.state = VERIFIED_UNKNOWN;
		break;
	case KIND_NONE:
		break;
	}
	return v;
}

/* "5.1.1" in STATUS_BITS; 0 when it does not fit, which is 5.0.0. */
static uint64_t pack_status(const char *enhanced)
{
	unsigned subject, detail;

	if (sscanf(enhanced, "5.%3u.%3u", &subject, &detail) != 2 || subject > 7 || detail > 15)
		return 0;
	return (uint64_t)subject << 4 | detail;
}

struct news {
	uint64_t now, value;
};

static bool put(void *arg, uint64_t old, uint64_t *value)
{
	const struct news *n = arg;

	if (kind_of(n->value) == KIND_UNKNOWN && kind_of(old) == KIND_TAKEN && holds(old, n->now))
		return false;
	*value = n->value;
	return true;
}

void verified_put(struct shared_table *t, const struct next_hop *hop, const char *recipient,
    const struct verify_answer *answer, int64_t now)
{
	static const struct {
		enum kind kind;
		uint64_t seconds;
	} kinds[VERIFY_STATUS_COUNT] = {
		[VERIFY_TAKEN] = { KIND_TAKEN, VERIFIED_KEPT },
		[VERIFY_REFUSED] = { KIND_REFUSED, VERIFIED_REFUSED_FOR },
		[VERIFY_UNKNOWN] = { KIND_UNKNOWN, VERIFIED_UNKNOWN_FOR },
	};
	struct buf key = BUF_INIT(8192);
	struct news n = { .now = seconds_of(now) };

	n.value = (n.now + kinds[answer->status].seconds) << END_SHIFT |
	          (uint64_t)kinds[answer->status].kind << STATUS_BITS | pack_status(answer->enhanced);
	put_key(&key, hop, recipient);
	shared_table_update(t, buf_view(&key), put, &n);
	buf_free(&key);
}
