/*
 * The auth and hash roles as they run: real processes in their sandboxes, with this test as their monitor, and the
 * client library in the place of login, smtp and imap.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/proc.h"
#include "mailsvc/auth/auth_proto.h"
#include "mailsvc/auth/client.h"
#include "mailsvc/auth/internal.h"
#include "mailsvc/role_proto.h"

static char dir[] = "/tmp/mon-test-auth.XXXXXX";
static struct event_base *base;
static struct site *site;
static struct buf flat = { NULL, 0, 0, 1u << 20, false };
static char *site_file, *credentials_file;

struct process {
	pid_t pid;
	int channel;
};
static struct process auth, hash;
static struct auth_client *login, *smtp, *imap;
static uint32_t lives; /* the ids of PEER: each is another life */

static void say(struct process *p, uint32_t type, uint32_t id, struct buf *data, int fd)
{
	assert_int_equal(imsg_send(p->channel, type, id, data != NULL ? buf_view(data) : VIEW_NONE, fd), 0);
	if (fd >= 0)
		close(fd);
	if (data != NULL)
		buf_free(data);
}

static void expect(struct process *p, uint32_t type)
{
	struct buf storage = BUF_INIT(IMSG_MAX + 64);
	struct imsg m;

	do {
		assert_int_equal(imsg_recv(p->channel, 20000, &m, &storage), 1);
	} while (type != ROLE_MSG_CREDENTIALS && m.type == ROLE_MSG_CREDENTIALS); /* comes in its own time */
	assert_int_equal(m.type, type);
	buf_free(&storage);
}

/* auth wants the peer of this life to be killed. */
static void expect_kill(enum role_id id, uint32_t life)
{
	struct buf storage = BUF_INIT(IMSG_MAX + 64);
	char why[ROLE_WHY_MAX];
	struct cursor c;
	struct imsg m;

	do {
		assert_int_equal(imsg_recv(auth.channel, 20000, &m, &storage), 1);
	} while (m.type == ROLE_MSG_CREDENTIALS);
	assert_int_equal(m.type, ROLE_MSG_KILL_PEER);
	assert_int_equal(m.id, life);
	c = cursor_of(m.data.ptr, m.data.len);
	assert_int_equal(cursor_u32(&c), id);
	assert_int_equal(cursor_u32(&c), 0);
	cursor_str(&c, why, sizeof(why));
	assert_true(cursor_done(&c));
	buf_free(&storage);
}

static struct process start(const struct role *role)
{
	struct process p;
	int fds[2];

	assert_int_equal(imsg_pair(fds), 0);
	fflush(stdout);
	p.pid = fork();
	assert_true(p.pid >= 0);
	if (p.pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		char *log = xasprintf("%s/log", dir);
		int fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);

		dup2(fd, STDERR_FILENO);
		dup2(fds[1], PROC_CHANNEL_FD);
		close_range(PROC_CHANNEL_FD + 1, ~0u, 0);
		_exit(role_main(role));
	}
	close(fds[1]);
	p.channel = fds[0];
	return p;
}

static void send_site(struct process *p)
{
	struct buf data = BUF_INIT(4096);

	buf_put_str(&data, site_file);
	say(p, ROLE_MSG_SITE, 0, &data, memfd_sealed("site", buf_view(&flat)));
}

static void send_credentials(struct process *p)
{
	struct buf data = BUF_INIT(64);

	buf_put_u32(&data, ROLE_FD_CREDENTIALS);
	say(p, ROLE_MSG_FD, 0, &data, open(credentials_file, O_RDONLY | O_CLOEXEC));
}

static void send_instance(struct process *p)
{
	struct buf data = BUF_INIT(64);

	buf_put_u32(&data, 0);
	for (int i = 0; i < ROLE_COUNT; i++)
		buf_put_u32(&data, 1);
	say(p, ROLE_MSG_INSTANCE, 0, &data, -1);
}

static void send_peer(struct process *p, enum role_id id, int fd)
{
	struct buf data = BUF_INIT(64);

	buf_put_u32(&data, id);
	buf_put_u32(&data, 0);
	say(p, ROLE_MSG_PEER, ++lives, &data, fd);
}

static struct auth_client *client(enum role_id id)
{
	struct auth_client *c = auth_client_new(base);
	int fds[2];

	assert_int_equal(imsg_pair(fds), 0);
	auth_client_attach(c, fds[0]);
	send_peer(&auth, id, fds[1]);
	return c;
}

static void set_password(const char *address, const char *password)
{
	char text[CREDENTIALS_HASH_MAX];
	struct error e = { "" };

	assert_int_equal(password_hash(view_of(password), text, &e), 0);
	assert_int_equal(credentials_set(credentials_file, address, text, &e), 0);
}

static int setup(void **state)
{
	struct findings findings = { 0 };
	struct error e = { "" };
	int fds[2];

	(void)state;
	assert_non_null(mkdtemp(dir));
	site_file = xasprintf("%s/site.conf", dir);
	credentials_file = xasprintf("%s/credentials", dir);
	assert_int_equal(file_write_atomic(site_file,
			     view_of("host = { name = \"mail.example.org\"; ipv4 = \"192.0.2.10\"; };\ndomains = ( { "
				     "name = \"example.org\"; } );\n"
				     "accounts = ( { address = \"alice@example.org\"; }, { address = "
				     "\"bob@example.org\"; protocols = [ \"imap\" ]; } );\n"
				     "limits = { auth_failures = 3; };\nstate_dir = \"state\";\n"),
			     0644, &e),
	    0);
	site = site_load(site_file, &findings);
	for (size_t i = 0; i < findings.count; i++)
		printf("# %s\n", findings.at[i].text);
	findings_free(&findings);
	assert_non_null(site);
	assert_int_equal(site_flatten(site, &flat), 0);
	set_password("alice@example.org", "secret");
	set_password("bob@example.org", "bob's");
	base = event_base_new();
	auth = start(&role_auth);
	hash = start(&role_hash);
	send_instance(&auth);
	send_instance(&hash);
	send_site(&auth);
	send_site(&hash);
	send_credentials(&auth);
	assert_int_equal(imsg_pair(fds), 0);
	send_peer(&auth, ROLE_HASH, fds[0]);
	send_peer(&hash, ROLE_AUTH, fds[1]);
	login = client(ROLE_LOGIN);
	smtp = client(ROLE_SMTP);
	imap = client(ROLE_IMAP);
	say(&auth, ROLE_MSG_START, 0, NULL, -1);
	say(&hash, ROLE_MSG_START, 0, NULL, -1);
	expect(&auth, ROLE_MSG_READY);
	expect(&hash, ROLE_MSG_READY);
	return 0;
}

static int teardown(void **state)
{
	char *argv[] = { (char *)(uintptr_t) "rm", (char *)(uintptr_t) "-rf", dir, NULL };
	struct error e;
	int status;

	(void)state;
	say(&auth, ROLE_MSG_DRAIN, 0, NULL, -1);
	assert_int_equal(waitpid(auth.pid, &status, 0), auth.pid);
	assert_int_equal(status, 0);
	close(hash.channel); /* monitor is gone */
	assert_int_equal(waitpid(hash.pid, &status, 0), hash.pid);
	return proc_run(argv, VIEW_NONE, NULL, NULL, &e);
}

static void on_answer(void *arg, const struct auth_answer *a)
{
	*(struct auth_answer *)arg = *a;
	event_base_loopbreak(base);
}

static struct auth_answer check_from(
    struct auth_client *c, enum protocol protocol, const char *user, const char *password, const char *address)
{
	struct sockaddr_in from = { .sin_family = AF_INET };
	struct auth_answer answer = { .status = 99 };

	assert_int_equal(inet_pton(AF_INET, address, &from.sin_addr), 1);
	assert_int_not_equal(
	    auth_check(c, protocol, view_of(user), view_of(password), (struct sockaddr *)&from, on_answer, &answer), 0);
	event_base_dispatch(base);
	return answer;
}

static struct auth_answer check(struct auth_client *c, enum protocol protocol, const char *user, const char *password)
{
	return check_from(c, protocol, user, password, "198.51.100.7");
}

static struct auth_answer redeem(const uint8_t *ticket)
{
	struct auth_answer answer = { .status = 99 };

	auth_redeem(imap, ticket, on_answer, &answer);
	event_base_dispatch(base);
	return answer;
}

static void test_right(void **state)
{
	struct auth_answer a = check(login, PROTOCOL_IMAP, "alice@example.org", "secret"), r;

	(void)state;
	assert_int_equal(a.status, AUTH_OK);
	assert_string_equal(a.address, "alice@example.org");
	assert_int_equal(a.protocols, PROTOCOL_IMAP | PROTOCOL_POP3 | PROTOCOL_SUBMISSION);
	r = redeem(a.ticket);
	assert_int_equal(r.status, AUTH_OK);
	assert_string_equal(r.address, "alice@example.org");
	assert_int_equal(r.protocols, PROTOCOL_IMAP);
	assert_int_equal(redeem(a.ticket).status, AUTH_DENIED); /* once */
	a = check(login, PROTOCOL_POP3, "ALICE", "secret");     /* a bare name, in any case */
	assert_int_equal(a.status, AUTH_OK);
	assert_string_equal(a.address, "alice@example.org");
	assert_int_equal(check(smtp, PROTOCOL_SUBMISSION, "Alice@Example.ORG", "secret").status, AUTH_OK);
}

static void test_wrong(void **state)
{
	static const char *const users[] = { "alice@example.org", "nobody@example.org", "no address at all", "",
		"alice@example.com" };

	(void)state;
	for (size_t i = 0; i < sizeof(users) / sizeof(users[0]); i++) {
		char address[32];
		uint64_t before = clock_mono_ms(), took;

		snprintf(address, sizeof(address), "203.0.113.%zu", i + 1);
		assert_int_equal(check_from(login, PROTOCOL_IMAP, users[i], "wrong", address).status, AUTH_DENIED);
		took = clock_mono_ms() - before;
		if (took < 950 || took > 5000) /* 1 s for every failure */
			fail_msg("%s took %llu ms", users[i], (unsigned long long)took);
	}
	/* The password is right, the protocol is off. */
	assert_int_equal(
	    check_from(smtp, PROTOCOL_SUBMISSION, "bob@example.org", "bob's", "203.0.113.9").status, AUTH_DENIED);
	assert_int_equal(check_from(login, PROTOCOL_IMAP, "bob@example.org", "bob's", "203.0.113.9").status, AUTH_OK);
}

static void test_many_at_once(void **state)
{
	struct auth_answer answers[100];
	size_t ok = 0;

	(void)state;
	memset(answers, 0xff, sizeof(answers));
	for (size_t i = 0; i < 100; i++)
		auth_check(
		    login, PROTOCOL_IMAP, view_of("bob@example.org"), view_of("bob's"), NULL, on_answer, &answers[i]);
	while (ok < 100) {
		event_base_dispatch(base);
		for (ok = 0; ok < 100 && answers[ok].status == AUTH_OK; ok++)
			continue;
	}
}

static void test_throttled(void **state)
{
	char password[32];

	(void)state;
	for (int i = 0; i < 5; i++) /* counts once */
		assert_int_equal(
		    check_from(login, PROTOCOL_IMAP, "x@example.org", "same", "192.0.2.99").status, AUTH_DENIED);
	for (int i = 0; i < 2; i++) {
		snprintf(password, sizeof(password), "guess %d", i);
		assert_int_equal(
		    check_from(login, PROTOCOL_IMAP, "bob@example.org", password, "192.0.2.99").status, AUTH_DENIED);
	}
	assert_int_equal(
	    check_from(login, PROTOCOL_IMAP, "alice@example.org", "secret", "192.0.2.99").status, AUTH_THROTTLED);
	assert_int_equal(
	    check(login, PROTOCOL_IMAP, "alice@example.org", "secret").status, AUTH_OK); /* it is known here */
}

static void test_reload(void **state)
{
	(void)state;
	set_password("alice@example.org", "newer");
	send_site(&auth);
	send_credentials(&auth);
	say(&auth, ROLE_MSG_RELOAD, 7, NULL, -1);
	expect(&auth, ROLE_MSG_RELOADED);
	assert_int_equal(
	    check(login, PROTOCOL_IMAP, "alice@example.org", "secret").status, AUTH_DENIED); /* cached a moment ago */
	assert_int_equal(check(login, PROTOCOL_IMAP, "alice@example.org", "newer").status, AUTH_OK);
}

static void test_not_allowed(void **state)
{
	uint8_t ticket[AUTH_TICKET_LEN] = { 0 };
	struct auth_answer answer = { .status = 99 };
	uint32_t life = lives;
	int fds[2];

	(void)state;
	login = client(ROLE_LOGIN);
	smtp = client(ROLE_SMTP);
	assert_int_equal(redeem(ticket).status, AUTH_DENIED);
	auth_redeem(login, ticket, on_answer, &answer); /* only imap may */
	event_base_dispatch(base);
	assert_int_equal(answer.status, AUTH_UNAVAILABLE);
	assert_int_equal(check(login, PROTOCOL_IMAP, "alice@example.org", "newer").status,
	    AUTH_UNAVAILABLE); /* its channel is gone */
	assert_int_equal(check(smtp, PROTOCOL_IMAP, "alice@example.org", "newer").status, AUTH_UNAVAILABLE);
	expect_kill(ROLE_LOGIN, life + 1);
	expect_kill(ROLE_SMTP, life + 2);
	login = client(ROLE_LOGIN); /* as monitor would for a restarted login */
	assert_int_equal(check(login, PROTOCOL_IMAP, "alice@example.org", "newer").status, AUTH_OK);
	assert_int_equal(imsg_pair(fds), 0); /* framing */
	send_peer(&auth, ROLE_SMTP, fds[0]);
	assert_int_equal(write(fds[1], "junk", 4), 4);
	expect_kill(ROLE_SMTP, lives);
	close(fds[1]);
	smtp = client(ROLE_SMTP);
	assert_int_equal(imsg_pair(fds), 0); /* what nobody asked a hash process */
	send_peer(&auth, ROLE_HASH, fds[0]);
	assert_int_equal(imsg_send(fds[1], HASH_MSG_RESULT, 0, VIEW_NONE, -1), 0);
	expect_kill(ROLE_HASH, lives);
	close(fds[1]);
}

static void test_status(void **state)
{
	struct buf storage = BUF_INIT(IMSG_MAX + 64);
	struct imsg m;
	struct cursor c;
	struct view text;

	(void)state;
	say(&auth, ROLE_MSG_STATUS, 9, NULL, -1);
	do {
		assert_int_equal(imsg_recv(auth.channel, 20000, &m, &storage), 1);
	} while (m.type == ROLE_MSG_CREDENTIALS);
	assert_int_equal(m.type, ROLE_MSG_STATUS_IS);
	assert_int_equal(m.id, 9);
	c = cursor_of(m.data.ptr, m.data.len);
	text = cursor_blob(&c, ROLE_STATUS_MAX);
	assert_true(cursor_done(&c));
	assert_non_null(memmem(text.ptr, text.len, "\"accounts\": 2", 13));
	buf_free(&storage);
}

/* Strangers who fill auth with failures do not keep out who logged in before. */
static void test_known_first(void **state)
{
	static struct auth_answer answers[CHECKS_MAX + 10], own = { .status = 99 };
	struct sockaddr_in stranger = { .sin_family = AF_INET }, known = { .sin_family = AF_INET };
	size_t left = 1;

	(void)state;
	inet_pton(AF_INET, "203.0.113.200", &stranger.sin_addr);
	inet_pton(AF_INET, "198.51.100.7", &known.sin_addr);
	assert_int_equal(check(login, PROTOCOL_IMAP, "alice@example.org", "secret").status, AUTH_OK);
	for (size_t i = 0; i < CHECKS_MAX + 10; i++) {
		answers[i].status = 99;
		auth_check(login, PROTOCOL_IMAP, view_of("none@example.org"), view_of("flood"),
		    (struct sockaddr *)&stranger, on_answer, &answers[i]);
	}
	auth_check(login, PROTOCOL_IMAP, view_of("alice@example.org"), view_of("secret"), (struct sockaddr *)&known,
	    on_answer, &own);
	while (left > 0) {
		event_base_dispatch(base);
		left = own.status == 99;
		for (size_t i = 0; i < CHECKS_MAX + 10; i++)
			left += answers[i].status == 99;
	}
	assert_int_equal(own.status, AUTH_OK);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_right), cmocka_unit_test(test_wrong),
		cmocka_unit_test(test_many_at_once), cmocka_unit_test(test_known_first),
		cmocka_unit_test(test_throttled), cmocka_unit_test(test_reload), cmocka_unit_test(test_not_allowed),
		cmocka_unit_test(test_status) };

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, setup, teardown);
}
