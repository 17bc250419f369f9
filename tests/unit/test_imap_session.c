/* A session over a socketpair, without a store: what it says to a client that has been silent for too long. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "mailsvc/imap/process.h"

static struct site site;
static struct role_ctx ctx;

static struct opened *somebody(void)
{
	struct opened *o = xcalloc(1, sizeof(*o) + 32);

	memcpy(o->address, "a@example.org", 14);
	o->peer = o->address + 13; /* "" */
	o->id = o->address + 13;
	return o;
}

static void turn(struct process *p)
{
	for (int i = 0; i < 20; i++)
		event_base_loop(p->base, EVLOOP_NONBLOCK);
}

static const char *heard(int fd)
{
	static char text[4096];
	ssize_t n = recv(fd, text, sizeof(text) - 1, MSG_DONTWAIT);

	text[n > 0 ? n : 0] = '\0';
	return text;
}

static void run(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	imap_run_queue(arg);
	imap_free_dead(arg);
}

static void says_bye_to_the_silent(void **state)
{
	static struct process p = { .ctx = &ctx };
	int one[2], two[2], three[2];

	(void)state;
	site.limits.errors = 20;
	site.limits.message_size = 1000;
	ctx.site = &site;
	p.base = event_base_new();
	p.run_last = &p.run_first;
	p.run_event = event_new(p.base, -1, 0, run, &p);
	p.store = store_client_new(p.base);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, one), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, two), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, three), 0);
	p.session_count = 3;
	imap_session_start(&p, one[0], somebody(), "a", VIEW_NONE);
	imap_session_start(&p, two[0], somebody(), "a", VIEW_NONE);
	imap_session_start(&p, three[0], somebody(), "a", VIEW_LIT("i IDLE\r\n"));
	turn(&p);
	assert_non_null(strstr(heard(one[1]), "a OK"));
	assert_non_null(strstr(heard(two[1]), "a OK"));
	assert_non_null(strstr(heard(three[1]), "+ idling"));
	imap_sweep(&p);
	turn(&p);
	assert_string_equal(heard(one[1]), "");
	for (struct imap_session *s = p.sessions; s != NULL; s = s->next)
		s->heard_ms -= 1801 * 1000;
	assert_int_equal(send(two[1], "b NOOP\r\n", 8, 0), 8); /* this one is heard again */
	turn(&p);
	assert_string_equal(heard(two[1]), "b OK NOOP completed.\r\n");
	imap_sweep(&p);
	turn(&p);
	assert_non_null(strstr(heard(one[1]), "* BYE Autologout"));
	assert_non_null(strstr(heard(three[1]), "* BYE Autologout"));
	assert_string_equal(heard(two[1]), "");
	assert_int_equal(p.session_count, 1);
	imap_shutdown_all(&p);
	turn(&p);
	assert_non_null(strstr(heard(two[1]), "* BYE The server is shutting down."));
	close(one[1]);
	close(two[1]);
	close(three[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(says_bye_to_the_silent) };

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
