/*
 * apply/: diffs, generations and their checksums, the plan's checksum, timers, and who may confirm, with a /proc of its
 * own.
 */
#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "apply/apply.h"
#include "apply/diff.h"
#include "apply/internal.h"
#include "apply/lockout.h"
#include "apply/sockets.h"
#include "apply/timers.h"
#include "lib/proc.h"

static struct error e;
static char dir[64];

static int make_dir(void **state)
{
	(void)state;
	snprintf(dir, sizeof(dir), "/tmp/mailadm-test-apply-XXXXXX");
	return mkdtemp(dir) != NULL ? 0 : -1;
}

static int remove_dir(void **state)
{
	char *argv[] = { "rm", "-rf", dir, NULL };

	(void)state;
	return proc_run(argv, VIEW_NONE, NULL, NULL, &e);
}

static void put(const char *name, const char *text)
{
	char *path = xasprintf("%s/%s", dir, name), *slash = strrchr(path, '/');

	*slash = '\0';
	assert_int_equal(file_mkdirs(path, 0755, &e), 0);
	*slash = '/';
	assert_int_equal(file_write_atomic(path, view_of(text), 0644, &e), 0);
	free(path);
}

static void check_diff(const char *old, const char *new_text, size_t most, const char *want)
{
	struct buf out = BUF_INIT(65536);

	diff_lines(view_of(old), view_of(new_text), most, &out);
	assert_string_equal(buf_str(&out), want);
	buf_free(&out);
}

static void shows_differences(void **state)
{
	(void)state;
	check_diff("", "", 9, "");
	check_diff("a\nb\n", "a\nb\n", 9, "");
	check_diff("a\nb\nc\n", "a\nx\nc\n", 9, "- b\n+ x\n");
	check_diff("b\na", "a\nb", 9, "");
	check_diff("a\na\n", "a\n", 9, "- a\n");
	check_diff("", "1\n2\n3\n4\n", 2, "+ 1\n+ 2\n+ ... and 2 lines more\n");
	check_diff("\n\n", "\n", 9, "- \n");
}

/* ---- generations */

static void open_dir(struct apply_dir *d)
{
	assert_int_equal(apply_dir_open(dir, true, d, &e), 0);
}

static struct generation sample(unsigned number)
{
	struct generation g = { .number = number,
		.state = GEN_PENDING,
		.site = xstrdup("/etc/mailadm/site.conf"),
		.why = xstrdup("a \"reason\"\n"),
		.reason = xstrdup(""),
		.when = 1790000000,
		.since = 5000,
		.deadline = 65000,
		.confirm = 60,
		.boot_id = "b00t",
		.boot = BOOT_WRITE,
		.pid = 42,
		.pid_start = 43,
		.files = json_object() };

	snprintf(g.checksum, sizeof(g.checksum), "%064d", 7);
	snprintf(g.caller.user, sizeof(g.caller.user), "alice (as root)");
	snprintf(g.caller.tty, sizeof(g.caller.tty), "pts/3");
	g.caller.ssh = true;
	g.caller.sshd = 100;
	g.caller.sshd_start = 12345678901ull;
	g.caller.addressed = true;
	inet_pton(AF_INET, "192.0.2.7", g.caller.from);
	return g;
}

static void keeps_generations(void **state)
{
	struct apply_dir d;
	struct generation g = sample(3), back;
	char who[128];

	(void)state;
	open_dir(&d);
	put("apply/generations/3/site.conf", "x\n");
	put("apply/generations/3/captured/zones/a.zone", "a\n");
	put("apply/generations/3/captured/zones/sub/b", "b\n");
	assert_int_equal(generation_seal(&d, &g, &e), 0);
	assert_int_equal(json_object_size(g.files), 3);
	assert_int_equal(generation_save(&d, &g, &e), 0);
	assert_int_equal(generation_load(&d, 3, &back, &e), 0);
	assert_int_equal(back.state, GEN_PENDING);
	assert_string_equal(back.why, g.why);
	assert_string_equal(back.site, g.site);
	assert_string_equal(back.checksum, g.checksum);
	assert_string_equal(back.boot_id, "b00t");
	assert_int_equal(back.deadline, 65000);
	assert_int_equal(back.boot, BOOT_WRITE);
	assert_true(back.caller.sshd_start == g.caller.sshd_start && back.caller.ssh);
	caller_text(&back.caller, who, sizeof(who));
	assert_string_equal(who, "alice (as root) from 192.0.2.7 on pts/3");
	assert_int_equal(generation_verify(&d, &back, "captured/zones/", &e), 0);
	assert_int_equal(generation_verify(&d, &back, "site.conf", &e), 0);
	put("apply/generations/3/captured/zones/c", "c\n");
	assert_int_equal(generation_verify(&d, &back, "captured/zones/", &e), -1);
	assert_non_null(strstr(e.text, "captured/zones/c was added"));
	put("apply/generations/3/site.conf", "y\n");
	assert_int_equal(generation_verify(&d, &back, "site.conf", &e), -1);
	assert_non_null(strstr(e.text, "was changed by another hand"));
	generation_free(&g);
	generation_free(&back);
	apply_dir_close(&d);
}

/* What another program said, cut in the middle of a character, has to be written down all the same. */
static void keeps_any_bytes(void **state)
{
	struct apply_dir d;
	struct generation g = sample(4), back;

	(void)state;
	open_dir(&d);
	put("apply/generations/4/site.conf", "x\n");
	free(g.reason);
	g.reason = xstrdup("caf\xc3");
	assert_int_equal(generation_save(&d, &g, &e), 0);
	assert_int_equal(generation_load(&d, 4, &back, &e), 0);
	assert_string_equal(back.reason, "caf?");
	generation_free(&back);
	free(g.site);
	g.site = xstrdup("/caf\xe9/site.conf"); /* a path has to stay what it is */
	assert_int_equal(generation_save(&d, &g, &e), -1);
	assert_non_null(strstr(e.text, "has to be UTF-8"));
	generation_free(&g);
	apply_dir_close(&d);
}

static void refuses_tampered_meta(void **state)
{
	static const char *const bad[] = { "", "{", "[]", "{\"sha256\": \"\", \"meta\": {}}",
		"{\"meta\": 1, \"sha256\": \"x\"}",
		"{\"sha256\": \"44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a\", \"meta\": {}}" };
	struct apply_dir d;
	struct generation g = sample(1);
	struct buf text = BUF_INIT(65536);
	char *path, *at;

	(void)state;
	open_dir(&d);
	put("apply/generations/1/site.conf", "x\n");
	assert_int_equal(generation_save(&d, &g, &e), 0);
	generation_free(&g);
	path = generation_file(&d, 1, "meta");
	assert_int_equal(file_read(path, 65536, &text, &e), 0);
	at = strstr(buf_str(&text), "pending");
	assert_non_null(at);
	memcpy(at, "applyin", 7);
	put("apply/generations/1/meta", buf_str(&text));
	assert_int_equal(generation_load(&d, 1, &g, &e), -1);
	assert_non_null(strstr(e.text, "by another hand"));
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		put("apply/generations/1/meta", bad[i]);
		assert_int_equal(generation_load(&d, 1, &g, &e), -1);
	}
	buf_free(&text);
	free(path);
	apply_dir_close(&d);
}

static void locks_lists_and_prunes(void **state)
{
	struct apply_dir d, other;
	unsigned *numbers, pending;
	size_t count;

	(void)state;
	open_dir(&d);
	open_dir(&other);
	assert_int_equal(apply_dir_lock(&d, 0, &e), 0);
	assert_int_equal(apply_dir_lock(&other, 0, &e), 1);
	assert_non_null(strstr(e.text, "applies, confirms or rolls back"));
	apply_dir_unlock(&d);
	assert_int_equal(apply_dir_lock(&other, 0, &e), 0);
	apply_dir_close(&other);
	assert_int_equal(pending_read(&d, &pending, &e), 0);
	assert_int_equal(pending_write(&d, 12, &e), 0);
	assert_int_equal(pending_read(&d, &pending, &e), 1);
	assert_int_equal(pending, 12);
	put("apply/pending", "12x\n");
	assert_int_equal(pending_read(&d, &pending, &e), -1);
	assert_int_equal(pending_remove(&d, &e), 0);
	for (unsigned i = 1; i <= GENERATIONS_KEPT + 5; i++) {
		char name[64];

		snprintf(name, sizeof(name), "apply/generations/%u/%s", i, i == 30 ? "site.conf" : "meta");
		put(name, "x");
	}
	put("apply/generations/nonsense/meta", "x");
	generations_prune(&d, 2);
	assert_int_equal(generations_list(&d, &numbers, &count, &e), 0);
	assert_int_equal(numbers[0], 2);
	assert_int_equal(numbers[1], 6);
	assert_int_equal(count, GENERATIONS_KEPT); /* one of the 50 newest had no meta, one old was to stay */
	free(numbers);
	apply_dir_close(&d);
}

static struct site *site_of(const char *text)
{
	struct findings f = { 0 };
	char *path = xasprintf("%s/site.conf", dir);
	struct site *site = site_load_memory(view_of(text), path, &f);

	for (size_t i = 0; i < f.count && site == NULL; i++)
		print_message("%s\n", f.at[i].text);
	findings_free(&f);
	free(path);
	assert_non_null(site);
	return site;
}

#define SITE                                                                                                           \
	"host = { name = \"mail.example.org\"; ipv4 = \"192.0.2.10\"; };\n"                                            \
	"domains = ( { name = \"example.org\"; } );\naccounts = ( { address = \"alice@example.org\"; } );\n"           \
	"port_offset = 20000; state_dir = \"state\"; dns = { server = \"none\"; };\n"

static void sums_plans(void **state)
{
	struct site *site = site_of(SITE), *other = site_of(SITE "limits = { errors = 3; };");
	struct plan a, b;
	char sum[DIGEST_HEX], *path;
	json_t *j;

	(void)state;
	assert_int_equal(plan_make(site, &a, &e), 0);
	assert_true(a.changes.count > 0); /* the keys */
	assert_string_equal(a.changes.at[0].part, "keys");
	assert_int_equal(plan_make(site, &b, &e), 0);
	assert_string_equal(a.checksum, b.checksum);
	plan_free(&b);
	assert_int_equal(plan_make(other, &b, &e), 0);
	assert_string_not_equal(a.checksum, b.checksum);
	plan_free(&b);
	j = plan_json(&a, site);
	path = xasprintf("%s/plan", dir);
	assert_int_equal(json_dump_file(j, path, 0), 0);
	assert_int_equal(plan_file_read(path, site, sum, &e), 0);
	assert_string_equal(sum, a.checksum);
	json_decref(j);
	put("plan", "{\"version\": 1, \"site\": \"/elsewhere\", \"checksum\": \"x\"}");
	assert_int_equal(plan_file_read(path, site, sum, &e), -1);
	assert_non_null(strstr(e.text, "is a plan for /elsewhere"));
	put("plan", "[]");
	assert_int_equal(plan_file_read(path, site, sum, &e), -1);
	put("state/keys/example.org.mail.key", "x"); /* the live host moves on */
	assert_int_equal(plan_make(site, &b, &e), 0);
	assert_string_not_equal(a.checksum, b.checksum);
	plan_free(&a);
	plan_free(&b);
	free(path);
	site_unref(site);
	site_unref(other);
}

/* ---- timers */

static void knows_timers(void **state)
{
	static const struct {
		const char *calendar, *fields;
	} cases[] = { { "*-*-* 03:30:00", "30 3 * * *" }, { "03:30", "30 3 * * *" }, { "Sun *-*-* 04:05", "5 4 * * 0" },
		{ "Sat 23:59:59", "59 23 * * 6" }, { "daily", "0 0 * * *" }, { "hourly", "0 * * * *" }, { "", NULL },
		{ "*-*-1 03:30", NULL }, { "Mon..Fri 03:30", NULL }, { "24:00", NULL }, { "03:60", NULL },
		{ "03:30 UTC", NULL }, { "03:30:00x", NULL }, { "Foo 03:30", NULL }, { "*-*-* *:00", NULL } };
	struct timers a = { NULL, 0 }, b = { NULL, 0 };
	struct buf out = BUF_INIT(65536);
	char fields[64];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		int r = timers_cron_fields(cases[i].calendar, fields);

		assert_int_equal(r, cases[i].fields != NULL ? 0 : -1);
		if (r == 0)
			assert_string_equal(fields, cases[i].fields);
	}
	timers_add(&a, "mailadm-z.timer", "", true);
	timers_add(&a, "mailadm-b.timer", "daily", true);
	timers_text(&a, &out);
	assert_string_equal(buf_str(&out), "mailadm-b.timer\tdaily\nmailadm-z.timer\t\n");
	assert_int_equal(timers_parse(buf_view(&out), &b, &e), 0);
	buf_reset(&out);
	assert_false(timers_differ(&a, &b, &out));
	timers_add(&b, "mailadm-c.timer", "", true);
	b.at[0].active = false;
	assert_true(timers_differ(&b, &a, &out));
	assert_string_equal(
	    buf_str(&out), "- mailadm-b.timer daily (stopped)\n+ mailadm-b.timer daily\n- mailadm-c.timer\n");
	assert_int_equal(timers_parse(view_of("x\ty"), &b, &e), -1);
	assert_int_equal(timers_parse(view_of("xy\n\t"), &b, &e), -1);
	timers_free(&a);
	timers_free(&b);
	buf_free(&out);
}

static void writes_cron(void **state)
{
	struct site *site = site_of(SITE
			"backup = ( { name = \"nightly\"; repository = \"/b\"; schedule = \"*-*-* 02:15:00\"; } );"),
		    *bad = site_of(
			SITE "backup = ( { name = \"n\"; repository = \"/b\"; schedule = \"*-*-1 02:15:00\"; } );");
	struct buf out = BUF_INIT(65536);

	(void)state;
	assert_int_equal(timers_cron(site, "mailadm", &out, &e), 0);
	assert_non_null(strstr(buf_str(&out), "15 2 * * *\troot\tmailadm backup run nightly"));
	assert_ptr_equal(strstr(buf_str(&out), "# Written by mailadm apply"), out.data);
	assert_int_equal(timers_cron(bad, "mailadm", &out, &e), -1);
	assert_non_null(strstr(e.text, "cron cannot say"));
	buf_free(&out);
	site_unref(site);
	site_unref(bad);
}

/* ---- who */

/* A process of the made-up /proc; sockets are what its fd 3 and 4 are. */
static void process(int pid, const char *name, int parent, int session, int tty, unsigned long start,
    const char *environment, const char *socket3)
{
	char path[64], *text, *full;

	snprintf(path, sizeof(path), "proc/%d/stat", pid);
	text = xasprintf("%d (%s) S %d %d %d %d -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 %lu 1000 10\n", pid, name, parent,
	    pid, session, tty, start);
	put(path, text);
	free(text);
	snprintf(path, sizeof(path), "proc/%d/environ", pid);
	put(path, environment);
	snprintf(path, sizeof(path), "proc/%d/fd/none", pid);
	put(path, "");
	snprintf(path, sizeof(path), "proc/%d/net/tcp", pid);
	put(path,
	    "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
	    "   0: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1000 1 x\n"
	    "   1: 0A0200C0:0016 070200C0:D903 01 00000000:00000000 02:000A7214 00000000     0        0 2000 4 x\n");
	snprintf(path, sizeof(path), "proc/%d/net/tcp6", pid);
	put(path, "  sl  local_address remote_address\n"
		  "   0: 0000000000000000FFFF00000A0200C0:0016 0000000000000000FFFF0000080200C0:D904 01 "
		  "00000000:00000000 02:000A7214 00000000     0        0 3000 4 x\n"
		  "   1: B80D0120000000000000000001000000:0016 B80D0120000000000000000002000000:D905 01 "
		  "00000000:00000000 02:000A7214 00000000     0        0 4000 4 x\n");
	if (socket3 != NULL) {
		full = xasprintf("%s/proc/%d/fd/3", dir, pid);
		assert_int_equal(symlink(socket3, full), 0);
		free(full);
	}
}

static void find(int pid, struct caller *c)
{
	char *proc = xasprintf("%s/proc", dir);

	caller_find(proc, pid, c);
	free(proc);
}

static void finds_the_connection(void **state)
{
	struct caller c;
	char from[INET6_ADDRSTRLEN];

	(void)state;
	process(1, "init", 0, 1, 0, 1, "", NULL);
	process(10, "sshd", 1, 10, 0, 100, "", "socket:[1000]");   /* the listener */
	process(20, "sshd", 10, 20, 0, 5000, "", "socket:[2000]"); /* its connection */
	process(21, "sshd", 20, 20, 0, 5001, "", "socket:[2000]"); /* as the user */
	process(22, "bash", 21, 22, 136 << 8 | 5, 5002, "A=B", NULL);
	process(23, "sudo (x) y", 22, 22, 136 << 8 | 5, 6000, "", NULL);
	process(24, "sudo", 23, 24, 136 << 8 | 9, 6001, "", NULL);
	process(25, "mailadm", 24, 24, 136 << 8 | 9, 6002, "", NULL);
	find(25, &c);
	assert_true(c.ssh && c.addressed && !c.ipv6 && !c.multiplex);
	assert_int_equal(c.sshd, 20);
	assert_int_equal(c.sshd_start, 5000);
	assert_int_equal(c.from_port, 0xd903);
	assert_int_equal(c.to_port, 22);
	caller_from(&c, from, sizeof(from));
	assert_string_equal(from, "192.0.2.7");
	assert_int_equal(c.session, 22); /* the login's, not that of sudo's own terminal */
	assert_string_equal(c.tty, "pts/5");
	process(30, "sshd-session", 10, 30, 0, 7000, "", "socket:[3000]"); /* IPv4 on an IPv6 socket */
	process(31, "mailadm", 30, 31, 0, 7001, "", NULL);
	find(31, &c);
	caller_from(&c, from, sizeof(from));
	assert_string_equal(from, "192.0.2.8");
	process(40, "sshd", 10, 40, 0, 7000, "", "socket:[4000]");
	process(41, "mailadm", 40, 41, 0, 7001, "", NULL);
	find(41, &c);
	caller_from(&c, from, sizeof(from));
	assert_string_equal(from, "2001:db8::2");
	process(50, "tmux: server", 1, 50, 0, 8000, "X=1", NULL);
	process(51, "bash", 50, 51, 136 << 8, 8001, "SSH_CONNECTION=192.0.2.9 40000 192.0.2.10 22", NULL);
	process(52, "mailadm", 51, 51, 136 << 8, 8002, "", NULL);
	find(52, &c);
	assert_true(c.multiplex && !c.ssh && c.addressed);
	caller_from(&c, from, sizeof(from));
	assert_string_equal(from, "192.0.2.9");
	process(60, "login", 1, 60, 4 << 8 | 1, 9000, "", NULL);
	process(61, "mailadm", 60, 60, 4 << 8 | 1, 9001, "", NULL);
	find(61, &c);
	assert_true(!c.ssh && !c.multiplex && !c.addressed);
	assert_string_equal(c.tty, "tty1");
	find(999, &c); /* nobody */
	assert_true(!c.ssh && c.session == 0);
}

static void survives_a_loop(void **state)
{
	struct caller c;

	(void)state;
	process(70, "a", 71, 70, 0, 1, "", NULL);
	process(71, "b", 70, 70, 0, 1, "", NULL);
	find(70, &c);
	put("proc/72/stat", "72 (no end");
	find(72, &c);
	put("proc/73/stat", "73 (x) S");
	find(73, &c);
	assert_false(c.ssh);
}

static void reads_ssh_connection(void **state)
{
	static const char *const bad[] = { "", "a b c d", "192.0.2.1 1 192.0.2.2", "192.0.2.1 70000 192.0.2.2 22",
		"192.0.2.1 1 2001:db8::1 22", "999.0.2.1 1 192.0.2.2 22" };
	struct tcp_socket s;

	(void)state;
	assert_int_equal(socket_parse_ssh("fe80::1%eth0 50000 fe80::2%eth0 22", &s), 0);
	assert_true(s.ipv6 && s.remote_port == 50000 && s.local_port == 22);
	assert_int_equal(socket_parse_ssh("::ffff:192.0.2.1 50000 ::ffff:192.0.2.2 22", &s), 0);
	assert_false(s.ipv6);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(socket_parse_ssh(bad[i], &s), -1);
}

static void decides_who_confirms(void **state)
{
	const struct caller ssh = { .ssh = true, .sshd = 20, .sshd_start = 500, .session = 22, .session_start = 502 };
	const struct caller console = { .session = 60, .session_start = 900 },
			    tmux = { .multiplex = true, .session = 51 };
	struct caller other = ssh;
	const uint64_t since = 8000; /* ms; a tick has 10 */

	(void)state;
	assert_int_equal(caller_may_confirm(&ssh, since, &ssh, false, &e), -1);
	assert_int_equal(caller_may_confirm(&ssh, since, &ssh, true, &e), -1); /* whatever it says */
	assert_non_null(strstr(e.text, "open a new connection"));
	other.sshd = 30;
	assert_int_equal(caller_may_confirm(&ssh, since, &other, false, &e), -1); /* older than the change */
	assert_non_null(strstr(e.text, "older than the change"));
	other.sshd_start = 801;
	assert_int_equal(caller_may_confirm(&ssh, since, &other, false, &e), 0);
	other.sshd = 20; /* the number again, another process */
	assert_int_equal(caller_may_confirm(&ssh, since, &other, false, &e), 0);
	assert_int_equal(caller_may_confirm(&console, since, &other, false, &e), 0);
	assert_int_equal(caller_may_confirm(&ssh, since, &console, false, &e), -1);
	assert_int_equal(caller_may_confirm(&ssh, since, &console, true, &e), 0);
	assert_int_equal(caller_may_confirm(&console, since, &console, false, &e), -1);
	other = console;
	other.session = 61;
	assert_int_equal(caller_may_confirm(&console, since, &other, false, &e), 0);
	assert_int_equal(caller_may_confirm(&console, since, &tmux, false, &e), -1);
	assert_int_equal(caller_may_confirm(&console, since, &tmux, true, &e), 0);
	other = ssh;
	other.sshd_start = 900;
	other.addressed = true;
	inet_pton(AF_INET, "127.0.0.1", other.from); /* ssh localhost */
	assert_int_equal(caller_may_confirm(&ssh, since, &other, false, &e), -1);
	assert_non_null(strstr(e.text, "from the host itself"));
	assert_int_equal(caller_may_confirm(&ssh, since, &other, true, &e), 0);
	inet_pton(AF_INET, "192.0.2.7", other.from);
	assert_int_equal(caller_may_confirm(&ssh, since, &other, false, &e), 0);
}

static void sees_a_lockout(void **state)
{
	struct site *site = site_of(SITE "firewall = { admin_from = ( \"192.0.2.0/28\", \"2001:db8::/64\" ); };");
	struct caller c = { .ssh = true, .addressed = true, .from_port = 50000, .to_port = 22 };

	(void)state;
	inet_pton(AF_INET, "192.0.2.10", c.to);
	inet_pton(AF_INET, "192.0.2.7", c.from);
	assert_int_equal(lockout_check(site, &c, &e), 0);
	inet_pton(AF_INET, "198.51.100.7", c.from);
	assert_int_equal(lockout_check(site, &c, &e), 1);
	assert_non_null(strstr(e.text, "from 198.51.100.7 to port 22 (chain "));
	assert_non_null(strstr(e.text, "--force-lockout"));
	c.addressed = false; /* not known: nothing to say */
	assert_int_equal(lockout_check(site, &c, &e), 0);
	c.addressed = c.ipv6 = true;
	inet_pton(AF_INET6, "2001:db8::10", c.to);
	inet_pton(AF_INET6, "2001:db8::7", c.from);
	assert_int_equal(lockout_check(site, &c, &e), 0);
	inet_pton(AF_INET6, "2001:db8:1::7", c.from);
	assert_int_equal(lockout_check(site, &c, &e), 1);
	inet_pton(AF_INET6, "::1", c.from);
	assert_int_equal(lockout_check(site, &c, &e), 0);
	site_unref(site);
}

#define IN_DIR(f) cmocka_unit_test_setup_teardown(f, make_dir, remove_dir)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(shows_differences),
		IN_DIR(keeps_generations),
		IN_DIR(keeps_any_bytes),
		IN_DIR(refuses_tampered_meta),
		IN_DIR(locks_lists_and_prunes),
		IN_DIR(sums_plans),
		cmocka_unit_test(knows_timers),
		IN_DIR(writes_cron),
		IN_DIR(finds_the_connection),
		IN_DIR(survives_a_loop),
		cmocka_unit_test(reads_ssh_connection),
		cmocka_unit_test(decides_who_confirms),
		IN_DIR(sees_a_lockout),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
