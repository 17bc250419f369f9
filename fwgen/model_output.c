/*
 * What goes out.  Port 25 of others is for the process that sends mail alone; with firewall.egress nothing else leaves
 * but what the site needs (names, mail) and what firewall.out names.  Users are looked up now: where there is no user
 * of the sending process (nothing installed, everything runs as one user) port 25 cannot be held for it and is left
 * alone; the model's notes say so.
 */
#include <netinet/in.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fwgen/model.h"
#include "site/hop.h"

#define SEND_USER "mailadm-send"
#define RESOLVER_USER "mailadm-dns"
#define FETCH_USER "mailadm-fetch"
#define NAMED_USER "bind"

static bool has_user(const char *name, uid_t *uid)
{
	struct passwd *p = getpwnam(name);

	if (p != NULL)
		*uid = p->pw_uid;
	return p != NULL;
}

const char *fw_model_notes(const struct fw_model *m)
{
	return m->notes != NULL ? m->notes : "";
}

/* Once for each user and purpose, in the order of the rules. */
static void note_missing(struct fw_model *m, const char *user, const char *comment)
{
	bool open = fw_chain_find(m, "output")->accepts;
	char *line = open ? xasprintf("there is no user %s: port 25 out is not held for it and stays open to all; "
				      "create it and load the rules again\n",
				user)
			  : xasprintf("there is no user %s: nothing goes out as it (%s), since firewall.egress is on; "
				      "create it and load the rules again\n",
				user, comment);

	if (strstr(fw_model_notes(m), line) == NULL) {
		char *all = xasprintf("%s%s", fw_model_notes(m), line);

		free(m->notes);
		m->notes = all;
	}
	free(line);
}

/* A rule for what that user sends ("" is everyone), or NULL where there is no such user, which is noted. */
static struct fw_rule *add_user_rule(struct fw_model *m, const char *user, const char *comment)
{
	struct fw_rule *r;
	struct fw_term *t;
	uid_t uid = 0;

	if (user[0] != '\0' && !has_user(user, &uid)) {
		note_missing(m, user, comment);
		return NULL;
	}
	r = fw_rule_add(m, "output", FW_ACCEPT, "%s", comment);
	if (user[0] == '\0')
		return r;
	t = fw_term_add(r, FW_SKUID);
	snprintf(t->name, sizeof(t->name), "%s", user);
	t->uid = uid;
	return r;
}

static void add_out(struct fw_model *m, const char *user, const char *protocol, uint16_t port, const struct strings *to,
    const char *comment)
{
	static const enum fw_type families[] = { FW_TYPE_IPV4, FW_TYPE_IPV6 };

	for (size_t i = 0; i < 2; i++) {
		struct fw_rule *r;

		if (to->count > 0 && !fw_prefixes_have(to, families[i]))
			continue;
		r = add_user_rule(m, user, comment);
		if (r == NULL)
			return;
		if (to->count > 0)
			fw_rule_prefixes(r, FW_DADDR, families[i], to);
		fw_rule_port(r, protocol, port);
		if (to->count == 0)
			return;
	}
}

static void add_query(
    struct fw_model *m, const char *user, uint16_t port, const struct strings *to, const char *comment)
{
	add_out(m, user, "udp", port, to, comment);
	add_out(m, user, "tcp", port, to, comment);
}

int fw_forwarder(const char *text, char address[64], uint16_t *port)
{
	const char *at = strchr(text, '@');
	uint64_t number = 53;
	struct view v = { text, at != NULL ? (size_t)(at - text) : strlen(text) };

	if (view_copy(v, address, 64) == -1 || (at != NULL && view_u64(view_of(at + 1), 65535, &number) == -1))
		return -1;
	*port = (uint16_t)number;
	return 0;
}

static void add_forwarder(struct fw_model *m, const char *text)
{
	char address[64];
	char *one[] = { address };
	uint16_t port;

	if (fw_forwarder(text, address, &port) == 0)
		add_query(m, RESOLVER_USER, port, &(struct strings){ one, 1 }, "names, dns.forward");
}

static void add_names(struct fw_model *m, const struct site *s)
{
	static const struct strings anyone;
	struct strings room;
	const struct strings *clients;

	for (size_t i = 0; i < s->dns.forward.count; i++)
		add_forwarder(m, s->dns.forward.at[i]);
	if (s->dns.forward.count == 0)
		add_query(m, RESOLVER_USER, 53, &anyone, "names for the mail daemon");
	if (s->dns.local_resolver)
		add_query(m, NAMED_USER, 53, &anyone, "names, dns.local_resolver");
	clients = fw_dns_clients(s, &room);
	if (clients != NULL && s->dns.secondaries.count > 0 && !s->dns.local_resolver)
		add_query(m, NAMED_USER, 53, &s->dns.secondaries, "notifies, dns.secondaries");
	free(room.at);
}

size_t fw_ports_mail_leaves_to(const struct site *s, uint16_t ports[FW_MAIL_PORTS_MAX])
{
	const uint16_t always[] = { 25, (uint16_t)s->relay.port_out, 465, 587, (uint16_t)s->relay.port };
	size_t n = sizeof(always) / sizeof(always[0]), more;

	memcpy(ports, always, sizeof(always));
	more = site_ports_out(s, ports + n, FW_MAIL_PORTS_MAX - n);
	return n + more < FW_MAIL_PORTS_MAX ? n + more : FW_MAIL_PORTS_MAX;
}

static void add_sending(struct fw_model *m, const struct site *s, bool egress)
{
	uint16_t mail[FW_MAIL_PORTS_MAX];
	size_t held = 2, all = fw_ports_mail_leaves_to(s, mail), n = egress ? all : held;
	struct fw_rule *r = add_user_rule(m, SEND_USER, "mail goes out, by " SEND_USER);

	if (r == NULL)
		return;
	fw_rule_ports(r, FW_DPORT, IPPROTO_TCP, mail, n);
	r = fw_rule_add(m, "output", FW_DROP, "port 25 of others is for " SEND_USER " alone");
	fw_rule_ports(r, FW_DPORT, IPPROTO_TCP, mail, held);
	fw_rule_drops(m, r, "port25");
}

static void add_fetching(struct fw_model *m, const struct site *s)
{
	static const struct strings anyone;

	if (s->relay.mta_sts)
		add_out(m, FETCH_USER, "tcp", (uint16_t)s->relay.https_port, &anyone, "MTA-STS policies, by " FETCH_USER);
}

static void add_basics(struct fw_model *m)
{
	struct fw_rule *r = fw_rule_add(m, "output", FW_ACCEPT, "ICMP and neighbour discovery, RFC 4890");
	struct fw_term *t = fw_term_add(r, FW_L4PROTO);
	static const uint16_t dhcp[] = { 67, 547 };

	t->type = t->values.type = FW_TYPE_PROTOCOL;
	fw_ranges_add_number(&t->values, IPPROTO_ICMP);
	fw_ranges_add_number(&t->values, IPPROTO_ICMPV6);
	fw_ranges_merge(&t->values);
	r = fw_rule_add(m, "output", FW_ACCEPT, "DHCP, RFC 2131 and 8415");
	fw_rule_ports(r, FW_DPORT, IPPROTO_UDP, dhcp, 2);
}

void fw_model_output(struct fw_model *m, const struct site *s)
{
	bool egress = s->firewall.egress;
	struct fw_rule *r;

	fw_chain_hook(m, "output", FW_OUTPUT, 0, !egress);
	r = fw_rule_add(m, "output", FW_ACCEPT, "what we answered or asked for");
	fw_term_add(r, FW_CT_STATE)->bits = FW_CT_ESTABLISHED | FW_CT_RELATED;
	fw_term_add(fw_rule_add(m, "output", FW_ACCEPT, "loopback"), FW_OIF_LO);
	add_sending(m, s, egress);
	if (!egress)
		return;
	add_basics(m);
	add_names(m, s);
	add_fetching(m, s);
	for (size_t i = 0; i < s->firewall.out_count; i++) {
		const struct site_egress *o = &s->firewall.out[i];
		char *comment = xasprintf("firewall.out %.90s", o->name);
		add_out(m, o->user, o->protocol, o->port, &o->to, comment);
		free(comment);
	}
	fw_rule_drops(m, fw_rule_add(m, "output", FW_DROP, "nothing else goes out, firewall.egress"), "egress");
}
