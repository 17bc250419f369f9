/*
 * The hash role: one password at a time, since a yescrypt takes a tenth of a second and 16 MiB.  It holds nothing
 * between requests and has no descriptor but its channels.
 */
#include <string.h>

#include "mailsvc/auth/auth_proto.h"
#include "mailsvc/role.h"

struct hash {
	struct chan *auth;
};

static void on_message(struct chan *chan, struct imsg *m, void *arg)
{
	struct cursor c = cursor_of(m->data.ptr, m->data.len);
	struct view password = cursor_blob(&c, AUTH_PASSWORD_MAX);
	struct buf out = BUF_INIT(1024);
	char hash[CREDENTIALS_HASH_MAX], text[SCRAM_TEXT_MAX] = "";
	struct scram_keys keys;
	struct view salt;
	unsigned wants;
	bool right;

	(void)arg;
	cursor_str(&c, hash, sizeof(hash));
	wants = cursor_u8(&c);
	salt = cursor_bytes(&c, SCRAM_SALT_LEN);
	if (m->type != HASH_MSG_VERIFY || m->fd >= 0 || !cursor_done(&c))
		fatalx("event=protocol peer=auth type=%u", m->type);
	right = password_verify(password, hash);
	if (!right || !(wants & HASH_WANTS_HASH) || password_hash(password, hash, &(struct error){ "" }) < 0)
		hash[0] = '\0';
	if (right && (wants & HASH_WANTS_KEYS)) {
		scram_keys_make(password, (const uint8_t *)salt.ptr, SCRAM_ITERATIONS, &keys);
		scram_keys_text(&keys, text);
	}
	buf_put_u8(&out, right);
	buf_put_str(&out, hash);
	buf_put_str(&out, text);
	explicit_bzero((void *)(uintptr_t)m->data.ptr, m->data.len);
	explicit_bzero(hash, sizeof(hash));
	explicit_bzero(text, sizeof(text));
	explicit_bzero(&keys, sizeof(keys));
	chan_send(chan, HASH_MSG_RESULT, m->id, buf_view(&out), -1);
	explicit_bzero(out.data, out.cap);
	buf_free(&out);
}

static void on_closed(struct chan *chan, void *arg)
{
	struct hash *h = arg;

	chan_free(chan);
	h->auth = NULL; /* monitor brings the next auth's channel */
}

static int init(struct role_ctx *ctx, struct error *e)
{
	const uint8_t salt[SCRAM_SALT_LEN] = { 0 };
	struct scram_keys keys;

	(void)e;
	ctx->state = xcalloc(1, sizeof(struct hash));
	scram_keys_make(VIEW_LIT("x"), salt, 1, &keys); /* OpenSSL fetches what it needs now, not behind the sandbox */
	return 0;
}

static void peer(struct role_ctx *ctx, enum role_id id, unsigned instance, int fd)
{
	static const struct chan_ops ops = { .message = on_message, .closed = on_closed };
	struct hash *h = ctx->state;

	(void)id;
	(void)instance;
	chan_free(h->auth);
	h->auth = chan_new(ctx->base, fd, &ops, h);
}

const struct role role_hash = { .id = ROLE_HASH, .name = "hash", .user = "mailadm-auth", .init = init, .peer = peer };
