/* replied.h.  What a power loss takes is at most a second reply. */
#include "mailsvc/smtp/replied.h"

#include "mailsvc/smtp/shared_table.h"

/* May there be a reply at this minute?  A time of the future is of a clock that was wrong. */
static bool due(void *arg, uint64_t old, uint64_t *value)
{
	uint64_t now = *(const uint64_t *)arg;

	*value = now;
	return old == 0 || old > now || now - old >= REPLIED_DAYS * 24 * 60;
}

bool replied_take(struct shared_table *t, const char *account, const char *sender, int64_t now)
{
	struct buf key = BUF_INIT(4096);
	uint64_t minutes = now > SHARED_TABLE_EPOCH ? (uint64_t)(now - SHARED_TABLE_EPOCH) / 60 : 0;
	bool may;

	buf_add(&key, account, strlen(account) + 1);
	buf_puts(&key, sender);
	may = shared_table_update(t, buf_view(&key), due, &minutes);
	buf_free(&key);
	return may;
}
