/* What zones_validate finds in a domain's own records, and what it leaves alone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "dnsgen/dnsgen.h"
#include "lib/text.h"

#define HEAD "host = { name = \"mail.example.org\"; ipv4 = \"192.0.2.10\"; };\n"
#define ALICE "accounts = ( { address = \"alice@example.org\"; } );\n"

/* want: part of a finding; NULL: there is to be none. */
static void finds(const char *records, const char *want, bool warning)
{
	struct findings load = { 0 }, f = { 0 };
	struct zones zones;
	char *text = xasprintf(HEAD "domains = ( { name = \"example.org\"; records = ( %s ); } );\n" ALICE, records);
	struct site *site = site_load_memory(view_of(text), "/srv/test/site.conf", &load);
	bool found = false;
	assert_non_null(site);
	assert_int_equal(dnsgen_zones(site, 1, &zones, &f), 0);
	assert_int_equal(zones_validate(site, &zones, NULL, &f), want && !warning ? -1 : 0);
	for (size_t i = 0; i < f.count; i++)
		found = found || (want && strstr(f.at[i].text, want));
	if (found != (want != NULL) || (!want && f.count))
		fail_msg(
		    "%s: wanted %s, found %s", records, want ? want : "nothing", f.count ? f.at[0].text : "nothing");
	zones_free(&zones);
	findings_free(&load);
	findings_free(&f);
	site_unref(site);
	free(text);
}

static void aliases(void **state)
{
	(void)state;
	finds("\"www CNAME mail\"", NULL, false);
	finds("\"www CNAME host.elsewhere.example.\"", NULL, false);
	finds("\"www CNAME nowhere\"", "leads to nowhere.example.org.", false);
	finds("\"www CNAME nowhere\", \"* CNAME mail\"", NULL, false);
	finds("\"www CNAME a.sub\", \"sub NS ns.elsewhere.example.\"", NULL, false);
}

static void targets(void **state)
{
	(void)state;
	finds("\"x MX 10 mail\"", NULL, false);
	finds("\"x MX 10 gone\"", "has no address", false);
	finds("\"x MX 10 alias\", \"alias CNAME mail\"", "is a CNAME", false);
	finds("\"@ MX 0 .\"", "null MX", false);
	finds("\"x MX 0 .\"", NULL, false);
	finds("\"_x._tcp SRV 0 0 1 gone\"", "has no address", false);
	finds("\"_x._tcp SRV 0 0 0 .\"", NULL, false);
}

static void ttls(void **state)
{
	(void)state;
	finds("\"x 604800 A 192.0.2.1\"", NULL, false);
	finds("\"x 604801 A 192.0.2.1\"", "more than a week", true);
	finds("\"x 0 A 192.0.2.1\"", "TTL of 0", true);
	finds("\"x 60 A 192.0.2.1\", \"x 61 A 192.0.2.2\"", "different TTLs", true);
}

static void spf(void **state)
{
	(void)state;
	finds("\"x TXT \\\"v=spf1 a -all\\\"\", \"x TXT \\\"v=spf1 -all\\\"\"", "two SPF records", false);
	finds("\"x TXT \\\"v=spf1 a a:b.x a:c.x a:d.x a:e.x a:f.x a:g.x a:h.x mx exists:i.x -all\\\"\"", NULL, false);
	finds("\"x TXT \\\"v=spf1 a a:b.x a:c.x a:d.x a:e.x a:f.x a:g.x a:h.x mx exists:i.x ?include:j.x -all\\\"\"",
	    "more than 10 look-ups", false);
	finds("\"x TXT \\\"v=spf1 a:192.0.2.1 -all\\\"\"", "is an error to receivers (bad domain: a:192.0.2.1)", false);
	finds("\"x TXT \\\"v=spf10 nonsense\\\"\"", NULL, false);
	finds("\"@ TXT \\\"v=spf1 ip4:192.0.2.0/28 -all\\\"\"", NULL, false);
	finds("\"@ TXT \\\"v=spf1 mx -all\\\"\"", NULL, false);
	finds("\"@ TXT \\\"v=spf1 ip4:192.0.2.11 -all\\\"\"", "without an address that this host sends from", true);
	finds("\"@ TXT \\\"v=spf1 -all\\\"\"", "without an address that this host sends from", true);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(aliases), cmocka_unit_test(targets),
		cmocka_unit_test(ttls), cmocka_unit_test(spf) };
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
