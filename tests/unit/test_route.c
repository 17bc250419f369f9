/* Routing: order, tags, implied addresses, catch-all, aliases and lists, and who may send as whom. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "lib/clock.h"
#include "site/route.h"

static const char text[] =
    "host = { name = \"mail.example.org\"; ipv4 = \"192.0.2.10\"; ipv6 = \"2001:db8::10\"; public_ipv4 = "
    "\"198.51.100.1\"; };\n"
    "domains = ( { name = \"example.org\"; }, { name = \"example.net\"; catch_all = \"bob+caught@example.org\"; } );\n"
    "accounts = ( { address = \"alice@example.org\"; }, { address = \"bob@example.org\"; },\n"
    "             { address = \"carol+real@example.org\"; }, { address = \"abuse@example.net\"; senders = \"bob@example.org\"; },\n"
    "             { address = \"j\xC3\xB6rg@example.org\"; } );\n"
    "aliases = ( { address = \"info@example.org\"; to = (\"alice@example.org\", \"bob@example.org\", "
    "\"Info@Else.example\"); },\n"
    "            { address = \"boss@example.org\"; to = \"alice@example.org\"; },\n"
    "            { address = \"chief@example.org\"; to = \"boss@example.org\"; },\n"
    "            { address = \"out@example.org\"; to = \"x@else.example\"; },\n"
    "            { address = \"cron@mail.example.org\"; to = \"bob@example.org\"; },\n"
    "            { address = \"all@example.org\"; to = (\"team@example.org\", \"info@example.org\", "
    "\"alice@example.org\"); } );\n"
    "lists = ( { address = \"team@example.org\"; members = (\"boss@example.org\", \"x@else.example\"); owner = "
    "\"bob@example.org\"; } );\n";

static struct site *site;

/* "alice@example.org+tag<sender x@else.example" or the status in capitals. */
static void leads(const char *address, const char *wanted)
{
	static const char *const status[] = { "", "UNKNOWN", "FOREIGN ", "INVALID" };
	struct buf b = BUF_INIT(65536);
	struct route route;
	route_resolve(site, view_of(address), &route);
	buf_puts(&b, status[route.status]);
	for (size_t i = 0; i < route.count; i++) {
		const struct route_target *t = &route.targets[i];
		assert_true((t->account != NULL) != (t->address != NULL));
		buf_printf(&b, "%s%s", i ? " " : "", t->account ? t->account->address : t->address);
		if (t->tag)
			buf_printf(&b, "+%s", t->tag);
		if (t->sender)
			buf_printf(&b, "<%s", t->sender);
	}
	route_free(&route);
	if (strcmp(buf_str(&b), wanted) != 0)
		fail_msg("%s leads to '%s', wanted '%s'", address, buf_str(&b), wanted);
	buf_free(&b);
}

static void order(void **state)
{
	(void)state;
	leads("alice@example.org", "alice@example.org");
	leads("\"ALICE\"@EXAMPLE.ORG", "alice@example.org");
	leads("JO\xCC\x88RG@example.org", "j\xC3\xB6rg@example.org");
	leads("alice+x+y@example.org", "alice@example.org+x+y");
	leads("alice+@example.org", "alice@example.org");
	leads("carol+real@example.org", "carol+real@example.org"); /* exact before tag */
	leads("carol+other@example.org", "UNKNOWN");
	leads("+x@example.org", "UNKNOWN");
	leads("\"alice+x y\"@example.org", "UNKNOWN");
	leads("nobody@example.org", "UNKNOWN");
	leads("Some.One@Else.Example", "FOREIGN Some.One@else.example");
	leads("alice", "INVALID");
	leads("", "INVALID");
	leads("alice@example.org\r\nRCPT TO:<x@y>", "INVALID");
}

static void implied(void **state)
{
	(void)state;
	leads("postmaster", "alice@example.org"); /* RFC 5321 4.5.1: without a domain */
	leads("PostMaster@example.net", "alice@example.org");
	leads("postmaster+x@example.net", "alice@example.org");
	leads("abuse@example.org", "alice@example.org");
	leads("abuse@example.net", "abuse@example.net"); /* an account of its own */
	leads("root@example.org", "UNKNOWN");
	leads("root@mail.example.org", "alice@example.org");
	leads("mailer-daemon@mail.example.org", "alice@example.org");
	leads("cron@mail.example.org", "bob@example.org");
	leads("alice@mail.example.org", "UNKNOWN");
	leads("postmaster@[192.0.2.10]", "alice@example.org");
	leads("postmaster@[198.51.100.1]", "alice@example.org");
	leads("postmaster@[IPv6:2001:DB8:0::10]", "alice@example.org");
	leads("postmaster@[192.0.2.11]", "FOREIGN postmaster@[192.0.2.11]");
	leads("anyone@example.net", "bob@example.org+caught");
}

static void aliases(void **state)
{
	(void)state;
	leads("info@example.org", "alice@example.org bob@example.org info@else.example");
	leads("info+x@example.org", "alice@example.org+x bob@example.org+x info@else.example");
	leads("chief@example.org", "alice@example.org");
	leads("out@example.org", "x@else.example");
	leads("team@example.org", "alice@example.org<bob@example.org x@else.example<bob@example.org");
	/* each target once, by the first way that leads there */
	leads("all@example.org",
	    "alice@example.org<bob@example.org x@else.example<bob@example.org bob@example.org info@else.example");
}

static void may(const char *account, const char *address, bool wanted)
{
	if (site_may_send_as(site, site_find_account(site, account), view_of(address)) != wanted)
		fail_msg("%s may %ssend as %s", account, wanted ? "not " : "", address);
}

static void senders(void **state)
{
	(void)state;
	may("alice@example.org", "Alice@Example.org", true);
	may("alice@example.org", "alice+shop@example.org", true);
	may("alice@example.org", "boss@example.org", true);
	may("alice@example.org", "chief@example.org", true);
	may("alice@example.org", "postmaster@example.net", true);
	may("alice@example.org", "abuse@example.net", false);
	may("alice@example.org", "info@example.org", false);
	may("alice@example.org", "team@example.org", false);
	may("alice@example.org", "bob@example.org", false);
	may("alice@example.org", "out@example.org", false);
	may("alice@example.org", "nobody@example.org", false);
	may("alice@example.org", "x@else.example", false);
	may("alice@example.org", "", false);
	may("bob@example.org", "anything@example.net", false); /* the catch-all receives, and does not send */
	may("bob@example.org", "abuse@example.net", true); /* which names him */
	may("bob@example.org", "abuse+x@example.net", true);
	may("bob@example.org", "postmaster@example.org", false);
	may("bob@example.org", "cron@mail.example.org", true);
}

static void lookups(void **state)
{
	(void)state;
	assert_true(site_is_local_domain(site, "example.org"));
	assert_true(site_is_local_domain(site, "mail.example.org"));
	assert_false(site_is_local_domain(site, "Example.org")); /* normalised names only */
	assert_false(site_is_local_domain(site, "else.example"));
	assert_non_null(site_find_domain(site, "example.net"));
	assert_null(site_find_domain(site, "mail.example.org"));
	assert_null(site_find_account(site, "info@example.org"));
	assert_string_equal(site_find_account(site, "bob@example.org")->address, "bob@example.org");
}

/* A list wider than ROUTE_MAX is refused at load; 10,000 accounts in 500 domains load quickly. */
static void sizes(void **state)
{
	(void)state;
	struct buf b = BUF_INIT(16u << 20);
	struct findings f = { 0 };
	buf_puts(&b, "host = { name = \"mail.example.org\"; ipv4 = \"192.0.2.10\"; };\nport_offset = 1;\ndomains = ( { "
	             "name = \"d0.example\"; }");
	for (int i = 1; i < 500; i++)
		buf_printf(&b, ",\n{ name = \"d%d.example\"; }", i);
	buf_puts(&b, ");\naccounts = ( { address = \"u0@d0.example\"; }");
	for (int i = 1; i < 10000; i++)
		buf_printf(&b, ",\n{ address = \"u%d@d%d.example\"; }", i, i % 500);
	buf_puts(&b, ");\nlists = ( { address = \"most@d0.example\"; members = ( \"u0@d0.example\"");
	size_t short_list = 0;
	for (int i = 1; i <= 1000; i++) {
		if (i == 1000)
			short_list = b.len;
		buf_printf(&b, ", \"u%d@d%d.example\"", i, i % 500);
	}
	buf_puts(&b, " ); } );\n");
	assert_null(site_load_memory(buf_view(&b), "big.conf", &f));
	assert_int_equal(f.errors, 1);
	assert_non_null(strstr(f.at[0].text, "most@d0.example leads to more than 1000 addresses; split it"));
	findings_free(&f);
	b.len = short_list;
	buf_puts(&b, " ); } );\n");
	uint64_t before = clock_mono_ms();
	struct site *big = site_load_memory(buf_view(&b), "big.conf", &f);
	uint64_t took = clock_mono_ms() - before;
	assert_non_null(big);
	assert_int_equal(big->account_count, 10000);
	if (took > 2000) /* 60 ms when nothing else runs; this is for a quadratic slip, not for a busy machine */
		fail_msg("10,000 accounts took %llu ms to load", (unsigned long long)took);
	struct route route;
	route_resolve(big, VIEW_LIT("most@d0.example"), &route);
	assert_int_equal(route.count, 1000);
	assert_false(route.truncated);
	route_free(&route);
	site_unref(big);
	findings_free(&f);
	buf_free(&b);
}

static int setup(void **state)
{
	(void)state;
	struct findings f = { 0 };
	site = site_load_memory(VIEW_LIT(text), "route.conf", &f);
	for (size_t i = 0; i < f.count; i++)
		printf("# %s\n", f.at[i].text);
	findings_free(&f);
	return site ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	site_unref(site);
	return 0;
}

int main(void)
{
	cmocka_set_message_output(CM_OUTPUT_TAP);
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(order),
		cmocka_unit_test(implied),
		cmocka_unit_test(aliases),
		cmocka_unit_test(senders),
		cmocka_unit_test(lookups),
		cmocka_unit_test(sizes),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
