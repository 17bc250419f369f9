/*
 * Hosts that keep to the time of each step and are slow all the same: what bounds the whole.  The clock is the test's:
 * each verb that a host is slow with moves it on.
 */
#include "send_fakes.h"

#include "mailsvc/send/client_internal.h"

static uint64_t ahead; /* ms */

uint64_t clock_mono_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000 + ahead;
}

int64_t clock_wall(void)
{
	return time(NULL) + (int64_t)(ahead / 1000);
}

int64_t clock_wall_us(void)
{
	return clock_wall() * 1000000;
}

void clock_rfc3339(int64_t when, char out[32])
{
	(void)when;
	out[0] = '\0';
}

#define EHLO_PLAIN                                                                                                     \
	{                                                                                                              \
		"EHLO", "250 mx", 0                                                                                    \
	}

static const char *slow_verb; /* a prefix */
static unsigned slow_s;       /* and how long it takes with it */

static void take_time(struct bufferevent *bev, const char *verb)
{
	(void)bev;
	if (strncmp(verb, slow_verb, strlen(slow_verb)) == 0)
		ahead += slow_s * 1000ull;
}

static void slow_with(const char *verb, unsigned seconds)
{
	on_verb = take_time;
	slow_verb = verb;
	slow_s = seconds;
}

static void afresh(void)
{
	on_verb = NULL;
	ctx.role->reload(&ctx); /* what stands idle ends */
	event_base_loop(base, EVLOOP_NONBLOCK);
}

static void push_ten(uint64_t id)
{
	static const char *const ten[] = { "a@good.example", "b@good.example", "c@good.example", "d@good.example",
		"e@good.example", "f@good.example", "g@good.example", "h@good.example", "i@good.example",
		"j@good.example" };

	push(id, "good.example", "alice@example.org", 0, false, ten, 10);
}

/* 900 s, and 20 s for each recipient after the first: 1080. */
static void test_envelope(void **state)
{
	(void)state;
	script(1, (struct rule[]){ EHLO_PLAIN });
	push_one(1, "good.example", "a@good.example");
	run_until(1);
	slow_with("RCPT", 299); /* RFC 5321 would let it have 50 minutes */
	push_ten(2);
	run_until(2);
	assert_int_equal(results[1].retry, 10);
	contains(results[1].reply,
	    "4.4.2 the host is too slow: 10 recipients and 20 bytes did not go in time, in MAIL and RCPT");
	assert_null(strstr(transcript, "RCPT TO:<f@"));
	assert_int_equal(connections, 1); /* not again at once, though the connection was one that was used before */
	slow_with("RCPT", 100);           /* 1000 */
	push_ten(3);
	run_until(3);
	assert_int_equal(results[2].delivered, 10);
	assert_int_equal(connections, 2);
	afresh();
}

static void test_session(void **state)
{
	(void)state;
	script(2, (struct rule[]){ { "EHLO", "502 what", 0 }, { "HELO", "250 hello", 0 } });
	slow_with("EHLO", 901);
	push_one(10, "original.example", "a@original.example");
	run_until(1);
	assert_int_equal(results[0].retry, 1);
	contains(results[0].reply, "4.4.2 the host is too slow: it was not ready after 900 seconds, in HELO");
	afresh();
}

/* A connection that is old begins no message. */
static void test_connection(void **state)
{
	(void)state;
	script(1, (struct rule[]){ EHLO_PLAIN });
	for (uint64_t i = 0; i < 3; i++) {
		push_one(20 + i, "good.example", "a@good.example");
		run_until(i + 1);
		slow_with("MAIL", 601);
	}
	assert_int_equal(results[0].delivered + results[1].delivered + results[2].delivered, 3);
	assert_int_equal(connections, 2); /* the second message made it old, the third had another */
	afresh();
}

/* Each address of a domain may be slow in its turn: not for ever. */
static void test_addresses(void **state)
{
	(void)state;
	script(1, (struct rule[]){ { "EHLO", "421 4.3.2 not now", 0 } });
	push_one(30, "ways.example", "a@ways.example");
	run_until(1);
	assert_int_equal(results[0].retry, 1);
	assert_int_equal(connections, 2);
	ahead += 86400 * 1000; /* it is no longer left alone */
	afresh();
	script(1, (struct rule[]){ { "EHLO", "421 4.3.2 not now", 0 } });
	slow_with("EHLO", 1800);
	push_one(31, "ways.example", "a@ways.example");
	run_until(1);
	assert_int_equal(results[0].retry, 1);
	assert_string_equal(results[0].reply, "421 4.3.2 not now");
	assert_int_equal(connections, 1);
	afresh();
}

/* The client alone ------------------------------------------------------------------------------------------------ */

static struct {
	struct smtp_client *client;
	struct smtp_tx tx;
	size_t delivered, done;
	bool failed;
	enum smtp_failure why;
	char reply[600];
} played;

static void on_ready(void *arg)
{
	(void)arg;
	smtp_client_send(played.client, &played.tx);
}

static void on_result(void *arg, size_t recipient, enum queue_outcome outcome, const char *reply)
{
	(void)arg, (void)recipient, (void)reply;
	played.delivered += outcome == QUEUE_DELIVERED;
}

static void on_done(void *arg)
{
	(void)arg;
	played.done++;
}

static void on_failed(void *arg, enum smtp_failure why, const char *reply)
{
	(void)arg;
	played.failed = true;
	played.why = why;
	snprintf(played.reply, sizeof(played.reply), "%s", reply);
}

static void on_late(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what;
	on_failed(arg, SMTP_FAILURE_CONNECT, "nothing happened in ten seconds");
}

/* One transaction with three recipients, until it is over. */
static void play(struct view message, bool lmtp)
{
	static const struct smtp_client_ops ops = {
		.ready = on_ready, .result = on_result, .done = on_done, .failed = on_failed
	};
	static const char *const three[] = { "a@good.example", "b@good.example", "c@good.example" };
	struct mx_address to = { .host = "mx", .text = "127.0.0.2", .len = sizeof(struct sockaddr_in) };
	struct sockaddr_in *sin = (struct sockaddr_in *)&to.to;
	const struct smtp_client_setup setup = { .helo = "mail.example.org", .to = &to, .lmtp = lmtp };

	sin->sin_family = AF_INET;
	sin->sin_port = htons((uint16_t)peer_port);
	inet_pton(AF_INET, "127.0.0.2", &sin->sin_addr);
	memset(&played, 0, sizeof(played));
	played.tx = (struct smtp_tx){ .sender = "", .recipients = three, .count = 3, .message = message };
	played.client = smtp_client_new(base, &setup, &ops, NULL);
	struct event *late = evtimer_new(base, on_late, NULL);
	event_add(late, &(struct timeval){ 10, 0 });
	while (!played.failed && played.done == 0)
		event_base_loop(base, EVLOOP_ONCE);
	event_free(late);
	smtp_client_free(played.client);
	event_base_loop(base, EVLOOP_NONBLOCK);
}

static struct bufferevent *deaf;

static void stop_reading(struct bufferevent *bev, const char *verb)
{
	if (strcmp(verb, "DATA") == 0) {
		deaf = bev;
		bufferevent_disable(bev, EV_READ);
	}
}

static void listen_again(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what, (void)arg;
	bufferevent_enable(deaf, EV_READ);
}

static void stop_a_while(struct bufferevent *bev, const char *verb)
{
	static const struct timeval tv = { 1, 0 };

	stop_reading(bev, verb);
	if (strcmp(verb, "DATA") == 0)
		event_base_once(base, -1, EV_TIMEOUT, listen_again, NULL, &tv);
}

/*
 * In real time, with limits of seconds.  The end of a message that the host does not read is not taken for sent because
 * the kernel would keep it all: it would go out even when the connection is given up, and the message come twice.
 */
static void test_body(void **state)
{
	const struct client_limits usual = client_limits;
	size_t len = 1u << 20;
	char *text = malloc(len);

	(void)state;
	for (size_t i = 0; i < len; i += 64)
		memcpy(text + i, "a line of a message that is as long as sixty-four octets are.\r\n", 64);
	script(1, (struct rule[]){ EHLO_PLAIN });
	client_limits.transaction_s = 0;
	client_limits.recipient_s = 0;
	client_limits.bytes_per_s = (unsigned)len;
	on_verb = stop_reading;
	play((struct view){ text, len }, false);
	assert_true(played.failed);
	contains(played.reply, "too slow: 3 recipients and 1048576 bytes did not go in time, in the message");
	assert_int_equal(played.why, SMTP_FAILURE_SLOW);
	assert_int_equal(played.delivered, 0);
	bufferevent_free(deaf);
	/* The same, and it goes on in time. */
	client_limits.bytes_per_s = (unsigned)len / 30;
	on_verb = stop_a_while;
	transcript[0] = '\0';
	play((struct view){ text, len }, false);
	assert_false(played.failed);
	assert_int_equal(played.delivered, 3);
	client_limits = usual;
	free(text);
	on_verb = NULL;
}

static struct bufferevent *waits;

static void answer_late(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what, (void)arg;
	evbuffer_add_printf(bufferevent_get_output(waits), "250 ok\r\n");
}

static void wait_at_end(struct bufferevent *bev, const char *verb)
{
	static const struct timeval tv = { 2, 0 };

	waits = bev;
	if (strcmp(verb, "END") == 0)
		event_base_once(base, -1, EV_TIMEOUT, answer_late, NULL, &tv);
}

/* Who has the whole message has RFC 5321's ten minutes for the answer, however little was left: else it would come
 * twice. */
static void test_answer(void **state)
{
	const struct client_limits usual = client_limits;

	(void)state;
	script(2, (struct rule[]){ EHLO_PLAIN, { "END", "", 0 } });
	client_limits.transaction_s = 1;
	client_limits.recipient_s = 0;
	on_verb = wait_at_end;
	play(VIEW_LIT("Subject: s\r\n\r\n"), false);
	if (played.failed)
		fail_msg("%s", played.reply);
	assert_int_equal(played.delivered, 3);
	client_limits = usual;
	on_verb = NULL;
}

static void lmtp_answers(struct bufferevent *bev, const char *verb)
{
	if (strcmp(verb, "END") != 0)
		return;
	evbuffer_add_printf(bufferevent_get_output(bev), "250 one\r\n");
	ahead += 721 * 1000; /* 600, and 60 for each of the other two */
}

static void test_lmtp(void **state)
{
	(void)state;
	script(2, (struct rule[]){ { "LHLO", "250 mx", 0 }, { "END", "", 0 } });
	on_verb = lmtp_answers;
	play(VIEW_LIT("Subject: s\r\n\r\n"), true);
	assert_true(played.failed);
	contains(played.reply, "4.4.2 the host is too slow");
	assert_int_equal(played.delivered, 1);
	on_verb = NULL;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_envelope),
		cmocka_unit_test(test_session),
		cmocka_unit_test(test_connection),
		cmocka_unit_test(test_addresses),
		cmocka_unit_test(test_body),
		cmocka_unit_test(test_answer),
		cmocka_unit_test(test_lmtp),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, setup, NULL);
}
