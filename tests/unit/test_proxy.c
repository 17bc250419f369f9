/* lib/proxy.h and lib/xtext.h: headers of the PROXY protocol, whole and in pieces; texts that must come back. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/proxy.h"
#include "lib/xtext.h"

#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"
#define V4 SIGNATURE "\x21\x11\0\14\xcb\0\x71\7\x7f\0\0\1\x10\xe1\0\31"

static int parse(const char *bytes, size_t len, char out[64])
{
	const unsigned char *p = (const unsigned char *)bytes;
	struct sockaddr_storage peer = { 0 };
	int rest = proxy_rest(p), r;

	out[0] = '\0';
	if (rest < 0)
		return -2;
	r = proxy_parse(p, p + PROXY_FIXED, len - PROXY_FIXED, &peer);
	if (peer.ss_family == AF_INET)
		inet_ntop(AF_INET, &((struct sockaddr_in *)(void *)&peer)->sin_addr, out, 64);
	else if (peer.ss_family == AF_INET6)
		inet_ntop(AF_INET6, &((struct sockaddr_in6 *)(void *)&peer)->sin6_addr, out, 64);
	return r;
}

static void test_parse(void **state)
{
	static const char six[] = SIGNATURE "\x21\x21\0\44 \1\r\xb8\0\0\0\0\0\0\0\0\0\0\0\7"
					    "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1\x10\xe1\0\31";
	char copy[64], out[64];

	(void)state;
	assert_int_equal(parse(V4, sizeof(V4) - 1, out), 0);
	assert_string_equal(out, "203.0.113.7");
	assert_int_equal(parse(six, sizeof(six) - 1, out), 0);
	assert_string_equal(out, "2001:db8::7");
	assert_int_equal(parse(V4, sizeof(V4) - 2, out), -1); /* less than it says */
	for (size_t i = 0; i < PROXY_FIXED; i++) { /* every byte of the fixed part but those of the length counts */
		memcpy(copy, V4, sizeof(V4));
		copy[i] ^= 0x40;
		if (i != 14 && i != 15)
			assert_true(parse(copy, sizeof(V4) - 1, out) < 0);
		assert_string_equal(out, "");
	}
	memcpy(copy, V4, sizeof(V4));
	copy[12] = 0x20; /* LOCAL */
	assert_int_equal(parse(copy, sizeof(V4) - 1, out), 1);
	copy[12] = 0x21;
	copy[13] = 0; /* UNSPEC */
	assert_int_equal(parse(copy, sizeof(V4) - 1, out), 1);
	copy[13] = 0x21; /* IPv6 with the bytes of IPv4 */
	assert_int_equal(parse(copy, sizeof(V4) - 1, out), -1);
	assert_string_equal(out, "");
}

struct came {
	struct event_base *base;
	int fd;
	unsigned calls;
	struct sockaddr_storage peer;
};

static void on_header(void *arg, int fd, const struct sockaddr_storage *peer)
{
	struct came *c = arg;

	c->fd = fd;
	c->calls++;
	c->peer = *peer;
}

/* Not a byte behind the header is read, however it comes. */
static void test_read(void **state)
{
	(void)state;
	for (size_t step = 1; step < 40; step += 7) {
		struct came c = { event_base_new(), -2, 0, { 0 } };
		struct sockaddr_storage from = { .ss_family = AF_UNIX };
		char rest[32];
		int fds[2];

		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
		proxy_read(c.base, fds[0], &from, on_header, &c);
		for (size_t at = 0; at < sizeof(V4) - 1; at += step) {
			size_t n = sizeof(V4) - 1 - at < step ? sizeof(V4) - 1 - at : step;

			assert_int_equal(c.calls, 0);
			assert_int_equal(write(fds[1], &V4[at], n), n);
			if (at + n == sizeof(V4) - 1)
				assert_int_equal(write(fds[1], "EHLO x\r\n", 8), 8);
			event_base_loop(c.base, EVLOOP_NONBLOCK);
		}
		assert_int_equal(c.calls, 1);
		assert_int_equal(c.fd, fds[0]);
		assert_int_equal(c.peer.ss_family, AF_INET);
		assert_int_equal(read(c.fd, rest, sizeof(rest)), 8);
		assert_memory_equal(rest, "EHLO x\r\n", 8);
		close(fds[0]);
		close(fds[1]);
		event_base_free(c.base);
	}
}

/* A loopback client is on this machine, and only a balancer here can say so. */
static void test_loopback(void **state)
{
	static const char *const balancers[] = { "127.0.0.9", "192.0.2.9" };

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct came c = { event_base_new(), -2, 0, { 0 } };
		struct sockaddr_in from = { .sin_family = AF_INET };
		struct sockaddr_storage storage = { 0 };
		char header[sizeof(V4)];
		int fds[2];

		memcpy(header, V4, sizeof(V4));
		memcpy(header + PROXY_FIXED, "\x7f\0\0\1", 4);
		assert_int_equal(inet_pton(AF_INET, balancers[i], &from.sin_addr), 1);
		memcpy(&storage, &from, sizeof(from));
		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
		proxy_read(c.base, fds[0], &storage, on_header, &c);
		assert_int_equal(write(fds[1], header, sizeof(V4) - 1), sizeof(V4) - 1);
		event_base_loop(c.base, EVLOOP_NONBLOCK);
		assert_int_equal(c.calls, 1);
		assert_int_equal(c.fd, i == 0 ? fds[0] : -1);
		if (i == 0)
			close(fds[0]);
		close(fds[1]);
		event_base_free(c.base);
	}
}

static void test_refused(void **state)
{
	static const char *const bad[] = { "EHLO example.org\r\n", "PROXY TCP4 1.2.3.4 1.2.3.4 1 2\r\n", "\r\n\r\n" };

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct came c = { event_base_new(), -2, 0, { 0 } };
		struct sockaddr_storage from = { .ss_family = AF_UNIX };
		int fds[2];

		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
		proxy_read(c.base, fds[0], &from, on_header, &c);
		assert_int_equal(write(fds[1], bad[i], strlen(bad[i])), strlen(bad[i]));
		event_base_loop(c.base, EVLOOP_NONBLOCK);
		close(fds[1]); /* the last one has said too little so far */
		event_base_loop(c.base, EVLOOP_NONBLOCK);
		assert_int_equal(c.calls, 1);
		assert_int_equal(c.fd, -1);
		assert_int_equal(fcntl(fds[0], F_GETFD), -1);
		event_base_free(c.base);
	}
}

static void test_xtext(void **state)
{
	static const char *const bad[] = { "a b", "a=b", "+", "+4", "+4G", "a\x80", "\n" };
	struct buf text = BUF_INIT(4096), back = BUF_INIT(4096);
	char all[256];

	(void)state;
	for (int i = 0; i < 256; i++)
		all[i] = (char)i;
	xtext_encode(&text, (struct view){ all, sizeof(all) });
	assert_int_equal(xtext_decode(&back, buf_view(&text)), 0);
	assert_int_equal(back.len, sizeof(all));
	assert_memory_equal(back.data, all, sizeof(all));
	for (size_t i = 0; i < text.len; i++)
		assert_true(text.data[i] > ' ' && text.data[i] < 0x7f && text.data[i] != '=');
	buf_reset(&text);
	xtext_encode(&text, view_of("bob+x=y@example.org"));
	assert_string_equal(buf_str(&text), "bob+2Bx+3Dy@example.org");
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(xtext_decode(&back, view_of(bad[i])), -1);
	buf_free(&text);
	buf_free(&back);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_parse), cmocka_unit_test(test_read),
		cmocka_unit_test(test_refused), cmocka_unit_test(test_loopback), cmocka_unit_test(test_xtext) };

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
