/*
 * The firewall's model: what it decides about packets, its text, ranges and block lists.  Real nft reads the text in
 * generators.t, real packets meet the rules in firewall.t and gateway.t.
 */
#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "fwgen/model.h"
#include "lib/proc.h"

#define HEAD                                                                                                           \
	"host = { name = \"mail.example.org\"; ipv4 = \"192.0.2.10\"; ipv6 = \"2001:db8::10\"; };\n"                   \
	"domains = ( { name = \"example.org\"; } ); accounts = ( { address = \"alice@example.org\"; } );\n"

static struct site *site_of(const char *more)
{
	struct findings f = { 0 };
	char *whole = xasprintf("%s%s", HEAD, more);
	struct site *site = site_load_memory(view_of(whole), "/nowhere/site.conf", &f);

	for (size_t i = 0; !site && i < f.count; i++)
		printf("# %s\n", f.at[i].text);
	assert_non_null(site);
	findings_free(&f);
	free(whole);
	return site;
}

static struct fw_model *model_of(const char *more)
{
	struct error e = { "" };
	struct site *site = site_of(more);
	struct fw_model *m = fw_model_of(site, &e);

	site_unref(site);
	if (m == NULL)
		fail_msg("%s", e.text);
	return m;
}

static struct fw_packet packet(const char *from, const char *to, bool udp, uint16_t port)
{
	struct fw_packet p = { .udp = udp, .from_port = 40000, .to_port = port, .ipv6 = strchr(from, ':') != NULL };

	assert_int_equal(inet_pton(p.ipv6 ? AF_INET6 : AF_INET, from, p.from), 1);
	assert_int_equal(inet_pton(p.ipv6 ? AF_INET6 : AF_INET, to, p.to), 1);
	return p;
}

static void decides(const struct fw_model *m, const struct fw_packet *p, bool accept, const char *rule)
{
	struct fw_decision d;

	fw_decide(m, p, &d);
	if (d.accept != accept || strstr(d.rule, rule) == NULL)
		fail_msg("port %u: saw %s by '%s' of %s, wanted %s by '%s'", p->to_port, d.accept ? "accept" : "drop",
		    d.rule, d.chain, accept ? "accept" : "drop", rule);
}

static void comes(const struct fw_model *m, const char *from, bool udp, uint16_t port, bool accept, const char *rule)
{
	struct fw_packet p = packet(from, strchr(from, ':') ? "2001:db8::10" : "192.0.2.10", udp, port);

	decides(m, &p, accept, rule);
}

static void input(void **state)
{
	struct fw_model *m =
	    model_of("firewall = { admin_from = ( \"198.51.100.0/24\", \"2001:db8:1::/48\" );\n"
		     "extra = ( { name = \"web\"; port = 443; }, { name = \"panel\"; port = 8443; admin = true; },\n"
		     "{ name = \"vpn\"; port = 51820; protocol = \"udp\"; from = ( \"203.0.113.0/24\" ); } ); };");

	(void)state;
	comes(m, "203.0.113.9", false, 25, true, "mail");
	comes(m, "2001:db8:9::9", false, 993, true, "mail");
	comes(m, "203.0.113.9", false, 5432, false, "nothing else comes in");
	comes(m, "198.51.100.7", false, 22, true, "ssh, firewall.admin_from");
	comes(m, "203.0.113.9", false, 22, false, "nothing else comes in");
	comes(m, "2001:db8:1::7", false, 22, true, "ssh, firewall.admin_from");
	comes(m, "2001:db8:2::7", false, 22, false, "nothing else comes in");
	comes(m, "203.0.113.9", false, 443, true, "web");
	comes(m, "203.0.113.9", true, 443, false, "nothing else comes in");
	comes(m, "198.51.100.7", false, 8443, true, "panel");
	comes(m, "203.0.113.9", false, 8443, false, "nothing else comes in");
	comes(m, "203.0.113.9", true, 51820, true, "vpn");
	comes(m, "198.51.100.7", true, 51820, false, "nothing else comes in");
	comes(m, "10.1.2.3", false, 25, false, "firewall.bogons");
	comes(m, "fd00::1", false, 25, false, "firewall.bogons");
	fw_model_free(m);
}

static void families(void **state)
{
	struct fw_model *m = model_of("firewall = { family = \"ipv4\"; bogons = false; };");

	(void)state;
	comes(m, "203.0.113.9", false, 25, true, "mail");
	comes(m, "10.1.2.3", false, 25, true, "mail");
	comes(m, "2001:db8:9::9", false, 25, false, "firewall.family");
	fw_model_free(m);
}

static void output(void **state)
{
	struct fw_model *m =
	    model_of("firewall = { egress = true; out = ( { name = \"ntp\"; protocol = \"udp\"; port = 123; } ); };");
	struct fw_packet p = packet("192.0.2.10", "203.0.113.9", false, 25);

	(void)state;
	p.out = true;
	p.user = 0;
	decides(m, &p, false, "mailadm-send alone");
	p.to_port = 80;
	decides(m, &p, false, "firewall.egress");
	p.to_port = 123;
	p.udp = true;
	decides(m, &p, true, "ntp");
	fw_model_free(m);
	m = model_of("");
	p.to_port = 80;
	p.udp = false;
	decides(m, &p, true, "policy");
	fw_model_free(m);
}

static void gateway(void **state)
{
	struct fw_model *m = model_of("role = \"gateway\"; gateway = { outside = \"eth0\"; inside = \"eth1\"; network "
	                              "= ( \"192.0.2.0/24\", \"2001:db8::/64\" ); masquerade = false; };");
	struct fw_packet p = packet("203.0.113.9", "192.0.2.10", false, 25);

	(void)state;
	p.forward = true;
	decides(m, &p, true, "mail");
	p.to_port = 5432;
	decides(m, &p, false, "nothing else passes through");
	p = packet("192.0.2.77", "203.0.113.9", false, 443);
	p.forward = true;
	decides(m, &p, true, "gateway.network");
	p.to_port = 25;
	decides(m, &p, false, "for the host alone");
	p = packet("192.0.2.77", "192.0.2.10", false, 25);
	p.forward = true;
	snprintf(p.interface, sizeof(p.interface), "eth0");
	decides(m, &p, false, "RFC 2827");
	fw_model_free(m);
}

static void text(void **state)
{
	struct buf out = BUF_INIT(1 << 20), small = BUF_INIT(200);
	struct fw_model *m = model_of("firewall = { extra = ( { name = \"web-1\"; port = 443; } ); };");

	(void)state;
	assert_int_equal(fw_model_text(m, &out), 0);
	assert_int_equal(fw_model_text(m, &small), -1);
	static const char *const parts[] = { "\nflush table inet mailadm\n",
		"set bans4 { type ipv4_addr; size 131072; flags timeout; }", "policy drop;",
		"ct state established,related accept", "tcp dport 443 accept comment \"firewall.extra web-1" };
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
		if (strstr(buf_str(&out), parts[i]) == NULL)
			fail_msg("no '%s' in:\n%s", parts[i], buf_str(&out));
	json_t *json = fw_model_json(m);
	assert_non_null(json);
	json_decref(json);
	fw_model_free(m);
	buf_free(&out);
	buf_free(&small);
}

static void ranges(void **state)
{
	static const char *const prefixes[] = { "10.0.0.0/9", "10.128.0.0/9", "10.1.0.0/16", "192.0.2.1",
		"255.255.255.255", "0.0.0.0/32" };
	struct fw_ranges r = { .type = FW_TYPE_IPV4 };
	char shown[128];

	(void)state;
	for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++)
		assert_int_equal(fw_ranges_add_prefix(&r, prefixes[i]), 0);
	assert_int_equal(fw_ranges_add_prefix(&r, "10.0.0.0/33"), -1);
	fw_ranges_merge(&r);
	assert_int_equal(r.count, 4);
	fw_range_text(r.type, &r.at[1], shown, sizeof(shown));
	assert_string_equal(shown, "10.0.0.0/8");
	assert_true(fw_ranges_hold(&r, (const unsigned char[16]){ 10, 200, 3, 4 }));
	assert_true(fw_ranges_hold(&r, (const unsigned char[16]){ 255, 255, 255, 255 }));
	assert_false(fw_ranges_hold(&r, (const unsigned char[16]){ 11, 0, 0, 0 }));
	fw_ranges_free(&r);
}

static void blocklist(void **state)
{
	struct fw_ranges v4 = { .type = FW_TYPE_IPV4 }, v6 = { .type = FW_TYPE_IPV6 };
	struct error e = { "" };
	unsigned line = 0;

	(void)state;
	assert_int_equal(
	    fw_blocklist_parse(view_of("# a list\n1.2.3.0/24 ; SBL1\n\n5.6.7.8-5.6.7.11\n2001:db8:bad::/48 # v6\n"),
		&v4, &v6, &line, &e),
	    0);
	fw_ranges_merge(&v4);
	assert_int_equal(v4.count, 2);
	assert_int_equal(v6.count, 1);
	assert_int_equal(fw_blocklist_parse(view_of("1.2.3.4\nnonsense\n"), &v4, &v6, &line, &e), -1);
	assert_int_equal(line, 2);
	assert_int_equal(fw_blocklist_parse(view_of("5.6.7.8-5.6.7.1\n"), &v4, &v6, &line, &e), -1);
	fw_ranges_free(&v4);
	fw_ranges_free(&v6);
}

static void files(void **state)
{
	struct error e = { "" };
	struct site *s = site_of("firewall = { block_lists = ( \"/nowhere/list\" ); };");

	(void)state;
	assert_null(fw_model_of(s, &e));
	assert_non_null(strstr(e.text, "/nowhere/list"));
	site_unref(s);
	s = site_of("firewall = { include = ( \"/nowhere/rules\" ); };");
	assert_null(fw_model_of(s, &e));
	assert_non_null(strstr(e.text, "/nowhere/rules"));
	site_unref(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(input), cmocka_unit_test(families),
		cmocka_unit_test(output), cmocka_unit_test(gateway), cmocka_unit_test(text), cmocka_unit_test(ranges),
		cmocka_unit_test(blocklist), cmocka_unit_test(files) };

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
