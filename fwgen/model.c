/*
 * The rule model of a site's input filter: established first, default drop, ICMP as RFC 4890 wants, ssh from
 * admin_from, the daemon's own listeners, DNS when the host serves its zones itself, and the site's extra ports.
 */
#include <stdlib.h>
#include <string.h>

#include "fwgen/model.h"

/* RFC 4890 4.4: what must not be dropped. Neighbour discovery is link-local by its hop limit of 255, which the kernel
 * checks. */
#define ICMPV4_TYPES "echo-request, destination-unreachable, time-exceeded, parameter-problem"
#define ICMPV6_TYPES                                                                                                   \
	"echo-request, echo-reply, destination-unreachable, packet-too-big, time-exceeded, parameter-problem, "        \
	"nd-router-solicit, nd-router-advert, nd-neighbor-solicit, nd-neighbor-advert, mld-listener-query, "           \
	"mld-listener-report, mld2-listener-report"

static struct fw_rule *add(struct fw_model *m, const char *comment, enum fw_verdict verdict)
{
	m->input = xreallocarray(m->input, m->count + 1, sizeof(*m->input));
	struct fw_rule *r = &m->input[m->count++];
	memset(r, 0, sizeof(*r));
	r->comment = comment;
	r->verdict = verdict;
	return r;
}

static void add_icmp(struct fw_model *m, enum fw_family family, const char *types)
{
	struct fw_rule *r = add(m, family == FW_IPV4 ? "ICMP" : "ICMPv6, RFC 4890", FW_ACCEPT);
	r->family = family;
	r->icmp_types = types;
}

static struct strings of_family(const struct strings *all, bool ipv6)
{
	struct strings some = { xcalloc(all->count ? all->count : 1, sizeof(char *)), 0 };
	for (size_t i = 0; i < all->count; i++)
		if ((strchr(all->at[i], ':') != NULL) == ipv6)
			some.at[some.count++] = xstrdup(all->at[i]);
	return some;
}

/* One rule without sources, else one for each family that has some. */
static void add_port(
    struct fw_model *m, const char *comment, const char *protocol, uint16_t port, const struct strings *from)
{
	for (int v6 = 0; v6 < 2; v6++) {
		struct strings some = of_family(from, v6);
		if (some.count == 0 && (from->count > 0 || v6)) {
			free(some.at);
			continue;
		}
		struct fw_rule *r = add(m, comment, FW_ACCEPT);
		r->family = from->count == 0 ? FW_ANY : v6 ? FW_IPV6 : FW_IPV4;
		r->protocol = protocol;
		r->ports[r->port_count++] = port;
		r->from = some;
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
static bool serves_dns(const struct site *s)
{
	bool any = false, named = s->dns.nameservers.count == 0;
	for (size_t i = 0; i < s->domain_count; i++)
		any = any || s->domains[i].dns;
	for (size_t i = 0; i < s->dns.nameservers.count; i++)
		named = named || is_ours(s, s->dns.nameservers.at[i]);
	return any && named;
}

static void add_dns(struct fw_model *m, const struct site *s)
{
	static const struct strings anyone;
	const struct strings *from = serves_dns(s) ? &anyone : &s->dns.transfer;
	if (from != &anyone && from->count == 0)
		return;
	add_port(m, "the zones of this host", "udp", 53, from);
	add_port(m, "the zones of this host", "tcp", 53, from);
}

/* Its answers come from another address than was asked, so that they belong to no connection. */
static void add_dhcpv6(struct fw_model *m)
{
	char *link_local[] = { "fe80::/10" };
	add_port(m, "answers to a DHCPv6 client", "udp", 546, &(struct strings){ link_local, 1 });
}

struct fw_model *fw_model_of(const struct site *s, struct error *e)
{
	struct fw_model *m = xcalloc(1, sizeof(*m));
	(void)e;
	add(m, "what we answered or asked for", FW_ACCEPT)->ct_state = "established,related";
	add(m, "no part of any connection", FW_DROP)->ct_state = "invalid";
	add(m, "loopback", FW_ACCEPT)->loopback = true;
	add_icmp(m, FW_IPV4, ICMPV4_TYPES);
	add_icmp(m, FW_IPV6, ICMPV6_TYPES);
	add_dhcpv6(m);
	add_port(m, "ssh, firewall.admin_from", "tcp", s->firewall.ssh_port, &s->firewall.admin_from);

	struct fw_rule *mail = add(m, "mail", FW_ACCEPT);
	mail->protocol = "tcp";
	for (int i = 0; i < SERVICE_COUNT; i++)
		if (s->listen.on[i])
			mail->ports[mail->port_count++] = site_port(s, (enum service)i);
	if (mail->port_count == 0)
		m->count--;
	add_dns(m, s);
	for (size_t i = 0; i < s->firewall.extra_count; i++) {
		const struct site_port *p = &s->firewall.extra[i];
		add_port(m, p->name, p->protocol, p->port, &p->from);
	}
	return m;
}

void fw_model_free(struct fw_model *m)
{
	if (m == NULL)
		return;
	for (size_t i = 0; i < m->count; i++) {
		for (size_t j = 0; j < m->input[i].from.count; j++)
			free(m->input[i].from.at[j]);
		free(m->input[i].from.at);
	}
	free(m->input);
	free(m);
}
