/*
 * SCRAM-SHA-256 and -PLUS (scram.h) in two messages.  What an exchange needs for the second one is kept here, for one try.  An
 * account that does not exist, or has no keys, is answered with the salt that it would have and keys that nobody's
 * password gives: neither the answers nor their time say who exists.  Throttling, bans and the delay of a failure are
 * those of any other login.
 */
#include <openssl/rand.h>
#include <stdlib.h>
#include <string.h>

#include "lib/text.h"
#include "mailsvc/auth/internal.h"
#include "site/route.h"

#define NONCE_BYTES 18

struct exchange {
	TAILQ_ENTRY(exchange) entry;
	uint64_t id;
	int64_t expires;
	enum role_id role; /* who began it, and may end it */
	unsigned instance;
	enum protocol protocol;
	struct source source;
	struct scram_channel channel;
	char user[ADDRESS_MAX];
	char first[SCRAM_CLIENT_MAX + 1], server_first[SCRAM_MESSAGE_MAX];
	size_t first_len;
};

static void drop(struct auth *auth, struct exchange *x)
{
	TAILQ_REMOVE(&auth->exchanges, x, entry);
	auth->exchange_count--;
	free(x);
}

static void expire(struct auth *auth)
{
	struct exchange *oldest;

	while ((oldest = TAILQ_LAST(&auth->exchanges, exchange_list)) != NULL &&
	       (oldest->expires <= check_now() || auth->exchange_count >= EXCHANGES_MAX))
		drop(auth, oldest);
}

/* The keys of the account, or ones in their place. */
static bool choose_keys(const struct auth *auth, const char *account, struct scram_keys *out)
{
	const struct credential *c = credentials_entry(&auth->credentials, account);
	bool real = c != NULL && c->has_keys && !credentials_locked(c->hash) &&
	            site_find_account(auth->ctx->site, account) != NULL;
	struct view name = view_of(account);
	struct digest nobody = digest_of(auth->key, "scram", &name, 1);

	credentials_salt(auth_salt_secret(auth), account, out->salt);
	out->iterations = SCRAM_ITERATIONS;
	memcpy(out->stored, nobody.bytes, SCRAM_KEY_LEN);
	memcpy(out->server, nobody.bytes, SCRAM_KEY_LEN);
	if (real)
		*out = c->keys;
	return real;
}

static bool make_nonce(char out[32])
{
	uint8_t bytes[NONCE_BYTES];
	struct buf text = BUF_INIT(31);
	bool made = RAND_bytes(bytes, sizeof(bytes)) == 1 &&
	            text_base64_encode(&text, (struct view){ (const char *)bytes, sizeof(bytes) }) == 0 &&
	            view_copy(buf_view(&text), out, 32) == 0;

	buf_free(&text);
	return made;
}

void exchange_begin(struct auth *auth, const struct asker *asker, enum protocol protocol, struct view message,
    const struct scram_channel *channel, const struct source *source)
{
	struct auth_answer answer = { .status = AUTH_CONTINUE };
	struct scram_first first = { .user = "" };
	bool malformed = scram_client_first(message, channel, &first) < 0;
	enum throttle_answer allowed;
	struct check *c = check_new(auth, asker, protocol, view_of(malformed ? "" : first.user), source, &allowed);
	struct scram_keys keys;
	struct exchange *x;
	char nonce[32];

	if (c == NULL)
		return;
	c->wrong = digest_of(auth->key, "scram-first", &message, 1);
	if (allowed == THROTTLE_STOP) {
		check_stopped(c);
		return;
	}
	if (malformed || !make_nonce(nonce)) {
		check_deny(c);
		return;
	}
	expire(auth);
	choose_keys(auth, c->account, &keys);
	x = xcalloc(1, sizeof(*x));
	*x = (struct exchange){ .id = ++auth->last_exchange,
		.expires = check_now() + EXCHANGE_LIFE_S,
		.role = asker->role,
		.instance = asker->instance,
		.protocol = protocol,
		.source = *source,
		.channel = *channel,
		.first_len = message.len };
	memcpy(x->first, message.ptr, message.len);
	memcpy(x->user, first.user, sizeof(x->user));
	scram_server_first(first.nonce, nonce, &keys, x->server_first);
	explicit_bzero(&keys, sizeof(keys));
	TAILQ_INSERT_HEAD(&auth->exchanges, x, entry);
	auth->exchange_count++;
	answer.exchange = x->id;
	memcpy(answer.message, x->server_first, sizeof(answer.message));
	auth_send(auth, asker, &answer);
	check_free(c);
}

/*
 * What a failure is remembered by.  A client that still has the password before, as phones do, proves that one again
 * and again: that counts once, as it does for PLAIN.
 */
static struct digest failure_of(
    struct auth *auth, const struct check *c, const struct exchange *x, struct view message, bool real)
{
	const struct credential *own = credentials_entry(&auth->credentials, c->account);
	struct view parts[2] = { view_of(c->account), message };
	char out[SCRAM_MESSAGE_MAX];

	if (real && own->has_former && memcmp(own->former.salt, own->keys.salt, SCRAM_SALT_LEN) == 0 &&
	    own->former.iterations == own->keys.iterations &&
	    scram_client_final(message, (struct view){ x->first, x->first_len }, x->server_first, &own->former, &x->channel, out) ==
		1)
		parts[1] = (struct view){ (const char *)own->former.stored, SCRAM_KEY_LEN };
	return digest_of(auth->key, "scram-final", parts, 2);
}

static void decide(struct auth *auth, struct check *c, const struct exchange *x, struct view message)
{
	struct scram_keys keys;
	bool real = choose_keys(auth, c->account, &keys);
	int proof =
	    scram_client_final(message, (struct view){ x->first, x->first_len }, x->server_first, &keys, &x->channel, c->proof);

	explicit_bzero(&keys, sizeof(keys));
	if (proof == 1 && real) {
		check_admit(c);
		return;
	}
	c->wrong = failure_of(auth, c, x, message, real);
	check_deny(c);
}

void exchange_end(struct auth *auth, const struct asker *asker, uint64_t id, struct view message)
{
	const struct auth_answer gone = { .status = AUTH_UNAVAILABLE };
	enum throttle_answer allowed;
	struct exchange *x;
	struct check *c;

	expire(auth);
	TAILQ_FOREACH(x, &auth->exchanges, entry)
	{
		if (x->id == id && x->role == asker->role && x->instance == asker->instance)
			break;
	}
	if (x == NULL) {
		auth_send(auth, asker, &gone);
		return;
	}
	c = check_new(auth, asker, x->protocol, view_of(x->user), &x->source, &allowed);
	if (c != NULL && allowed == THROTTLE_STOP) {
		c->wrong = digest_of(auth->key, "scram-final", &message, 1);
		check_stopped(c);
	} else if (c != NULL) {
		decide(auth, c, x, message);
	}
	drop(auth, x);
}
