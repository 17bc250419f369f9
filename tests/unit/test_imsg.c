/* lib/imsg.h: messages, descriptors, queues, broken framing, ends, freeing inside callbacks, the blocking forms,
 * memfds. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/imsg.h"

static struct event_base *base;

struct end {
	struct chan *chan;
	int messages, closed;
	uint32_t type, id;
	struct buf data;
	int fd;
	bool free_in_message, free_in_closed, keep_fd;
};

static void on_message(struct chan *c, struct imsg *m, void *arg)
{
	struct end *e = arg;

	assert_ptr_equal(c, e->chan);
	e->messages++;
	e->type = m->type;
	e->id = m->id;
	buf_reset(&e->data);
	buf_addv(&e->data, m->data);
	if (e->keep_fd) {
		e->fd = m->fd;
		m->fd = -1;
	}
	if (e->free_in_message) {
		chan_free(c);
		e->chan = NULL;
	}
}

static void on_closed(struct chan *c, void *arg)
{
	struct end *e = arg;

	e->closed++;
	if (e->free_in_closed) {
		chan_free(c);
		e->chan = NULL;
	}
}

static const struct chan_ops ops = { on_message, on_closed };

static void end_open(struct end *e, int fd)
{
	*e = (struct end){ .fd = -1, .data = BUF_INIT(IMSG_MAX) };
	e->chan = chan_new(base, fd, &ops, e);
}

static void end_close(struct end *e)
{
	chan_free(e->chan);
	buf_free(&e->data);
	if (e->fd != -1)
		close(e->fd);
}

static void open_pair(struct end *a, struct end *b)
{
	int p[2];

	assert_int_equal(imsg_pair(p), 0);
	end_open(a, p[0]);
	end_open(b, p[1]);
}

static void settle(void)
{
	for (int i = 0; i < 50; i++)
		event_base_loop(base, EVLOOP_NONBLOCK);
}

static int setup(void **state)
{
	(void)state;
	base = event_base_new();
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	event_base_free(base);
	return 0;
}

static void carries(void **state)
{
	static char big[IMSG_MAX + 1];
	struct end a, b;

	(void)state;
	open_pair(&a, &b);
	assert_int_equal(chan_send(a.chan, 7, 9, VIEW_LIT("hello"), -1), 0);
	assert_int_equal(b.messages, 0);
	settle();
	assert_int_equal(b.messages, 1);
	assert_int_equal(b.type, 7);
	assert_int_equal(b.id, 9);
	assert_string_equal(buf_str(&b.data), "hello");
	assert_int_equal(chan_send(b.chan, 1, 0, VIEW_NONE, -1), 0);
	settle();
	assert_int_equal(a.messages, 1);
	assert_int_equal(a.data.len, 0);
	assert_int_equal(chan_send(a.chan, 1, 0, (struct view){ big, IMSG_MAX }, -1), 0);
	assert_int_equal(chan_send(a.chan, 1, 0, (struct view){ big, IMSG_MAX + 1 }, -1), -1);
	settle();
	assert_int_equal(b.messages, 2);
	assert_int_equal(b.data.len, IMSG_MAX);
	end_close(&a);
	end_close(&b);
}

static void carries_a_descriptor(void **state)
{
	struct end a, b;
	int p[2];
	char c;

	(void)state;
	open_pair(&a, &b);
	b.keep_fd = true;
	assert_int_equal(pipe2(p, O_CLOEXEC), 0);
	assert_int_equal(chan_send(a.chan, 1, 0, VIEW_LIT("take it"), p[1]), 0);
	assert_int_equal(fcntl(p[1], F_GETFD), -1); /* taken over */
	settle();
	assert_true(b.fd >= 0);
	assert_int_equal(fcntl(b.fd, F_GETFD), FD_CLOEXEC);
	assert_int_equal(write(b.fd, "x", 1), 1);
	assert_int_equal(read(p[0], &c, 1), 1);
	close(b.fd);
	b.fd = -1;
	assert_int_equal(read(p[0], &c, 1), 0); /* no copy was left behind */
	close(p[0]);

	assert_int_equal(pipe2(p, O_CLOEXEC), 0);
	b.keep_fd = false; /* nobody wants it: closed after the callback */
	chan_send(a.chan, 1, 0, VIEW_NONE, p[1]);
	settle();
	assert_int_equal(read(p[0], &c, 1), 0);
	close(p[0]);
	end_close(&a);
	end_close(&b);
}

static void queues_for_a_slow_peer(void **state)
{
	static char big[60000];
	struct end a, b;
	int p[2];

	(void)state;
	assert_int_equal(imsg_pair(p), 0);
	end_open(&a, p[0]); /* the other end does not read yet */
	for (uint32_t i = 1; i <= 100; i++) {
		memcpy(big, &i, sizeof(i));
		assert_int_equal(chan_send(a.chan, i, 0, (struct view){ big, sizeof(big) }, -1), 0);
	}
	assert_true(chan_queued(a.chan) > 0);
	settle();
	end_open(&b, p[1]);
	for (int i = 0; i < 1000 && b.messages < 100; i++)
		event_base_loop(base, EVLOOP_ONCE);
	assert_int_equal(b.messages, 100);
	assert_int_equal(b.type, 100); /* in order */
	assert_int_equal(chan_queued(a.chan), 0);
	end_close(&a);
	end_close(&b);
}

static void the_last_words_arrive(void **state)
{
	struct end a, b;

	(void)state;
	open_pair(&a, &b);
	b.free_in_closed = true;
	chan_send(b.chan, 1, 0, VIEW_LIT("unread"), -1); /* makes the kernel report a reset */
	chan_send(a.chan, 1, 0, VIEW_LIT("one"), -1);
	chan_send(a.chan, 2, 0, VIEW_LIT("two"), -1);
	chan_free(a.chan);
	a.chan = NULL;
	settle();
	assert_int_equal(b.messages, 2);
	assert_int_equal(b.closed, 1);
	end_close(&a);
	end_close(&b);
}

static void sending_to_the_dead(void **state)
{
	struct end a, b;
	int p[2];
	char c;

	(void)state;
	open_pair(&a, &b);
	chan_free(a.chan);
	a.chan = NULL;
	assert_int_equal(pipe2(p, O_CLOEXEC), 0);
	assert_int_equal(chan_send(b.chan, 1, 0, VIEW_NONE, p[1]), -1);
	assert_int_equal(read(p[0], &c, 1), 0); /* closed all the same */
	close(p[0]);
	assert_int_equal(b.closed, 0); /* told by the loop */
	settle();
	assert_int_equal(b.closed, 1);
	assert_int_equal(chan_send(b.chan, 1, 0, VIEW_NONE, -1), -1);
	end_close(&a);
	end_close(&b);
}

static void broken(const void *data, size_t len)
{
	struct end a;
	int p[2];

	assert_int_equal(imsg_pair(p), 0);
	end_open(&a, p[0]);
	assert_int_equal(send(p[1], data, len, 0), (ssize_t)len);
	settle();
	assert_int_equal(a.messages, 0);
	assert_int_equal(a.closed, 1);
	close(p[1]);
	end_close(&a);
}

static void broken_framing_closes(void **state)
{
	static char big[12 + IMSG_MAX + 1];

	(void)state;
	broken("short", 5);
	broken("\1\0\0\0\0\0\0\0\5\0\0\0four", 16); /* says five bytes, has four */
	broken("\1\0\0\0\0\0\0\0\3\0\0\0four", 16);
	big[8] = 1;
	big[10] = 1;
	broken(big, sizeof(big)); /* one byte too long */
}

/* count copies of a pipe's end, with a message of len bytes: the channel closes, and so do all copies. */
static void closes_descriptors(size_t len, size_t count)
{
	struct end a;
	int p[2], q[2];
	char header[12] = { 1 }, c;
	struct iovec iov = { header, len };
	union {
		char raw[CMSG_SPACE(2 * sizeof(int))];
		struct cmsghdr align;
	} control = { { 0 } };
	struct msghdr msg = { .msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = CMSG_SPACE(count * sizeof(int)) };

	assert_int_equal(imsg_pair(p), 0);
	end_open(&a, p[0]);
	assert_int_equal(pipe2(q, O_CLOEXEC), 0);
	int two[2] = { q[1], q[1] };
	struct cmsghdr *m = CMSG_FIRSTHDR(&msg);
	m->cmsg_level = SOL_SOCKET;
	m->cmsg_type = SCM_RIGHTS;
	m->cmsg_len = CMSG_LEN(count * sizeof(int));
	memcpy(CMSG_DATA(m), two, count * sizeof(int));
	assert_int_equal(sendmsg(p[1], &msg, 0), (ssize_t)len);
	close(q[1]);
	settle();
	assert_int_equal(a.messages, 0);
	assert_int_equal(a.closed, 1);
	assert_int_equal(read(q[0], &c, 1), 0); /* both copies are closed */
	close(q[0]);
	close(p[1]);
	end_close(&a);
}

static void two_descriptors_close(void **state)
{
	(void)state;
	closes_descriptors(12, 2);
}

static void an_empty_message_keeps_no_descriptor(void **state)
{
	(void)state;
	closes_descriptors(0, 1);
}

static void frees_inside_callbacks(void **state)
{
	struct end a, b;

	(void)state;
	open_pair(&a, &b);
	b.free_in_message = true;
	chan_send(a.chan, 1, 0, VIEW_LIT("x"), -1);
	chan_send(a.chan, 2, 0, VIEW_LIT("y"), -1);
	settle();
	assert_int_equal(b.messages, 1);
	assert_int_equal(b.closed, 0);
	assert_int_equal(a.closed, 1);
	end_close(&a);
	end_close(&b);
}

static void blocking_forms(void **state)
{
	struct buf storage = BUF_INIT(IMSG_MAX);
	struct imsg m;
	int p[2], q[2];

	(void)state;
	assert_int_equal(imsg_pair(p), 0);
	assert_int_equal(pipe2(q, O_CLOEXEC), 0);
	assert_int_equal(imsg_send(p[0], 3, 4, VIEW_LIT("text"), q[0]), 0);
	assert_int_equal(imsg_recv(p[1], 1000, &m, &storage), 1);
	assert_int_equal(m.type, 3);
	assert_int_equal(m.id, 4);
	assert_true(view_eq(m.data, "text"));
	assert_true(m.fd >= 0);
	close(m.fd);
	assert_int_equal(imsg_recv(p[1], 20, &m, &storage), -1);
	assert_int_equal(errno, ETIMEDOUT);
	close(p[0]);
	assert_int_equal(imsg_recv(p[1], -1, &m, &storage), 0);
	assert_int_equal(imsg_send(p[1], 3, 4, VIEW_LIT("text"), -1), -1);
	assert_int_equal(errno, EPIPE);
	close(p[1]);
	close(q[0]);
	close(q[1]);
	buf_free(&storage);
}

static void sealed_memory(void **state)
{
	struct view v;
	int fd = memfd_sealed("test", VIEW_LIT("contents"));

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(write(fd, "x", 1), -1);
	assert_int_equal(ftruncate(fd, 0), -1);
	assert_int_equal(memfd_map_sealed(fd, 8, &v), 0);
	assert_true(view_eq(v, "contents"));
	munmap((void *)(uintptr_t)v.ptr, v.len);
	assert_int_equal(memfd_map_sealed(fd, 7, &v), -1);
	assert_int_equal(errno, EFBIG);
	close(fd);
	fd = memfd_sealed("empty", VIEW_NONE);
	assert_int_equal(memfd_map_sealed(fd, 10, &v), 0);
	assert_int_equal(v.len, 0);
	close(fd);
	fd = memfd_create("open", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	assert_int_equal(write(fd, "x", 1), 1);
	assert_int_equal(memfd_map_sealed(fd, 10, &v), -1);
	assert_int_equal(memfd_seal(fd), 0);
	assert_int_equal(memfd_map_sealed(fd, 10, &v), 0);
	munmap((void *)(uintptr_t)v.ptr, v.len);
	close(fd);
	fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	assert_int_equal(memfd_map_sealed(fd, 10, &v), -1);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(carries),
		cmocka_unit_test(carries_a_descriptor),
		cmocka_unit_test(queues_for_a_slow_peer),
		cmocka_unit_test(the_last_words_arrive),
		cmocka_unit_test(sending_to_the_dead),
		cmocka_unit_test(broken_framing_closes),
		cmocka_unit_test(two_descriptors_close),
		cmocka_unit_test(an_empty_message_keeps_no_descriptor),
		cmocka_unit_test(frees_inside_callbacks),
		cmocka_unit_test(blocking_forms),
		cmocka_unit_test(sealed_memory),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, setup, teardown);
}
