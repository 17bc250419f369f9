/*
 * The rule model as nft text.  One transaction that does not ask what was there: every chain that any site has is
 * declared and deleted, sets of the model are declared without elements, those that are the model's own are emptied,
 * and then all is written.  Bans and counts of connections keep their elements.  Rates begin anew, since each source
 * keeps the rate it began with, and text does not know whether that is still the site's.  A set or a counter of an
 * older site that no rule names stays and does nothing, until fw_kernel_load, which asks, removes it.
 */
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "fwgen/model.h"

const char *const fw_all_chains[] = { "input", "forward", "output", "prerouting", "postrouting", "custom", "banned",
	"mail", "drop_invalid", "drop_family", "drop_spoofed", "drop_bad_flags", "drop_bogon", "drop_banned",
	"drop_blocked", "drop_syn", "drop_full", "drop_connections", "drop_rate", "drop_input", "drop_forward",
	"drop_egress", "drop_port25", NULL };

static void put_values(const struct fw_ranges *r, struct buf *out)
{
	char text[128];

	if (r->count != 1)
		buf_puts(out, "{ ");
	for (size_t i = 0; i < r->count; i++) {
		fw_range_text(r->type, &r->at[i], text, sizeof(text));
		buf_puts(out, i > 0 ? ", " : "");
		buf_puts(out, text);
	}
	if (r->count != 1)
		buf_puts(out, " }");
}

static void put_flags(uint32_t flags, struct buf *out)
{
	static const char *const names[] = { "fin", "syn", "rst", "psh", "ack", "urg" };
	bool first = true;

	if (flags == 0)
		buf_puts(out, "0x0");
	for (size_t i = 0; i < 6; i++) {
		if ((flags & 1u << i) == 0)
			continue;
		buf_printf(out, "%s%s", first ? "" : " | ", names[i]);
		first = false;
	}
}

static void put_states(uint32_t bits, struct buf *out)
{
	static const struct {
		uint32_t bit;
		const char *name;
	} names[] = { { FW_CT_INVALID, "invalid" }, { FW_CT_ESTABLISHED, "established" }, { FW_CT_RELATED, "related" },
		{ FW_CT_NEW, "new" } };
	const char *between = "ct state ";

	for (size_t i = 0; i < 4; i++) {
		if ((bits & names[i].bit) == 0)
			continue;
		buf_printf(out, "%s%s", between, names[i].name);
		between = ",";
	}
}

static void put_rate(const struct fw_rate *rate, struct buf *out)
{
	if (rate->connections)
		buf_printf(out, "ct count over %u", rate->count);
	else
		buf_printf(out, "limit rate %s%u/%s burst %u packets", rate->over ? "over " : "", rate->count,
		    rate->per_s == 1 ? "second" : "minute", rate->burst);
}

static void put_address(const struct fw_term *t, const char *field, struct buf *out)
{
	buf_printf(out, "%s %s", t->type == FW_TYPE_IPV4 ? "ip" : "ip6", field);
	if (t->by_64)
		buf_puts(out, " & ffff:ffff:ffff:ffff::");
}

static void put_match(const struct fw_term *t, struct buf *out)
{
	buf_puts(out, t->inverted ? " != " : " ");
	if (t->name[0] != '\0')
		buf_printf(out, "@%s", t->name);
	else
		put_values(&t->values, out);
}

static void put_term(const struct fw_term *t, struct buf *out)
{
	switch (t->kind) {
	case FW_IIF_LO:
		buf_puts(out, "iif \"lo\"");
		break;
	case FW_OIF_LO:
		buf_puts(out, "oif \"lo\"");
		break;
	case FW_IIFNAME:
	case FW_OIFNAME:
		buf_printf(out, "%s \"%s\"", t->kind == FW_IIFNAME ? "iifname" : "oifname", t->name);
		break;
	case FW_NFPROTO:
		buf_printf(out, "meta nfproto %s", t->type == FW_TYPE_IPV4 ? "ipv4" : "ipv6");
		break;
	case FW_L4PROTO:
		buf_puts(out, "meta l4proto");
		put_match(t, out);
		break;
	case FW_CT_STATE:
		put_states(t->bits, out);
		break;
	case FW_CT_DNAT:
		buf_puts(out, "ct status dnat");
		break;
	case FW_SADDR:
	case FW_DADDR:
		put_address(t, t->kind == FW_SADDR ? "saddr" : "daddr", out);
		put_match(t, out);
		break;
	case FW_ICMP_TYPE:
		buf_puts(out, t->type == FW_TYPE_ICMP ? "icmp type" : "icmpv6 type");
		put_match(t, out);
		break;
	case FW_SPORT:
	case FW_DPORT:
		buf_printf(
		    out, "%s %s", t->protocol == IPPROTO_UDP ? "udp" : "tcp", t->kind == FW_SPORT ? "sport" : "dport");
		put_match(t, out);
		break;
	case FW_TCP_FLAGS:
		buf_puts(out, "tcp flags & (");
		put_flags(t->mask, out);
		buf_puts(out, t->inverted ? ") != " : ") == ");
		put_flags(t->bits, out);
		break;
	case FW_SKUID:
		buf_printf(out, "meta skuid \"%s\"", t->name);
		break;
	case FW_LIMIT:
		put_rate(&t->rate, out);
		break;
	case FW_METER:
		buf_printf(out, "%s @%s { ", t->rate.connections ? "add" : "update", t->name);
		put_address(t, "saddr", out);
		buf_addc(out, ' ');
		put_rate(&t->rate, out);
		buf_puts(out, " }");
		break;
	case FW_COUNTER:
		buf_printf(out, "counter name \"%s\"", t->name);
		break;
	case FW_LOG:
		buf_printf(out, "log prefix \"%s\"", t->name);
		break;
	}
	buf_addc(out, ' ');
}

static void put_verdict(const struct fw_rule *r, struct buf *out)
{
	struct fw_range to;
	char text[128];

	switch (r->verdict) {
	case FW_CONTINUE:
		break;
	case FW_ACCEPT:
		buf_puts(out, "accept ");
		break;
	case FW_DROP:
		buf_puts(out, "drop ");
		break;
	case FW_RETURN:
		buf_puts(out, "return ");
		break;
	case FW_JUMP:
	case FW_GOTO:
		buf_printf(out, "%s %s ", r->verdict == FW_JUMP ? "jump" : "goto", r->target);
		break;
	case FW_DNAT:
		memcpy(to.first, r->to, sizeof(to.first));
		memcpy(to.last, r->to, sizeof(to.last));
		fw_range_text(r->family, &to, text, sizeof(text));
		buf_printf(out, "dnat %s to %s ", r->family == FW_TYPE_IPV4 ? "ip" : "ip6", text);
		break;
	case FW_MASQUERADE:
		buf_puts(out, "masquerade ");
		break;
	}
}

void fw_rule_text(const struct fw_rule *r, struct buf *out)
{
	if (r->custom != NULL) {
		buf_puts(out, r->custom);
		return;
	}
	for (size_t i = 0; i < r->term_count; i++)
		put_term(&r->terms[i], out);
	put_verdict(r, out);
	buf_printf(out, "comment \"%s\"", r->comment);
}

static void put_set_head(const struct fw_set *set, struct buf *out)
{
	const char *between = "; flags ";

	buf_printf(out, "\tset %s { type %s", set->name, fw_type_name(set->type));
	if (set->size > 0)
		buf_printf(out, "; size %u", set->size);
	if (set->interval) {
		buf_printf(out, "%sinterval", between);
		between = ",";
	}
	if (set->dynamic) {
		buf_printf(out, "%sdynamic", between);
		between = ",";
	}
	if (set->timeouts)
		buf_printf(out, "%stimeout", between);
	if (set->timeout_s > 0)
		buf_printf(out, "; timeout %us", set->timeout_s);
	buf_puts(out, ";");
}

static void put_set(const struct fw_set *set, struct buf *out)
{
	put_set_head(set, out);
	if (set->interval && set->elements.count > 0) {
		char text[128];

		buf_puts(out, " elements = { ");
		for (size_t i = 0; i < set->elements.count; i++) {
			fw_range_text(set->type, &set->elements.at[i], text, sizeof(text));
			buf_puts(out, i == 0 ? "" : i % 8 == 0 ? ",\n\t\t" : ", ");
			buf_puts(out, text);
		}
		buf_puts(out, " };");
	}
	buf_puts(out, " }\n");
}

static void put_chain_head(const struct fw_chain *c, struct buf *out)
{
	static const char *const hooks[] = { "prerouting", "input", "forward", "output", "postrouting" };

	if (c->hook == FW_NO_HOOK)
		return;
	buf_printf(out, "type %s hook %s priority %s; policy %s;", c->nat ? "nat" : "filter", hooks[c->hook],
	    c->priority < 0   ? "dstnat"
	    : c->priority > 0 ? "srcnat"
			      : "filter",
	    c->accepts ? "accept" : "drop");
}

bool fw_chain_known(const struct fw_model *m, const char *name)
{
	for (size_t i = 0; fw_all_chains[i] != NULL; i++)
		if (strcmp(fw_all_chains[i], name) == 0)
			return true;
	return fw_chain_find(m, name) != NULL;
}

/* A line for each chain that some site has and for those of this one alone: declared, or deleted. */
static void each_chain(const struct fw_model *m, const char *begin, struct buf *out)
{
	static const struct fw_model none;

	for (size_t i = 0; fw_all_chains[i] != NULL; i++) {
		buf_puts(out, begin);
		buf_printf(out, "%s%s", fw_all_chains[i], begin[0] == '\t' ? " { }\n" : "\n");
	}
	for (size_t i = 0; i < m->chain_count; i++) {
		if (fw_chain_known(&none, m->chains[i].name))
			continue;
		buf_puts(out, begin);
		buf_printf(out, "%s%s", m->chains[i].name, begin[0] == '\t' ? " { }\n" : "\n");
	}
}

/* What was there before is taken away, whichever of it was. */
static void put_start(const struct fw_model *m, struct buf *out)
{
	const char *note = fw_model_notes(m);

	buf_puts(out, "# Written by mailadm from the site file; edit that, not this.\n");
	for (size_t len; *note != '\0'; note += len) {
		len = strcspn(note, "\n") + 1;
		buf_printf(out, "# %.*s", (int)len, note);
	}
	buf_puts(out, "table inet " FW_TABLE " {\n");
	for (size_t i = 0; i < m->set_count; i++) {
		put_set_head(&m->sets[i], out);
		buf_puts(out, " }\n");
	}
	each_chain(m, "\tchain ", out);
	buf_puts(out, "}\nflush table inet " FW_TABLE "\n");
	each_chain(m, "delete chain inet " FW_TABLE " ", out);
	for (size_t i = 0; i < m->set_count; i++)
		if (m->sets[i].interval || (m->sets[i].dynamic && m->sets[i].timeouts))
			buf_printf(out, "flush set inet " FW_TABLE " %s\n", m->sets[i].name);
}

int fw_model_text(const struct fw_model *m, struct buf *out)
{
	put_start(m, out);
	buf_puts(out, "table inet " FW_TABLE " {\n");
	for (size_t i = 0; i < m->counter_count; i++)
		buf_printf(out, "\tcounter %s { }\n", m->counters[i]);
	for (size_t i = 0; i < m->set_count; i++)
		put_set(&m->sets[i], out);
	for (size_t i = 0; i < m->chain_count; i++) {
		const struct fw_chain *c = &m->chains[i];

		buf_printf(out, "\tchain %s {\n", c->name);
		if (c->hook != FW_NO_HOOK) {
			buf_puts(out, "\t\t");
			put_chain_head(c, out);
			buf_addc(out, '\n');
		}
		for (size_t j = 0; j < c->count; j++) {
			buf_puts(out, "\t\t");
			fw_rule_text(&c->rules[j], out);
			buf_addc(out, '\n');
		}
		buf_puts(out, "\t}\n");
	}
	buf_puts(out, "}\n");
	return out->full ? -1 : 0;
}
