/* The life of SMTP sessions: deadlines, memory, limits, a store that takes its time, and going down. */
#include "tests/unit/smtp_fakes.h"

#include "lib/clock.h"
#include "mailsvc/smtp/check_impl.h"

#define TO "EHLO c.example\r\nMAIL FROM:<s@example.net>\r\nRCPT TO:<alice@example.org>\r\n"

static void say(int fd, const char *text)
{
	size_t len = strlen(text);

	assert_int_equal(write(fd, text, len), len);
}

/* Pumps until the server has said `part`. */
static void await(int fd, struct buf *out, const char *part)
{
	for (int i = 0; i < 1000; i++) {
		bool open = pump(fd, out);

		if (out->len > 0 && strstr(buf_str(out), part) != NULL)
			return;
		if (!open)
			break;
	}
	fail_msg("wanted \"%s\", the server said: %s", part, buf_str(out));
}

static void await_end(int fd, struct buf *out)
{
	for (int i = 0; i < 1000; i++)
		if (!pump(fd, out))
			return;
	fail_msg("the server did not close; it said: %s", buf_str(out));
}

static void finish(int fd, struct buf *out)
{
	close(fd);
	for (int i = 0; i < 10; i++)
		event_base_loop(base, EVLOOP_NONBLOCK);
	assert_int_equal(server->session_count, 0);
	assert_int_equal(server->in_flight, 0);
	buf_free(out);
}

static struct smtp_session *only_session(void)
{
	assert_int_equal(server->session_count, 1);
	return TAILQ_FIRST(&server->sessions);
}

static void test_idle(void **state)
{
	int fd = open_client(MX, "198.51.100.7", VIEW_NONE);
	struct buf out = BUF_INIT(65536);
	uint64_t now = clock_mono_ms();

	(void)state;
	await(fd, &out, "220 ");
	smtp_session_tick(only_session(), now + 250 * 1000);
	/* A part of a command is no command: the deadline stays. */
	say(fd, "NO");
	pump(fd, &out);
	assert_true(only_session()->deadline < now + 301 * 1000);
	smtp_session_tick(only_session(), now + 301 * 1000);
	await_end(fd, &out);
	assert_non_null(strstr(buf_str(&out), "421 4.4.2 "));
	finish(fd, &out);
}

static void test_slow_content(void **state)
{
	int fd = open_client(MX, "198.51.100.7", VIEW_NONE);
	struct buf out = BUF_INIT(65536);
	uint64_t now = clock_mono_ms();
	char line[SMTP_RATE_BYTES + 100];

	(void)state;
	pump(fd, &out);
	say(fd, TO "DATA\r\n");
	await(fd, &out, "354 ");
	memset(line, 'x', sizeof(line));
	memcpy(line + sizeof(line) - 2, "\r\n", 2);
	assert_int_equal(write(fd, line, sizeof(line)), sizeof(line));
	pump(fd, &out);
	smtp_session_tick(only_session(), now + 61 * 1000); /* enough came: another minute */
	assert_int_equal(only_session()->rate_bytes, 0);
	say(fd, "x");
	pump(fd, &out);
	smtp_session_tick(only_session(), now + 10 * 61 * 1000);
	await_end(fd, &out);
	assert_non_null(strstr(buf_str(&out), "421 4.4.2 "));
	finish(fd, &out);
}

/* A message that never ends is not read for ever. */
static void test_endless(void **state)
{
	int fd = open_client(MX, "198.51.100.7", VIEW_NONE);
	struct buf out = BUF_INIT(65536);
	size_t sent = 0;
	char line[4096];

	(void)state;
	pump(fd, &out);
	say(fd, TO "DATA\r\n");
	await(fd, &out, "354 ");
	memset(line, 'x', sizeof(line));
	memcpy(line + sizeof(line) - 2, "\r\n", 2);
	while (sent < 4 * SMTP_ENDLESS * 65536 && server->session_count > 0) {
		assert_int_equal(write(fd, line, sizeof(line)), sizeof(line));
		sent += sizeof(line);
		pump(fd, &out);
	}
	assert_in_range(sent, SMTP_ENDLESS * 65536, 2 * SMTP_ENDLESS * 65536);
	assert_non_null(strstr(buf_str(&out), "552 5.3.4"));
	finish(fd, &out);
}

static void test_memory(void **state)
{
	int fd = open_client(MX, "198.51.100.7", VIEW_NONE);
	struct buf out = BUF_INIT(65536);

	(void)state;
	pump(fd, &out);
	server->in_flight = SMTP_IN_FLIGHT_MAX - 10; /* others hold it */
	say(fd, TO "DATA\r\n");
	await(fd, &out, "354 ");
	say(fd, "Subject: too much\r\n\r\nhi\r\n.\r\nNOOP\r\n");
	await(fd, &out, "452 4.3.1");
	await(fd, &out, "2.0.0 Ok");
	assert_int_equal(server->in_flight, SMTP_IN_FLIGHT_MAX - 10);
	server->in_flight = 0;
	finish(fd, &out);
}

/* One stranger has a quarter at most; the rest is for others. */
static void test_memory_of_one(void **state)
{
	struct buf out = BUF_INIT(65536), others = BUF_INIT(65536);
	int fd = open_client(MX, "198.51.100.7", VIEW_NONE), other;
	struct smtp_session *s = only_session();
	uint64_t held = SMTP_IN_FLIGHT_MAX / 4 - 10; /* by other connections of his */

	(void)state;
	pump(fd, &out);
	*smtp_peers_bytes(server->peers, &s->peer.sa) = held;
	say(fd, TO "DATA\r\nSubject: too much\r\n\r\nhi\r\n.\r\n");
	await(fd, &out, "452 4.3.1");
	assert_int_equal(*smtp_peers_bytes(server->peers, &s->peer.sa), held);
	other = open_client(MX, "198.51.100.8", VIEW_NONE);
	pump(other, &others);
	say(other, TO "DATA\r\nSubject: x\r\n\r\nhi\r\n.\r\n");
	await(other, &others, "Ok queued");
	close(other);
	*smtp_peers_bytes(server->peers, &s->peer.sa) = 0;
	buf_reset(&out);
	say(fd, "MAIL FROM:<>\r\nRCPT TO:<alice@example.org>\r\nDATA\r\nSubject: x\r\n\r\nhi\r\n.\r\n");
	await(fd, &out, "Ok queued");
	assert_int_equal(*smtp_peers_bytes(server->peers, &s->peer.sa), 0);
	finish(fd, &out);
	buf_free(&others);
}

static void test_connections(void **state)
{
	int fds[101];
	struct buf out = BUF_INIT(65536);

	(void)state;
	for (size_t i = 0; i < 101; i++)
		fds[i] = open_client(MX, "198.51.100.7", VIEW_NONE);
	assert_int_equal(server->session_count, 100);
	await_end(fds[100], &out);
	assert_non_null(strstr(buf_str(&out), "421 4.7.0 mail.example.org Too many connections from your address"));
	buf_reset(&out);
	close(fds[100]);
	fds[100] = open_client(MX, "198.51.100.8", VIEW_NONE);
	await(fds[100], &out, "220 ");
	for (size_t i = 0; i < 100; i++)
		close(fds[i]);
	finish(fds[100], &out);
	fds[0] = open_client(MX, "198.51.100.7", VIEW_NONE);
	await(fds[0], &out, "220 ");
	finish(fds[0], &out);
}

/* The site's numbers are the host's: each of several processes has its part of them. */
static void test_share(void **state)
{
	int fds[26];
	struct buf out = BUF_INIT(65536);

	(void)state;
	ctx.instances = 4;
	for (size_t i = 0; i < 26; i++)
		fds[i] = open_client(MX, "198.51.100.7", VIEW_NONE);
	assert_int_equal(server->session_count, 25);
	await_end(fds[25], &out);
	assert_non_null(strstr(buf_str(&out), "421 4.7.0 "));
	buf_reset(&out);
	await(fds[0], &out, "220 ");
	server->in_flight = SMTP_IN_FLIGHT_MAX / 4;
	say(fds[0], TO "DATA\r\nSubject: x\r\n\r\nhi\r\n.\r\n");
	await(fds[0], &out, "452 4.3.1");
	server->in_flight = 0;
	ctx.instances = 1u << 20; /* however small its part, a message fits and one connection too */
	say(fds[0], "MAIL FROM:<>\r\nRCPT TO:<alice@example.org>\r\nDATA\r\nSubject: x\r\n\r\nhi\r\n.\r\n");
	await(fds[0], &out, "Ok queued");
	assert_int_equal(smtp_share(server, 1), 1);
	ctx.instances = 1;
	for (size_t i = 1; i < 26; i++)
		close(fds[i]);
	finish(fds[0], &out);
}

/* Nothing is said before store has answered; what was pipelined comes after. */
static void test_slow_store(void **state)
{
	int fd = open_client(MX, "198.51.100.7", VIEW_NONE);
	struct buf out = BUF_INIT(65536);

	(void)state;
	store_held = true;
	pump(fd, &out);
	say(fd, TO "DATA\r\n");
	await(fd, &out, "354 ");
	buf_reset(&out);
	say(fd, "Subject: x\r\n\r\nhi\r\n.\r\nHELP\r\n");
	for (int i = 0; i < 20; i++)
		pump(fd, &out);
	assert_int_equal(out.len, 0);
	assert_int_equal(only_session()->state, SMTP_STORING);
	smtp_session_tick(only_session(), clock_mono_ms() + 3600 * 1000); /* waiting for us is no fault of the client */
	release_store();
	await(fd, &out, "214 ");
	assert_int_equal(strncmp(buf_str(&out), "250 2.0.0 Ok queued as ", 23), 0);
	store_held = false;
	finish(fd, &out);
}

/* Whoever waits for store gets the answer; who is idle is told to go; nobody else is waited for. */
static void test_drain(void **state)
{
	int idle = open_client(MX, "198.51.100.7", VIEW_NONE), busy = open_client(MX, "198.51.100.7", VIEW_NONE);
	struct buf out = BUF_INIT(65536), mail = BUF_INIT(65536);

	(void)state;
	store_held = true;
	pump(idle, &out);
	pump(busy, &mail);
	say(busy, TO "DATA\r\n");
	await(busy, &mail, "354 ");
	say(busy, "Subject: x\r\n\r\nhi\r\n.\r\n");
	for (int i = 0; i < 20 && store_waiting == NULL; i++)
		pump(busy, &mail);
	exited = false;
	role_smtp.drain(&ctx);
	await_end(idle, &out);
	assert_non_null(strstr(buf_str(&out), "421 4.3.2 "));
	assert_int_equal(only_session()->state, SMTP_STORING);
	assert_false(exited);
	release_store();
	await_end(busy, &mail);
	assert_non_null(strstr(buf_str(&mail), "250 2.0.0 Ok queued as "));
	assert_non_null(strstr(buf_str(&mail), "421 4.3.2 "));
	for (int i = 0; i < 100 && !exited; i++)
		event_base_loop(base, EVLOOP_ONCE);
	assert_true(exited);
	store_held = false;
	server->draining = false;
	close(idle);
	finish(busy, &mail);
	buf_free(&out);
}

static struct {
	dns_fn fn;
	void *arg;
} questions[2];
static uint32_t question_count;

static uint32_t ask(void *unused, const char *name, enum dns_type type, dns_fn fn, void *arg)
{
	(void)unused;
	(void)name;
	(void)type;
	assert_true(question_count < 2);
	questions[question_count].fn = fn;
	questions[question_count].arg = arg;
	return ++question_count;
}

static void unask(void *unused, uint32_t id)
{
	(void)unused;
	(void)id;
}

/* One answer for the name in EHLO leaves the other with its time limit, though nobody waits for it yet. */
static void test_helo_limit(void **state)
{
	int fd = open_client(MX, "198.51.100.7", VIEW_NONE);
	struct buf out = BUF_INIT(65536);
	const struct policy_dns before = server->policy;
	struct smtp_session *s;

	(void)state;
	await(fd, &out, "220 ");
	s = only_session();
	s->checks = xcalloc(1, sizeof(*s->checks));
	s->checks->session = s;
	server->policy = (struct policy_dns){ ask, unask, NULL };
	say(fd, "EHLO c.example\r\n");
	await(fd, &out, "250 HELP");
	assert_int_equal(question_count, 2);
	questions[0].fn(questions[0].arg, &(struct dns_answer){ .status = DNS_NODATA });
	assert_int_not_equal(s->checks->helo_query[1], 0);
	smtp_session_tick(s, clock_mono_ms() + s->site->checks.dns_wait * 1000 + 1000);
	assert_int_equal(s->checks->helo_query[1], 0);
	finish(fd, &out);
	server->policy = before;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_idle),
		cmocka_unit_test(test_slow_content),
		cmocka_unit_test(test_endless),
		cmocka_unit_test(test_memory),
		cmocka_unit_test(test_memory_of_one),
		cmocka_unit_test(test_connections),
		cmocka_unit_test(test_share),
		cmocka_unit_test(test_slow_store),
		cmocka_unit_test(test_drain),
		cmocka_unit_test(test_helo_limit),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, set_up, NULL);
}
