/*
 * The firewall in a kernel: what is loaded compares equal, each change by hand is told, and save and restore put the
 * table back with its bans.  In a network namespace of the test's own, which needs root.
 */
#include <sched.h>

#include "fwgen/kernel.h"
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

static void put_back(void **state)
{
	struct fw_model *m = loaded("");
	struct buf before = BUF_INIT(1 << 22), after = BUF_INIT(1 << 22), none = BUF_INIT(1 << 10);
	struct error e = { "" };

	(void)state;
	nft("add element inet mailadm bans4 { 203.0.113.9 timeout 100d }\n"
	    "add element inet mailadm bans6 { 2001:db8:9:: timeout 50d }\n"
	    "add element inet mailadm syn4 { 203.0.113.9 limit rate over 5/second }\n"
	    "add element inet mailadm connections4 { 203.0.113.9 ct count over 50 }");
	assert_int_equal(fw_kernel_save(&before, &e), 0);
	assert_non_null(strstr(buf_str(&before), "203.0.113.9 timeout 100d expires 99d23h"));
	nft("flush set inet mailadm bans4\nflush chain inet mailadm input");
	if (fw_kernel_restore(buf_view(&before), &e) != 0)
		fail_msg("%s", e.text);
	differs(m, "");
	assert_int_equal(fw_kernel_save(&after, &e), 0);
	assert_non_null(strstr(buf_str(&after), "203.0.113.9 timeout 100d expires 99d23h"));
	assert_non_null(strstr(buf_str(&after), "2001:db8:9:: timeout 50d expires 49d23h"));
	assert_int_equal(fw_kernel_restore(VIEW_NONE, &e), 0);
	assert_int_equal(fw_kernel_present(&e), 0);
	assert_int_equal(fw_kernel_save(&none, &e), 0);
	assert_int_equal(none.len, 0);
	fw_model_free(m);
	buf_free(&before);
	buf_free(&after);
	buf_free(&none);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(by_hand), cmocka_unit_test(elements),
		cmocka_unit_test(put_back) };

	isolated = geteuid() == 0 && unshare(CLONE_NEWNET) == 0;
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
