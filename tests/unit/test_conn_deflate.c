/* lib/conn.h with deflate in both directions: content, order, bounds on what a peer can make us hold, broken streams. */
#include "conn_peer.h"

#include <zlib.h>

#define BIG 3000000

static int peer; /* the other end, nonblocking reads, blocking writes */
static z_stream peer_in, peer_out;
static unsigned char wire[1 << 20];

static void open_pair(struct session *s)
{
	int p[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, p), 0);
	session_init(s);
	peer = p[1];
	s->conn = conn_accept(base, p[0], NULL, &session_ops, s);
	memset(&peer_in, 0, sizeof(peer_in));
	memset(&peer_out, 0, sizeof(peer_out));
	assert_int_equal(inflateInit2(&peer_in, -15), Z_OK);
	assert_int_equal(deflateInit2(&peer_out, 9, Z_DEFLATED, -15, 8, Z_DEFAULT_STRATEGY), Z_OK);
}

static void close_pair(struct session *s)
{
	session_clear(s);
	close(peer);
	inflateEnd(&peer_in);
	deflateEnd(&peer_out);
}

/* The bytes of data as the peer deflates them, in wire. */
static size_t pack(const void *data, size_t len, int flush)
{
	peer_out.next_in = (unsigned char *)(uintptr_t)data;
	peer_out.avail_in = (unsigned)len;
	peer_out.next_out = wire;
	peer_out.avail_out = sizeof(wire);
	deflate(&peer_out, flush);
	assert_int_equal(peer_out.avail_in, 0);
	return sizeof(wire) - peer_out.avail_out;
}

/* Appends what the peer can inflate of what has arrived. */
static void unpack(struct buf *out)
{
	ssize_t n = recv(peer, wire, sizeof(wire), MSG_DONTWAIT);
	unsigned char text[65536];

	if (n <= 0)
		return;
	peer_in.next_in = wire;
	peer_in.avail_in = (unsigned)n;
	do {
		peer_in.next_out = text;
		peer_in.avail_out = sizeof(text);
		assert_true(inflate(&peer_in, Z_SYNC_FLUSH) >= Z_BUF_ERROR);
		buf_add(out, text, sizeof(text) - peer_in.avail_out);
	} while (peer_in.avail_out == 0);
}

static void reply_precedes_the_stream(void **state)
{
	struct buf got = BUF_INIT(1000);
	struct session s;
	char plain[5];

	(void)state;
	open_pair(&s);
	conn_resume(s.conn);
	conn_write(s.conn, "OK...", 5);
	assert_int_equal(conn_start_deflate(s.conn), 0);
	assert_int_equal(conn_start_deflate(s.conn), -1);
	conn_write(s.conn, "first ", 6);
	conn_write(s.conn, "second", 6);
	loop_idle();
	assert_int_equal(recv(peer, plain, 5, 0), 5);
	assert_memory_equal(plain, "OK...", 5);
	unpack(&got);
	assert_string_equal(buf_str(&got), "first second");
	assert_int_equal(conn_output_len(s.conn), 0);
	for (int i = 0; i < 3; i++) { /* each whole without waiting for more */
		char text[20];
		size_t len = (size_t)snprintf(text, sizeof(text), "line %d\r\n", i), n = pack(text, len, Z_SYNC_FLUSH);
		buf_reset(&s.got);
		assert_int_equal(send(peer, wire, n, 0), (ssize_t)n);
		LOOP_UNTIL(s.readable, i + 1);
		assert_string_equal(buf_str(&s.got), text);
	}
	buf_free(&got);
	close_pair(&s);
}

/* Pseudo-random text, so that it takes many slices in either form. */
static char *big_text(void)
{
	char *text = xmalloc(BIG);
	uint32_t x = 1;

	for (size_t i = 0; i < BIG; i++) {
		x = x * 1664525 + 1013904223;
		text[i] = "etaoinshrdlu \r\nxyz"[(x >> 24) % 18];
	}
	return text;
}

static void carries_much_both_ways(void **state)
{
	struct buf got = BUF_INIT(BIG + 1);
	char *text = big_text();
	struct session s;
	size_t sent = 0, waiting = 0;

	(void)state;
	open_pair(&s);
	conn_resume(s.conn);
	assert_int_equal(conn_start_deflate(s.conn), 0);
	conn_write(s.conn, text, BIG);
	while (got.len < BIG || s.got.len < BIG) {
		if (sent < BIG && waiting == 0) {
			size_t n = BIG - sent < 20000 ? BIG - sent : 20000;
			waiting = pack(text + sent, n, Z_SYNC_FLUSH);
			sent += n;
			assert_int_equal(send(peer, wire, waiting, 0), (ssize_t)waiting);
		}
		waiting = s.got.len < sent ? 1 : 0;
		loop_idle();
		unpack(&got);
	}
	assert_memory_equal(got.data, text, BIG);
	assert_memory_equal(s.got.data, text, BIG);
	buf_free(&got);
	free(text);
	close_pair(&s);
}

static void a_bomb_is_bounded(void **state)
{
	char *zeros = xcalloc(BIG, 1);
	struct session s;
	size_t n;

	(void)state;
	open_pair(&s);
	s.keep = true;
	conn_set_max_input(s.conn, 5000);
	conn_resume(s.conn);
	assert_int_equal(conn_start_deflate(s.conn), 0);
	n = pack(zeros, BIG, Z_SYNC_FLUSH);
	assert_true(n < 10000);
	assert_int_equal(send(peer, wire, n, 0), (ssize_t)n);
	loop_idle();
	assert_int_equal(evbuffer_get_length(conn_input(s.conn)), 5000);
	s.keep = false;
	take_all(&s);
	while (s.got.len < BIG) { /* and all of it arrives, none is read from the socket any more */
		size_t before = s.got.len;
		LOOP_UNTIL(s.readable, s.readable + 1);
		assert_in_range(s.got.len - before, 1, 5000);
	}
	free(zeros);
	close_pair(&s);
}

static void a_slow_reader_is_bounded(void **state)
{
	char *text = big_text();
	struct session s;
	size_t left;

	(void)state;
	open_pair(&s);
	conn_set_timeout(s.conn, 0, 1);
	assert_int_equal(conn_start_deflate(s.conn), 0);
	conn_write(s.conn, text, BIG);
	loop_idle();
	left = conn_output_len(s.conn);
	loop_idle();
	assert_int_equal(conn_output_len(s.conn), left); /* nothing more is deflated ahead */
	LOOP_UNTIL(s.ended, 1);
	assert_int_equal(s.end, CONN_TIMEOUT);
	free(text);
	close_pair(&s);
}

static void ends(void **state)
{
	static const struct {
		const char *raw;
		int flush;
		enum conn_end end;
	} cases[] = {
		{ NULL, Z_FINISH, CONN_EOF },           /* the peer ends its stream */
		{ NULL, Z_SYNC_FLUSH, CONN_EOF },       /* or its connection */
		{ "\xff\xff\xff\xff\xff", 0, CONN_ERROR }, /* or sends no deflate at all */
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct session s;
		size_t n;

		open_pair(&s);
		conn_resume(s.conn);
		assert_int_equal(conn_start_deflate(s.conn), 0);
		n = cases[i].raw ? strlen(cases[i].raw) : pack("last", 4, cases[i].flush);
		assert_int_equal(send(peer, cases[i].raw ? (const void *)cases[i].raw : wire, n, 0), (ssize_t)n);
		if (cases[i].flush == Z_SYNC_FLUSH)
			shutdown(peer, SHUT_WR);
		LOOP_UNTIL(s.ended, 1);
		assert_int_equal(s.end, cases[i].end);
		assert_string_equal(buf_str(&s.got), cases[i].raw ? "" : "last");
		close_pair(&s);
	}
}

static void closing_flushes(void **state)
{
	struct buf got = BUF_INIT(BIG + 1);
	char *text = big_text();
	struct session s;

	(void)state;
	open_pair(&s);
	assert_int_equal(conn_start_deflate(s.conn), 0);
	conn_write(s.conn, text, BIG);
	conn_close(s.conn);
	s.conn = NULL;
	for (int i = 0; i < 10000 && got.len < BIG; i++) {
		event_base_loop(base, EVLOOP_NONBLOCK);
		unpack(&got);
	}
	assert_int_equal(got.len, BIG);
	assert_memory_equal(got.data, text, BIG);
	loop_idle();
	buf_free(&got);
	free(text);
	close_pair(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(reply_precedes_the_stream, open_loop, close_loop),
		cmocka_unit_test_setup_teardown(carries_much_both_ways, open_loop, close_loop),
		cmocka_unit_test_setup_teardown(a_bomb_is_bounded, open_loop, close_loop),
		cmocka_unit_test_setup_teardown(a_slow_reader_is_bounded, open_loop, close_loop),
		cmocka_unit_test_setup_teardown(ends, open_loop, close_loop),
		cmocka_unit_test_setup_teardown(closing_flushes, open_loop, close_loop),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
