/* client.h: each request is one rpc; what it needs for its answer is kept in a list until then. */
#include "mailsvc/auth/client.h"

#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "mailsvc/auth/auth_proto.h"

struct ask {
	LIST_ENTRY(ask) entry;
	uint32_t id;
	auth_fn fn;
	void *arg;
};

struct auth_client {
	struct rpc *rpc;
	LIST_HEAD(, ask) asks;
	bool scram;
};

static void on_features(struct imsg *m, void *arg)
{
	struct cursor c = cursor_of(m->data.ptr, m->data.len);
	struct auth_client *client = arg;
	uint8_t scram = cursor_u8(&c);

	if (m->type == AUTH_MSG_FEATURES && cursor_done(&c))
		client->scram = scram == 1;
	else
		log_warnx("event=protocol peer=auth type=%u", m->type);
}

struct auth_client *auth_client_new(struct event_base *base)
{
	struct auth_client *c = xcalloc(1, sizeof(*c));

	c->rpc = rpc_new(base, on_features, c);
	LIST_INIT(&c->asks);
	return c;
}

void auth_client_attach(struct auth_client *c, int fd)
{
	rpc_attach(c->rpc, fd);
}

static int parse_answer(const struct imsg *m, struct auth_answer *out)
{
	struct cursor c = cursor_of(m->data.ptr, m->data.len);
	uint8_t status = cursor_u8(&c);
	struct view ticket;

	cursor_str(&c, out->address, sizeof(out->address));
	ticket = cursor_bytes(&c, AUTH_TICKET_LEN);
	out->protocols = cursor_u32(&c);
	cursor_str(&c, out->message, sizeof(out->message));
	out->exchange = cursor_u64(&c);
	if (m->type != AUTH_MSG_ANSWER || !cursor_done(&c) || status > AUTH_CONTINUE)
		return -1;
	out->status = (enum auth_status)status;
	memcpy(out->ticket, ticket.ptr, AUTH_TICKET_LEN);
	return 0;
}

static void on_reply(void *arg, enum rpc_status status, struct imsg *reply)
{
	struct auth_answer answer = { .status = AUTH_UNAVAILABLE };
	struct ask *ask = arg;

	if (status == RPC_OK && parse_answer(reply, &answer) < 0) {
		log_warnx("event=protocol peer=auth type=%u", reply->type);
		answer = (struct auth_answer){ .status = AUTH_UNAVAILABLE };
	}
	LIST_REMOVE(ask, entry);
	ask->fn(ask->arg, &answer);
	free(ask);
}

static uint32_t call(struct auth_client *c, uint32_t type, struct view data, auth_fn fn, void *arg)
{
	struct ask *ask = xcalloc(1, sizeof(*ask));

	ask->fn = fn;
	ask->arg = arg;
	ask->id = rpc_call(c->rpc, type, data, -1, on_reply, ask);
	LIST_INSERT_HEAD(&c->asks, ask, entry);
	return ask->id;
}

uint32_t auth_check(struct auth_client *c, enum protocol protocol, struct view user, struct view password,
    const struct sockaddr *peer, auth_fn fn, void *arg)
{
	struct buf out = BUF_INIT(IMSG_MAX);
	uint32_t id;

	/* What is too long is nobody's and never right: auth gets nothing of it and denies, in its own time. */
	if (user.len > AUTH_USER_MAX || password.len > AUTH_PASSWORD_MAX)
		user = password = VIEW_NONE;
	buf_put_u8(&out, (uint8_t)protocol);
	buf_put_blob(&out, user);
	buf_put_blob(&out, password);
	source_put(&out, peer);
	id = call(c, AUTH_MSG_CHECK, buf_view(&out), fn, arg);
	explicit_bzero(out.data, out.cap);
	buf_free(&out);
	return id;
}

uint32_t auth_scram_first(struct auth_client *c, enum protocol protocol, struct view message,
    const struct scram_channel *channel, const struct sockaddr *peer, auth_fn fn, void *arg)
{
	struct buf out = BUF_INIT(IMSG_MAX);
	uint32_t id;

	buf_put_u8(&out, (uint8_t)protocol);
	buf_put_u8(&out, (uint8_t)channel->use);
	buf_add(&out, channel->data, SCRAM_CHANNEL_LEN);
	buf_put_blob(&out, message.len <= SCRAM_CLIENT_MAX ? message : VIEW_NONE); /* nobody's, as above */
	source_put(&out, peer);
	id = call(c, AUTH_MSG_SCRAM_FIRST, buf_view(&out), fn, arg);
	buf_free(&out);
	return id;
}

uint32_t auth_scram_final(struct auth_client *c, uint64_t exchange, struct view message, auth_fn fn, void *arg)
{
	struct buf out = BUF_INIT(IMSG_MAX);
	uint32_t id;

	buf_put_u64(&out, exchange);
	buf_put_blob(&out, message.len <= SCRAM_CLIENT_MAX ? message : VIEW_NONE);
	id = call(c, AUTH_MSG_SCRAM_FINAL, buf_view(&out), fn, arg);
	buf_free(&out);
	return id;
}

bool auth_offers_scram(const struct auth_client *c)
{
	return c->scram;
}

uint32_t auth_redeem(struct auth_client *c, const uint8_t ticket[AUTH_TICKET_LEN], auth_fn fn, void *arg)
{
	return call(c, AUTH_MSG_REDEEM, (struct view){ (const char *)ticket, AUTH_TICKET_LEN }, fn, arg);
}

void auth_cancel(struct auth_client *c, uint32_t id)
{
	struct ask *ask;

	LIST_FOREACH(ask, &c->asks, entry)
	{
		if (ask->id == id)
			break;
	}
	if (ask == NULL)
		return;
	rpc_cancel(c->rpc, id);
	LIST_REMOVE(ask, entry);
	free(ask);
}
