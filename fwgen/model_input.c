/*
 * What comes in.  The order is the policy: what belongs to a connection, loopback, the site's own rules, ICMP (RFC
 * 4890), impossible TCP flags, bogons, bans and block lists (never of admin_from and never_ban), management, limits by
 * source, the services.  A gateway's forward chain asks the same before it lets anything through to the host.
 *
 * Bans and block lists are for new connections: before what is established they would also drop the answers to what
 * this host itself asked of a banned address (mail that it delivers there, names), and cut off whoever works here and
 * has just been banned.
 *
 * Limits by source live in dynamic sets.  One that is full takes no new source and its rule does not match: such
 * sources share one limit (FULL_RATE a second), are counted as "full", and so neither pass unlimited nor are all shut
 * out.
 */
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fwgen/model.h"

#define METER_SIZE 65536
#define FULL_RATE 20
#define FULL_BURST 100

static const enum fw_type families[] = { FW_TYPE_IPV4, FW_TYPE_IPV6 };

bool fw_family_on(const struct site *s, enum fw_type type)
{
	return strcmp(s->firewall.family, type == FW_TYPE_IPV4 ? "ipv6" : "ipv4") != 0;
}

size_t fw_mail_ports(const struct site *s, uint16_t ports[SERVICE_COUNT])
{
	size_t n = 0;

	for (int i = 0; i < SERVICE_COUNT; i++)
		if (s->listen.on[i])
			ports[n++] = site_port(s, (enum service)i);
	return n;
}

/* ---- ICMP */

/* RFC 4890 4.4.1 and 4.4.2: what must not be dropped, and errors that should not be.  Neighbour discovery is link-local
 * by its hop limit of 255, which the kernel checks. */
static const unsigned char local6[] = { 1, 2, 3, 4, 128, 129, 130, 131, 132, 133, 134, 135, 136, 141, 142, 143, 148,
	149, 151, 152, 153 };
static const unsigned char transit6[] = { 1, 2, 3, 4, 128, 129 }; /* RFC 4890 4.3.1 */
static const unsigned char local4[] = { 3, 8, 11, 12 };
static const unsigned char transit4[] = { 0, 3, 8, 11, 12 };

static void add_icmp(struct fw_model *m, const char *chain, enum fw_type type, const unsigned char *values,
    size_t count, const char *why)
{
	struct fw_rule *r = fw_rule_add(m, chain, FW_ACCEPT, "%s", why);
	struct fw_term *t = fw_term_add(r, FW_ICMP_TYPE);

	t->type = t->values.type = type;
	for (size_t i = 0; i < count; i++)
		fw_ranges_add_number(&t->values, values[i]);
	fw_ranges_merge(&t->values);
}

static void add_icmps(struct fw_model *m, const struct site *s, const char *chain, bool forward)
{
	if (fw_family_on(s, FW_TYPE_IPV4))
		add_icmp(m, chain, FW_TYPE_ICMP, forward ? transit4 : local4,
		    forward ? sizeof(transit4) : sizeof(local4), "ICMP: errors, path MTU, ping");
	if (fw_family_on(s, FW_TYPE_IPV6))
		add_icmp(m, chain, FW_TYPE_ICMPV6, forward ? transit6 : local6,
		    forward ? sizeof(transit6) : sizeof(local6),
		    forward ? "ICMPv6, RFC 4890 4.3.1" : "ICMPv6, RFC 4890 4.4.1");
}

/* Its answers come from another address than was asked, so that they belong to no connection. */
static void add_dhcpv6(struct fw_model *m)
{
	struct fw_rule *r = fw_rule_add(m, "input", FW_ACCEPT, "answers to a DHCPv6 client, RFC 8415");

	fw_rule_address(r, FW_SADDR, "fe80::/10");
	fw_rule_port(r, "udp", 546);
}

/* ---- TCP flags */

static void add_flags(struct fw_model *m, const char *chain, uint32_t mask, uint32_t bits, const char *what)
{
	struct fw_rule *r = fw_rule_add(m, chain, FW_DROP, "%s, RFC 9293", what);
	struct fw_term *t = fw_term_add(r, FW_TCP_FLAGS);

	t->mask = mask;
	t->bits = bits;
	fw_rule_drops(m, r, "bad_flags");
}

enum { FIN = 1, SYN = 2, RST = 4, PSH = 8, ACK = 16, URG = 32 };

/*
 * Where nothing tracked connections before these rules, those that are open look as if they began in their middle: the
 * administrator's, who just loaded them, must not be cut off.
 */
static void add_flag_rules(struct fw_model *m, const struct site *s, const char *chain, bool forward)
{
	struct fw_rule *r;
	struct fw_term *t;

	add_flags(m, chain, FIN | SYN | RST | PSH | ACK | URG, 0, "no TCP flag at all");
	add_flags(m, chain, FIN | SYN, FIN | SYN, "FIN with SYN");
	add_flags(m, chain, SYN | RST, SYN | RST, "SYN with RST");
	add_flags(m, chain, FIN | RST, FIN | RST, "FIN with RST");
	add_flags(m, chain, FIN | ACK, FIN, "FIN without ACK");
	r = fw_rule_add(m, chain, FW_DROP, "a TCP connection begins with SYN alone, RFC 9293");
	if (!forward) {
		fw_rule_port(r, "tcp", s->firewall.ssh_port);
		r->terms[0].inverted = true;
	}
	t = fw_term_add(r, FW_TCP_FLAGS);
	t->mask = FIN | SYN | RST | ACK;
	t->bits = SYN;
	t->inverted = true;
	fw_term_add(r, FW_CT_STATE)->bits = FW_CT_NEW;
	fw_rule_drops(m, r, "bad_flags");
}

/* ---- bogons */

/* IANA's special-purpose registries (RFC 6890), multicast and class E as sources. */
static const char *const bogons[] = { "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16",
	"172.16.0.0/12", "192.0.0.0/24", "192.168.0.0/16", "198.18.0.0/15", "224.0.0.0/4", "240.0.0.0/4", "::/128",
	"::1/128", "::ffff:0:0/96", "64:ff9b:1::/48", "100::/64", "2001:2::/48", "2001:10::/28", "fc00::/7",
	"fe80::/10", "fec0::/10", "ff00::/8" };
/* Documentation (RFC 5737, 3849, 9637): all or none, since a site with one of them plays the Internet with the others.
 */
static const char *const examples[] = { "192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32",
	"3fff::/20" };

/* Who names every address names none in particular. */
static void use_one(struct fw_ranges *used, const char *prefix)
{
	if (prefix[0] != '\0' && fw_ranges_add_prefix(used, prefix) == 0 && used->count > 0 &&
	    fw_range_bits(used->type, &used->at[used->count - 1]) == 0)
		used->count--;
}

static void use(struct fw_ranges *used, const struct strings *prefixes)
{
	for (size_t i = 0; i < prefixes->count; i++)
		use_one(used, prefixes->at[i]);
}

/* Addresses of one family that the site itself names. */
static void used_addresses(const struct site *s, struct fw_ranges *used)
{
	const struct strings *lists[] = { &s->firewall.admin_from, &s->firewall.never_ban, &s->gateway.network,
		&s->dns.transfer, &s->dns.secondaries };

	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++)
		use(used, lists[i]);
	for (size_t i = 0; i < s->firewall.extra_count; i++)
		use(used, &s->firewall.extra[i].from);
	use_one(used, s->host.ipv4);
	use_one(used, s->host.ipv6);
	use_one(used, s->host.public_ipv4);
	use_one(used, s->host.public_ipv6);
	fw_ranges_merge(used);
}

static bool is_used(const struct fw_ranges *used, const char *prefix)
{
	struct fw_ranges one = { .type = used->type };
	bool meets;

	fw_ranges_add_prefix(&one, prefix);
	meets = one.count > 0 && fw_ranges_meet(used, &one.at[0]);
	fw_ranges_free(&one);
	return meets;
}

static void add_bogons(struct fw_model *m, const struct site *s, const char *chain, enum fw_type type)
{
	size_t count = sizeof(examples) / sizeof(examples[0]), n = 0;
	const char *unused[sizeof(bogons) / sizeof(bogons[0]) + sizeof(examples) / sizeof(examples[0])];
	struct fw_ranges used4 = { .type = FW_TYPE_IPV4 }, used6 = { .type = FW_TYPE_IPV6 };
	struct strings list = { (char **)unused, 0 };
	struct fw_rule *r;
	bool playing = false;

	used_addresses(s, &used4);
	used_addresses(s, &used6);
	for (size_t i = 0; i < sizeof(bogons) / sizeof(bogons[0]); i++)
		if (!is_used(&used4, bogons[i]) && !is_used(&used6, bogons[i]))
			unused[n++] = bogons[i];
	for (size_t i = 0; i < count; i++)
		playing = playing || is_used(&used4, examples[i]) || is_used(&used6, examples[i]);
	for (size_t i = 0; !playing && i < count; i++)
		unused[n++] = examples[i];
	fw_ranges_free(&used4);
	fw_ranges_free(&used6);
	list.count = n;
	if (!fw_prefixes_have(&list, type))
		return;
	r = fw_rule_add(m, chain, FW_DROP, "no address of the Internet, firewall.bogons, RFC 6890");
	if (m->gateway)
		fw_rule_named(r, FW_IIFNAME, s->gateway.outside);
	fw_rule_prefixes(r, FW_SADDR, type, &list);
	fw_rule_drops(m, r, "bogon");
}

/* ---- bans and block lists */

static void add_trusted(struct fw_model *m, const struct strings *from, const char *row)
{
	for (size_t i = 0; i < 2; i++)
		if (fw_prefixes_have(from, families[i]))
			fw_rule_prefixes(
			    fw_rule_add(m, "banned", FW_RETURN, "never banned: %s", row), FW_SADDR, families[i], from);
}

static void add_banned(struct fw_model *m, const struct site *s)
{
	static const struct {
		const char *set;
		enum fw_type type;
		bool by_64;
		const char *reason, *comment;
	} sets[] = {
		{ FW_SET_BANS4, FW_TYPE_IPV4, false, "banned", "banned, firewall.ban" },
		{ FW_SET_BANS6, FW_TYPE_IPV6, true, "banned", "banned, by /64, firewall.ban" },
		{ FW_SET_BLOCKED4, FW_TYPE_IPV4, false, "blocked", "on a list of firewall.block_lists" },
		{ FW_SET_BLOCKED6, FW_TYPE_IPV6, false, "blocked", "on a list of firewall.block_lists" },
	};

	if (fw_chain_find(m, "banned") != NULL)
		return;
	fw_chain_add(m, "banned");
	add_trusted(m, &s->firewall.admin_from, "firewall.admin_from");
	add_trusted(m, &s->firewall.never_ban, "firewall.never_ban");
	for (size_t i = 0; i < sizeof(sets) / sizeof(sets[0]); i++) {
		struct fw_rule *r;

		if (fw_set_find(m, sets[i].set) == NULL)
			continue;
		r = fw_rule_add(m, "banned", FW_DROP, "%s", sets[i].comment);
		fw_rule_in_set(r, FW_SADDR, sets[i].type, sets[i].set, sets[i].by_64);
		fw_rule_drops(m, r, sets[i].reason);
	}
}

static void jump(struct fw_rule *r, const char *target)
{
	r->verdict = FW_JUMP;
	snprintf(r->target, sizeof(r->target), "%s", target);
}

static void add_family(struct fw_model *m, const struct site *s, const char *chain)
{
	for (size_t i = 0; i < 2; i++) {
		struct fw_rule *r;

		if (fw_family_on(s, families[i]))
			continue;
		r = fw_rule_add(m, chain, FW_DROP, "only %s, firewall.family", s->firewall.family);
		fw_term_add(r, FW_NFPROTO)->type = families[i];
		fw_rule_drops(m, r, "family");
	}
}

/* RFC 2827: who is behind a gateway does not come from outside. */
static void add_spoofed(struct fw_model *m, const struct site *s, const char *chain)
{
	for (size_t i = 0; i < 2; i++) {
		struct fw_rule *r;

		if (!m->gateway || !fw_family_on(s, families[i]) ||
		    (families[i] == FW_TYPE_IPV4 ? m->behind4.count : m->behind6.count) == 0)
			continue;
		r = fw_rule_add(m, chain, FW_DROP, "a source of the inside that comes from outside, RFC 2827");
		fw_rule_named(r, FW_IIFNAME, s->gateway.outside);
		fw_rule_from_behind(m, r, families[i]);
		fw_rule_drops(m, r, "spoofed");
	}
}

void fw_model_guards(struct fw_model *m, const struct site *s, const char *chain)
{
	bool forward = strcmp(chain, "forward") == 0;
	struct fw_rule *r;

	r = fw_rule_add(m, chain, FW_ACCEPT, "what we answered or asked for");
	fw_term_add(r, FW_CT_STATE)->bits = FW_CT_ESTABLISHED | FW_CT_RELATED;
	r = fw_rule_add(m, chain, FW_DROP, "no part of any connection");
	fw_term_add(r, FW_CT_STATE)->bits = FW_CT_INVALID;
	fw_rule_drops(m, r, "invalid");
	if (!forward)
		fw_term_add(fw_rule_add(m, chain, FW_ACCEPT, "loopback"), FW_IIF_LO);
	add_family(m, s, chain);
	add_spoofed(m, s, chain);
	if (m->includes)
		jump(fw_rule_add(m, chain, FW_JUMP, "firewall.include"), "custom");
	add_icmps(m, s, chain, forward);
	if (!forward && fw_family_on(s, FW_TYPE_IPV6))
		add_dhcpv6(m);
	add_flag_rules(m, s, chain, forward);
	for (size_t i = 0; s->firewall.bogons && i < 2; i++)
		if (fw_family_on(s, families[i]))
			add_bogons(m, s, chain, families[i]);
	add_banned(m, s);
	jump(fw_rule_add(m, chain, FW_JUMP, "bans and block lists"), "banned");
}

/* ---- limits by source */

struct ports {
	uint8_t protocol;
	const uint16_t *at; /* none: all of the protocol */
	size_t count;
};

static void match_ports(struct fw_rule *r, const struct ports *p)
{
	struct fw_term *t;

	if (p->count > 0) {
		fw_rule_ports(r, FW_DPORT, p->protocol, p->at, p->count);
		return;
	}
	t = fw_term_add(r, FW_L4PROTO);
	t->type = t->values.type = FW_TYPE_PROTOCOL;
	fw_ranges_add_number(&t->values, p->protocol);
}

static void add_meter(struct fw_model *m, const char *chain, const char *base, enum fw_type type,
    const struct ports *ports, struct fw_rate rate, const char *reason, const char *comment)
{
	char name[48];
	struct fw_set *set;
	struct fw_rule *r;
	struct fw_term *t;

	snprintf(name, sizeof(name), "%s%c", base, type == FW_TYPE_IPV4 ? '4' : '6');
	set = fw_set_add(m, name, type, "sources and their limits");
	set->dynamic = true;
	set->size = METER_SIZE;
	if (!rate.connections) {
		set->timeouts = true;
		set->timeout_s = rate.per_s > 1 ? 2 * rate.per_s : 30;
	}
	r = fw_rule_add(m, chain, FW_DROP, "%s", comment);
	match_ports(r, ports);
	fw_rule_in_set(r, FW_METER, type, name, type == FW_TYPE_IPV6);
	r->terms[r->term_count - 1].rate = rate;
	fw_rule_drops(m, r, reason);
	r = fw_rule_add(m, chain, FW_DROP, "the set %s is full: new sources share a limit", name);
	match_ports(r, ports);
	fw_rule_in_set(r, FW_SADDR, type, name, type == FW_TYPE_IPV6);
	r->terms[r->term_count - 1].inverted = true;
	t = fw_term_add(r, FW_LIMIT);
	t->rate = (struct fw_rate){ .count = FULL_RATE, .per_s = 1, .burst = FULL_BURST, .over = true };
	fw_rule_drops(m, r, "full");
}

static void add_meters(struct fw_model *m, const struct site *s, const char *chain, const char *base,
    const struct ports *ports, struct fw_rate rate, const char *reason, const char *comment)
{
	rate.over = true;
	for (size_t i = 0; i < 2; i++)
		if (fw_family_on(s, families[i]))
			add_meter(m, chain, base, families[i], ports, rate, reason, comment);
}

static struct fw_rate a_minute(int count)
{
	return (struct fw_rate){ .count = (unsigned)count, .per_s = 60, .burst = (unsigned)count };
}

/* ---- services */

/* The chain of the mail services: what is jumped to with one of their ports. */
static void add_mail_chain(struct fw_model *m, const struct site *s)
{
	uint16_t logins[SERVICE_COUNT], smtp = site_port(s, SERVICE_SMTP);
	struct fw_rate held = { .count = (unsigned)s->firewall.connections, .connections = true };
	size_t n = 0;

	for (int i = 0; i < SERVICE_COUNT; i++)
		if (s->listen.on[i] && i != SERVICE_SMTP)
			logins[n++] = site_port(s, (enum service)i);
	fw_chain_add(m, "mail");
	add_meters(m, s, "mail", "connections", &(struct ports){ .protocol = IPPROTO_TCP }, held, "connections",
	    "connections at once, firewall.connections");
	if (s->listen.on[SERVICE_SMTP])
		add_meters(m, s, "mail", "smtp", &(struct ports){ IPPROTO_TCP, &smtp, 1 },
		    a_minute(s->firewall.smtp_rate), "rate", "new connections a minute, firewall.smtp_rate");
	if (n > 0)
		add_meters(m, s, "mail", "login", &(struct ports){ IPPROTO_TCP, logins, n },
		    a_minute(s->firewall.login_rate), "rate", "new connections a minute, firewall.login_rate");
	fw_rule_add(m, "mail", FW_ACCEPT, "mail");
}

/* To the host, where this is the machine in front. */
static void to_host(struct fw_rule *r, const struct site *s, bool gateway, enum fw_type type)
{
	if (!gateway)
		return;
	fw_rule_address(r, FW_DADDR, type == FW_TYPE_IPV4 ? s->host.ipv4 : s->host.ipv6);
}

static bool host_has(const struct site *s, enum fw_type type)
{
	return (type == FW_TYPE_IPV4 ? s->host.ipv4 : s->host.ipv6)[0] != '\0' && fw_family_on(s, type);
}

/*
 * One rule that takes a port from anyone, else one a family that from has.  On a gateway always one a family that the
 * host has, since the destination is matched too.
 */
static void add_port(struct fw_model *m, const struct site *s, const char *chain, bool gateway, const char *protocol,
    uint16_t port, const struct strings *from, const char *comment)
{
	for (size_t i = 0; i < 2; i++) {
		struct fw_rule *r;
		bool all = from->count == 0 && !gateway;

		if (!all && ((from->count > 0 && !fw_prefixes_have(from, families[i])) ||
				!fw_family_on(s, families[i]) || (gateway && !host_has(s, families[i]))))
			continue;
		r = fw_rule_add(m, chain, FW_ACCEPT, "%s", comment);
		if (from->count > 0)
			fw_rule_prefixes(r, FW_SADDR, families[i], from);
		fw_rule_port(r, protocol, port);
		to_host(r, s, gateway, families[i]);
		if (all)
			return;
	}
}

static bool is_ours(const struct site *s, const char *name)
{
	for (size_t i = 0; i < s->domain_count; i++) {
		size_t n = strlen(name), d = strlen(s->domains[i].name);
		if (n > d && name[n - d - 1] == '.' && strcmp(name + n - d, s->domains[i].name) == 0)
			return true;
	}
	return strcmp(name, s->host.name) == 0;
}

/*
 * Everyone asks this host for its zones unless the site names other hosts as name servers for all of them: then only
 * those do that may transfer.
 */
bool fw_serves_dns(const struct site *s)
{
	bool any = false, named = s->dns.nameservers.count == 0;

	for (size_t i = 0; i < s->domain_count; i++)
		any = any || s->domains[i].dns;
	for (size_t i = 0; i < s->dns.nameservers.count; i++)
		named = named || is_ours(s, s->dns.nameservers.at[i]);
	return any && named && strcmp(s->dns.server, "none") != 0;
}

const struct strings *fw_dns_clients(const struct site *s, struct strings *room)
{
	size_t n = s->dns.transfer.count, more = s->dns.secondaries.count;

	*room = (struct strings){ NULL, 0 };
	if (fw_serves_dns(s))
		return room;
	if (n + more == 0 || strcmp(s->dns.server, "none") == 0)
		return NULL;
	room->at = xcalloc(n + more, sizeof(char *));
	room->count = n + more;
	for (size_t i = 0; i < n + more; i++)
		room->at[i] = i < n ? s->dns.transfer.at[i] : s->dns.secondaries.at[i - n];
	return room;
}

static void add_dns(struct fw_model *m, const struct site *s, const char *chain, bool gateway)
{
	struct strings room;
	const struct strings *from = fw_dns_clients(s, &room);

	if (from != NULL) {
		add_port(m, s, chain, gateway, "udp", 53, from, "the zones of this host, dns");
		add_port(m, s, chain, gateway, "tcp", 53, from, "the zones of this host, dns");
	}
	free(room.at);
}

static void add_extra(
    struct fw_model *m, const struct site *s, const char *chain, bool gateway, const struct site_port *p)
{
	char name[40], *comment = xasprintf("firewall.extra %.90s", p->name);
	uint8_t protocol = strcmp(p->protocol, "udp") == 0 ? IPPROTO_UDP : IPPROTO_TCP;
	struct ports ports = { protocol, &p->port, 1 };

	snprintf(name, sizeof(name), "extra_%s_%u_v", p->protocol, p->port);
	if (p->rate > 0)
		add_meters(m, s, chain, name, &ports, a_minute(p->rate), "rate", comment);
	add_port(m, s, chain, gateway, p->protocol, p->port, p->admin ? &s->firewall.admin_from : &p->from, comment);
	free(comment);
}

/* Where admin_from names nobody, everyone may, behind the limits. */
static void add_management(struct fw_model *m, const struct site *s, const char *chain, bool gateway)
{
	if (!gateway) /* ssh of the gateway is its own */
		add_port(m, s, chain, false, "tcp", s->firewall.ssh_port, &s->firewall.admin_from,
		    "ssh, firewall.admin_from");
	for (size_t i = 0; i < s->firewall.extra_count; i++)
		if (s->firewall.extra[i].admin)
			add_extra(m, s, chain, gateway, &s->firewall.extra[i]);
}

static void add_mail(struct fw_model *m, const struct site *s, const char *chain, bool gateway)
{
	uint16_t ports[SERVICE_COUNT];
	size_t n = fw_mail_ports(s, ports);

	if (n == 0)
		return;
	for (size_t i = 0; i < 2; i++) {
		struct fw_rule *r;

		if (gateway && !host_has(s, families[i]))
			continue;
		r = fw_rule_add(m, chain, FW_JUMP, "mail, listen");
		fw_rule_ports(r, FW_DPORT, IPPROTO_TCP, ports, n);
		to_host(r, s, gateway, families[i]);
		jump(r, "mail");
		if (!gateway)
			break;
	}
	add_mail_chain(m, s);
}

void fw_model_services(struct fw_model *m, const struct site *s, const char *chain, bool gateway)
{
	struct fw_rate syn = {
		.count = (unsigned)s->firewall.syn_rate, .per_s = 1, .burst = (unsigned)s->firewall.syn_rate
	};
	bool known = s->firewall.admin_from.count > 0;

	if (known)
		add_management(m, s, chain, gateway);
	add_meters(m, s, chain, "syn", &(struct ports){ .protocol = IPPROTO_TCP }, syn, "syn",
	    "TCP connection attempts a second, firewall.syn_rate");
	if (!known)
		add_management(m, s, chain, gateway);
	add_mail(m, s, chain, gateway);
	add_dns(m, s, chain, gateway);
	for (size_t i = 0; i < s->firewall.extra_count; i++)
		if (!s->firewall.extra[i].admin)
			add_extra(m, s, chain, gateway, &s->firewall.extra[i]);
}

void fw_model_input(struct fw_model *m, const struct site *s)
{
	fw_chain_hook(m, "input", FW_INPUT, 0, false);
	fw_model_guards(m, s, "input");
	if (!m->gateway)
		fw_model_services(m, s, "input", false);
	else
		add_port(m, s, "input", false, "tcp", s->firewall.ssh_port, &s->firewall.admin_from,
		    "ssh, firewall.admin_from");
	fw_rule_drops(m, fw_rule_add(m, "input", FW_DROP, "nothing else comes in"), "input");
}
