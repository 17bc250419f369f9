/* The firewall: site -> rules -> nft text.  The text is compared by whole lines; real nft reads it in generators.t. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fwgen/model.h"

#define HEAD                                                                                                           \
	"host = { name = \"mail.example.org\"; ipv4 = \"192.0.2.10\"; ipv6 = \"2001:db8::10\"; };\n"                   \
	"domains = ( { name = \"example.org\"; } ); accounts = ( { address = \"alice@example.org\"; } );\n"

static struct buf text;

static void render(const char *more)
{
	struct findings f = { 0 };
	struct error e = { "" };
	char *whole = xasprintf("%s%s", HEAD, more);
	struct site *site = site_load_memory(view_of(whole), "/srv/test/site.conf", &f);
	for (size_t i = 0; !site && i < f.count; i++)
		printf("# %s\n", f.at[i].text);
	assert_non_null(site);
	buf_free(&text);
	text = BUF_INIT(1 << 20);
	struct fw_model *model = fw_model_of(site, &e);
	assert_non_null(model);
	assert_int_equal(fw_model_text(model, &text), 0);
	fw_model_free(model);
	site_unref(site);
	findings_free(&f);
	free(whole);
}

static size_t lines_with(const char *part)
{
	size_t n = 0;
	for (const char *p = buf_str(&text); (p = strstr(p, part)) != NULL; n++)
		p += strcspn(p, "\n");
	return n;
}

static void has_rule(const char *rule)
{
	char *line = xasprintf("\n\t\t%s comment ", rule);
	if (strstr(buf_str(&text), line) == NULL)
		fail_msg("no rule '%s' in:\n%s", rule, buf_str(&text));
	free(line);
}

static void whole(void **state)
{
	(void)state;
	render("");
	const char *start = "# Written by mailadm from the site file; edit that, not this.\n"
			    "table inet mailadm\n"
			    "flush table inet mailadm\n"
			    "table inet mailadm {\n"
			    "\tchain input {\n"
			    "\t\ttype filter hook input priority filter; policy drop;\n"
			    "\t\tct state established,related accept comment";
	assert_int_equal(strncmp(buf_str(&text), start, strlen(start)), 0);
	has_rule("ct state invalid drop");
	has_rule("iif \"lo\" accept");
	has_rule("ip6 saddr { fe80::/10 } udp dport { 546 } accept");
	has_rule("tcp dport { 22 } accept");
	has_rule("tcp dport { 25, 587, 465, 143, 993, 110, 995 } accept");
	has_rule("udp dport { 53 } accept"); /* the host serves its zones */
	has_rule("tcp dport { 53 } accept");
	assert_string_equal(buf_str(&text) + text.len - 5, "\t}\n}\n");
}

static void admin_from(void **state)
{
	(void)state;
	render("firewall = { admin_from = ( \"198.51.100.0/24\", \"2001:db8:9::/48\", \"203.0.113.7\" ); ssh_port = "
	       "2222; };");
	has_rule("ip saddr { 198.51.100.0/24, 203.0.113.7 } tcp dport { 2222 } accept");
	has_rule("ip6 saddr { 2001:db8:9::/48 } tcp dport { 2222 } accept");
	assert_int_equal(lines_with("2222"), 2);
	render("firewall = { admin_from = \"2001:db8:9::/48\"; };");
	assert_int_equal(lines_with("dport { 22 }"), 1); /* IPv4 is shut then, not open to all */
	has_rule("ip6 saddr { 2001:db8:9::/48 } tcp dport { 22 } accept");
	render("firewall = { admin_from = \"198.51.100.0/24\"; };");
	assert_int_equal(lines_with("dport { 22 }"), 1);
}

static void extra(void **state)
{
	(void)state;
	render("firewall = { extra = ( { name = \"web\"; port = 443; }, { name = \"quic\"; protocol = \"udp\"; port = "
	       "443; "
	       "from = ( \"198.51.100.7\", \"2001:db8:7::7\" ); } ); };");
	has_rule("tcp dport { 443 } accept");
	has_rule("ip saddr { 198.51.100.7 } udp dport { 443 } accept");
	has_rule("ip6 saddr { 2001:db8:7::7 } udp dport { 443 } accept");
	assert_int_equal(lines_with("443"), 3);
	assert_int_equal(lines_with("comment \"quic\""), 2);
}

static void services_off(void **state)
{
	(void)state;
	render("listen = { smtp = false; imap = false; pop3 = false; pop3s = false; };");
	has_rule("tcp dport { 587, 465, 993 } accept");
	render("listen = { smtp = false; submission = false; submissions = false; imap = false; imaps = false; pop3 = "
	       "false; pop3s = "
	       "false; };");
	assert_int_equal(lines_with("comment \"mail\""), 0);
	assert_int_equal(lines_with("dport {  }"), 0);
}

static void port_offset(void **state)
{
	(void)state;
	render("port_offset = 20000;");
	has_rule("tcp dport { 20025, 20587, 20465, 20143, 20993, 20110, 20995 } accept");
	has_rule("tcp dport { 22 } accept"); /* not ours to move */
}

static void who_asks_for_names(void **state)
{
	(void)state;
	render("dns = { nameservers = ( \"ns1.elsewhere.example\", \"ns2.elsewhere.example\" ); };");
	assert_int_equal(lines_with("53 }"), 0);
	render("dns = { nameservers = ( \"ns1.elsewhere.example\" ); transfer = ( \"198.51.100.53\", "
	       "\"2001:db8:5::/48\" ); };");
	has_rule("ip saddr { 198.51.100.53 } udp dport { 53 } accept");
	has_rule("ip saddr { 198.51.100.53 } tcp dport { 53 } accept");
	has_rule("ip6 saddr { 2001:db8:5::/48 } tcp dport { 53 } accept");
	assert_int_equal(lines_with("53 }"), 4); /* and 546 is none of them */
	render("dns = { nameservers = ( \"ns.example.org\", \"ns2.elsewhere.example\" ); };");
	has_rule("tcp dport { 53 } accept"); /* a name of ours is this host */
	render("dns = { nameservers = ( \"mail.example.org\", \"notexample.org\" ); };");
	has_rule("udp dport { 53 } accept");
	render("dns = { nameservers = ( \"ns.notexample.org\" ); };");
	assert_int_equal(lines_with("53 }"), 0);
}

static void comments(void **state)
{
	char name[300];
	struct fw_rule rule = { .comment = "a \"quoted\" \\ name\nand more", .verdict = FW_ACCEPT };
	struct fw_model model = { &rule, 1 };
	(void)state;
	buf_free(&text);
	text = BUF_INIT(1 << 20);
	assert_int_equal(fw_model_text(&model, &text), 0);
	has_rule("accept");
	assert_int_equal(lines_with("comment \"a _quoted_ _ name_and more\"\n"), 1);
	memset(name, 'x', sizeof(name));
	name[sizeof(name) - 1] = '\0';
	rule.comment = name;
	buf_reset(&text);
	assert_int_equal(fw_model_text(&model, &text), 0);
	assert_true(strcspn(strstr(buf_str(&text), "xxx"), "\"") <= 128); /* nft's limit */
}

static void too_large(void **state)
{
	struct fw_rule rule = { .comment = "one", .verdict = FW_DROP };
	struct fw_model model = { &rule, 1 };
	struct buf small = BUF_INIT(100);
	(void)state;
	assert_int_equal(fw_model_text(&model, &small), -1);
	buf_free(&small);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(whole),
		cmocka_unit_test(admin_from),
		cmocka_unit_test(extra),
		cmocka_unit_test(services_off),
		cmocka_unit_test(port_offset),
		cmocka_unit_test(who_asks_for_names),
		cmocka_unit_test(comments),
		cmocka_unit_test(too_large),
	};
	cmocka_set_message_output(CM_OUTPUT_TAP);
	int failed = cmocka_run_group_tests(tests, NULL, NULL);
	buf_free(&text);
	return failed;
}
