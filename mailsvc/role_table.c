/*
 * The table of roles: who exists, who may talk to whom, and what monitor hands to each.  This is the trust of the
 * whole host on one page.
 */
#include <string.h>

#include "lib/log.h"
#include "mailsvc/role_proto.h"

#define FD(f) (1u << ROLE_FD_##f)
#define SVC(s) (1u << SERVICE_##s)

static const struct role_policy policies[ROLE_COUNT] = {
	[ROLE_AUTH] = { .fds = FD(CREDENTIALS), .start_s = 30 },
	[ROLE_HASH] = { .per_core = 1, .start_s = 30 },
	[ROLE_STORE] = { .fds = FD(STORE_DIR), .start_s = 600 },
	[ROLE_LOGIN] = { .fds = FD(TLS),
	    .services = SVC(IMAP) | SVC(IMAPS) | SVC(POP3) | SVC(POP3S),
	    .start_s = 30,
	    .front = true },
	[ROLE_IMAP] = { .per_core = 1, .fds = FD(STORE_DIR), .start_s = 30, .front = true },
	[ROLE_SMTP] = { .per_core = 1,
	    .fds = FD(TLS) | FD(REPLIED) | FD(GREYLIST) | FD(RATES) | FD(SOURCES) | FD(VERIFIED) | FD(SRS),
	    .services = SVC(SMTP) | SVC(SUBMISSION) | SVC(SUBMISSIONS),
	    .local_submission = true,
	    .start_s = 30,
	    .front = true },
	[ROLE_RESOLVER] = { .start_s = 30 },
	[ROLE_KEYS] = { .fds = FD(DKIM_KEYS), .start_s = 30 },
	[ROLE_SEND] = { .fds = FD(SECRETS) | FD(MTA_STS) | FD(TLS_COUNTS), .start_s = 30, .front = true },
	[ROLE_GUARD] = { .fds = FD(BANS_DIR), .start_s = 30 },
	[ROLE_FTS] = { .fds = FD(STORE_DIR) | FD(FTS_DIR), .start_s = 30, .front = true },
	[ROLE_FETCH] = { .start_s = 30 },
};

static const char *const names[ROLE_COUNT] = { "monitor", "auth", "hash", "store", "login", "imap", "smtp", "resolver",
	"keys", "send", "guard", "fts", "fetch" };

/* One half of the matrix, who serves whom; role_may_talk mirrors it. */
static const unsigned talks[ROLE_COUNT] = {
	[ROLE_AUTH] = 1u << ROLE_HASH | 1u << ROLE_LOGIN | 1u << ROLE_IMAP | 1u << ROLE_SMTP,
	[ROLE_IMAP] = 1u << ROLE_LOGIN,
	[ROLE_STORE] = 1u << ROLE_IMAP | 1u << ROLE_SMTP | 1u << ROLE_SEND | 1u << ROLE_FTS,
	[ROLE_RESOLVER] = 1u << ROLE_SEND | 1u << ROLE_SMTP | 1u << ROLE_FETCH,
	[ROLE_KEYS] = 1u << ROLE_SMTP | 1u << ROLE_SEND,
	[ROLE_SEND] = 1u << ROLE_SMTP,
	[ROLE_GUARD] = 1u << ROLE_AUTH | 1u << ROLE_LOGIN | 1u << ROLE_SMTP,
	[ROLE_FTS] = 1u << ROLE_IMAP,
	[ROLE_FETCH] = 1u << ROLE_SEND,
};

const struct role_policy *role_policy(enum role_id id)
{
	return &policies[id];
}

const char *role_name(enum role_id id)
{
	return (unsigned)id < ROLE_COUNT ? names[id] : "nobody";
}

bool role_may_talk(enum role_id a, enum role_id b)
{
	if ((unsigned)a >= ROLE_COUNT || (unsigned)b >= ROLE_COUNT || a == b)
		return false;
	if (a == ROLE_MONITOR || b == ROLE_MONITOR)
		return true;
	return (talks[a] >> b & 1) || (talks[b] >> a & 1);
}

bool role_may_kill(enum role_id by, enum role_id peer)
{
	return role_may_talk(by, peer) && by != ROLE_MONITOR && (talks[by] >> peer & 1);
}

const struct role *role_by_id(enum role_id id)
{
	static const struct role *const roles[ROLE_COUNT] = { NULL, &role_auth, &role_hash, &role_store, &role_login,
		&role_imap, &role_smtp, &role_resolver, &role_keys, &role_send, &role_guard, &role_fts, &role_fetch };

	return (unsigned)id < ROLE_COUNT ? roles[id] : NULL;
}

void role_log_level(const struct site *site)
{
	static const struct {
		const char *name;
		enum log_level level;
	} levels[] = { { "error", LOG_LEVEL_ERROR }, { "warn", LOG_LEVEL_WARN }, { "debug", LOG_LEVEL_DEBUG } };

	for (size_t i = 0; i < sizeof(levels) / sizeof(levels[0]); i++) {
		if (strcmp(site->log.level, levels[i].name) == 0) {
			log_set_level(levels[i].level);
			return;
		}
	}
	log_set_level(LOG_LEVEL_INFO);
}
