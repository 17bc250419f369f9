/*
 * keys: holds the DKIM private keys and signs hashes, nothing else.  It has no rights at all: no file, no socket, no
 * mail; it never sees a message, only 32 bytes.  The keys arrive from monitor in a sealed memfd, anew at each reload.
 */
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/queue.h>
#include <unistd.h>

#include "keyring.h"
#include "mailsvc/role.h"

#define PACKED_MAX (64 * 1024 * 1024)

struct keys;

struct asker { /* one channel to a peer */
	LIST_ENTRY(asker) entry;
	struct keys *keys;
	enum role_id role;
	unsigned instance;
	struct chan *chan;
};

struct keys {
	struct role_ctx *ctx;
	LIST_HEAD(, asker) askers;
	struct keyring *ring;
	uint64_t signed_count, refused;
};

static struct keys *keys_of(struct role_ctx *ctx)
{
	if (ctx->state == NULL) {
		struct keys *k = xcalloc(1, sizeof(*k));
		k->ctx = ctx;
		LIST_INIT(&k->askers);
		ctx->state = k;
	}
	return ctx->state;
}

static int load(struct role_ctx *ctx, struct error *err)
{
	struct keys *k = keys_of(ctx);
	struct view packed = VIEW_NONE;
	struct keyring *ring;
	int fd = ctx->fds[ROLE_FD_DKIM_KEYS];

	if (fd != -1 && memfd_map_sealed(fd, PACKED_MAX, &packed) == -1)
		return error_errno(err, "cannot map the DKIM keys");
	ring = keyring_load(packed, err);
	if (packed.len > 0)
		munmap((void *)packed.ptr, packed.len);
	if (ring == NULL)
		return -1;
	keyring_free(k->ring);
	k->ring = ring;
	if (fd != -1) {
		close(fd);
		ctx->fds[ROLE_FD_DKIM_KEYS] = -1;
	}
	return 0;
}

static void asker_free(struct asker *a)
{
	chan_free(a->chan);
	LIST_REMOVE(a, entry);
	free(a);
}

static void asker_kill(struct asker *a, const char *why)
{
	role_kill_peer(a->keys->ctx, a->role, a->instance, why);
	asker_free(a);
}

static void asker_message(struct chan *chan, struct imsg *m, void *arg)
{
	struct asker *a = arg;
	struct keys_request request;
	struct buf signature = BUF_INIT(KEYS_SIGNATURE_MAX), msg = BUF_INIT(IMSG_MAX);

	if (m->type != KEYS_MESSAGE_SIGN || m->id == 0 || keys_request_get(m->data, &request) == -1) {
		log_warnx("event=peer peer=%s error=\"malformed request\"", role_name(a->role));
		asker_kill(a, "malformed request");
		return;
	}
	if (keyring_sign(a->keys->ring, &request, &signature) == 0)
		a->keys->signed_count++;
	else
		a->keys->refused++;
	keys_signature_put(&msg, buf_view(&signature));
	chan_send(chan, KEYS_MESSAGE_SIGNATURE, m->id, buf_view(&msg), -1);
	buf_free(&signature);
	buf_free(&msg);
}

static void asker_closed(struct chan *chan, void *arg)
{
	if (chan_broken(chan))
		asker_kill(arg, "malformed message");
	else
		asker_free(arg);
}

static void keys_peer(struct role_ctx *ctx, enum role_id role, unsigned instance, int fd)
{
	static const struct chan_ops ops = { .message = asker_message, .closed = asker_closed };
	struct keys *k = keys_of(ctx);
	struct asker *a;

	LIST_FOREACH(a, &k->askers, entry)
	{
		if (a->role == role && a->instance == instance) {
			asker_free(a);
			break;
		}
	}
	a = xcalloc(1, sizeof(*a));
	a->keys = k;
	a->role = role;
	a->instance = instance;
	a->chan = chan_new(ctx->base, fd, &ops, a);
	LIST_INSERT_HEAD(&k->askers, a, entry);
}

static int keys_init(struct role_ctx *ctx, struct error *err)
{
	return load(ctx, err);
}

static void keys_start(struct role_ctx *ctx)
{
	log_debug("event=start keys=%zu", keyring_count(keys_of(ctx)->ring));
}

static void keys_reload(struct role_ctx *ctx)
{
	struct error err;

	if (ctx->fds[ROLE_FD_DKIM_KEYS] != -1 && load(ctx, &err) == -1)
		log_warnx("event=reload error=\"%s\" hint=\"the old keys stay in use\"", err.text);
}

static void keys_status(struct role_ctx *ctx, struct buf *json)
{
	struct keys *k = keys_of(ctx);

	buf_printf(json, "\"keys\": %zu, \"signed\": %llu, \"refused\": %llu", keyring_count(k->ring),
	    (unsigned long long)k->signed_count, (unsigned long long)k->refused);
}

const struct role role_keys = {
	.id = ROLE_KEYS,
	.name = "keys",
	.user = "mailadm-keys",
	.init = keys_init,
	.start = keys_start,
	.reload = keys_reload,
	.peer = keys_peer,
	.status = keys_status,
};
