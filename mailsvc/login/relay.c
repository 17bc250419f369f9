/*
 * The relay of an authenticated TLS connection: plaintext goes to imap through a socketpair and back.  Bytes move from
 * one connection's input to the other's output without a copy; a side that does not take them stops the other side's
 * reading.  While nothing flows, no buffer exists.
 */
#include <sys/socket.h>
#include <unistd.h>

#include "login.h"

#define LOW_WATER (RELAY_MAX / 4)

static void pump(struct conn *from, struct conn *to)
{
	evbuffer_add_buffer(conn_output(to), conn_input(from));
	if (conn_output_len(to) >= RELAY_MAX)
		conn_pause(from);
}

static void inner_readable(struct conn *c, void *arg)
{
	struct login_conn *lc = arg;

	pump(c, lc->conn);
}

static void inner_drained(struct conn *c, void *arg)
{
	struct login_conn *lc = arg;

	(void)c;
	conn_resume(lc->conn);
}

static void inner_ended(struct conn *c, void *arg, enum conn_end how)
{
	(void)c;
	(void)how;
	login_end(arg, "closed");
}

static const struct conn_ops inner_ops = { inner_readable, inner_drained, NULL, inner_ended };

void relay_readable(struct login_conn *lc)
{
	pump(lc->conn, lc->inner);
}

void relay_drained(struct login_conn *lc)
{
	conn_resume(lc->inner);
}

int relay_start(struct login_conn *lc)
{
	int fds[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) < 0)
		return -1;
	lc->inner = conn_accept(lc->login->ctx->base, fds[0], NULL, &inner_ops, lc);
	lc->state = LOGIN_RELAY;
	lc->login->relay_count++;
	conn_set_low_water(lc->inner, LOW_WATER);
	conn_set_low_water(lc->conn, LOW_WATER);
	conn_set_max_input(lc->conn, RELAY_MAX);
	/* imap decides how long a client may be silent; here only a client that takes nothing is given up. */
	conn_set_timeout(lc->conn, 0, 300);
	conn_resume(lc->inner);
	conn_resume(lc->conn);
	return fds[1];
}
