/* lib/conn.h without TLS: lines (whole and byte by byte), pausing, ends, timeouts, closing, handing over. */
#include "conn_peer.h"
#include "lib/clock.h"
#include "lib/conn_impl.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>

static int peer; /* the other end, blocking */

static void open_pair(struct session *s)
{
	int p[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, p), 0);
	session_init(s);
	peer = p[1];
	s->conn = conn_accept(base, p[0], NULL, &session_ops, s);
}

static void close_pair(struct session *s)
{
	session_clear(s);
	if (peer != -1)
		close(peer);
	peer = -1;
}

static void say(const char *data, size_t len)
{
	assert_int_equal(send(peer, data, len, MSG_NOSIGNAL), (ssize_t)len);
}

/* Lines as "[one][two]" and then the status that ended it: + more, ! bad, # too long. */
static void collect_lines(struct session *s)
{
	for (;;) {
		struct view line;
		switch (conn_line(s->conn, 10, &line)) {
		case LINE_OK:
			buf_printf(&s->got, "[%.*s]", (int)line.len, line.ptr);
			continue;
		case LINE_MORE:
			return;
		case LINE_BAD:
			buf_puts(&s->got, "!");
			conn_pause(s->conn);
			return;
		case LINE_TOO_LONG:
			buf_puts(&s->got, "#");
			conn_pause(s->conn);
			return;
		}
	}
}

static const struct {
	const char *in;
	size_t len;
	const char *want;
} line_cases[] = {
#define CASE(in, want)                                                                                                 \
	{                                                                                                              \
		(in), sizeof(in) - 1, (want)                                                                           \
	}
	CASE("one\r\ntwo\r\nthree", "[one][two]"),
	CASE("\r\n\r\n", "[][]"),
	CASE("0123456789\r\n", "[0123456789]"),
	CASE("0123456789x", "#"),
	CASE("a\r\n0123456789x\r\n", "[a]#"),
	CASE("bare\nlf\r\n", "!"),
	CASE("bare\rcr\r\n", "!"),
	CASE("\r\r\n", "!"),
	CASE("\n", "!"),
	CASE("nul\0x\r\n", "!"),
	CASE("ok\r\n.\n", "[ok]!"),
	CASE("0123456789\r", ""),
	CASE("0123456789\rx", "!"),
	CASE("x\r\n\r", "[x]"),
	CASE("0123456789\0", "!"),
#undef CASE
};

static void lines_whole(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(line_cases) / sizeof(line_cases[0]); i++) {
		struct session s;
		open_pair(&s);
		s.on_readable = collect_lines;
		conn_resume(s.conn);
		say(line_cases[i].in, line_cases[i].len);
		LOOP_UNTIL(s.readable, 1);
		if (strcmp(buf_str(&s.got), line_cases[i].want) != 0)
			fail_msg("case %zu: got '%s', wanted '%s'", i, buf_str(&s.got), line_cases[i].want);
		close_pair(&s);
	}
}

static void lines_byte_by_byte(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(line_cases) / sizeof(line_cases[0]); i++) {
		struct session s;
		open_pair(&s);
		s.on_readable = collect_lines;
		conn_resume(s.conn);
		for (size_t n = 0; n < line_cases[i].len && strpbrk(buf_str(&s.got), "!#") == NULL; n++) {
			say(line_cases[i].in + n, 1);
			LOOP_UNTIL(s.readable, (int)n + 1);
		}
		if (strcmp(buf_str(&s.got), line_cases[i].want) != 0)
			fail_msg("case %zu: got '%s', wanted '%s'", i, buf_str(&s.got), line_cases[i].want);
		close_pair(&s);
	}
}

/* The scanner over every split of the input into three chains. */
static void lines_across_chains(void **state)
{
	static const char text[] = "abc\r\n";

	(void)state;
	for (size_t a = 0; a <= 5; a++) {
		for (size_t b = a; b <= 5; b++) {
			struct evbuffer *in = evbuffer_new();
			size_t scanned = 0, len = 99;
			evbuffer_add_reference(in, text, a, NULL, NULL);
			enum line_status r = line_scan(in, 10, &scanned, &len);
			assert_int_equal(r, a == 5 ? LINE_OK : LINE_MORE);
			evbuffer_add_reference(in, text + a, b - a, NULL, NULL);
			evbuffer_add_reference(in, text + b, 5 - b, NULL, NULL);
			assert_int_equal(line_scan(in, 10, &scanned, &len), LINE_OK);
			assert_int_equal(len, 3);
			evbuffer_free(in);
		}
	}
}

static void flood_and_close(struct session *s)
{
	static const char much[8 << 20];

	take_all(s);
	conn_write(s->conn, much, sizeof(much));
	conn_close(s->conn);
	s->conn = NULL;
}

/* A peer that takes a little now and then must not keep what its owner no longer counts. */
static void closing_ends(void **state)
{
	static const struct timeval pause = { 0, 10000 };
	struct session s;
	char some[512];
	uint64_t begin = clock_mono_ms();
	size_t total = 0;
	ssize_t n;

	(void)state;
	conn_close_total_s = 1;
	open_pair(&s);
	s.on_readable = flood_and_close;
	conn_resume(s.conn);
	say("x", 1);
	do {
		event_base_loopexit(base, &pause);
		event_base_dispatch(base);
		do { /* after the limit what the kernel has already is taken at once */
			n = recv(peer, some, sizeof(some), MSG_DONTWAIT);
			total += n > 0 ? (size_t)n : 0;
		} while (n > 0 && clock_mono_ms() - begin > 1500);
	} while ((n > 0 || (n == -1 && errno == EAGAIN)) && clock_mono_ms() - begin < 4000);
	assert_int_equal(n, 0);
	assert_true(total < 8 << 20);
	conn_close_total_s = 60;
	close_pair(&s);
}

static void reply_and_close(struct session *s)
{
	take_all(s);
	conn_printf(s->conn, "%d bye\r\n", 221);
	conn_close(s->conn);
	s->conn = NULL;
}

static void closes_after_the_last_reply(void **state)
{
	struct session s;
	char text[100];

	(void)state;
	open_pair(&s);
	s.on_readable = reply_and_close;
	conn_resume(s.conn);
	say("QUIT\r\nmore that nobody reads", 28);
	LOOP_UNTIL(s.readable, 1);
	loop_idle();
	assert_int_equal(recv(peer, text, sizeof(text), 0), 9);
	assert_memory_equal(text, "221 bye\r\n", 9);
	assert_int_equal(recv(peer, text, sizeof(text), 0), 0);
	assert_int_equal(s.ended, 0); /* no more callbacks */
	close(peer);
	peer = -1;
	loop_idle();
	close_pair(&s);
}

static void free_inside(struct session *s)
{
	conn_printf(s->conn, "lost");
	conn_free(s->conn);
	conn_printf(s->conn, "ignored"); /* its memory lives until we return */
	s->conn = NULL;
}

static void frees_inside_a_callback(void **state)
{
	struct session s;
	char c;

	(void)state;
	open_pair(&s);
	s.on_readable = free_inside;
	conn_resume(s.conn);
	say("xy", 2);
	LOOP_UNTIL(s.readable, 1);
	loop_idle();
	assert_true(recv(peer, &c, 1, 0) <= 0);
	assert_int_equal(s.ended, 0);
	close_pair(&s);
}

static void pausing_holds_input_and_its_end(void **state)
{
	struct session s;

	(void)state;
	open_pair(&s);
	say("first", 5);
	loop_idle();
	assert_int_equal(s.readable, 0); /* reading starts disabled */
	conn_resume(s.conn);
	LOOP_UNTIL(s.readable, 1);
	conn_pause(s.conn);
	say("second", 6);
	close(peer);
	peer = -1;
	loop_idle();
	assert_int_equal(s.readable, 1);
	assert_int_equal(s.ended, 0);
	conn_resume(s.conn);
	LOOP_UNTIL(s.ended, 1);
	assert_int_equal(s.end, CONN_EOF);
	assert_string_equal(buf_str(&s.got), "firstsecond");
	close_pair(&s);
}

static void pause_each(struct session *s)
{
	struct view line;

	if (conn_line(s->conn, 10, &line) == LINE_OK)
		buf_printf(&s->got, "[%.*s]", (int)line.len, line.ptr);
	conn_pause(s->conn);
}

static void resume_tells_of_what_waits(void **state)
{
	struct session s;

	(void)state;
	open_pair(&s);
	s.on_readable = pause_each;
	conn_resume(s.conn);
	say("a\r\nb\r\nc\r\n", 9);
	for (int i = 1; i <= 3; i++) {
		LOOP_UNTIL(s.readable, i);
		loop_idle();
		assert_int_equal(s.readable, i);
		conn_resume(s.conn);
		assert_int_equal(s.readable, i); /* never from inside a call */
	}
	assert_string_equal(buf_str(&s.got), "[a][b][c]");
	close_pair(&s);
}

static void input_is_bounded(void **state)
{
	static char big[50000];
	struct session s;
	struct view line;

	(void)state;
	memset(big, 'x', sizeof(big));
	open_pair(&s);
	s.keep = true;
	conn_set_max_input(s.conn, 1000);
	conn_resume(s.conn);
	say(big, sizeof(big));
	loop_idle();
	assert_int_equal(evbuffer_get_length(conn_input(s.conn)), 1000);
	assert_int_equal(conn_line(s.conn, 5000, &line), LINE_TOO_LONG); /* it could never be complete */
	s.keep = false;
	take_all(&s); /* from outside a callback */
	while (s.got.len < sizeof(big))
		LOOP_UNTIL(s.readable, s.readable + 1);
	assert_memory_equal(s.got.data, big, sizeof(big));
	close_pair(&s);
}

static void gives_memory(void **state)
{
	struct buf b = BUF_INIT(100000);
	struct session s;
	char got[100];

	(void)state;
	open_pair(&s);
	conn_write(s.conn, "before ", 7);
	buf_puts(&b, "given ");
	conn_give(s.conn, &b);
	assert_int_equal(b.cap, 0);
	assert_int_equal(b.max, 100000);
	conn_give(s.conn, &b); /* nothing */
	buf_puts(&b, "after");
	conn_give(s.conn, &b);
	loop_idle();
	assert_int_equal(recv(peer, got, sizeof(got), 0), 18);
	assert_memory_equal(got, "before given after", 18);
	buf_puts(&b, "freed with it");
	conn_give(s.conn, &b);
	close_pair(&s);
}

static void drained_at_low_water(void **state)
{
	static char big[2000000];
	struct session s;
	size_t read_back = 0;

	(void)state;
	open_pair(&s);
	conn_set_low_water(s.conn, 1000);
	conn_write(s.conn, big, sizeof(big));
	assert_int_equal(conn_output_len(s.conn), sizeof(big)); /* nothing leaves inside the call */
	loop_idle();
	assert_int_equal(s.drained, 0);
	while (read_back < sizeof(big)) {
		ssize_t n = recv(peer, big, sizeof(big), MSG_DONTWAIT);
		if (n > 0)
			read_back += (size_t)n;
		event_base_loop(base, EVLOOP_NONBLOCK);
	}
	LOOP_UNTIL(s.drained, 1);
	assert_int_equal(conn_output_len(s.conn), 0);
	close_pair(&s);
}

static void timeouts(void **state)
{
	static char big[4000000];
	struct session s;

	(void)state;
	open_pair(&s);
	conn_set_timeout(s.conn, 1, 0);
	conn_resume(s.conn);
	LOOP_UNTIL(s.ended, 1);
	assert_int_equal(s.end, CONN_TIMEOUT);
	close_pair(&s);

	open_pair(&s);
	conn_set_timeout(s.conn, 0, 1);
	conn_write(s.conn, big, sizeof(big)); /* nobody reads it */
	LOOP_UNTIL(s.ended, 1);
	assert_int_equal(s.end, CONN_TIMEOUT);
	close_pair(&s);
}

static void write_errors_end_it(void **state)
{
	struct session s;

	(void)state;
	open_pair(&s); /* paused, so that only writing can tell */
	close(peer);
	peer = -1;
	conn_printf(s.conn, "hello");
	assert_int_equal(s.ended, 0);
	LOOP_UNTIL(s.ended, 1);
	assert_int_equal(s.end, CONN_ERROR);
	assert_string_equal(s.why, "Broken pipe");
	close_pair(&s);
}

static void detaches(void **state)
{
	struct session s;
	struct buf rest = BUF_INIT(100);
	struct view line;
	char c[10];

	(void)state;
	open_pair(&s);
	s.keep = true;
	conn_resume(s.conn);
	say("a1 LOGIN\r\nrest", 14);
	LOOP_UNTIL(s.readable, 1);
	assert_int_equal(conn_line(s.conn, 10, &line), LINE_OK);
	conn_printf(s.conn, "a1 OK");
	int fd = conn_detach(s.conn, &rest);
	s.conn = NULL;
	assert_true(fd >= 0);
	assert_string_equal(buf_str(&rest), "rest");
	assert_int_equal(recv(peer, c, sizeof(c), 0), 5); /* what was queued has gone first */
	say("x", 1);
	assert_int_equal(recv(fd, c, 1, 0), 1);
	loop_idle();
	close(fd);
	buf_free(&rest);
	close_pair(&s);
}

static void connects(void **state)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
	struct sockaddr_in from = a;
	socklen_t len = sizeof(a);
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct session s;

	(void)state;
	assert_int_equal(bind(listener, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(listen(listener, 5), 0);
	assert_int_equal(getsockname(listener, (struct sockaddr *)&a, &len), 0);
	session_init(&s);
	s.conn = conn_connect(
	    base, (struct sockaddr *)&a, sizeof(a), (struct sockaddr *)&from, sizeof(from), &session_ops, &s);
	conn_resume(s.conn);
	LOOP_UNTIL(s.secured, 1);
	peer = accept(listener, NULL, NULL);
	say("220 hi\r\n", 8);
	LOOP_UNTIL(s.readable, 1);
	close_pair(&s);
	close(listener);

	session_init(&s); /* nobody listens now */
	s.conn = conn_connect(base, (struct sockaddr *)&a, sizeof(a), NULL, 0, &session_ops, &s);
	assert_int_equal(s.ended, 0);
	LOOP_UNTIL(s.ended, 1);
	assert_int_equal(s.end, CONN_ERROR);
	assert_string_equal(s.why, "Connection refused");
	session_clear(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(lines_whole, open_loop, close_loop),
		cmocka_unit_test_setup_teardown(lines_byte_by_byte, open_loop, close_loop),
		cmocka_unit_test(lines_across_chains),
		cmocka_unit_test_setup_teardown(closing_ends, open_loop, close_loop),
		cmocka_unit_test_setup_teardown(closes_after_the_last_reply, open_loop, close_loop),
		cmocka_unit_test_setup_teardown(frees_inside_a_callback, open_loop, close_loop),
		cmocka_unit_test_setup_teardown(pausing_holds_input_and_its_end, open_loop, close_loop),
		cmocka_unit_test_setup_teardown(resume_tells_of_what_waits, open_loop, close_loop),
		cmocka_unit_test_setup_teardown(input_is_bounded, open_loop, close_loop),
		cmocka_unit_test_setup_teardown(gives_memory, open_loop, close_loop),
		cmocka_unit_test_setup_teardown(drained_at_low_water, open_loop, close_loop),
		cmocka_unit_test_setup_teardown(timeouts, open_loop, close_loop),
		cmocka_unit_test_setup_teardown(write_errors_end_it, open_loop, close_loop),
		cmocka_unit_test_setup_teardown(detaches, open_loop, close_loop),
		cmocka_unit_test_setup_teardown(connects, open_loop, close_loop),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
