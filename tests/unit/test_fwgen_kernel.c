/*
 * The firewall in a kernel: what is loaded compares equal, each change by hand is told, and save and restore put the
 * table back with its bans.  In a network namespace of the test's own, which needs root.
 */
#include <sched.h>

#include "fwgen/kernel.h"
#include "fwgen/netlink.h"
#include "fwgen_help.h"

static bool isolated;

static void nft(const char *command)
{
	char *argv[] = { "nft", "-f", "-", NULL };
	struct buf err = BUF_INIT(65536);
	struct error e = { "" };

	if (proc_run(argv, view_of(command), NULL, &err, &e) != 0)
		fail_msg("nft %s: %s%s", command, e.text, buf_str(&err));
	buf_free(&err);
}

static void differs(const struct fw_model *m, const char *want)
{
	struct buf diff = BUF_INIT(65536);
	struct error e = { "" };
	int r = fw_kernel_compare(m, &diff, &e);

	if (r != (want[0] != '\0') || strcmp(buf_str(&diff), want) != 0)
		fail_msg("%d %s: saw\n%swanted\n%s", r, e.text, buf_str(&diff), want);
	buf_free(&diff);
}

static void loads(const struct fw_model *m)
{
	struct error e = { "" };

	if (fw_kernel_load(m, &e) != 0)
		fail_msg("%s", e.text);
	assert_int_equal(fw_netlink_same(m, &e), fw_netlink_can(m));
	differs(m, "");
}

static struct fw_model *loaded(const char *rows)
{
	struct fw_model *m;

	if (!isolated)
		skip();
	m = model_of(rows);
	loads(m);
	return m;
}

/* What netlink tells of what nft made of a command; it is put right again. */
static void told(const struct fw_model *m, const char *command, int want)
{
	struct error e = { "" };
	int r;

	nft(command);
	r = fw_netlink_same(m, &e);
	if (r != want)
		fail_msg("after %s: %d %s", command, r, e.text);
	loads(m);
}

static void same(void **state)
{
	static const char *const changes[] = {
		"add element inet mailadm blocked4 { 9.9.9.9 }",
		"add element inet mailadm blocked4 { 255.0.0.0/9 comment \"x\" }",
		"delete element inet mailadm blocked4 { 203.0.113.0/25 }",
		"delete element inet mailadm blocked6 { ffff::/16 }",
		"flush chain inet mailadm drop_syn",
		"flush chain inet mailadm drop_syn\nadd rule inet mailadm drop_syn limit rate 6/minute burst 5 packets "
		"log "
		"prefix \"mailadm syn: \" comment \"at most 5 lines a minute, firewall.log\"\nadd rule inet mailadm "
		"drop_syn counter name \"syn\" drop comment \"counted as syn\"",
		"flush chain inet mailadm drop_syn\nadd rule inet mailadm drop_syn limit rate 5/minute burst 5 packets "
		"log "
		"prefix \"mailadm syn: \" level info comment \"at most 5 lines a minute, firewall.log\"\nadd rule inet "
		"mailadm drop_syn counter name \"syn\" drop comment \"counted as syn\"",
		"flush chain inet mailadm drop_syn\nadd rule inet mailadm drop_syn limit rate 5/minute burst 5 packets "
		"log "
		"prefix \"mailadm syn: \" comment \"at most 5 lines\"\nadd rule inet mailadm drop_syn counter name "
		"\"syn\" drop comment \"counted as syn\"",
		"flush chain inet mailadm forward",
		"add chain inet mailadm input { policy accept; }",
		"add chain inet mailadm old",
		"add map inet mailadm old { type ipv4_addr : verdict; }",
		"add table inet mailadm { flags dormant; }",
		"delete table inet mailadm",
	};
	char path[] = "/tmp/test-fwgen-XXXXXX", *rows;
	FILE *f = fdopen(mkstemp(path), "w");
	struct buf text = BUF_INIT(1 << 20);
	struct fw_model *m;

	(void)state;
	fputs("203.0.113.0/25\n198.51.100.4\nffff::/16\n", f);
	fclose(f);
	rows = xasprintf("role = \"gateway\"; gateway = { outside = \"eth0\"; inside = \"eth1\"; network = ( "
			 "\"192.0.2.0/24\", \"2001:db8::/64\" ); masquerade = false; };\n"
			 "firewall = { block_lists = ( \"%s\" ); };",
	    path);
	m = loaded(rows);
	for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++)
		told(m, changes[i], 0);
	told(m, "add table inet foreign { chain input { type filter hook input priority 5; }; }", 1);
	told(m, "add element inet mailadm bans4 { 203.0.113.9 timeout 1h }", 1);
	assert_int_equal(fw_model_text(m, &text), 0);
	told(m, buf_str(&text), 1);
	fw_model_free(m);
	buf_free(&text);
	unlink(path);
	free(rows);
}

static void by_hand(void **state)
{
	static const struct {
		const char *command, *want;
	} changes[] = {
		{ "add rule inet mailadm input tcp dport 81 accept", "- chain input: tcp dport 81 accept\n" },
		{ "add rule inet mailadm mail accept comment \"mail\"", "- chain mail: accept comment \"mail\"\n" },
		{ "add set inet mailadm old { type ipv4_addr; }", "- set old\n" },
		{ "add counter inet mailadm old", "- counter old\n" },
		{ "add chain inet mailadm old", "- chain old\n" },
		{ "flush chain inet mailadm drop_syn\nadd rule inet mailadm drop_syn counter name \"syn\" drop comment "
		  "\"counted as syn\"",
		    "+ chain drop_syn: limit rate 5/minute log prefix \"mailadm syn: \" comment \"at most 5 "
		    "lines a minute, firewall.log\"\n" },
		{ "add chain inet mailadm input { policy accept; }",
		    "- chain input: type filter hook input priority filter; policy accept;\n"
		    "+ chain input: type filter hook input priority filter; policy drop;\n" },
		{ "flush chain inet mailadm drop_syn\nadd rule inet mailadm drop_syn counter name \"syn\" drop comment "
		  "\"counted as syn\"\nadd rule inet mailadm drop_syn limit rate 5/minute burst 5 packets log prefix "
		  "\"mailadm "
		  "syn: \" comment \"at most 5 lines a minute, firewall.log\"",
		    "- chain drop_syn, in another order: counter name \"syn\" drop comment \"counted as syn\"\n"
		    "+ chain drop_syn, in another order: limit rate 5/minute log prefix \"mailadm syn: \" comment "
		    "\"at most 5 lines a minute, firewall.log\"\n" },
	};
	struct fw_model *m = loaded("firewall = { extra = ( { name = \"web\"; port = 443; rate = 30; } ); };");

	(void)state;
	for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
		nft(changes[i].command);
		differs(m, changes[i].want);
		loads(m);
	}
	nft("add element inet mailadm bans4 { 203.0.113.9 timeout 1h }\n"
	    "add element inet mailadm syn4 { 203.0.113.9 limit rate over 5/second }");
	differs(m, "");
	fw_model_free(m);
}

/* Switched off by hand: loading switches it on, with and without new chains. */
static void dormant(void **state)
{
	struct fw_model *m = loaded(""), *other;
	struct error e = { "" };

	(void)state;
	nft("add table inet mailadm { flags dormant; }");
	differs(m, "- flags dormant\n");
	loads(m);
	nft("delete table inet mailadm\nadd table inet mailadm { flags dormant; }");
	loads(m);
	other = model_with("ipv4 = \"10.0.0.10\"; public_ipv4 = \"198.51.100.1\";",
	    "role = \"gateway\"; gateway = { outside = \"eth0\"; inside = \"eth1\"; network = ( \"10.0.0.0/24\" ); };");
	nft("add table inet mailadm { flags dormant; }");
	loads(other);
	assert_int_equal(fw_kernel_remove(&e), 0);
	fw_model_free(m);
	fw_model_free(other);
}

/* With lines of nft, which nft loads. */
static void includes(void **state)
{
	char path[] = "/tmp/test-fwgen-XXXXXX", *rows;
	FILE *f = fdopen(mkstemp(path), "w");
	struct error e = { "" };
	struct fw_model *m;

	(void)state;
	fputs("ip saddr 203.0.113.7 tcp dport 7777 accept\n", f);
	fclose(f);
	rows = xasprintf("firewall = { include = ( \"%s\" ); };", path);
	m = loaded(rows);
	nft("add quota inet mailadm q { 25 mbytes; }\n"
	    "table inet mailadm { ct helper h { type \"ftp\" protocol tcp; }; }");
	differs(m, "- ct helper h\n- quota q\n");
	loads(m);
	nft("add table inet mailadm { flags dormant; }");
	assert_int_equal(fw_kernel_load(m, &e), -1);
	assert_non_null(strstr(e.text, "nft add table inet mailadm"));
	assert_int_equal(fw_kernel_remove(&e), 0);
	fw_model_free(m);
	unlink(path);
	free(rows);
}

static void elements(void **state)
{
	char path[] = "/tmp/test-fwgen-XXXXXX", *rows;
	FILE *f = fdopen(mkstemp(path), "w");
	struct fw_model *m;

	(void)state;
	for (unsigned i = 0; i < 1000; i++)
		fprintf(f, "203.%u.%u.0/25\n", i / 256, i % 256);
	fclose(f);
	rows = xasprintf("firewall = { block_lists = ( \"%s\" ); };", path);
	m = loaded(rows);
	nft("delete element inet mailadm blocked4 { 203.2.1.0/25 }\nadd element inet mailadm blocked4 { 9.9.9.9 }");
	differs(m, "- set blocked4: 9.9.9.9\n+ set blocked4: 203.2.1.0/25\n");
	fw_model_free(m);
	m = loaded(""); /* an older site's set is gone */
	fw_model_free(m);
	unlink(path);
	free(rows);
}

/* That element, with ten days left, or a moment less. */
static void has(struct buf *listing, const char *element)
{
	const char *at = strstr(buf_str(listing), element);
	const char *left = at != NULL ? at + strlen(element) : "";

	if (strncmp(left, "10d", 3) != 0 && strncmp(left, "9d23h59m", 8) != 0)
		fail_msg("%s... %.20s", element, left);
}

static void put_back(void **state)
{
	struct fw_model *m = loaded("");
	struct buf before = BUF_INIT(1 << 22), after = BUF_INIT(1 << 22), none = BUF_INIT(1 << 10);
	struct error e = { "" };

	(void)state;
	nft("add element inet mailadm bans4 { 203.0.113.9 timeout 100d expires 10d }\n"
	    "add element inet mailadm bans6 { 2001:db8:9:: timeout 50d expires 10d }\n"
	    "add element inet mailadm syn4 { 203.0.113.9 limit rate over 5/second }\n"
	    "add element inet mailadm connections4 { 203.0.113.9 ct count over 50 }");
	assert_int_equal(fw_kernel_save(&before, &e), 0);
	has(&before, "203.0.113.9 timeout 100d expires ");
	nft("delete table inet mailadm");
	if (fw_kernel_restore(buf_view(&before), &e) != 0)
		fail_msg("%s", e.text);
	differs(m, "");
	assert_int_equal(fw_kernel_save(&after, &e), 0);
	has(&after, "203.0.113.9 timeout 100d expires ");
	has(&after, "2001:db8:9:: timeout 50d expires ");
	assert_int_equal(fw_kernel_restore(VIEW_NONE, &e), 0);
	assert_int_equal(fw_kernel_present(&e), 0);
	assert_int_equal(fw_kernel_save(&none, &e), 0);
	assert_int_equal(none.len, 0);
	fw_model_free(m);
	buf_free(&before);
	buf_free(&after);
	buf_free(&none);
}

/* Rules come back, while bans stay what they have become since. */
static void bans_of_now(void **state)
{
	struct fw_model *m = loaded("");
	struct buf before = BUF_INIT(1 << 22), after = BUF_INIT(1 << 22);
	struct error e = { "" };

	(void)state;
	nft("add element inet mailadm bans4 { 203.0.113.9 timeout 100d, 203.0.113.10 timeout 1h, 203.0.113.20 }\n"
	    "add element inet mailadm bans6 { 2001:db8:9:: timeout 50d }\n");
	assert_int_equal(fw_kernel_save(&before, &e), 0);
	nft("flush chain inet mailadm input\nflush set inet mailadm bans6\n"
	    "delete element inet mailadm bans4 { 203.0.113.9, 203.0.113.10 }\n"
	    "add element inet mailadm bans4 { 203.0.113.10 timeout 8h, 203.0.113.11 timeout 2d }");
	assert_int_equal(fw_kernel_restore(buf_view(&before), &e), 0);
	differs(m, "");
	assert_int_equal(fw_kernel_save(&after, &e), 0);
	assert_null(strstr(buf_str(&after), "203.0.113.9 "));
	assert_null(strstr(buf_str(&after), "2001:db8:9:: timeout"));
	assert_non_null(strstr(buf_str(&after), "203.0.113.11 timeout 1d23h"));
	assert_non_null(strstr(buf_str(&after), "203.0.113.10 timeout 7h59m"));
	assert_non_null(strstr(buf_str(&after), "203.0.113.20"));
	assert_int_equal(fw_kernel_remove(&e), 0);
	fw_model_free(m);
	buf_free(&before);
	buf_free(&after);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(by_hand), cmocka_unit_test(same),
		cmocka_unit_test(dormant), cmocka_unit_test(includes), cmocka_unit_test(elements),
		cmocka_unit_test(put_back), cmocka_unit_test(bans_of_now) };

	isolated = geteuid() == 0 && unshare(CLONE_NEWNET) == 0;
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
