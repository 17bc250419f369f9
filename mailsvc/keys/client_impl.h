/* What the two users of keys in a client's process share: signing (client.c) and sealing (arc_seal.c). */
#ifndef MAILSVC_KEYS_CLIENT_IMPL_H
#define MAILSVC_KEYS_CLIENT_IMPL_H

#include <sys/queue.h>

#include "client.h"
#include "proto.h"

/* The first member of what waits for signatures. */
struct keys_pending {
	LIST_ENTRY(keys_pending) entry;
	struct keys_client *client;
	uint32_t id; /* for dkim_cancel */
	void (*free)(struct keys_pending *);
};

struct keys_client {
	struct rpc *rpc;
	LIST_HEAD(, keys_pending) pending; /* to find one again by its id */
};

uint32_t keys_ask(struct keys_client *, const struct keys_request *, rpc_reply_fn, void *arg);
/* What an answer means: DKIM_SIGNED with the signature, which borrows from reply. */
enum dkim_status keys_answer(enum rpc_status, const struct imsg *reply, struct view *signature);

#endif
