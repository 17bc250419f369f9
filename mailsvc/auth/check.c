/*
 * Deciding a login.  In order: throttling, the memory of what was right or wrong a moment ago, a hash.  An unknown
 * account goes the same way with somebody's real hash line, and a failed answer comes a fixed time after its request:
 * neither the answer nor its time says whether an account exists.
 */
#include <stdlib.h>
#include <string.h>

#include "lib/clock.h"
#include "lib/text.h"
#include "mailsvc/auth/internal.h"
#include "site/route.h"

/* When the host has no account yet: a yescrypt of default cost that nothing matches. */
#define NOBODY_HASH "$y$j9T$mH5pVQ0a0c0C3yT1mL0h0.$uA4NRkpcqnT9ByTNhcJmdV3fPwcTfFSvXsgvuFX0xb1"

int64_t check_now(void)
{
	return (int64_t)(clock_mono_ms() / 1000);
}

static const char *protocol_name(enum protocol p)
{
	return p == PROTOCOL_IMAP ? "imap" : p == PROTOCOL_POP3 ? "pop3" : "submission";
}

static void log_login(const struct check *c, const char *result)
{
	struct buf user = BUF_INIT(2048);

	text_escape(&user, view_of(c->account[0] != '\0' ? c->account : c->tried), ADDRESS_MAX);
	log_info("event=login user=%s ip=%s proto=%s result=%s", buf_str(&user), c->source.text,
	    protocol_name(c->protocol), result);
	buf_free(&user);
}

void check_free(struct check *c)
{
	c->auth->check_count--;
	if (c->timer != NULL)
		event_free(c->timer);
	free(c);
}

static void on_delay(evutil_socket_t fd, short what, void *arg)
{
	struct check *c = arg;

	(void)fd;
	(void)what;
	auth_send(c->auth, &c->asker, &c->answer);
	check_free(c);
}

static void answer_later(struct check *c, enum auth_status status)
{
	uint64_t past = clock_mono_ms() - c->asked;
	uint64_t left = past < FAILED_DELAY_MS ? FAILED_DELAY_MS - past : 0;
	struct timeval delay = { .tv_sec = (time_t)(left / 1000), .tv_usec = (suseconds_t)(left % 1000 * 1000) };

	c->answer = (struct auth_answer){ .status = status };
	c->auth->refusals++;
	c->timer = evtimer_new(c->auth->ctx->base, on_delay, c);
	if (c->timer == NULL || event_add(c->timer, &delay) < 0)
		on_delay(-1, 0, c);
}

static struct guard_source guard_source(const struct source *s)
{
	unsigned char bytes[16] = { 0 };
	struct guard_source who;

	memcpy(bytes, s->key + 1, s->length - 1);
	guard_source_make(s->loopback ? 0 : s->key[0], bytes, &who);
	return who;
}

/* When it was stopped nobody looked whether the password is right: a user whom strangers keep out has but one. */
static void tell_offence(const struct check *c)
{
	struct guard_source who = guard_source(&c->source);

	if (who.family != 0 && throttle_offends(c->auth->throttle, &c->source, &c->wrong, check_now()))
		guard_offence_of(c->auth->guard, OFFENCE_LOGIN, &who);
}

void check_deny(struct check *c)
{
	throttle_failed(c->auth->throttle, &c->source, c->account, &c->wrong, check_now());
	tell_offence(c);
	log_login(c, "denied");
	answer_later(c, AUTH_DENIED);
}

static void unavailable(struct check *c)
{
	log_login(c, "unavailable");
	c->answer = (struct auth_answer){ .status = AUTH_UNAVAILABLE };
	auth_send(c->auth, &c->asker, &c->answer);
	check_free(c);
}

/* The password is right.  The site may have changed while it was hashed. */
void check_admit(struct check *c)
{
	const struct site_account *account = site_find_account(c->auth->ctx->site, c->account);
	struct auth_answer *a = &c->answer;

	if (account == NULL || !(account->protocols & c->protocol)) {
		check_deny(c);
		return;
	}
	*a = (struct auth_answer){ .status = AUTH_OK, .protocols = account->protocols };
	view_copy(view_of(account->address), a->address, sizeof(a->address));
	memcpy(a->message, c->proof, sizeof(a->message));
	if (c->protocol != PROTOCOL_SUBMISSION &&
	    ticket_issue(c->auth->tickets, a->address, c->protocol, check_now(), a->ticket) < 0) {
		unavailable(c);
		return;
	}
	throttle_succeeded(c->auth->throttle, &c->source, c->account, check_now());
	struct guard_source who = guard_source(&c->source);
	guard_login(c->auth->guard, &who);
	c->auth->logins++;
	log_login(c, "ok");
	auth_send(c->auth, &c->asker, a);
	check_free(c);
}

static void job_free(struct auth *auth, struct job *job)
{
	TAILQ_REMOVE(&auth->jobs, job, entry);
	explicit_bzero((void *)(uintptr_t)job->password.ptr, job->password.len);
	free((void *)(uintptr_t)job->password.ptr);
	explicit_bzero(job->hash, sizeof(job->hash));
	free(job);
}

static void job_end(struct auth *auth, struct job *job, void (*finish)(struct check *))
{
	struct check *c;

	while ((c = TAILQ_FIRST(&job->checks)) != NULL) {
		TAILQ_REMOVE(&job->checks, c, entry);
		finish(c);
	}
	job_free(auth, job);
}

/* hash and keys: better ones that were made of a right password, or "". */
static void job_hashed(struct auth *auth, struct job *job, bool matches, const char *hash, const char *keys)
{
	/* A reload may have brought another hash, or taken the account away. */
	const char *current = credentials_find(&auth->credentials, job->account);
	bool right = matches && job->real && current != NULL && strcmp(current, job->hash) == 0;

	if (right) {
		if (hash[0] != '\0' || keys[0] != '\0')
			learn_take(auth, job->account, hash, keys);
		table_put(auth->cache, &job->right, check_now(), check_now() + CACHE_LIFE_S);
	}
	job_end(auth, job, right ? check_admit : check_deny);
}

static void on_result(void *arg, enum rpc_status status, struct imsg *reply)
{
	struct worker *w = arg;
	struct auth *auth = w->auth;
	struct job *job = w->job;
	struct cursor c = status == RPC_OK ? cursor_of(reply->data.ptr, reply->data.len) : cursor_of(NULL, 0);
	char hash[CREDENTIALS_HASH_MAX], keys[SCRAM_TEXT_MAX];
	uint8_t right = cursor_u8(&c);

	cursor_str(&c, hash, sizeof(hash));
	cursor_str(&c, keys, sizeof(keys));
	w->job = NULL;
	if (status == RPC_OK && reply->type == HASH_MSG_RESULT && cursor_done(&c)) {
		job_hashed(auth, job, right == 1, hash, keys);
	} else if (!job->retried && hashqueue_push(auth->queue, &job->queued, &job->source, true) == 0) {
		job->retried = true; /* once: a password that kills a worker must not kill all */
	} else {
		job_end(auth, job, unavailable);
	}
	explicit_bzero(hash, sizeof(hash));
	explicit_bzero(keys, sizeof(keys));
	check_kick(auth);
}

static void give(struct worker *w, struct job *job)
{
	struct buf out = BUF_INIT(IMSG_MAX);
	uint8_t salt[SCRAM_SALT_LEN];

	w->job = job;
	credentials_salt(auth_salt_secret(w->auth), job->account, salt);
	buf_put_blob(&out, job->password);
	buf_put_str(&out, job->hash);
	buf_put_u8(&out, job->real ? (uint8_t)learn_wants(w->auth, job->account) : 0);
	buf_add(&out, salt, sizeof(salt));
	rpc_call(w->rpc, HASH_MSG_VERIFY, buf_view(&out), -1, on_result, w);
	explicit_bzero(out.data, out.cap);
	buf_free(&out);
}

void check_kick(struct auth *auth)
{
	for (size_t i = 0; i < ROLE_INSTANCES_MAX; i++) {
		struct worker *w = &auth->workers[i];
		struct hashqueue_job *next;

		if (w->rpc == NULL || !rpc_attached(w->rpc) || w->job != NULL)
			continue;
		next = hashqueue_pop(auth->queue);
		if (next == NULL)
			return;
		give(w, (struct job *)next);
	}
}

/* A bare local part belongs to the only domain, where there is only one. */
static void name_account(const struct site *site, struct view user, char account[ADDRESS_MAX])
{
	struct buf whole = BUF_INIT(2 * ADDRESS_MAX);

	buf_addv(&whole, user);
	if (user.len > 0 && memchr(user.ptr, '@', user.len) == NULL && site->domain_count == 1)
		buf_printf(&whole, "@%s", site->domains[0].name);
	if (address_normalise(buf_view(&whole), account, ADDRESS_MAX) < 0)
		account[0] = '\0';
	buf_free(&whole);
}

/* The hash line to compare with: the account's, or for the time's sake always the same one of somebody's. */
static const char *choose_hash(const struct auth *auth, const char *account, bool *real)
{
	const struct credentials *all = &auth->credentials;
	const char *own = site_find_account(auth->ctx->site, account) != NULL ? credentials_find(all, account) : NULL;
	struct view name = view_of(account);
	struct digest d;
	size_t n;

	*real = own != NULL;
	if (own != NULL)
		return own;
	if (all->count == 0)
		return NOBODY_HASH;
	d = digest_of(auth->key, "nobody", &name, 1);
	memcpy(&n, d.bytes, sizeof(n));
	return all->at[n % all->count].hash;
}

static struct job *find_job(struct auth *auth, const struct digest *right)
{
	struct job *job;

	TAILQ_FOREACH(job, &auth->jobs, entry)
	{
		if (memcmp(job->right.bytes, right->bytes, DIGEST_LEN) == 0)
			return job;
	}
	return NULL;
}

static void hash_it(
    struct check *c, const struct digest *right, struct view password, const char *hash, bool real, bool known)
{
	struct auth *auth = c->auth;
	struct job *job = find_job(auth, right);

	if (job == NULL) {
		job = xcalloc(1, sizeof(*job));
		TAILQ_INIT(&job->checks);
		job->right = *right;
		job->real = real;
		job->source = c->source;
		job->password = (struct view){ view_dup(password), password.len };
		view_copy(view_of(hash), job->hash, sizeof(job->hash));
		view_copy(view_of(c->account), job->account, sizeof(job->account));
		TAILQ_INSERT_TAIL(&auth->jobs, job, entry);
		if (hashqueue_push(auth->queue, &job->queued, &c->source, known) < 0) {
			job_free(auth, job);
			unavailable(c);
			return;
		}
	}
	TAILQ_INSERT_TAIL(&job->checks, c, entry);
	check_kick(auth);
}

struct check *check_new(struct auth *auth, const struct asker *asker, enum protocol protocol, struct view user,
    const struct source *source, enum throttle_answer *allowed)
{
	struct check *c = xcalloc(1, sizeof(*c));

	*c = (struct check){
		.auth = auth, .asker = *asker, .protocol = protocol, .source = *source, .asked = clock_mono_ms()
	};
	auth->check_count++;
	name_account(auth->ctx->site, user, c->account);
	view_copy(user, c->tried, sizeof(c->tried));
	*allowed = throttle_ask(
	    auth->throttle, source, c->account, (unsigned)auth->ctx->site->limits.auth_failures, check_now());
	if (auth->check_count > CHECKS_MAX + (*allowed == THROTTLE_GO_KNOWN ? CHECKS_KNOWN : 0)) {
		unavailable(c);
		return NULL;
	}
	return c;
}

void check_stopped(struct check *c)
{
	tell_offence(c);
	log_login(c, "throttled");
	answer_later(c, AUTH_THROTTLED);
}

void check_begin(struct auth *auth, const struct asker *asker, enum protocol protocol, struct view user,
    struct view password, const struct source *source)
{
	enum throttle_answer allowed;
	struct check *c = check_new(auth, asker, protocol, user, source, &allowed);
	struct view parts[3];
	struct digest right;
	const char *hash;
	bool real;

	if (c == NULL)
		return;
	hash = choose_hash(auth, c->account, &real);
	parts[0] = view_of(c->account);
	parts[1] = password;
	parts[2] = view_of(hash);
	c->wrong = digest_of(auth->key, "wrong", parts, 3);
	if (allowed == THROTTLE_STOP) {
		check_stopped(c);
		return;
	}
	right = digest_of(auth->key, "right", parts, 3);
	if (real && table_get(auth->cache, &right, check_now()) != NULL)
		check_admit(c);
	else if (throttle_was_wrong(auth->throttle, &c->wrong, check_now()))
		check_deny(c);
	else
		hash_it(c, &right, password, hash, real, allowed == THROTTLE_GO_KNOWN);
}

void check_redeem(struct auth *auth, const struct asker *asker, const uint8_t ticket[AUTH_TICKET_LEN])
{
	struct auth_answer answer = { .status = AUTH_DENIED };
	char address[ADDRESS_MAX];
	const struct site_account *account;
	enum protocol protocol;

	if (ticket_redeem(auth->tickets, ticket, check_now(), address, &protocol) < 0) {
		log_warnx("event=redeem result=denied");
	} else {
		account = site_find_account(auth->ctx->site, address);
		if (account != NULL && (account->protocols & protocol)) {
			answer = (struct auth_answer){ .status = AUTH_OK, .protocols = protocol };
			view_copy(view_of(address), answer.address, sizeof(answer.address));
		}
	}
	auth_send(auth, asker, &answer);
}
