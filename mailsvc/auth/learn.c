/*
 * Better keys.  While a right password is at hand, a hash process makes what the account lacks: SCRAM keys, and a
 * yescrypt hash where the line has an older one (taken over from another server).  auth uses them at once; monitor,
 * which alone of the daemon may write the credentials file, gets them in batches.  What gets lost on the way is made
 * again at a later login.
 */
#include <stdlib.h>
#include <string.h>

#include "mailsvc/auth/internal.h"
#include "mailsvc/role_proto.h"

unsigned learn_wants(const struct auth *auth, const char *account)
{
	const struct credential *c = credentials_entry(&auth->credentials, account);
	unsigned wants = 0;

	if (c != NULL && password_outdated(c->hash))
		wants |= HASH_WANTS_HASH;
	if (c != NULL && !c->has_keys)
		wants |= HASH_WANTS_KEYS;
	return wants;
}

static void flush(struct auth *auth)
{
	struct buf *b = &auth->learned;

	if (auth->learned_count == 0)
		return;
	role_credentials(auth->ctx, buf_view(b));
	explicit_bzero(b->data, b->cap);
	buf_reset(b);
	auth->learned_count = 0;
	auth_tell_features(auth);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	flush(arg);
}

static void queue(struct auth *auth, const struct credential *c, const char *old_hash)
{
	static const struct timeval delay = { LEARNED_DELAY_MS / 1000, LEARNED_DELAY_MS % 1000 * 1000 };
	char keys[SCRAM_TEXT_MAX];

	if (auth->learned_timer == NULL && (auth->learned_timer = evtimer_new(auth->ctx->base, on_timer, auth)) == NULL)
		return;
	if (auth->learned_count == 0) {
		buf_add(&auth->learned, auth_salt_secret(auth), CREDENTIALS_SECRET_LEN);
		event_add(auth->learned_timer, &delay);
	}
	scram_keys_text(&c->keys, keys);
	buf_put_str(&auth->learned, c->address);
	buf_put_str(&auth->learned, old_hash);
	buf_put_str(&auth->learned, c->hash);
	buf_put_str(&auth->learned, keys);
	explicit_bzero(keys, sizeof(keys));
	if (++auth->learned_count == ROLE_LEARNED_MAX || auth->learned.len > IMSG_MAX / 2)
		flush(auth);
}

void learn_take(struct auth *auth, const char *account, const char *hash, const char *keys)
{
	struct credential *c = credentials_entry(&auth->credentials, account);
	char *old;

	if (c == NULL || (keys[0] != '\0' && scram_keys_parse(view_of(keys), &c->keys) < 0))
		return;
	c->has_keys = c->has_keys || keys[0] != '\0';
	if (!c->has_keys)
		return;
	old = c->hash;
	c->hash = xstrdup(hash[0] != '\0' ? hash : old);
	queue(auth, c, old);
	explicit_bzero(old, strlen(old));
	free(old);
}

void learn_keep_former(const struct credentials *old, struct credentials *new)
{
	for (size_t i = 0; i < new->count; i++) {
		struct credential *n = &new->at[i];
		const struct credential *o = credentials_entry(old, n->address);

		if (o == NULL || !o->has_keys || !n->has_keys)
			continue;
		n->has_former = o->has_former;
		n->former = o->former;
		if (memcmp(o->keys.stored, n->keys.stored, SCRAM_KEY_LEN) != 0) {
			n->has_former = true;
			n->former = o->keys;
		}
	}
}
