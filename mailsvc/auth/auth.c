/*
 * The auth role: the one process that sees credentials.  It takes CHECK from login and smtp and REDEEM from imap, and
 * has passwords hashed by the hash role.  A peer that asks what it may not, or in a wrong form, is started again.
 */
#include <openssl/rand.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/clock.h"
#include "mailsvc/auth/internal.h"
#include "site/route.h"

void auth_send(struct auth *auth, const struct asker *to, const struct auth_answer *answer)
{
	struct asking_peer *peer = &auth->peers[to->role][to->instance];
	struct buf out = BUF_INIT(IMSG_MAX);

	if (peer->chan == NULL || peer->generation != to->generation)
		return;
	buf_put_u8(&out, (uint8_t)answer->status);
	buf_put_str(&out, answer->address);
	buf_add(&out, answer->ticket, AUTH_TICKET_LEN);
	buf_put_u32(&out, answer->protocols);
	buf_put_str(&out, answer->message);
	buf_put_u64(&out, answer->exchange);
	chan_send(peer->chan, AUTH_MSG_ANSWER, to->id, buf_view(&out), -1);
	explicit_bzero(out.data, out.cap);
	buf_free(&out);
}

static bool may_check(enum role_id role, unsigned protocol)
{
	if (role == ROLE_SMTP)
		return protocol == PROTOCOL_SUBMISSION;
	return role == ROLE_LOGIN && (protocol == PROTOCOL_IMAP || protocol == PROTOCOL_POP3);
}

static int receive_check(struct asking_peer *peer, const struct asker *asker, struct imsg *m)
{
	struct cursor c = cursor_of(m->data.ptr, m->data.len);
	unsigned protocol = cursor_u8(&c);
	struct view user = cursor_blob(&c, AUTH_USER_MAX), password = cursor_blob(&c, AUTH_PASSWORD_MAX);
	struct source source;

	if (source_get(&c, &source) < 0 || !cursor_done(&c) || !may_check(peer->role, protocol))
		return -1;
	check_begin(peer->auth, asker, (enum protocol)protocol, user, password, &source);
	explicit_bzero((void *)(uintptr_t)m->data.ptr, m->data.len);
	return 0;
}

static int receive_first(struct asking_peer *peer, const struct asker *asker, struct imsg *m)
{
	struct cursor c = cursor_of(m->data.ptr, m->data.len);
	unsigned protocol = cursor_u8(&c), use = cursor_u8(&c);
	struct view data = cursor_bytes(&c, SCRAM_CHANNEL_LEN), message = cursor_blob(&c, SCRAM_CLIENT_MAX);
	struct scram_channel channel = { .use = (enum scram_channel_use)use };
	struct source source;

	if (source_get(&c, &source) < 0 || !cursor_done(&c) || !may_check(peer->role, protocol) ||
	    use > SCRAM_CHANNEL_BOUND)
		return -1;
	memcpy(channel.data, data.ptr, sizeof(channel.data));
	exchange_begin(peer->auth, asker, (enum protocol)protocol, message, &channel, &source);
	return 0;
}

static int receive_final(struct asking_peer *peer, const struct asker *asker, struct imsg *m)
{
	struct cursor c = cursor_of(m->data.ptr, m->data.len);
	uint64_t exchange = cursor_u64(&c);
	struct view message = cursor_blob(&c, SCRAM_CLIENT_MAX);

	if (!cursor_done(&c) || (peer->role != ROLE_LOGIN && peer->role != ROLE_SMTP))
		return -1;
	exchange_end(peer->auth, asker, exchange, message);
	return 0;
}

static int receive_redeem(struct asking_peer *peer, const struct asker *asker, struct imsg *m)
{
	if (peer->role != ROLE_IMAP || m->data.len != AUTH_TICKET_LEN)
		return -1;
	check_redeem(peer->auth, asker, (const uint8_t *)m->data.ptr);
	return 0;
}

static void drop_peer(struct asking_peer *peer, const char *why)
{
	if (why != NULL)
		role_kill_peer(peer->auth->ctx, peer->role, peer->instance, why);
	chan_free(peer->chan);
	peer->chan = NULL;
}

static void on_message(struct chan *chan, struct imsg *m, void *arg)
{
	struct asking_peer *peer = arg;
	struct asker asker = {
		.role = peer->role, .instance = peer->instance, .generation = peer->generation, .id = m->id
	};
	bool request = m->fd < 0 && m->id != 0;
	int r = -1;

	(void)chan;
	if (request && m->type == AUTH_MSG_CHECK)
		r = receive_check(peer, &asker, m);
	else if (request && m->type == AUTH_MSG_REDEEM)
		r = receive_redeem(peer, &asker, m);
	else if (request && m->type == AUTH_MSG_SCRAM_FIRST)
		r = receive_first(peer, &asker, m);
	else if (request && m->type == AUTH_MSG_SCRAM_FINAL)
		r = receive_final(peer, &asker, m);
	if (r == 0)
		return;
	log_warnx("event=protocol peer=%s type=%u result=closed", role_name(peer->role), m->type);
	drop_peer(peer, "malformed request");
}

static void on_closed(struct chan *chan, void *arg)
{
	drop_peer(arg, chan_broken(chan) ? "malformed message" : NULL);
}

static void on_hash_broken(void *arg)
{
	struct worker *w = arg;

	role_kill_peer(w->auth->ctx, ROLE_HASH, (unsigned)(w - w->auth->workers), "malformed message");
}

/* Features -------------------------------------------------------------------------------------------------------- */

/* Offered where all who have a password have keys too: the others could not log in with a client that prefers it. */
static bool all_have_keys(const struct auth *auth)
{
	size_t with = 0;

	for (size_t i = 0; i < auth->credentials.count; i++) {
		const struct credential *c = &auth->credentials.at[i];

		if (credentials_locked(c->hash) || site_find_account(auth->ctx->site, c->address) == NULL)
			continue;
		if (!c->has_keys)
			return false;
		with++;
	}
	return with > 0;
}

static void send_features(const struct auth *auth, struct asking_peer *p)
{
	uint8_t scram = auth->scram;

	if (p->chan != NULL && (p->role == ROLE_LOGIN || p->role == ROLE_SMTP))
		chan_send(p->chan, AUTH_MSG_FEATURES, 0, (struct view){ (const char *)&scram, 1 }, -1);
}

void auth_tell_features(struct auth *auth)
{
	bool scram = all_have_keys(auth);

	if (scram == auth->scram)
		return;
	auth->scram = scram;
	for (unsigned role = 0; role < ROLE_COUNT; role++)
		for (unsigned i = 0; i < ROLE_INSTANCES_MAX; i++)
			send_features(auth, &auth->peers[role][i]);
}

const uint8_t *auth_salt_secret(const struct auth *auth)
{
	return auth->credentials.has_secret ? auth->credentials.secret : auth->salt_secret;
}

static void load_credentials(struct auth *auth)
{
	int *fd = &auth->ctx->fds[ROLE_FD_CREDENTIALS];
	struct credentials next;
	struct error e;

	if (*fd < 0)
		return;
	if (credentials_load_fd(*fd, &next, &e) < 0) {
		role_alert(auth->ctx, "credentials",
		    "the credentials file is wrong and the former one stays in force: %s", e.text);
	} else {
		learn_keep_former(&auth->credentials, &next);
		credentials_free(&auth->credentials);
		auth->credentials = next;
	}
	close(*fd);
	*fd = -1;
}

static int init(struct role_ctx *ctx, struct error *e)
{
	struct auth *auth = xcalloc(1, sizeof(*auth));

	ctx->state = auth;
	auth->ctx = ctx;
	if (RAND_bytes(auth->key, sizeof(auth->key)) != 1 ||
	    RAND_bytes(auth->salt_secret, sizeof(auth->salt_secret)) != 1)
		return error_set(e, "no random bytes");
	auth->throttle = throttle_new(auth->key);
	auth->cache = table_new(CACHE_MAX);
	auth->queue = hashqueue_new();
	auth->tickets = tickets_new();
	auth->guard = guard_client_new(ctx->base);
	TAILQ_INIT(&auth->jobs);
	TAILQ_INIT(&auth->exchanges);
	auth->learned = BUF_INIT(IMSG_MAX);
	digest_of(auth->key, "", NULL, 0); /* OpenSSL fetches its HMAC now, not behind the sandbox */
	load_credentials(auth);
	auth_tell_features(auth);
	return 0;
}

static void peer(struct role_ctx *ctx, enum role_id id, unsigned instance, int fd)
{
	static const struct chan_ops ops = { .message = on_message, .closed = on_closed };
	struct auth *auth = ctx->state;
	struct worker *w = &auth->workers[instance];
	struct asking_peer *p = &auth->peers[id][instance];

	if (id == ROLE_GUARD) {
		guard_client_attach(auth->guard, fd);
		return;
	}
	if (id == ROLE_HASH) {
		w->auth = auth;
		if (w->rpc == NULL) {
			w->rpc = rpc_new(ctx->base, NULL, NULL);
			rpc_on_broken(w->rpc, on_hash_broken, w);
		}
		rpc_attach(w->rpc, fd);
		check_kick(auth);
		return;
	}
	chan_free(p->chan);
	*p = (struct asking_peer){ .auth = auth, .role = id, .instance = instance, .generation = p->generation + 1 };
	p->chan = chan_new(ctx->base, fd, &ops, p);
	send_features(auth, p);
}

static void reload(struct role_ctx *ctx)
{
	load_credentials(ctx->state);
	auth_tell_features(ctx->state);
}

static void status(struct role_ctx *ctx, struct buf *out)
{
	const struct auth *auth = ctx->state;

	buf_printf(out, "\"accounts\": %zu, \"queued\": %zu, \"waiting\": %zu, \"logins\": %llu, \"refusals\": %llu",
	    auth->credentials.count, hashqueue_length(auth->queue), auth->check_count, (unsigned long long)auth->logins,
	    (unsigned long long)auth->refusals);
}

const struct role role_auth = { .id = ROLE_AUTH,
	.name = "auth",
	.user = "mailadm-auth",
	.init = init,
	.peer = peer,
	.reload = reload,
	.status = status };
