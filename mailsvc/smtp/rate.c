/*
 * rate.h.  Keys have a letter before the address or domain, so that rates and marks of one table do not meet.  The mark
 * of a stopped account is the greatest number there is: what makes room in a full table is always something else.
 */
#include "mailsvc/smtp/rate.h"

#include <string.h>

#define HOUR 3600
#define DAY 86400
#define STOPPED ((UINT64_C(1) << RATE_BITS) - 1)

enum kind { KIND_ACCOUNT = 'a', KIND_DOMAIN = 'd', KIND_TRIED = 't', KIND_STOPPED = 's' };

static void key_of(struct buf *out, enum kind kind, const char *name)
{
	buf_reset(out);
	buf_addc(out, (char)kind);
	buf_puts(out, name);
}

static bool mark(void *arg, uint64_t old, uint64_t *value)
{
	(void)arg;
	*value = STOPPED;
	return old != STOPPED;
}

static bool take_away(void *arg, uint64_t old, uint64_t *value)
{
	(void)arg;
	*value = 0;
	return old != 0;
}

static unsigned take(struct shared_table *t, struct buf *key, enum kind kind, const char *name, unsigned limit,
    unsigned seconds, int64_t now_ms)
{
	key_of(key, kind, name);
	return limit == 0 ? 0 : shared_table_rate(t, buf_view(key), limit, seconds, 1, now_ms);
}

enum rate_verdict rate_take(
    struct shared_table *t, const char *account, const struct rate_limits *limits, int64_t now_ms, unsigned *seconds)
{
	struct buf key = BUF_INIT(1024);
	const char *at = strrchr(account, '@');
	enum rate_verdict verdict = RATE_OK;

	if (rate_stopped(t, account)) {
		verdict = RATE_STOPPED;
	} else if (take(t, &key, KIND_TRIED, account, limits->stop, DAY, now_ms) > 0) {
		key_of(&key, KIND_STOPPED, account);
		verdict = shared_table_update(t, buf_view(&key), mark, NULL) ? RATE_STOPS : RATE_STOPPED;
	} else if ((*seconds = take(t, &key, KIND_ACCOUNT, account, limits->account, HOUR, now_ms)) > 0 ||
		   (at != NULL && (*seconds = take(t, &key, KIND_DOMAIN, at + 1, limits->domain, HOUR, now_ms)) > 0)) {
		verdict = RATE_LATER;
	}
	buf_free(&key);
	return verdict;
}

bool rate_stopped(const struct shared_table *t, const char *account)
{
	struct buf key = BUF_INIT(1024);
	bool stopped;

	key_of(&key, KIND_STOPPED, account);
	stopped = shared_table_get(t, buf_view(&key)) == STOPPED;
	buf_free(&key);
	return stopped;
}

bool rate_resume(struct shared_table *t, const char *account)
{
	static const enum kind counts[] = { KIND_ACCOUNT, KIND_TRIED };
	struct buf key = BUF_INIT(1024);
	bool was;

	for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
		key_of(&key, counts[i], account);
		shared_table_update(t, buf_view(&key), take_away, NULL);
	}
	key_of(&key, KIND_STOPPED, account);
	was = shared_table_update(t, buf_view(&key), take_away, NULL);
	buf_free(&key);
	return was;
}
