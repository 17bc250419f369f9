/*
 * The machine in front: what the world sends to the public addresses' service ports goes to the host (DNAT where these
 * are not the host's own addresses), through the same guards and limits as the host's own input; who is behind may
 * connect out, but mail to port 25 of others leaves from the host alone.
 */
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fwgen/model.h"

static const enum fw_type families[] = { FW_TYPE_IPV4, FW_TYPE_IPV6 };

struct ways {
	uint16_t *tcp, *udp;
	size_t tcp_count, udp_count;
};

static void add_way(struct ways *w, const char *protocol, uint16_t port)
{
	if (strcmp(protocol, "udp") == 0)
		w->udp[w->udp_count++] = port;
	else
		w->tcp[w->tcp_count++] = port;
}

/* The ports that lead to the host. */
static struct ways ways_of(const struct site *s)
{
	size_t max = SERVICE_COUNT + 1 + s->firewall.extra_count;
	struct ways w = { xcalloc(max, sizeof(*w.tcp)), xcalloc(max, sizeof(*w.udp)), 0, 0 };
	struct strings room;

	w.tcp_count = fw_mail_ports(s, w.tcp);
	if (fw_dns_clients(s, &room) != NULL) {
		add_way(&w, "tcp", 53);
		add_way(&w, "udp", 53);
	}
	free(room.at);
	for (size_t i = 0; i < s->firewall.extra_count; i++)
		add_way(&w, s->firewall.extra[i].protocol, s->firewall.extra[i].port);
	return w;
}

static const char *host_address(const struct site *s, enum fw_type type)
{
	return type == FW_TYPE_IPV4 ? s->host.ipv4 : s->host.ipv6;
}

static const char *public_address(const struct site *s, enum fw_type type)
{
	return type == FW_TYPE_IPV4 ? s->host.public_ipv4 : s->host.public_ipv6;
}

static bool translated(const struct site *s, enum fw_type type)
{
	return fw_family_on(s, type) && host_address(s, type)[0] != '\0' && public_address(s, type)[0] != '\0' &&
	       strcmp(host_address(s, type), public_address(s, type)) != 0;
}

static void add_dnat(struct fw_model *m, const struct site *s, enum fw_type type, const char *interface,
    uint8_t protocol, const uint16_t *ports, size_t count, const char *comment)
{
	struct fw_ranges to = { .type = type };
	struct fw_rule *r;

	if (count == 0)
		return;
	r = fw_rule_add(m, "prerouting", FW_DNAT, "%s", comment);
	fw_rule_named(r, FW_IIFNAME, interface);
	fw_rule_address(r, FW_DADDR, public_address(s, type));
	fw_rule_ports(r, FW_DPORT, protocol, ports, count);
	fw_ranges_add_prefix(&to, host_address(s, type));
	r->family = type;
	memcpy(r->to, to.at[0].first, sizeof(r->to));
	fw_ranges_free(&to);
}

static void add_prerouting(struct fw_model *m, const struct site *s)
{
	struct ways w = ways_of(s);

	fw_chain_hook(m, "prerouting", FW_PREROUTING, -100, true);
	for (size_t i = 0; i < 2; i++) {
		const char *from[] = { s->gateway.outside, s->gateway.hairpin ? s->gateway.inside : NULL };

		if (!translated(s, families[i]))
			continue;
		for (size_t j = 0; j < 2 && from[j] != NULL; j++) {
			const char *why =
			    j == 0 ? "the services of the host, host.public_ipv4 and public_ipv6" : "gateway.hairpin";

			add_dnat(m, s, families[i], from[j], IPPROTO_TCP, w.tcp, w.tcp_count, why);
			add_dnat(m, s, families[i], from[j], IPPROTO_UDP, w.udp, w.udp_count, why);
		}
	}
	free(w.tcp);
	free(w.udp);
}

void fw_rule_from_behind(const struct fw_model *m, struct fw_rule *r, enum fw_type type)
{
	const struct fw_ranges *behind = type == FW_TYPE_IPV4 ? &m->behind4 : &m->behind6;
	struct fw_term *t = fw_term_add(r, FW_SADDR);

	t->type = t->values.type = type;
	for (size_t i = 0; i < behind->count; i++)
		fw_ranges_add(&t->values, &behind->at[i]);
}

/* Answers of the host to those behind must come back through here, where the addresses are put right again. */
static void add_postrouting(struct fw_model *m, const struct site *s)
{
	struct fw_rule *r;

	fw_chain_hook(m, "postrouting", FW_POSTROUTING, 100, true);
	for (size_t i = 0; i < 2; i++) {
		if (!s->gateway.hairpin || !translated(s, families[i]))
			continue;
		r = fw_rule_add(m, "postrouting", FW_MASQUERADE, "gateway.hairpin");
		fw_rule_from_behind(m, r, families[i]);
		fw_rule_named(r, FW_OIFNAME, s->gateway.inside);
		fw_rule_address(r, FW_DADDR, host_address(s, families[i]));
		fw_term_add(r, FW_CT_DNAT);
	}
	if (!s->gateway.masquerade || m->behind4.count == 0 || !fw_family_on(s, FW_TYPE_IPV4))
		return;
	r = fw_rule_add(m, "postrouting", FW_MASQUERADE, "gateway.masquerade");
	fw_rule_from_behind(m, r, FW_TYPE_IPV4);
	fw_rule_named(r, FW_OIFNAME, s->gateway.outside);
}

/* From the host to the outside: only that port, or (none) all. */
static void host_out(struct fw_model *m, const struct site *s, enum fw_type type, const char *protocol,
    const uint16_t *ports, size_t count, const struct strings *to, const char *comment)
{
	struct fw_rule *r;

	if (to != NULL && to->count > 0 && !fw_prefixes_have(to, type))
		return;
	r = fw_rule_add(m, "forward", FW_ACCEPT, "%s", comment);
	fw_rule_named(r, FW_IIFNAME, s->gateway.inside);
	fw_rule_address(r, FW_SADDR, host_address(s, type));
	fw_rule_named(r, FW_OIFNAME, s->gateway.outside);
	if (to != NULL && to->count > 0)
		fw_rule_prefixes(r, FW_DADDR, type, to);
	fw_rule_ports(r, FW_DPORT, strcmp(protocol, "udp") == 0 ? IPPROTO_UDP : IPPROTO_TCP, ports, count);
}

/* Those that are asked at port 53 may be asked as all others. */
static void add_forwarders(struct fw_model *m, const struct site *s, enum fw_type type)
{
	char address[64];
	char *one[] = { address };
	struct strings to = { one, 1 };
	uint16_t port;

	for (size_t i = 0; i < s->dns.forward.count; i++) {
		if (fw_forwarder(s->dns.forward.at[i], address, &port) == -1 || port == 53)
			continue;
		host_out(m, s, type, "udp", &port, 1, &to, "names for the host, dns.forward");
		host_out(m, s, type, "tcp", &port, 1, &to, "names for the host, dns.forward");
	}
}

static void add_host_egress(struct fw_model *m, const struct site *s, enum fw_type type)
{
	uint16_t mail[FW_MAIL_PORTS_MAX];
	static const uint16_t names[] = { 53 };
	const uint16_t https = (uint16_t)s->relay.https_port;
	struct fw_rule *r;

	host_out(m, s, type, "tcp", mail, fw_ports_mail_leaves_to(s, mail), NULL, "mail of the host goes out");
	if (!s->firewall.egress)
		return;
	host_out(m, s, type, "udp", names, 1, NULL, "names for the host");
	host_out(m, s, type, "tcp", names, 1, NULL, "names for the host");
	if (s->relay.mta_sts)
		host_out(m, s, type, "tcp", &https, 1, NULL, "MTA-STS policies for the host");
	add_forwarders(m, s, type);
	for (size_t i = 0; i < s->firewall.out_count; i++) {
		const struct site_egress *o = &s->firewall.out[i];
		char *comment = xasprintf("firewall.out %.90s", o->name);
		host_out(m, s, type, o->protocol, &o->port, 1, &o->to, comment);
		free(comment);
	}
	r = fw_rule_add(m, "forward", FW_DROP, "nothing else leaves the host, firewall.egress");
	fw_rule_named(r, FW_IIFNAME, s->gateway.inside);
	fw_rule_address(r, FW_SADDR, host_address(s, type));
	fw_rule_named(r, FW_OIFNAME, s->gateway.outside);
	fw_rule_drops(m, r, "egress");
}

static void add_behind(struct fw_model *m, const struct site *s)
{
	uint16_t held[] = { 25, (uint16_t)s->relay.port_out };
	struct fw_rule *r;

	for (size_t i = 0; i < 2; i++)
		if (host_address(s, families[i])[0] != '\0' && fw_family_on(s, families[i]))
			add_host_egress(m, s, families[i]);
	r = fw_rule_add(m, "forward", FW_DROP, "port 25 of others is for the host alone");
	fw_rule_named(r, FW_IIFNAME, s->gateway.inside);
	fw_rule_named(r, FW_OIFNAME, s->gateway.outside);
	fw_rule_ports(r, FW_DPORT, IPPROTO_TCP, held, 2);
	fw_rule_drops(m, r, "port25");
	for (size_t i = 0; i < 2; i++) {
		if ((i == 0 ? m->behind4.count : m->behind6.count) == 0 || !fw_family_on(s, families[i]))
			continue;
		r = fw_rule_add(m, "forward", FW_ACCEPT, "who is behind connects out, gateway.network");
		fw_rule_named(r, FW_IIFNAME, s->gateway.inside);
		fw_rule_from_behind(m, r, families[i]);
		fw_rule_named(r, FW_OIFNAME, s->gateway.outside);
	}
}

void fw_model_behind(struct fw_model *m, const struct site *s)
{
	m->behind4.type = FW_TYPE_IPV4;
	m->behind6.type = FW_TYPE_IPV6;
	for (size_t i = 0; i < 2; i++) {
		struct fw_ranges *behind = i == 0 ? &m->behind4 : &m->behind6;

		for (size_t j = 0; j < s->gateway.network.count; j++)
			fw_ranges_add_prefix(behind, s->gateway.network.at[j]);
		if (host_address(s, families[i])[0] != '\0')
			fw_ranges_add_prefix(behind, host_address(s, families[i]));
		fw_ranges_merge(behind);
	}
	snprintf(m->outside, sizeof(m->outside), "%s", s->gateway.outside);
	snprintf(m->inside, sizeof(m->inside), "%s", s->gateway.inside);
}

void fw_model_gateway(struct fw_model *m, const struct site *s)
{
	fw_chain_hook(m, "forward", FW_FORWARD, 0, false);
	fw_model_guards(m, s, "forward");
	add_behind(m, s);
	fw_model_services(m, s, "forward", true);
	fw_rule_drops(m, fw_rule_add(m, "forward", FW_DROP, "nothing else passes through"), "forward");
	add_prerouting(m, s);
	add_postrouting(m, s);
}
