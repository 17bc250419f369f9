/*
 * Requests to a peer process over a channel: each gets exactly one reply with its id, or the status
 * RPC_LOST when the peer died.  The channel can be replaced (a restarted peer) while requests wait for it.
 */
#ifndef LIB_RPC_H
#define LIB_RPC_H

#include "imsg.h"

enum rpc_status { RPC_OK, RPC_LOST };

/* reply is NULL when status is not RPC_OK. */
typedef void (*rpc_reply_fn)(void *arg, enum rpc_status status, struct imsg *reply);

struct rpc;

/* unsolicited receives messages whose id is 0 (may be NULL: such a message is then a protocol error). */
struct rpc *rpc_new(struct event_base *, void (*unsolicited)(struct imsg *, void *arg), void *arg);
void rpc_free(struct rpc *); /* callbacks that are due do not come; may be called from inside one */
/*
 * Called when the peer sent what nobody asked for or broke the framing: its channel is closed then, but it lives, and
 * somebody must see to it that there is a new one.  Not when the peer is gone.
 */
void rpc_on_broken(struct rpc *, void (*broken)(void *arg), void *arg);
void rpc_attach(struct rpc *, int fd); /* replaces the channel: what was pending is answered RPC_LOST */
bool rpc_attached(const struct rpc *);
/*
 * Sends and remembers.  Returns the request's id, never 0.  Without a peer, or over the channel's limits,
 * the callback comes (RPC_LOST) from the event loop, never from inside rpc_call.
 */
uint32_t rpc_call(struct rpc *, uint32_t type, struct view data, int fd, rpc_reply_fn, void *arg);
int rpc_notify(struct rpc *, uint32_t type, struct view data, int fd); /* no reply expected; id 0 */
void rpc_cancel(struct rpc *, uint32_t id); /* the callback will not come; 0 and unknown ids are ignored */
size_t rpc_pending(const struct rpc *);

#endif
