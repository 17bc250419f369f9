/* Bans: sources, who never is, the decisions on a clock of our own, and the file. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mailsvc/guard/jail.h"
#include "mailsvc/guard/never.h"
#include "mailsvc/guard/state.h"

#define NOW 1764000000
#define AFTER 5
#define FIRST 600
#define LONGEST (7 * 86400)

static struct guard_source from(const char *text)
{
	struct guard_source s;

	assert_int_equal(guard_source_parse(text, &s), 0);
	return s;
}

static struct jail *make(void)
{
	struct jail *j = jail_new();

	jail_rules(j, AFTER, FIRST, LONGEST);
	return j;
}

/* n offences at one moment; the answer to the last. */
static enum jail_answer offend(struct jail *j, const char *who, unsigned n, int64_t now, struct jail_ban *out)
{
	struct guard_source s = from(who);
	enum jail_answer a = JAIL_COUNTED;

	while (n-- > 0)
		a = jail_offence(j, &s, OFFENCE_LOGIN, now, out);
	return a;
}

static void test_source(void **state)
{
	static const struct {
		const char *in, *out;
	} good[] = { { "192.0.2.1", "192.0.2.1" }, { "192.0.2.1/32", "192.0.2.1" }, { "::ffff:192.0.2.1", "192.0.2.1" },
		{ "2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64" }, { "2001:db8:1:2::/64", "2001:db8:1:2::/64" },
		{ "::1", "local" }, { "127.0.0.7", "local" }, { "::ffff:127.0.0.1", "local" } };
	static const char *const bad[] = { "", "x", "192.0.2.0/24", "2001:db8::/48", "2001:db8::1/128", "192.0.2.1/",
		"192.0.2", "192.0.2.1 ", "2001:db8:1:2:3:4:5:6:7/64" };
	char text[GUARD_SOURCE_TEXT];
	struct guard_source s;

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		s = from(good[i].in);
		guard_source_text(&s, text);
		assert_string_equal(text, good[i].out);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(guard_source_parse(bad[i], &s), -1);
}

static void test_wire(void **state)
{
	struct guard_source s = from("2001:db8:1:2::"), back;
	struct buf out = BUF_INIT(64);
	struct sockaddr_in6 v6 = { .sin6_family = AF_INET6 };
	struct cursor c;

	(void)state;
	guard_source_put(&out, &s);
	for (size_t n = 0; n < out.len; n++) {
		c = cursor_of(out.data, n);
		assert_int_equal(guard_source_get(&c, &back), -1);
	}
	c = cursor_of(out.data, out.len);
	assert_int_equal(guard_source_get(&c, &back), 0);
	assert_true(cursor_done(&c) && guard_source_eq(&s, &back));
	out.data[0] = 5;
	c = cursor_of(out.data, out.len);
	assert_int_equal(guard_source_get(&c, &back), -1);
	buf_free(&out);
	assert_int_equal(inet_pton(AF_INET6, "2001:db8:1:2:aaaa::1", &v6.sin6_addr), 1);
	guard_source_of((struct sockaddr *)&v6, &back);
	assert_true(guard_source_eq(&s, &back));
	guard_source_of(NULL, &back);
	assert_int_equal(back.family, 0);
}

static bool never(const struct never *n, const char *who)
{
	struct guard_source s = from(who);

	return never_find(n, &s) != NULL;
}

static void test_never(void **state)
{
	struct never n = { NULL, 0 };
	struct guard_source s = from("192.0.2.77");
	char text[256];

	(void)state;
	never_add(&n, "192.0.2.64/26", "firewall.admin_from");
	never_add(&n, "198.51.100.7", "an address of this host");
	never_add(&n, "2001:db8:1:2::5", "firewall.never_ban"); /* its /64 with it */
	never_add(&n, "2001:db8:ff00::/41", "firewall.never_ban");
	never_add(&n, "nonsense", "nothing");
	never_add(&n, "192.0.2.0/33", "nothing");
	assert_int_equal(n.count, 4);
	assert_true(never(&n, "192.0.2.64") && never(&n, "192.0.2.127"));
	assert_false(never(&n, "192.0.2.63") || never(&n, "192.0.2.128"));
	assert_true(never(&n, "198.51.100.7"));
	assert_false(never(&n, "198.51.100.6"));
	assert_true(never(&n, "2001:db8:1:2:9::9"));
	assert_false(never(&n, "2001:db8:1:3::"));
	assert_true(never(&n, "2001:db8:ff7f:1::"));
	assert_false(never(&n, "2001:db8:ff80::"));
	never_explain(never_find(&n, &s), &s, text, sizeof(text));
	assert_string_equal(text, "192.0.2.77 is never banned: firewall.admin_from has 192.0.2.64/26");
	never_free(&n);
	never_add(&n, "0.0.0.0/0", "firewall.never_ban");
	assert_true(never(&n, "203.0.113.1"));
	assert_false(never(&n, "2001:db8::"));
	never_free(&n);
	/* Whose ban would keep everybody's mail out. */
	static char none[] = "";
	struct site site = { .host = { .ipv4 = none, .ipv6 = none, .public_ipv4 = none, .public_ipv6 = none } };
	char *balancers[] = { "203.0.113.8/30" }, *trusted[] = { "198.51.100.25" };
	site.listen.proxy_from = (struct strings){ balancers, 1 };
	site.checks.trusted = (struct strings){ trusted, 1 };
	never_of_site(&n, &site);
	assert_true(never(&n, "203.0.113.9") && never(&n, "198.51.100.25"));
	assert_false(never(&n, "203.0.113.12"));
	never_free(&n);
}

static void test_machine(void **state)
{
	struct never n = { NULL, 0 };
	int fd = never_machine_open();

	(void)state;
	assert_true(fd >= 0);
	never_add_machine(&n, fd);
	never_add_machine(&n, fd); /* can be asked again */
	assert_true(n.count >= 2 && n.count % 2 == 0);
	close(fd);
	never_free(&n);
}

static void test_ban(void **state)
{
	struct jail *j = make();
	struct jail_ban b;

	(void)state;
	assert_int_equal(offend(j, "192.0.2.1", AFTER - 1, NOW, &b), JAIL_COUNTED);
	assert_int_equal(offend(j, "192.0.2.2", AFTER - 1, NOW, &b), JAIL_COUNTED);
	/* The window is over: it begins anew. */
	assert_int_equal(offend(j, "192.0.2.1", 1, NOW + JAIL_WINDOW, &b), JAIL_COUNTED);
	assert_int_equal(offend(j, "192.0.2.2", 1, NOW + JAIL_WINDOW - 1, &b), JAIL_BANNED);
	assert_int_equal(b.until, NOW + JAIL_WINDOW - 1 + FIRST);
	assert_int_equal(b.times, 1);
	assert_string_equal(b.why, "failed logins");
	assert_int_equal(offend(j, "192.0.2.2", 1, NOW + JAIL_WINDOW, &b), JAIL_ALREADY);
	assert_int_equal(jail_count(j), 1);
	/* A clock that goes back begins a window. */
	assert_int_equal(offend(j, "192.0.2.3", AFTER - 1, NOW, &b), JAIL_COUNTED);
	assert_int_equal(offend(j, "192.0.2.3", 1, NOW - 5, &b), JAIL_COUNTED);
	jail_free(j);
}

static void test_escalation(void **state)
{
	struct jail *j = make();
	struct jail_ban b;
	int64_t now = NOW, lengths[] = { 600, 2400, 9600, 38400, 153600, LONGEST, LONGEST };
	struct guard_source who = from("2001:db8:1:2::");

	(void)state;
	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		assert_int_equal(
		    offend(j, i % 2 ? "2001:db8:1:2::1" : "2001:db8:1:2:ffff::", AFTER, now, &b), JAIL_BANNED);
		assert_int_equal(b.until - b.since, lengths[i]);
		assert_int_equal(b.times, i + 1);
		assert_false(jail_expire(j, b.until - 1));
		assert_true(jail_find(j, &who, b.until - 1, &b));
		assert_int_equal(jail_expire(j, b.until), 1);
		assert_false(jail_find(j, &who, b.until, &b));
		now = b.until;
	}
	/* Seven in a row, each forgotten after as long as the last one was. */
	assert_int_equal(offend(j, "2001:db8:1:2::", AFTER, now + 4 * LONGEST, &b), JAIL_BANNED);
	assert_int_equal(b.times, 4);
	jail_expire(j, b.until);
	/* And 38400 s are less than a day: a day each. */
	assert_int_equal(offend(j, "2001:db8:1:2::", AFTER, b.until + 3 * JAIL_FORGET, &b), JAIL_BANNED);
	assert_int_equal(b.times, 2);
	jail_free(j);
}

static void test_login(void **state)
{
	struct jail *j = make();
	struct guard_source office = from("192.0.2.1");
	struct jail_ban b;

	(void)state;
	jail_login(j, &office, NOW);
	assert_int_equal(offend(j, "192.0.2.1", 10 * AFTER, NOW + 10, &b), JAIL_SPARED);
	assert_int_equal(offend(j, "192.0.2.2", AFTER, NOW + 10, &b), JAIL_BANNED);
	assert_int_equal(offend(j, "192.0.2.1", AFTER, NOW + JAIL_KNOWN, &b), JAIL_BANNED);
	jail_free(j);
}

static void test_by_hand(void **state)
{
	struct jail *j = make();
	struct guard_source who = from("192.0.2.1"), local = from("127.0.0.1");
	struct jail_ban b;
	struct error e;

	(void)state;
	jail_login(j, &who, NOW);
	assert_int_equal(jail_ban(j, &who, 3600, "by hand", NOW, &b, &e), 0);
	assert_int_equal(b.until, NOW + 3600);
	assert_int_equal(jail_ban(j, &who, 0, "by hand: again", NOW + 1, &b, &e), 0);
	assert_int_equal(b.until, NOW + 1 + 4 * FIRST);
	assert_true(jail_unban(j, &who, NOW + 2));
	assert_false(jail_unban(j, &who, NOW + 2));
	assert_int_equal(offend(j, "192.0.2.1", AFTER, NOW + 3, &b), JAIL_SPARED); /* who logged in is known still */
	assert_int_equal(jail_ban(j, &who, UINT64_MAX, "by hand", NOW, &b, &e), 0);
	assert_int_equal(b.times, 1);
	assert_int_equal(b.until, NOW + JAIL_LONGEST);
	assert_int_equal(jail_ban(j, &local, 60, "by hand", NOW, &b, &e), -1);
	jail_free(j);
}

/* A /32 of IPv6 whose owner comes from ever new /64s. */
static void test_caps(void **state)
{
	struct jail *j = make();
	struct jail_ban b;
	unsigned banned = 0, capped = 0;
	int64_t now = NOW - NOW % 60;

	(void)state;
	jail_rules(j, 1, 86400, LONGEST);
	for (uint32_t i = 0; i < 3 * JAIL_WATCHED; i++) {
		struct guard_source s = { .family = 6, .address = { 0x20, 0x01, 0x0d, 0xb8 } };
		enum jail_answer a;

		memcpy(s.address + 4, &i, sizeof(i));
		a = jail_offence(j, &s, OFFENCE_RELAY, now, &b);
		banned += a == JAIL_BANNED;
		capped += a == JAIL_CAPPED;
	}
	assert_int_equal(banned, JAIL_RATE);
	assert_int_equal(capped, 3 * JAIL_WATCHED - JAIL_RATE);
	assert_true(jail_watched(j) <= 2 * JAIL_WATCHED);
	assert_int_equal(offend(j, "192.0.2.1", 1, now, &b), JAIL_BANNED); /* IPv4 has its own */
	for (uint32_t i = 0; jail_count(j) < JAIL_AUTOMATIC + 1; i++) {
		struct guard_source s = { .family = 6, .address = { 0x20, 0x01, 0x0d, 0xb9 } };

		memcpy(s.address + 4, &i, sizeof(i));
		now += i % JAIL_RATE == 0 ? 60 : 0;
		assert_int_equal(jail_offence(j, &s, OFFENCE_RELAY, now, &b), JAIL_BANNED);
	}
	assert_int_equal(offend(j, "2001:db8:ffff::", 1, now + 60, &b), JAIL_CAPPED);
	assert_int_equal(offend(j, "192.0.2.2", 1, now + 60, &b), JAIL_BANNED);
	jail_free(j);
}

/* The file --------------------------------------------------------------------------------------------------------- */

static void print(const struct jail *j, int64_t now, char *out, size_t size)
{
	struct buf text = BUF_INIT(1 << 20);

	state_print(j, true, now, &text);
	snprintf(out, size, "%s", buf_str(&text));
	buf_free(&text);
}

static int temporary(char *path)
{
	int fd;

	assert_non_null(mkdtemp(path));
	fd = open(path, O_RDONLY | O_DIRECTORY);
	assert_true(fd >= 0);
	return fd;
}

static void put_file(int dir, const char *text)
{
	int fd = openat(dir, "list", O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
}

static void remove_folder(int dir, const char *path)
{
	unlinkat(dir, "list", 0);
	unlinkat(dir, "list.bad", 0);
	close(dir);
	assert_int_equal(rmdir(path), 0);
}

static void test_saved(void **state)
{
	char path[] = "/tmp/guard-test-XXXXXX", one[4096], other[4096];
	int dir = temporary(path);
	struct jail *j = make(), *k = make();
	struct guard_source who = from("192.0.2.9");
	struct jail_ban b;
	struct error e;
	struct stat st;

	(void)state;
	assert_int_equal(guard_state_load(dir, k, NOW, &e), 0); /* no file yet */
	assert_int_equal(offend(j, "192.0.2.1", AFTER, NOW, &b), JAIL_BANNED);
	assert_int_equal(offend(j, "2001:db8::1", AFTER, NOW + 3, &b), JAIL_BANNED);
	assert_int_equal(jail_ban(j, &who, 86400, "by hand: a \"reason\" \xc3\xa4", NOW, &b, &e), 0);
	assert_int_equal(guard_state_save(dir, j, NOW + 5, &e), 0);
	assert_int_equal(guard_state_save(dir, j, NOW + 5, &e), 0);
	assert_int_equal(fstatat(dir, "list", &st, 0), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(fstatat(dir, "list.new", &st, 0), -1);
	assert_int_equal(guard_state_load(dir, k, NOW + 100, &e), 0);
	print(j, NOW + 5, one, sizeof(one));
	print(k, NOW + 100, other, sizeof(other));
	assert_string_equal(one, other);
	assert_int_equal(jail_count(k), 3);
	/* What is over is remembered for how often, until it is forgotten. */
	jail_free(k);
	k = make();
	assert_int_equal(guard_state_load(dir, k, NOW + 3600, &e), 0);
	assert_int_equal(jail_count(k), 1);
	assert_int_equal(offend(k, "192.0.2.1", AFTER, NOW + 3600, &b), JAIL_BANNED);
	assert_int_equal(b.times, 2);
	print(j, NOW + 3 * 86400, one, sizeof(one));
	assert_string_equal(one, "mailadm bans 1\nend 0\n");
	jail_free(j);
	jail_free(k);
	remove_folder(dir, path);
}

static void test_hostile(void **state)
{
	static const struct {
		const char *text, *why;
	} bad[] = {
		{ "", "list:1: it does not begin" },
		{ "mailadm bans 2\nend 0\n", "list:1: it does not begin" },
		{ "mailadm bans 1\n", "list:2: it has no line \"end\"" },
		{ "mailadm bans 1\nend 0", "list:2: it has no line \"end\"" },
		{ "mailadm bans 1\nend 1\n", "list:2: \"end\" does not count" },
		{ "mailadm bans 1\nend 0\nmore\n", "list:2: \"end\" does not count" },
		{ "mailadm bans 1\n\nend 1\n", "list:2: it does not begin with an address" },
		{ "mailadm bans 1\n127.0.0.1 1 2 1 x\nend 1\n", "list:2: it does not begin with an address" },
		{ "mailadm bans 1\n192.0.2.0/24 1 2 1 x\nend 1\n", "list:2: it does not begin with an address" },
		{ "mailadm bans 1\n2001:db8::1 1 2 1 x\nend 1\n", "list:2: the address is not as it is written here" },
		{ "mailadm bans 1\n192.0.2.1 1 2\nend 1\n", "list:2: it does not say how often" },
		{ "mailadm bans 1\n192.0.2.1 1 2 0 x\nend 1\n", "list:2: it does not say how often" },
		{ "mailadm bans 1\n192.0.2.1 1 2 1001 x\nend 1\n", "list:2: it does not say how often" },
		{ "mailadm bans 1\n192.0.2.1 1 2 1 \nend 1\n", "list:2: it does not say why" },
		{ "mailadm bans 1\n192.0.2.1 1 2 1 a\x1b[31m\nend 1\n", "list:2: it does not say why" },
		{ "mailadm bans 1\n192.0.2.1 2 1 1 x\nend 1\n", "list:2: it ends before it begins" },
		{ "mailadm bans 1\n192.0.2.1 1 99999999 1 x\nend 1\n", "list:2: it ends before it begins" },
		{ "mailadm bans 1\n192.0.2.1 -1 2 1 x\nend 1\n", "list:2: it has no two times" },
		{ "mailadm bans 1\n192.0.2.1 1 99999999999999999999 1 x\nend 1\n", "list:2: it has no two times" },
		{ "mailadm bans 1\n192.0.2.1 1 2 1 x\n192.0.2.1 1 3 1 x\nend 2\n",
		    "list:3: the address is there twice" },
	};
	char path[] = "/tmp/guard-test-XXXXXX";
	int dir = temporary(path);
	struct error e;
	struct stat st;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct jail *j = make();

		put_file(dir, bad[i].text);
		assert_int_equal(guard_state_load(dir, j, 1, &e), 1);
		if (strstr(e.text, bad[i].why) == NULL || strstr(e.text, "list.bad") == NULL)
			fail_msg("%s: %s", bad[i].why, e.text);
		assert_int_equal(jail_count(j), 0);
		assert_int_equal(fstatat(dir, "list", &st, 0), -1);
		assert_int_equal(fstatat(dir, "list.bad", &st, 0), 0);
		jail_free(j);
	}
	remove_folder(dir, path);
}

/* Root reads and writes in a folder that guard owns: no link may lead it elsewhere. */
static void test_links(void **state)
{
	char path[] = "/tmp/guard-test-XXXXXX", target[64];
	int dir = temporary(path), fd;
	struct jail *j = make();
	struct error e;
	struct stat st;

	(void)state;
	snprintf(target, sizeof(target), "%s/target", path);
	fd = openat(dir, "target", O_WRONLY | O_CREAT, 0600);
	close(fd);
	assert_int_equal(symlinkat(target, dir, "list"), 0);
	assert_int_equal(symlinkat(target, dir, "list.new"), 0);
	assert_int_equal(guard_state_load(dir, j, NOW, &e), 1);
	assert_non_null(strstr(e.text, "list: it is a symbolic link"));
	assert_int_equal(guard_state_save(dir, j, NOW, &e), 0);
	assert_int_equal(fstatat(dir, "target", &st, 0), 0);
	assert_int_equal(st.st_size, 0);
	unlinkat(dir, "list", 0);
	assert_int_equal(mkfifoat(dir, "list", 0600), 0);
	assert_int_equal(guard_state_load(dir, j, NOW, &e), 1);
	assert_non_null(strstr(e.text, "list: it is no file"));
	unlinkat(dir, "target", 0);
	jail_free(j);
	remove_folder(dir, path);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_source), cmocka_unit_test(test_wire),
		cmocka_unit_test(test_never), cmocka_unit_test(test_machine), cmocka_unit_test(test_ban),
		cmocka_unit_test(test_escalation), cmocka_unit_test(test_login), cmocka_unit_test(test_by_hand),
		cmocka_unit_test(test_caps), cmocka_unit_test(test_saved), cmocka_unit_test(test_hostile),
		cmocka_unit_test(test_links) };

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
