/* How a rule model is put together: chains, sets, rules and their terms.  Names are the makers' own and short. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fwgen/model.h"

#define LOG_RATE 5 /* lines a minute of each reason */

struct fw_chain *fw_chain_find(const struct fw_model *m, const char *name)
{
	for (size_t i = 0; i < m->chain_count; i++)
		if (strcmp(m->chains[i].name, name) == 0)
			return &m->chains[i];
	return NULL;
}

struct fw_chain *fw_chain_add(struct fw_model *m, const char *name)
{
	struct fw_chain *c = fw_chain_find(m, name);

	if (c != NULL)
		return c;
	m->chains = xreallocarray(m->chains, m->chain_count + 1, sizeof(*m->chains));
	c = &m->chains[m->chain_count++];
	*c = (struct fw_chain){ .hook = FW_NO_HOOK };
	snprintf(c->name, sizeof(c->name), "%s", name);
	return c;
}

struct fw_chain *fw_chain_hook(struct fw_model *m, const char *name, enum fw_hook hook, int priority, bool accepts)
{
	struct fw_chain *c = fw_chain_add(m, name);

	c->hook = hook;
	c->nat = hook == FW_PREROUTING || hook == FW_POSTROUTING;
	c->priority = priority;
	c->accepts = accepts;
	return c;
}

struct fw_set *fw_set_find(const struct fw_model *m, const char *name)
{
	for (size_t i = 0; i < m->set_count; i++)
		if (strcmp(m->sets[i].name, name) == 0)
			return &m->sets[i];
	return NULL;
}

struct fw_set *fw_set_add(struct fw_model *m, const char *name, enum fw_type type, const char *why)
{
	struct fw_set *set = fw_set_find(m, name);

	if (set != NULL)
		return set;
	m->sets = xreallocarray(m->sets, m->set_count + 1, sizeof(*m->sets));
	set = &m->sets[m->set_count++];
	*set = (struct fw_set){ .why = why, .type = type, .elements = { .type = type } };
	snprintf(set->name, sizeof(set->name), "%s", name);
	return set;
}

/* nft comments hold no quote, JSON only UTF-8, and what is not printable would not come back the same. */
static void clean(char *comment)
{
	for (; *comment != '\0'; comment++)
		if (*comment == '"' || *comment == '\\' || *comment < ' ' || *comment > '~')
			*comment = '_';
}

struct fw_rule *fw_rule_add(struct fw_model *m, const char *chain, enum fw_verdict verdict, const char *comment, ...)
{
	struct fw_chain *c = fw_chain_add(m, chain);
	struct fw_rule *r;
	va_list ap;

	if (c->count == c->room) {
		c->room = c->room > 0 ? 2 * c->room : 16;
		c->rules = xreallocarray(c->rules, c->room, sizeof(*c->rules));
	}
	r = &c->rules[c->count++];
	memset(r, 0, sizeof(*r));
	r->verdict = verdict;
	va_start(ap, comment);
	vsnprintf(r->comment, sizeof(r->comment), comment, ap);
	va_end(ap);
	clean(r->comment);
	return r;
}

struct fw_term *fw_term_add(struct fw_rule *r, enum fw_term_kind kind)
{
	struct fw_term *t = &r->terms[r->term_count];

	if (r->term_count >= FW_TERMS_MAX)
		fatalx("fwgen: a rule has more than %d terms", FW_TERMS_MAX);
	r->term_count++;
	*t = (struct fw_term){ .kind = kind };
	return t;
}

void fw_rule_named(struct fw_rule *r, enum fw_term_kind kind, const char *name)
{
	snprintf(fw_term_add(r, kind)->name, sizeof(r->terms[0].name), "%s", name);
}

void fw_rule_in_set(struct fw_rule *r, enum fw_term_kind kind, enum fw_type type, const char *set, bool by_64)
{
	struct fw_term *t = fw_term_add(r, kind);

	snprintf(t->name, sizeof(t->name), "%s", set);
	t->type = type;
	t->by_64 = by_64;
}

void fw_rule_prefixes(struct fw_rule *r, enum fw_term_kind kind, enum fw_type type, const struct strings *prefixes)
{
	struct fw_term *t = fw_term_add(r, kind);

	t->type = t->values.type = type;
	for (size_t i = 0; i < prefixes->count; i++)
		fw_ranges_add_prefix(&t->values, prefixes->at[i]);
	fw_ranges_merge(&t->values);
}

void fw_rule_address(struct fw_rule *r, enum fw_term_kind kind, const char *address)
{
	char *one[] = { (char *)address };

	fw_rule_prefixes(
	    r, kind, strchr(address, ':') != NULL ? FW_TYPE_IPV6 : FW_TYPE_IPV4, &(struct strings){ one, 1 });
}

void fw_rule_ports(struct fw_rule *r, enum fw_term_kind kind, uint8_t protocol, const uint16_t *ports, size_t count)
{
	struct fw_term *t = fw_term_add(r, kind);

	t->protocol = protocol;
	t->type = t->values.type = FW_TYPE_PORT;
	for (size_t i = 0; i < count; i++)
		fw_ranges_add_number(&t->values, ports[i]);
	fw_ranges_merge(&t->values);
}

void fw_rule_port(struct fw_rule *r, const char *protocol, uint16_t port)
{
	fw_rule_ports(r, FW_DPORT, strcmp(protocol, "udp") == 0 ? IPPROTO_UDP : IPPROTO_TCP, &port, 1);
}

static void add_counter(struct fw_model *m, const char *name)
{
	if (m->counter_count >= sizeof(m->counters) / sizeof(m->counters[0]))
		fatalx("fwgen: too many counters");
	snprintf(m->counters[m->counter_count++], sizeof(m->counters[0]), "%s", name);
}

/* r is found again by its chain and place, since adding a chain moves them all; its rules stay where they are. */
void fw_rule_drops(struct fw_model *m, struct fw_rule *r, const char *reason)
{
	char name[sizeof(r->target)];
	struct fw_rule *last;

	snprintf(name, sizeof(name), "drop_%s", reason);
	r->verdict = FW_GOTO;
	snprintf(r->target, sizeof(r->target), "%s", name);
	if (fw_chain_find(m, name) != NULL)
		return;
	fw_chain_add(m, name)->reason = reason;
	add_counter(m, reason);
	last = fw_rule_add(m, name, FW_CONTINUE, "at most %d lines a minute, firewall.log", LOG_RATE);
	fw_term_add(last, FW_LIMIT)->rate = (struct fw_rate){ .count = LOG_RATE, .per_s = 60, .burst = LOG_RATE };
	snprintf(fw_term_add(last, FW_LOG)->name, sizeof(last->terms[0].name), "mailadm %s: ", reason);
	last = fw_rule_add(m, name, FW_DROP, "counted as %s", reason);
	fw_rule_named(last, FW_COUNTER, reason);
}

bool fw_prefixes_have(const struct strings *prefixes, enum fw_type type)
{
	for (size_t i = 0; i < prefixes->count; i++)
		if ((strchr(prefixes->at[i], ':') != NULL) == (type == FW_TYPE_IPV6))
			return true;
	return false;
}
