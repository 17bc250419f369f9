/*
 * The rule model as JSON: { table, counters, sets, chains }.  A rule has its comment, "match" (a list of objects with
 * "what" and what it compares) and "verdict"; "text" is the same rule for nft.
 */
#include <netinet/in.h>

#include "fwgen/model.h"

static json_t *values_json(const struct fw_ranges *r)
{
	json_t *list = json_array();
	char text[128];

	for (size_t i = 0; i < r->count; i++) {
		fw_range_text(r->type, &r->at[i], text, sizeof(text));
		json_array_append_new(list, json_string(text));
	}
	return list;
}

static const char *what(const struct fw_term *t)
{
	static const char *const names[] = { [FW_IIF_LO] = "in_loopback",
		[FW_OIF_LO] = "out_loopback",
		[FW_IIFNAME] = "in_interface",
		[FW_OIFNAME] = "out_interface",
		[FW_NFPROTO] = "family",
		[FW_L4PROTO] = "protocol",
		[FW_CT_STATE] = "state",
		[FW_CT_DNAT] = "destination_rewritten",
		[FW_SADDR] = "source",
		[FW_DADDR] = "destination",
		[FW_ICMP_TYPE] = "icmp_type",
		[FW_SPORT] = "source_port",
		[FW_DPORT] = "destination_port",
		[FW_TCP_FLAGS] = "tcp_flags",
		[FW_SKUID] = "user",
		[FW_LIMIT] = "limit",
		[FW_METER] = "limit_by_source",
		[FW_COUNTER] = "counter",
		[FW_LOG] = "log" };

	return names[t->kind];
}

static void put_detail(json_t *o, const struct fw_term *t)
{
	if (t->kind == FW_CT_STATE || t->kind == FW_TCP_FLAGS)
		json_object_set_new(o, "bits", json_integer(t->bits));
	if (t->kind == FW_TCP_FLAGS)
		json_object_set_new(o, "mask", json_integer(t->mask));
	if (t->kind == FW_LIMIT || t->kind == FW_METER) {
		json_object_set_new(o, t->rate.connections ? "connections" : "count", json_integer(t->rate.count));
		json_object_set_new(o, "over", json_boolean(t->rate.over));
	}
	if ((t->kind == FW_LIMIT || t->kind == FW_METER) && !t->rate.connections) {
		json_object_set_new(o, "seconds", json_integer(t->rate.per_s));
		json_object_set_new(o, "burst", json_integer(t->rate.burst));
	}
	if (t->kind == FW_SPORT || t->kind == FW_DPORT)
		json_object_set_new(o, "protocol", json_string(t->protocol == IPPROTO_UDP ? "udp" : "tcp"));
	if (t->kind == FW_NFPROTO || t->kind == FW_SADDR || t->kind == FW_DADDR || t->kind == FW_METER)
		json_object_set_new(o, "family", json_string(t->type == FW_TYPE_IPV6 ? "ipv6" : "ipv4"));
}

static json_t *term_json(const struct fw_term *t)
{
	json_t *o = json_pack("{s:s}", "what", what(t));
	bool set = t->kind == FW_SADDR || t->kind == FW_DADDR || t->kind == FW_METER;

	if (t->inverted)
		json_object_set_new(o, "inverted", json_true());
	if (t->by_64)
		json_object_set_new(o, "prefix_length", json_integer(64));
	if (t->name[0] != '\0')
		json_object_set_new(o, set ? "set" : "name", json_string(t->name));
	if (t->values.count > 0)
		json_object_set_new(o, "values", values_json(&t->values));
	put_detail(o, t);
	return o;
}

static json_t *rule_json(const struct fw_rule *r)
{
	static const char *const verdicts[] = { "continue", "accept", "drop", "return", "jump", "goto", "dnat",
		"masquerade" };
	struct buf text = BUF_INIT(1 << 20);
	json_t *o = json_pack("{s:s}", "comment", r->comment), *terms = json_array();
	struct fw_range to;
	char address[128];

	fw_rule_text(r, &text);
	json_object_set_new(o, "text", json_string(buf_str(&text)));
	buf_free(&text);
	for (size_t i = 0; i < r->term_count; i++)
		json_array_append_new(terms, term_json(&r->terms[i]));
	json_object_set_new(o, "match", terms);
	json_object_set_new(
	    o, "verdict", r->custom != NULL ? json_string("custom") : json_string(verdicts[r->verdict]));
	if (r->verdict == FW_JUMP || r->verdict == FW_GOTO)
		json_object_set_new(o, "target", json_string(r->target));
	if (r->verdict == FW_DNAT) {
		memcpy(to.first, r->to, sizeof(to.first));
		memcpy(to.last, r->to, sizeof(to.last));
		fw_range_text(r->family, &to, address, sizeof(address));
		json_object_set_new(o, "to", json_string(address));
	}
	return o;
}

static json_t *chain_json(const struct fw_chain *c)
{
	static const char *const hooks[] = { "prerouting", "input", "forward", "output", "postrouting" };
	json_t *o = json_pack("{s:s}", "name", c->name), *rules = json_array();

	if (c->hook != FW_NO_HOOK) {
		json_object_set_new(o, "type", json_string(c->nat ? "nat" : "filter"));
		json_object_set_new(o, "hook", json_string(hooks[c->hook]));
		json_object_set_new(o, "priority", json_integer(c->priority));
		json_object_set_new(o, "policy", json_string(c->accepts ? "accept" : "drop"));
	}
	for (size_t i = 0; i < c->count; i++)
		json_array_append_new(rules, rule_json(&c->rules[i]));
	json_object_set_new(o, "rules", rules);
	return o;
}

static json_t *set_json(const struct fw_set *set)
{
	json_t *o = json_pack("{s:s, s:s, s:s}", "name", set->name, "type", fw_type_name(set->type), "why", set->why);

	if (set->size > 0)
		json_object_set_new(o, "size", json_integer(set->size));
	if (set->timeout_s > 0)
		json_object_set_new(o, "timeout", json_integer(set->timeout_s));
	if (set->interval)
		json_object_set_new(o, "elements", values_json(&set->elements));
	return o;
}

json_t *fw_model_json(const struct fw_model *m)
{
	json_t *counters = json_array(), *sets = json_array(), *chains = json_array();

	for (size_t i = 0; i < m->counter_count; i++)
		json_array_append_new(counters, json_string(m->counters[i]));
	for (size_t i = 0; i < m->set_count; i++)
		json_array_append_new(sets, set_json(&m->sets[i]));
	for (size_t i = 0; i < m->chain_count; i++)
		json_array_append_new(chains, chain_json(&m->chains[i]));
	return json_pack("{s:s, s:s, s:o, s:o, s:o}", "family", "inet", "table", FW_TABLE, "counters", counters, "sets",
	    sets, "chains", chains);
}
