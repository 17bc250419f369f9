/* Ways out: what a host may be written like, and which of route, deliver, elsewhere, smarthost and MX comes first. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "site/hop.h"
#include "site/route.h"

static void test_parse(void **state)
{
	static const struct {
		const char *text, *name;
		uint16_t port;
		bool lmtp;
	} good[] = {
		{ "mail.example.net", "mail.example.net", 0, false },
		{ "Mail.Example.NET:587", "mail.example.net", 587, false },
		{ "192.0.2.1", "192.0.2.1", 0, false },
		{ "192.0.2.1:25", "192.0.2.1", 25, false },
		{ "2001:db8::1", "2001:db8::1", 0, false },
		{ "[2001:db8::1]", "2001:db8::1", 0, false },
		{ "[2001:db8::1]:65535", "2001:db8::1", 65535, false },
		{ "[192.0.2.1]:25", "192.0.2.1", 25, false },
		{ "lmtp:127.0.0.1:8024", "127.0.0.1", 8024, true },
		{ "lmtp:[::1]:24", "::1", 24, true },
		{ "smtp:old.example:25", "old.example", 25, false },
	};
	static const char *const bad[] = { "", ":", ":25", "host:", "host:0", "host:65536", "host:x", "host:-1",
		"host: 25", "[", "[]", "[x]", "[192.0.2.1", "[192.0.2.1]25", "[192.0.2.1]:", "1:2:3", "lmtp:", "a b",
		"host:25:26", "lmtp:lmtp:host:1x", "-x.example" };
	struct hop_host h;

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		if (hop_host_parse(good[i].text, &h) != 0 || strcmp(h.name, good[i].name) != 0 ||
		    h.port != good[i].port || h.lmtp != good[i].lmtp)
			fail_msg("%s: got %s %u %d", good[i].text, h.name, h.port, h.lmtp);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (hop_host_parse(bad[i], &h) == 0)
			fail_msg("taken: %s", bad[i]);
}

static struct site *site_of(const char *more)
{
	struct findings f = { 0 };
	char *text = xasprintf(
	    "host = { name = \"mail.example.org\"; ipv4 = \"192.0.2.10\"; };\n"
	    "domains = ( { name = \"example.org\"; elsewhere = \"old.example:26\"; }, { name = \"plain.example\"; },\n"
	    "{ name = \"lists.example\"; deliver = \"lmtp:127.0.0.1:8024\"; } );\n"
	    "accounts = ( { address = \"alice@example.org\"; } );\n%s",
	    more);
	struct site *site = site_load_memory(view_of(text), "test.conf", &f);

	if (site == NULL)
		fail_msg("%s", f.count > 0 ? f.at[0].text : "?");
	findings_free(&f);
	free(text);
	return site;
}

static const char *way(const struct site *site, const char *from, const char *to)
{
	static char text[600];
	struct next_hop h;

	site_next_hop(site, from, to, &h);
	if (h.host_count == 0)
		snprintf(text, sizeof(text), "mx %u", h.port);
	else
		snprintf(
		    text, sizeof(text), "%s %s %u%s", h.route, h.hosts[0].name, h.hosts[0].port, h.lmtp ? " lmtp" : "");
	return text;
}

static void test_order(void **state)
{
	struct site *site = site_of(
	    "routes = ( { name = \"first\"; to = (\"x@far.example\", \".far.example\"); from = (\"example.org\"); "
	    "hosts = (\"a.example\"); },\n"
	    "{ name = \"second\"; to = (\"far.example\", \".far.example\"); hosts = (\"b.example:2525\", "
	    "\"c.example\"); "
	    "user = \"us\"; },\n"
	    "{ name = \"robot\"; to = (\"robot@plain.example\"); hosts = (\"d.example\"); protocol = \"lmtp\"; },\n"
	    "{ name = \"lmtp\"; to = (\"boxes.example\"); hosts = (\"lmtp:f.example\"); },\n"
	    "{ name = \"all\"; from = (\"bob@plain.example\"); hosts = (\"e.example\"); } );\n"
	    "relay = { smarthost = \"smart.example\"; port = 588; };\n");
	static const struct {
		const char *from, *to, *way;
	} cases[] = {
		{ "alice@example.org", "X@far.example", "first a.example 25" },
		{ "alice@example.org", "y@sub.FAR.example", "first a.example 25" },
		{ "bob@plain.example", "x@far.example", "second b.example 2525" },
		{ "alice@example.org", "y@far.example", "second b.example 2525" },
		{ "", "x@far.example", "second b.example 2525" }, /* <> is nobody's */
		{ "alice@example.org", "x@notfar.example", "relay smart.example 588" },
		{ "bob@plain.example", "x@other.example", "all e.example 25" },
		{ "s@out.example", "nobody@example.org", " old.example 26" },
		{ "bob@plain.example", "nobody@example.org",
		    " old.example 26" }, /* a domain's own before routes for all */
		{ "s@out.example", "list@lists.example", " 127.0.0.1 8024 lmtp" },
		{ "s@out.example", "robot@plain.example", "robot d.example 24 lmtp" },
		{ "s@out.example", "x@boxes.example", "lmtp f.example 24 lmtp" },
		{ "", "", "relay smart.example 588" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		if (strcmp(way(site, cases[i].from, cases[i].to), cases[i].way) != 0)
			fail_msg("%s to %s: %s, wanted %s", cases[i].from, cases[i].to,
			    way(site, cases[i].from, cases[i].to), cases[i].way);
	site_unref(site);
	site = site_of("");
	assert_string_equal(way(site, "alice@example.org", "x@far.example"), "mx 25");
	site_unref(site);
}

/* Whom another host is asked about: only addresses of ours, and only hosts that the site names. */
static void test_verifies(void **state)
{
	struct site *site = site_of(
	    "routes = ( { name = \"robot\"; to = (\"robot@plain.example\"); hosts = (\"d.example:27\"); },\n"
	    "{ name = \"far\"; to = (\"far.example\"); hosts = (\"e.example\"); },\n"
	    "{ name = \"list\"; to = (\"lists.example\"); from = (\"example.org\"); hosts = (\"f.example:28\"); } );\n"
	    "relay = { smarthost = \"smart.example\"; };\n");
	static const struct {
		const char *from, *to;
		unsigned port; /* 0: nobody is asked */
	} cases[] = {
		{ "s@out.example", "nobody@example.org", 26 },
		{ "", "Nobody@EXAMPLE.ORG", 26 },
		{ "", "x@lists.example", 8024 },
		{ "alice@example.org", "x@lists.example", 28 },
		{ "", "robot@plain.example", 27 },
		{ "", "other@plain.example", 0 },
		{ "", "x@far.example", 0 },
		{ "", "x@mail.example.org", 0 },
		{ "", "x@[192.0.2.10]", 0 },
		{ "", "", 0 },
	};
	struct next_hop h;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		bool asks = site_verifies(site, cases[i].from, cases[i].to, &h);
		if (asks != (cases[i].port != 0) || (asks && h.hosts[0].port != cases[i].port))
			fail_msg("%s to %s", cases[i].from, cases[i].to);
	}
	site->domains[0].verify = false;
	assert_false(site_verifies(site, "", "nobody@example.org", &h));
	site_unref(site);
}

/* What is somebody here though it is no account, and what it is called when it is sent on. */
static void test_recipients(void **state)
{
	struct site *site =
	    site_of("routes = ( { name = \"r\"; to = (\"robot@plain.example\"); hosts = (\"d.example\"); } );\n");
	static const struct {
		const char *address, *target; /* "" : the account; NULL: nobody */
	} cases[] = {
		{ "alice@example.org", "" }, { "alice+tag@example.org", "" },
		{ "Bob.Old@Example.ORG", "Bob.Old@example.org" }, { "postmaster@example.org", "" },
		{ "postmaster@lists.example", "" }, { "Team@lists.example", "Team@lists.example" },
		{ "robot@plain.example", "robot@plain.example" }, { "other@plain.example", NULL },
		{ "robot@example.com", "robot@example.com" }, /* foreign */
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct route route;
		route_resolve(site, view_of(cases[i].address), &route);
		const char *got = route.count == 0                   ? NULL
		                  : route.targets[0].account != NULL ? ""
		                                                     : route.targets[0].address;
		if ((got == NULL) != (cases[i].target == NULL) || (got != NULL && strcmp(got, cases[i].target) != 0))
			fail_msg("%s: %s", cases[i].address, got != NULL ? got : "nobody");
		for (size_t j = 0; j < route.count; j++)
			assert_false(route.targets[j].forwarded); /* ours, or not ours at all */
		route_free(&route);
	}
	site_unref(site);
}

static void test_ports(void **state)
{
	struct site *site =
	    site_of("routes = ( { name = \"r\"; hosts = (\"a.example:2525\", \"b.example\"); user = \"u\"; } );\n");
	uint16_t ports[8];

	(void)state;
	assert_int_equal(site_ports_out(site, ports, 8), 5);
	assert_int_equal(ports[0], 25);
	assert_int_equal(ports[1], 2525);
	assert_int_equal(ports[2], 587);
	assert_int_equal(ports[3], 26);
	assert_int_equal(ports[4], 8024);
	assert_true(site_ports_out(site, ports, 2) > 2); /* more than there is room for */
	site_unref(site);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_parse), cmocka_unit_test(test_order), cmocka_unit_test(test_verifies),
		cmocka_unit_test(test_recipients), cmocka_unit_test(test_ports) };

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
