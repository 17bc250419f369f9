/*
 * The model evaluated in software for the first packet of a connection: its state is new, no source has spent its rate,
 * no ban is in force, TCP begins with SYN alone.  What firewall.include says is nft's and not known here: those lines
 * are passed over.
 */
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "fwgen/model.h"

#define DEPTH_MAX 16
#define TCP_SYN 2u

struct walk {
	const struct fw_model *model;
	struct fw_packet packet; /* its destination may be rewritten on the way */
	bool translated;
	struct fw_decision *decision;
};

enum outcome { GO_ON, DECIDED };

static bool is_inside(const struct walk *w, const unsigned char *address)
{
	return fw_ranges_hold(w->packet.ipv6 ? &w->model->behind6 : &w->model->behind4, address);
}

/* Where an interface is not told, the gateway's addresses tell. */
static bool from_interface(const struct walk *w, const char *name)
{
	if (w->packet.out)
		return false;
	if (w->packet.interface[0] != '\0')
		return strcmp(w->packet.interface, name) == 0;
	return strcmp(name, is_inside(w, w->packet.from) ? w->model->inside : w->model->outside) == 0;
}

static bool to_interface(const struct walk *w, const char *name)
{
	return w->packet.forward &&
	       strcmp(name, is_inside(w, w->packet.to) ? w->model->inside : w->model->outside) == 0;
}

static bool in_values(const struct fw_term *t, unsigned value)
{
	unsigned char bytes[16] = { (unsigned char)value };

	if (fw_type_width(t->values.type) == 2) {
		bytes[0] = (unsigned char)(value >> 8);
		bytes[1] = (unsigned char)value;
	}
	return fw_ranges_hold(&t->values, bytes) != t->inverted;
}

/* Dynamic sets hold every source that came by (none is full), bans nobody. */
static bool address_matches(const struct walk *w, const struct fw_term *t, const unsigned char *address)
{
	const struct fw_set *set;

	if (w->packet.ipv6 != (t->type == FW_TYPE_IPV6))
		return false;
	if (t->name[0] == '\0')
		return fw_ranges_hold(&t->values, address) != t->inverted;
	set = fw_set_find(w->model, t->name);
	if (set == NULL)
		return false;
	return (set->dynamic || fw_ranges_hold(&set->elements, address)) != t->inverted;
}

static bool matches(const struct walk *w, const struct fw_term *t)
{
	const struct fw_packet *p = &w->packet;
	uint8_t protocol = p->udp ? IPPROTO_UDP : IPPROTO_TCP;

	switch (t->kind) {
	case FW_IIF_LO:
		return !p->out && strcmp(p->interface, "lo") == 0;
	case FW_OIF_LO:
		return p->out && strcmp(p->interface, "lo") == 0;
	case FW_IIFNAME:
		return from_interface(w, t->name);
	case FW_OIFNAME:
		return to_interface(w, t->name);
	case FW_NFPROTO:
		return p->ipv6 == (t->type == FW_TYPE_IPV6);
	case FW_L4PROTO:
		return in_values(t, protocol);
	case FW_CT_STATE:
		return (t->bits & FW_CT_NEW) != 0;
	case FW_CT_DNAT:
		return w->translated;
	case FW_SADDR:
		return address_matches(w, t, p->from);
	case FW_DADDR:
		return address_matches(w, t, p->to);
	case FW_ICMP_TYPE:
		return false;
	case FW_SPORT:
		return t->protocol == protocol && in_values(t, p->from_port);
	case FW_DPORT:
		return t->protocol == protocol && in_values(t, p->to_port);
	case FW_TCP_FLAGS:
		return !p->udp && ((TCP_SYN & t->mask) == t->bits) != t->inverted;
	case FW_SKUID:
		return p->out && p->user == t->uid;
	case FW_LIMIT:
		return !t->rate.over;
	case FW_METER:
		return false;
	case FW_COUNTER:
	case FW_LOG:
		return true;
	}
	return false;
}

static bool rule_matches(const struct walk *w, const struct fw_rule *r)
{
	if (r->custom != NULL)
		return false;
	for (size_t i = 0; i < r->term_count; i++)
		if (!matches(w, &r->terms[i]))
			return false;
	return true;
}

static enum outcome decided(struct walk *w, bool accept, const char *chain, const char *rule)
{
	w->decision->accept = accept;
	snprintf(w->decision->chain, sizeof(w->decision->chain), "%s", chain);
	snprintf(w->decision->rule, sizeof(w->decision->rule), "%s", rule);
	return DECIDED;
}

static enum outcome walk_chain(struct walk *w, const struct fw_chain *c, unsigned depth);

/* A chain that drops for a reason decides nothing itself: the rule that went there did. */
static enum outcome follow(struct walk *w, const struct fw_chain *c, const struct fw_rule *r, unsigned depth)
{
	const struct fw_chain *target = fw_chain_find(w->model, r->target);

	if (target == NULL || depth >= DEPTH_MAX)
		return GO_ON;
	if (target->reason != NULL)
		return decided(w, false, c->name, r->comment);
	return walk_chain(w, target, depth + 1);
}

static enum outcome walk_chain(struct walk *w, const struct fw_chain *c, unsigned depth)
{
	for (size_t i = 0; i < c->count; i++) {
		const struct fw_rule *r = &c->rules[i];

		if (!rule_matches(w, r))
			continue;
		switch (r->verdict) {
		case FW_CONTINUE:
			break;
		case FW_RETURN:
			return GO_ON;
		case FW_ACCEPT:
		case FW_DROP:
			return decided(w, r->verdict == FW_ACCEPT, c->name, r->comment);
		case FW_JUMP:
			if (follow(w, c, r, depth) == DECIDED)
				return DECIDED;
			break;
		case FW_GOTO:
			return follow(w, c, r, depth);
		case FW_DNAT:
			memcpy(w->packet.to, r->to, sizeof(w->packet.to));
			w->translated = true;
			w->packet.forward = true;
			return GO_ON;
		case FW_MASQUERADE:
			return GO_ON;
		}
	}
	return GO_ON;
}

void fw_decide(const struct fw_model *m, const struct fw_packet *p, struct fw_decision *d)
{
	struct walk w = { .model = m, .packet = *p, .decision = d };
	const struct fw_chain *c = p->out ? NULL : fw_chain_find(m, "prerouting");
	const char *name;

	if (c != NULL)
		walk_chain(&w, c, 0);
	name = p->out ? "output" : w.packet.forward ? "forward" : "input";
	c = fw_chain_find(m, name);
	if (c == NULL)
		decided(&w, true, name, "policy");
	else if (walk_chain(&w, c, 0) == GO_ON)
		decided(&w, c->accepts, name, "policy");
}
