/*
 * The guard role in this process, with this test as its peers and its command line, and as root in a network namespace
 * of its own with the sets of bans: what each peer may say, and what becomes of it in jail, kernel and file.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/proc.h"
#include "mailsvc/guard/client.h"
#include "mailsvc/guard/guard.h"

static char dir[] = "/tmp/guard-role-XXXXXX";
static struct role_ctx ctx;
static struct guard *g;
static bool kernel;

static void turn(void)
{
	for (int i = 0; i < 4; i++)
		event_base_loop(ctx.base, EVLOOP_NONBLOCK);
}

static struct guard_source from(const char *text)
{
	struct guard_source s;

	assert_int_equal(guard_source_parse(text, &s), 0);
	return s;
}

static int nft(const char *text)
{
	char *argv[] = { "nft", "-f", "-", NULL };
	struct error e;

	return proc_run(argv, view_of(text), NULL, NULL, &e);
}

static int setup(void **state)
{
	struct findings f = { 0 };
	struct error e;

	(void)state;
	log_set_level(LOG_LEVEL_ERROR);
	if (geteuid() == 0 && unshare(CLONE_NEWNET) == 0)
		kernel = nft("table inet mailadm {\nset bans4 { type ipv4_addr; flags timeout; size 131072; }\n"
			     "set bans6 { type ipv6_addr; flags timeout; size 131072; }\n}\n") == 0;
	if (mkdtemp(dir) == NULL)
		return -1;
	ctx = (struct role_ctx){ .base = event_base_new(), .role = &role_guard };
	for (int i = 0; i < ROLE_FD_COUNT; i++)
		ctx.fds[i] = -1;
	ctx.fds[ROLE_FD_BANS_DIR] = open(dir, O_RDONLY | O_DIRECTORY);
	ctx.site = site_load_memory(VIEW_LIT("host = { name = \"mx.example.org\"; ipv4 = \"192.0.2.1\"; };\n"
					     "domains = ( { name = \"example.org\"; } );\n"
					     "accounts = ( { address = \"a@example.org\"; } );\n"
					     "firewall = { admin_from = ( \"198.51.100.0/24\" ); ban_after = 3; };\n"),
	    "/tmp/site.conf", &f);
	findings_free(&f);
	if (ctx.site == NULL || role_guard.init(&ctx, &e) < 0)
		return -1;
	g = ctx.state;
	role_guard.start(&ctx);
	return 0;
}

static int teardown(void **state)
{
	char path[64];

	(void)state;
	role_guard.drain(&ctx);
	snprintf(path, sizeof(path), "%s/list", dir);
	unlink(path);
	rmdir(dir);
	return 0;
}

/* A channel to guard, as monitor would make it: our end. */
static int join(enum role_id id)
{
	int fds[2];

	assert_int_equal(imsg_pair(fds), 0);
	role_guard.peer(&ctx, id, 0, fds[0]);
	return fds[1];
}

static bool closed(int fd)
{
	struct buf storage = BUF_INIT(IMSG_MAX + 64);
	struct imsg m;
	int r;

	turn();
	r = imsg_recv(fd, 0, &m, &storage);
	buf_free(&storage);
	return r == 0;
}

static void say(int fd, uint32_t type, int kind, const char *who, const char *rest)
{
	struct guard_source s = from(who);
	struct buf out = BUF_INIT(1024);

	if (kind >= 0)
		buf_put_u8(&out, (uint8_t)kind);
	guard_source_put(&out, &s);
	buf_puts(&out, rest);
	assert_int_equal(imsg_send(fd, type, 0, buf_view(&out), -1), 0);
	buf_free(&out);
	turn();
}

static bool banned(const char *who)
{
	struct guard_source s = from(who);
	struct jail_ban b;

	return jail_find(g->jail, &s, clock_wall(), &b);
}

static bool in_kernel(const char *who)
{
	struct guard_source s = from(who);
	struct ban *all;
	size_t count;
	struct error e;
	bool found = false;

	if (!kernel)
		return banned(who);
	assert_int_equal(bans_list(g->kernel, &all, &count, &e), 0);
	for (size_t i = 0; i < count; i++)
		found = found || (all[i].ipv6 == (s.family == 6) && memcmp(all[i].address, s.address, 16) == 0);
	free(all);
	return found;
}

static void test_peers(void **state)
{
	int auth = join(ROLE_AUTH), smtp = join(ROLE_SMTP);

	(void)state;
	for (int i = 0; i < 3; i++) {
		say(auth, GUARD_MSG_OFFENCE, OFFENCE_LOGIN, "203.0.113.1", "");
		say(smtp, GUARD_MSG_OFFENCE, OFFENCE_RELAY, "2001:db8:1:2::", "");
		say(smtp, GUARD_MSG_OFFENCE, OFFENCE_EARLY, "198.51.100.9", "");
		say(smtp, GUARD_MSG_OFFENCE, OFFENCE_EARLY, "192.0.2.1", "");
		say(smtp, GUARD_MSG_OFFENCE, OFFENCE_EARLY, "127.0.0.1", "");
	}
	assert_true(in_kernel("203.0.113.1") && in_kernel("2001:db8:1:2::"));
	assert_false(banned("198.51.100.9") || banned("192.0.2.1"));
	assert_int_equal(g->never_count, 6);
	say(auth, GUARD_MSG_LOGIN, -1, "203.0.113.2", "");
	for (int i = 0; i < 9; i++)
		say(smtp, GUARD_MSG_OFFENCE, OFFENCE_ERRORS, "203.0.113.2", "");
	assert_false(banned("203.0.113.2"));
	assert_false(closed(auth) || closed(smtp));
	close(auth);
	close(smtp);
	turn();
}

/* What is malformed, or not this peer's to say, ends its channel and does nothing. */
static void test_malformed(void **state)
{
	static const struct {
		enum role_id role;
		uint32_t type;
		int kind;
		const char *rest;
	} bad[] = {
		{ ROLE_SMTP, GUARD_MSG_OFFENCE, OFFENCE_LOGIN, "" },
		{ ROLE_AUTH, GUARD_MSG_OFFENCE, OFFENCE_RELAY, "" },
		{ ROLE_SMTP, GUARD_MSG_OFFENCE, OFFENCE_COUNT, "" },
		{ ROLE_SMTP, GUARD_MSG_OFFENCE, OFFENCE_RELAY, "x" },
		{ ROLE_SMTP, GUARD_MSG_OFFENCE, -1, "" },
		{ ROLE_SMTP, GUARD_MSG_LOGIN, -1, "" },
		{ ROLE_LOGIN, GUARD_MSG_LOGIN, -1, "" },
		{ ROLE_AUTH, GUARD_MSG_LOGIN, -1, "x" },
		{ ROLE_LOGIN, GUARD_MSG_LIST, -1, "" },
		{ ROLE_AUTH, GUARD_MSG_UNBAN, -1, "" },
		{ ROLE_SMTP, GUARD_MSG_BAN, -1, "\1\0\0\0\0\0\0\0\1\0\0\0x" },
		{ ROLE_SMTP, 999, -1, "" },
		{ ROLE_MONITOR, GUARD_MSG_OFFENCE, OFFENCE_LOGIN, "" },
		{ ROLE_MONITOR, GUARD_MSG_LIST, -1, "" },
		{ ROLE_MONITOR, GUARD_MSG_UNBAN, -1, "x" },
		{ ROLE_MONITOR, GUARD_MSG_BAN, -1, "" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		int fd = join(bad[i].role);

		say(fd, bad[i].type, bad[i].kind, "203.0.113.77", bad[i].rest);
		if (!closed(fd))
			fail_msg("case %zu was taken", i);
		close(fd);
	}
	assert_false(banned("203.0.113.77"));
}

/* The reply to one request of a command line; fd of BANS in m. */
static uint32_t ask(int fd, uint32_t type, const char *who, uint64_t seconds, const char *why, char *text, size_t size)
{
	struct buf out = BUF_INIT(1024), storage = BUF_INIT(IMSG_MAX + 64);
	struct guard_source s;
	struct imsg m;
	struct view v;
	struct cursor c;

	if (who != NULL) {
		s = from(who);
		guard_source_put(&out, &s);
	}
	if (type == GUARD_MSG_BAN) {
		buf_put_u64(&out, seconds);
		buf_put_str(&out, why);
	}
	assert_int_equal(imsg_send(fd, type, 7, buf_view(&out), -1), 0);
	turn();
	assert_int_equal(imsg_recv(fd, 1000, &m, &storage), 1);
	assert_int_equal(m.id, 7);
	text[0] = '\0';
	if (m.type == GUARD_MSG_BANS) {
		assert_int_equal(memfd_map_sealed(m.fd, STATE_TEXT_MAX, &v), 0);
		snprintf(text, size, "%.*s", (int)v.len, v.ptr);
		munmap((void *)(uintptr_t)v.ptr, v.len);
		close(m.fd);
	} else {
		c = cursor_of(m.data.ptr, m.data.len);
		if (m.type == GUARD_MSG_DONE)
			cursor_u64(&c);
		cursor_str(&c, text, size);
		assert_true(cursor_done(&c));
	}
	buf_free(&out);
	buf_free(&storage);
	return m.type;
}

static void test_admin(void **state)
{
	int fd = join(ROLE_MONITOR);
	char text[4096];

	(void)state;
	assert_int_equal(ask(fd, GUARD_MSG_BAN, "198.51.100.9", 0, "x", text, sizeof(text)), GUARD_MSG_REFUSED);
	assert_string_equal(text, "198.51.100.9 is never banned: firewall.admin_from has 198.51.100.0/24");
	assert_int_equal(ask(fd, GUARD_MSG_BAN, "203.0.113.9", 3600, "by hand", text, sizeof(text)), GUARD_MSG_DONE);
	assert_true(!kernel || text[0] == '\0');
	assert_true(in_kernel("203.0.113.9"));
	assert_int_equal(ask(fd, GUARD_MSG_LIST, NULL, 0, NULL, text, sizeof(text)), GUARD_MSG_BANS);
	assert_non_null(strstr(text, "203.0.113.9 "));
	if (kernel) { /* what the firewall does not let go stays a ban here too */
		assert_int_equal(seteuid(65534), 0);
		assert_int_equal(
		    ask(fd, GUARD_MSG_UNBAN, "203.0.113.9", 0, NULL, text, sizeof(text)), GUARD_MSG_REFUSED);
		assert_int_equal(seteuid(0), 0);
		assert_non_null(strstr(text, "CAP_NET_ADMIN"));
		assert_true(banned("203.0.113.9") && in_kernel("203.0.113.9"));
	}
	assert_int_equal(ask(fd, GUARD_MSG_UNBAN, "203.0.113.9", 0, NULL, text, sizeof(text)), GUARD_MSG_DONE);
	assert_false(in_kernel("203.0.113.9"));
	assert_int_equal(ask(fd, GUARD_MSG_UNBAN, "203.0.113.9", 0, NULL, text, sizeof(text)), GUARD_MSG_REFUSED);
	close(fd);
	turn();
}

/* Others change the sets: what is missing comes back, what is new is taken over, what may not be is taken out. */
static void test_sync(void **state)
{
	int fd = join(ROLE_MONITOR);
	char text[4096];
	struct jail_ban b;
	struct guard_source s = from("203.0.113.50");

	(void)state;
	if (!kernel) { /* an ordinary user has none */
		close(fd);
		return;
	}
	ask(fd, GUARD_MSG_BAN, "203.0.113.10", 3600, "by hand", text, sizeof(text));
	g->look_again = 0;
	guard_sync(g, false);
	assert_int_equal(
	    nft("flush set inet mailadm bans4\n"
		"add element inet mailadm bans4 { 203.0.113.50 timeout 1h, 198.51.100.50 timeout 1h, 203.0.113.51 }\n"),
	    0);
	assert_false(in_kernel("203.0.113.10"));
	guard_sync(g, false);
	assert_true(in_kernel("203.0.113.10"));
	assert_true(jail_find(g->jail, &s, clock_wall(), &b));
	assert_string_equal(b.why, "found in the firewall");
	assert_false(in_kernel("198.51.100.50"));
	assert_true(in_kernel("203.0.113.51")); /* for ever: the administrator's own */
	assert_int_equal(nft("delete table inet mailadm\n"), 0);
	g->look_again = 0;
	guard_sync(g, false);
	assert_non_null(strstr(g->kernel_why, "is not loaded"));
	assert_int_equal(ask(fd, GUARD_MSG_BAN, "203.0.113.11", 3600, "by hand", text, sizeof(text)), GUARD_MSG_DONE);
	assert_non_null(strstr(text, "is not loaded"));
	close(fd);
	turn();
}

/* What a guard that was killed had put into the kernel, and had not written down: also of who was banned before. */
static void test_resume(void **state)
{
	struct guard_source s = from("203.0.113.60");
	int64_t now = clock_wall();
	struct jail_ban b = { .who = s, .since = now - 900, .until = now - 300, .times = 2, .why = "failed logins" };

	(void)state;
	if (!kernel)
		return;
	assert_int_equal(nft("table inet mailadm {\nset bans4 { type ipv4_addr; flags timeout; size 131072; "
			     "elements = { 203.0.113.60 timeout 2h } }\n"
			     "set bans6 { type ipv6_addr; flags timeout; size 131072; }\n}\n"),
	    0);
	assert_int_equal(jail_put(g->jail, &b, now), 0);
	g->compared = false; /* as after a start */
	guard_sync(g, true);
	assert_true(in_kernel("203.0.113.60"));
	assert_true(jail_find(g->jail, &s, now, &b));
	assert_int_equal(b.times, 3);
	assert_true(b.until > now + 7000);
}

/* What the kernel refuses for a while is tried again, though nobody changes the rules. */
static void test_refused(void **state)
{
	char text[512];

	(void)state;
	if (!kernel)
		return;
	jail_unban(g->jail, &(struct guard_source){ 6, { 0x20, 1, 0xd, 0xb8, 0, 1, 0, 2 } }, clock_wall());
	jail_expire(g->jail, clock_wall());
	snprintf(text, sizeof(text),
	    "delete table inet mailadm\ntable inet mailadm {\n"
	    "set bans4 { type ipv4_addr; flags timeout; size %zu; elements = { 203.0.113.99 timeout 2s } }\n"
	    "set bans6 { type ipv6_addr; flags timeout; size 131072; }\n}\n",
	    jail_count(g->jail));
	assert_int_equal(nft(text), 0);
	g->look_again = 0;
	guard_sync(g, false);
	assert_non_null(strstr(g->kernel_why, "is full"));
	assert_false(in_kernel("203.0.113.10"));
	for (int i = 0; i < 100 && g->kernel_why[0] != '\0'; i++) {
		poll(NULL, 0, 100);
		jail_expire(g->jail, clock_wall());
		guard_sync(g, false);
	}
	assert_string_equal(g->kernel_why, "");
	assert_true(in_kernel("203.0.113.10"));
}

static void test_client(void **state)
{
	struct guard_client *c = guard_client_new(ctx.base);
	struct sockaddr_in peer = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(0xcb007114) }; /* 203.0.113.20 */
	uint64_t before = g->offences;
	int fds[2];

	(void)state;
	guard_offence(c, OFFENCE_RELAY, (struct sockaddr *)&peer); /* guard is away: nothing happens */
	assert_int_equal(imsg_pair(fds), 0);
	role_guard.peer(&ctx, ROLE_SMTP, 1, fds[0]);
	guard_client_attach(c, fds[1]);
	guard_offence(c, OFFENCE_RELAY, (struct sockaddr *)&peer);
	guard_offence(c, OFFENCE_RELAY, NULL);
	turn();
	assert_int_equal(g->offences, before + 1);
	assert_int_equal(imsg_pair(fds), 0);
	role_guard.peer(&ctx, ROLE_SMTP, 1, fds[0]); /* guard closes ours */
	close(fds[1]);
	turn();
	guard_offence(c, OFFENCE_RELAY, (struct sockaddr *)&peer);
	turn();
	assert_int_equal(g->offences, before + 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_peers), cmocka_unit_test(test_malformed),
		cmocka_unit_test(test_admin), cmocka_unit_test(test_sync), cmocka_unit_test(test_resume),
		cmocka_unit_test(test_refused), cmocka_unit_test(test_client) };

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, setup, teardown);
}
