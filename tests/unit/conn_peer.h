/* What the tests of lib/conn.h share: a loop, a recording session at our end of a socketpair, a raw peer at the other.
 */
#ifndef TESTS_CONN_PEER_H
#define TESTS_CONN_PEER_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/conn.h"
#include "lib/log.h"

struct session {
	struct conn *conn;
	struct buf got;
	void (*on_readable)(struct session *);
	void (*on_drained)(struct session *);
	int readable, drained, secured, ended;
	enum conn_end end;
	char why[200];
	bool keep; /* leave input where it is */
};

static struct event_base *base;

static void take_all(struct session *s)
{
	struct evbuffer *in = conn_input(s->conn);
	size_t len = evbuffer_get_length(in);
	char *p = buf_reserve(&s->got, len);

	assert_non_null(p);
	evbuffer_remove(in, p, len);
	s->got.len += len;
}

static void session_readable(struct conn *c, void *arg)
{
	struct session *s = arg;

	assert_ptr_equal(c, s->conn);
	assert_int_equal(s->ended, 0);
	s->readable++;
	if (s->on_readable != NULL)
		s->on_readable(s);
	else if (!s->keep)
		take_all(s);
}

static void session_drained(struct conn *c, void *arg)
{
	struct session *s = arg;

	(void)c;
	s->drained++;
	if (s->on_drained != NULL)
		s->on_drained(s);
}

static void session_secured(struct conn *c, void *arg)
{
	struct session *s = arg;

	(void)c;
	s->secured++;
}

static void session_ended(struct conn *c, void *arg, enum conn_end end)
{
	struct session *s = arg;

	s->ended++;
	s->end = end;
	snprintf(s->why, sizeof(s->why), "%s", conn_tls_error(c));
	conn_free(c);
	s->conn = NULL;
}

static const struct conn_ops session_ops = { session_readable, session_drained, session_secured, session_ended };

static void session_init(struct session *s)
{
	*s = (struct session){ .got = BUF_INIT(64 << 20) };
}

static void session_clear(struct session *s)
{
	conn_free(s->conn);
	s->conn = NULL;
	buf_free(&s->got);
}

static void on_deadline(int fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	*(bool *)arg = true;
}

/* Runs the loop until *what is at least want; fails after ten seconds. */
static void loop_until(const int *what, int want, const char *name)
{
	bool late = false;
	struct event *limit = event_new(base, -1, 0, on_deadline, &late);
	struct timeval tv = { 10, 0 };

	event_add(limit, &tv);
	while (*what < want && !late)
		event_base_loop(base, EVLOOP_ONCE);
	event_free(limit);
	if (*what < want)
		fail_msg("%s stayed %d, wanted %d", name, *what, want);
}
#define LOOP_UNTIL(field, want) loop_until(&(field), (want), #field)

/* Runs what is ready now, until nothing is. */
static inline void loop_idle(void)
{
	for (int i = 0; i < 20; i++)
		event_base_loop(base, EVLOOP_NONBLOCK);
}

static int open_loop(void **state)
{
	(void)state;
	base = event_base_new();
	return base == NULL ? -1 : 0;
}

static int close_loop(void **state)
{
	(void)state;
	loop_idle();
	event_base_free(base);
	return 0;
}

#endif
