/* What the firewall's model decides about packets.  Real ones meet the rules in firewall.t and gateway.t. */
#include "fwgen_help.h"

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

/* Who lets everybody in does not say that everybody is on the Internet; and no rule is left without a value. */
static void everybody(void **state)
{
	struct fw_model *m = model_of("firewall = { extra = ( { name = \"web\"; port = 443; from = ( \"0.0.0.0/0\", "
				      "\"::/0\" ); } ); never_ban = ( \"192.168.0.0/16\" ); };");
	const struct fw_chain *c;

	(void)state;
	comes(m, "203.0.113.9", false, 443, true, "web");
	comes(m, "10.1.2.3", false, 443, false, "firewall.bogons");
	comes(m, "fd00::1", false, 25, false, "firewall.bogons");
	comes(m, "192.168.1.2", false, 25, true, "mail");
	fw_model_free(m);
	m = model_of("firewall = { never_ban = ( \"0.0.0.0/1\", \"128.0.0.0/1\" ); };");
	comes(m, "10.1.2.3", false, 25, true, "mail");
	comes(m, "fd00::1", false, 25, false, "firewall.bogons");
	c = fw_chain_find(m, "input");
	for (size_t i = 0; i < c->count; i++)
		for (size_t j = 0; j < c->rules[i].term_count; j++)
			if (c->rules[i].terms[j].kind == FW_SADDR && c->rules[i].terms[j].name[0] == '\0')
				assert_true(c->rules[i].terms[j].values.count > 0);
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

static void no_admin(void **state)
{
	struct fw_model *m =
	    model_of("firewall = { ssh_port = 2222; bogons = false; extra = ( { name = \"web\"; port = 443; "
		     "rate = 30; } ); };");

	(void)state;
	comes(m, "203.0.113.9", false, 2222, true, "ssh");
	comes(m, "2001:db8:9::9", false, 2222, true, "ssh");
	comes(m, "203.0.113.9", false, 22, false, "nothing else comes in");
	comes(m, "203.0.113.9", false, 443, true, "web");
	for (size_t i = 0; i < 4; i++)
		comes(m, "203.0.113.9", false, (uint16_t[]){ 25, 465, 993, 995 }[i], true, "mail");
	fw_model_free(m);
}

/* Nobody is banned in the model, but block lists are elements: whom they never stop is told by the order. */
static void blocked(void **state)
{
	char path[] = "/tmp/test-fwgen-XXXXXX";
	int fd = mkstemp(path);
	static const char list[] = "203.0.113.0/24\n198.51.100.0/24\n2001:db8:bad::/48\n0.0.0.0-0.0.0.9\n";
	char *rows = xasprintf("firewall = { admin_from = ( \"198.51.100.7\" ); never_ban = ( \"203.0.113.200\" ); "
			       "block_lists = ( \"%s\" ); };",
	    path);
	struct fw_model *m;

	(void)state;
	assert_int_equal(write(fd, list, sizeof(list) - 1), sizeof(list) - 1);
	close(fd);
	m = model_of(rows);
	comes(m, "203.0.113.9", false, 25, false, "block_lists");
	comes(m, "203.0.113.200", false, 25, true, "mail");
	comes(m, "198.51.100.7", false, 22, true, "ssh");
	comes(m, "198.51.100.8", false, 22, false, "block_lists");
	comes(m, "2001:db8:bad:1::1", false, 25, false, "block_lists");
	comes(m, "2001:db8:bae::1", false, 25, true, "mail");
	fw_model_free(m);
	free(rows);
	unlink(path);
}

static void loopback(void **state)
{
	struct fw_model *m = model_of("");
	struct fw_packet p = packet("127.0.0.1", "127.0.0.1", false, 5432);

	(void)state;
	decides(m, &p, false, "bogons");
	snprintf(p.interface, sizeof(p.interface), "lo");
	decides(m, &p, true, "loopback");
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

/* A forwarder's own port is open to the host through the gateway too. */
static void gateway_names(void **state)
{
	struct fw_model *m = model_of("role = \"gateway\"; gateway = { outside = \"eth0\"; inside = \"eth1\"; network = "
				      "( \"192.0.2.0/24\", \"2001:db8::/64\" ); masquerade = false; }; firewall = { "
				      "egress = true; }; dns = { forward = ( \"203.0.113.53@5353\" ); };");
	struct fw_packet p = packet("192.0.2.10", "203.0.113.53", true, 5353);

	(void)state;
	p.forward = true;
	decides(m, &p, true, "dns.forward");
	p.to_port = 5354;
	decides(m, &p, false, "firewall.egress");
	p = packet("192.0.2.10", "203.0.113.54", true, 5353);
	p.forward = true;
	decides(m, &p, false, "firewall.egress");
	fw_model_free(m);
}

/* Private inside, one public address: DNAT from outside, and from inside with hairpin. */
static void translated(void **state)
{
	struct fw_model *m = model_with("ipv4 = \"10.0.0.10\"; public_ipv4 = \"198.51.100.1\";",
	    "role = \"gateway\"; gateway = { outside = \"eth0\"; inside = \"eth1\"; network = ( \"10.0.0.0/24\" ); "
	    "hairpin = true; masquerade = true; }; firewall = { bogons = true; };");
	struct fw_packet p = packet("203.0.113.9", "198.51.100.1", false, 25);

	(void)state;
	snprintf(p.interface, sizeof(p.interface), "eth0");
	decides(m, &p, true, "mail");
	p.to_port = 5432;
	decides(m, &p, false, "nothing else comes in");
	p = packet("10.0.0.77", "198.51.100.1", false, 993);
	snprintf(p.interface, sizeof(p.interface), "eth1");
	decides(m, &p, true, "mail");
	p = packet("10.0.0.77", "203.0.113.9", false, 443);
	p.forward = true;
	snprintf(p.interface, sizeof(p.interface), "eth1");
	decides(m, &p, true, "gateway.network");
	p.to_port = 25;
	decides(m, &p, false, "for the host alone");
	p = packet("10.0.0.10", "203.0.113.9", false, 25);
	p.forward = true;
	snprintf(p.interface, sizeof(p.interface), "eth1");
	decides(m, &p, true, "mail of the host goes out");
	fw_model_free(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(input), cmocka_unit_test(no_admin),
		cmocka_unit_test(blocked), cmocka_unit_test(loopback), cmocka_unit_test(families),
		cmocka_unit_test(everybody), cmocka_unit_test(output), cmocka_unit_test(gateway),
		cmocka_unit_test(gateway_names), cmocka_unit_test(translated) };

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
