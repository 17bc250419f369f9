/* RCPT for recipients that another host knows, with the send role played by the test: what is replied and
 * remembered, and sessions that end, or time that does, while one waits. */
#include "tests/unit/smtp_fakes.h"

#include "lib/clock.h"
#include "mailsvc/smtp/verified.h"

#define MAIL "EHLO c.example\r\nMAIL FROM:<s@example.net>\r\n"
#define LOGIN "EHLO c.example\r\nAUTH PLAIN AGFsaWNlQGV4YW1wbGUub3JnAHNlY3JldA==\r\nMAIL FROM:<alice@example.org>\r\n"

static const char more[] =
    "domains = ( { name = \"example.org\"; }, { name = \"old.example\"; elsewhere = \"192.0.2.7:25\"; } );\n"
    "aliases = ( { address = \"gone@example.org\"; to = ( \"x@old.example\" ); },\n"
    "  { address = \"both@example.org\"; to = ( \"x@old.example\", \"alice@example.org\" ); } );\n";

/* The send role ------------------------------------------------------------------------------------------------- */

static struct {
	verify_fn fn;
	void *arg;
	char recipient[VERIFY_TEXT_MAX];
	unsigned asked, cancelled;
} question;

struct verify_client *verify_client_new(struct event_base *b)
{
	(void)b;
	return NULL;
}

void verify_client_attach(struct verify_client *c, int fd)
{
	(void)c;
	close(fd);
}

uint32_t verify_ask(struct verify_client *c, const char *sender, const char *recipient, verify_fn fn, void *arg)
{
	(void)c, (void)sender;
	question.fn = fn;
	question.arg = arg;
	question.asked++;
	snprintf(question.recipient, sizeof(question.recipient), "%s", recipient);
	return question.asked;
}

void verify_cancel(struct verify_client *c, uint32_t id)
{
	(void)c;
	assert_int_equal(id, question.asked);
	question.cancelled++;
}

/* Sessions ------------------------------------------------------------------------------------------------------ */

static const struct verify_answer taken = { VERIFY_TAKEN, "", "old[192.0.2.7]:25", "taken" },
				  refused = { VERIFY_REFUSED, "5.2.1", "old[192.0.2.7]:25", "<x@old.example> is gone" },
				  unknown = { VERIFY_UNKNOWN, "", "", "away" };

static int begin(enum kind kind, const char *text, struct buf *out)
{
	int fd = open_client(kind, kind == MSA ? "127.0.0.1" : "198.51.100.7", VIEW_NONE);
	size_t len = strlen(text);
	unsigned before = question.asked;

	*out = BUF_INIT(65536);
	assert_int_equal(write(fd, text, len), len);
	for (int i = 0; i < 1000 && question.asked == before; i++)
		pump(fd, out);
	return fd;
}

/* The rest of what is said, once the client says no more. */
static void end(int fd, struct buf *out)
{
	shutdown(fd, SHUT_WR);
	while (pump(fd, out))
		;
	close(fd);
	event_base_loop(base, EVLOOP_NONBLOCK);
	assert_int_equal(server->session_count, 0);
}

static void said(struct buf *out, const char *codes, const char *text)
{
	struct buf got = BUF_INIT(1024);

	codes_of(buf_view(out), &got);
	assert_string_equal(buf_str(&got), codes);
	if (strstr(buf_str(out), text) == NULL)
		fail_msg("\"%s\" is not in: %s", text, buf_str(out));
	buf_free(&got);
	buf_free(out);
}

/* recipient asks one question, which is answered so. */
static void ask(
    enum kind kind, const char *recipient, const struct verify_answer *a, const char *codes, const char *text)
{
	struct buf out;
	char *in = xasprintf(
	    "%sRCPT TO:<%s> NOTIFY=NEVER ORCPT=rfc822;o@x.example\r\nNOOP\r\n", kind == MSA ? LOGIN : MAIL, recipient);
	unsigned before = question.asked;
	int fd = begin(kind, in, &out);

	assert_int_equal(question.asked, before + 1);
	question.fn(question.arg, a);
	end(fd, &out);
	said(&out, codes, text);
	free(in);
}

static void forget(void)
{
	shared_table_close(server->verified);
	server->verified = shared_table_open(-1, SHARED_VERIFIED_BYTES, VERIFIED_BITS, "verified");
}

static void test_replies(void **state)
{
	(void)state;
	forget();
	ask(MX, "New@old.example", &taken, "220 250 250 250 250", "250 2.1.5 Ok\r\n250 2.0.0 Ok\r\n");
	assert_string_equal(question.recipient, "New@old.example");
	ask(MX, "x@old.example", &refused, "220 250 250 550 250",
	    "550 5.2.1 The host of this address refuses it: <x@old.example> is gone\r\n");
	forget();
	ask(MX, "gone@example.org", &refused, "220 250 250 550 250",
	    "550 5.2.1 The host of this address refuses it\r\n");
	forget();
	ask(MX, "x@old.example", &unknown, "220 250 250 450 250",
	    "450 4.4.1 This recipient cannot be verified now; come again\r\n");
	ask(MSA, "x@old.example", &unknown, "220 250 235 250 250 250", "250 2.1.5 Ok\r\n");
	ask(LOCAL, "x@old.example", &unknown, "220 250 250 250 250", "250 2.1.5 Ok\r\n");
	ask(MSA, "x@old.example", &refused, "220 250 235 250 550 250", "550 5.2.1");
}

/* Who was taken once is taken when nobody answers, and refused when the host says so. */
static void test_once(void **state)
{
	const struct next_hop hop = { .hosts = { { .name = "192.0.2.7", .port = 25 } }, .host_count = 1 };
	int64_t before = clock_wall() - VERIFIED_FRESH - 60;

	(void)state;
	forget();
	verified_put(server->verified, &hop, "x@old.example", &taken, before);
	ask(MX, "x@old.example", &unknown, "220 250 250 250 250", "250 2.1.5 Ok\r\n");
	ask(MX, "x@old.example", &refused, "220 250 250 550 250", "550 5.2.1");
}

static void not_asked(enum kind kind, const char *in, const char *codes, const char *text)
{
	struct buf out = BUF_INIT(65536);
	unsigned before = question.asked;

	talk(kind, "127.0.0.1", view_of(in), false, &out);
	assert_int_equal(question.asked, before);
	said(&out, codes, text);
}

static void test_not_asked(void **state)
{
	(void)state;
	forget();
	not_asked(MX,
	    MAIL "RCPT TO:<alice@example.org>\r\nRCPT TO:<both@example.org>\r\nRCPT TO:<far@remote.example>\r\n",
	    "220 250 250 250 250 550", "Relaying denied");
	not_asked(LOCAL, MAIL "RCPT TO:<far@remote.example>\r\n", "220 250 250 250", "2.1.5 Ok");
	ask(MX, "x@old.example", &refused, "220 250 250 550 250", "is gone");
	not_asked(MX, MAIL "RCPT TO:<x@old.example>\r\n", "220 250 250 550",
	    "550 5.2.1 The host of this address refuses it: it said so a moment ago");
}

/* The message that follows has the recipient with all that was said of it. */
static void test_message(void **state)
{
	struct buf out;
	int fd = begin(MX,
	    MAIL "RCPT TO:<Bob@old.example>\r\nRCPT TO:<alice@example.org>\r\nDATA\r\nSubject: x\r\n\r\nx\r\n.\r\n",
	    &out);

	(void)state;
	question.fn(question.arg, &taken);
	end(fd, &out);
	said(&out, "220 250 250 250 250 354 250", "queued as");
	assert_non_null(strstr(buf_str(&stored.envelope), "alice@example.org "));
	assert_non_null(strstr(buf_str(&stored.envelope), ">Bob@old.example "));
}

static void test_late(void **state)
{
	struct buf out;
	int fd;

	(void)state;
	forget();
	fd = begin(MX, MAIL "RCPT TO:<x@old.example>\r\n", &out);
	question.cancelled = 0;
	smtp_session_tick(TAILQ_FIRST(&server->sessions), clock_mono_ms() + (SMTP_ASK_SECONDS - 1) * 1000);
	assert_int_equal(question.cancelled, 0);
	smtp_session_tick(TAILQ_FIRST(&server->sessions), clock_mono_ms() + (SMTP_ASK_SECONDS + 1) * 1000);
	assert_int_equal(question.cancelled, 1);
	end(fd, &out);
	said(&out, "220 250 250 450", "4.4.1");
}

/* A session that ends while it waits takes its question back. */
static void test_ended(void **state)
{
	struct buf out;
	int fd;

	(void)state;
	forget();
	fd = begin(MX, MAIL "RCPT TO:<x@old.example>\r\nRCPT TO:<x@old.example>\r\n", &out);
	question.cancelled = 0;
	smtp_session_drain(TAILQ_FIRST(&server->sessions), false); /* it waits: not yet */
	assert_int_equal(server->session_count, 1);
	smtp_session_drain(TAILQ_FIRST(&server->sessions), true);
	assert_int_equal(question.cancelled, 1);
	end(fd, &out);
	said(&out, "220 250 250 421", "Going down");
}

/* The refusal that is one too many ends the session from within the answer. */
static void test_too_many(void **state)
{
	struct buf out;
	int fd;

	(void)state;
	forget();
	fd = begin(MX, "X\r\nX\r\nX\r\nX\r\nX\r\n" MAIL "RCPT TO:<x@old.example>\r\nNOOP\r\n", &out);
	question.fn(question.arg, &refused);
	end(fd, &out);
	said(&out, "220 500 500 500 500 500 250 250 550 421", "Too many errors");
}

static int set_up_ask(void **state)
{
	struct findings findings = { 0 };
	struct buf text = BUF_INIT(65536);
	const char *rest = strstr(site_text, "accounts ="), *aliases = strstr(site_text, "aliases ="),
		   *admin = strstr(site_text, "admin =");

	if (set_up(state) != 0)
		return -1;
	buf_add(&text, site_text, (size_t)(strstr(site_text, "domains =") - site_text));
	buf_add(&text, rest, (size_t)(aliases - rest));
	buf_puts(&text, admin);
	buf_puts(&text, more);
	site_unref(ctx.site);
	ctx.site = site_load_memory(buf_view(&text), "test.conf", &findings);
	for (size_t i = 0; i < findings.count && ctx.site == NULL; i++)
		fprintf(stderr, "# %s\n", findings.at[i].text);
	findings_free(&findings);
	buf_free(&text);
	return ctx.site != NULL ? 0 : -1;
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_replies), cmocka_unit_test(test_once),
		cmocka_unit_test(test_not_asked), cmocka_unit_test(test_message), cmocka_unit_test(test_late),
		cmocka_unit_test(test_ended), cmocka_unit_test(test_too_many) };

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, set_up_ask, NULL);
}
