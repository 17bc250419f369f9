/*
 * What is loaded against the model, without nft: chains, sets and counters as netlink_state.c lists them; rules as the
 * text that libnftnl prints of their expressions, the kernel's beside those that netlink_rule.c makes; elements as the
 * points that netlink.c would load.  A rule's set without a name is printed without its number, and its elements are
 * compared.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include <libnftnl/common.h>
#include <libnftnl/expr.h>
#include <libnftnl/rule.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>

#include "fwgen/netlink.h"

#pragma GCC diagnostic ignored "-Wconversion" /* libmnl's loops over attributes subtract pointers into an int */

#define RULES_MAX 65536
#define TEXT_MAX (1u << 20) /* of a rule */

static int send_and_read(struct fw_netlink *n, const struct nlmsghdr *h, mnl_cb_t fn, void *arg)
{
	if (mnl_socket_sendto(n->socket, h, h->nlmsg_len) < 0)
		return errno;
	return fw_answer(mnl_socket_get_fd(n->socket), n->received, FW_RECEIVE_SIZE, n->sequence, n->portid, fn, arg);
}

/* Elements -------------------------------------------------------------------------------------------------------- */

struct points {
	struct fw_point *at;
	size_t count, room;
	bool odd; /* there is what no element of ours has */
};

static int by_key(const void *a, const void *b)
{
	const struct fw_point *one = a, *other = b;
	int order = memcmp(one->key, other->key, sizeof(one->key));

	return order != 0 ? order : one->end - other->end;
}

static bool same_points(const struct fw_point *a, const struct fw_point *b, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (memcmp(a[i].key, b[i].key, sizeof(a[i].key)) != 0 || a[i].end != b[i].end || a[i].open != b[i].open)
			return false;
	return true;
}

/* False: it has what no element of ours has (a time, a verdict). */
static bool take_element(const struct nlattr *element, struct fw_point *p)
{
	const struct nlattr *a, *value;
	bool has_key = false;

	*p = (struct fw_point){ .end = false };
	mnl_attr_for_each_nested(a, element)
	{
		switch (mnl_attr_get_type(a)) {
		case NFTA_SET_ELEM_KEY:
			value = mnl_attr_get_payload(a);
			if (!mnl_attr_ok(value, mnl_attr_get_payload_len(a)) ||
			    mnl_attr_get_payload_len(value) > sizeof(p->key))
				return false;
			memcpy(p->key, mnl_attr_get_payload(value), mnl_attr_get_payload_len(value));
			has_key = true;
			break;
		case NFTA_SET_ELEM_FLAGS:
			if (mnl_attr_get_payload_len(a) != sizeof(uint32_t) ||
			    ntohl(mnl_attr_get_u32(a)) != NFT_SET_ELEM_INTERVAL_END)
				return false;
			p->end = true;
			break;
		case NFTA_SET_ELEM_USERDATA: /* of ours only those that are open have it */
			p->open = true;
			break;
		default:
			return false;
		}
	}
	return has_key;
}

static int on_elements(const struct nlmsghdr *h, void *arg)
{
	struct points *p = arg;
	const struct nlattr *a, *element;

	mnl_attr_for_each(a, h, sizeof(struct nfgenmsg))
	{
		if (mnl_attr_get_type(a) != NFTA_SET_ELEM_LIST_ELEMENTS)
			continue;
		mnl_attr_for_each_nested(element, a)
		{
			if (p->count == p->room) {
				p->room = p->room > 0 ? 2 * p->room : 64;
				p->at = xreallocarray(p->at, p->room, sizeof(*p->at));
			}
			p->odd = !take_element(element, &p->at[p->count++]) || p->odd;
		}
	}
	return MNL_CB_OK;
}

/* Does the set of that name hold these and no others?  0, ENOMSG (no), or another errno. */
static int holds(struct fw_netlink *n, const char *set, const struct fw_ranges *r, bool interval)
{
	char request[256] __attribute__((aligned(8)));
	struct nlmsghdr *h =
	    nftnl_nlmsg_build_hdr(request, NFT_MSG_GETSETELEM, NFPROTO_INET, NLM_F_DUMP, ++n->sequence);
	struct points has = { .at = NULL };
	struct fw_point *want;
	size_t count;
	int err;

	mnl_attr_put_strz(h, NFTA_SET_ELEM_LIST_TABLE, FW_TABLE);
	mnl_attr_put_strz(h, NFTA_SET_ELEM_LIST_SET, set);
	err = send_and_read(n, h, on_elements, &has);
	want = fw_points(r, interval, &count);
	if (has.count > 0)
		qsort(has.at, has.count, sizeof(*has.at), by_key);
	qsort(want, count, sizeof(*want), by_key);
	if (err == 0 && (has.odd || has.count != count || !same_points(has.at, want, count)))
		err = ENOMSG;
	free(want);
	free(has.at);
	return err;
}

/* Rules ----------------------------------------------------------------------------------------------------------- */

struct rules {
	struct nftnl_rule **at; /* in the kernel's order, which is that of each chain */
	size_t count, room;
	bool odd; /* there is one that libnftnl cannot read */
};

static int on_rule(const struct nlmsghdr *h, void *arg)
{
	struct rules *list = arg;
	struct nftnl_rule *r = nftnl_rule_alloc();

	if (r == NULL || nftnl_rule_nlmsg_parse(h, r) != 0 || list->count >= RULES_MAX) {
		if (r != NULL)
			nftnl_rule_free(r);
		list->odd = true;
		return MNL_CB_OK;
	}
	if (list->count == list->room) {
		list->room = list->room > 0 ? 2 * list->room : 256;
		list->at = xreallocarray(list->at, list->room, sizeof(*list->at));
	}
	list->at[list->count++] = r;
	return MNL_CB_OK;
}

struct printed {
	struct buf text;
	char sets[FW_TERMS_MAX][64]; /* those without a name, as the kernel calls them */
	size_t count;
};

/* The kernel says what was left out too. */
static void fill(struct nftnl_expr *x, const char *kind)
{
	if (strcmp(kind, "lookup") == 0 && !nftnl_expr_is_set(x, NFTNL_EXPR_LOOKUP_FLAGS))
		nftnl_expr_set_u32(x, NFTNL_EXPR_LOOKUP_FLAGS, 0);
	else if (strcmp(kind, "dynset") == 0 && !nftnl_expr_is_set(x, NFTNL_EXPR_DYNSET_TIMEOUT))
		nftnl_expr_set_u64(x, NFTNL_EXPR_DYNSET_TIMEOUT, 0);
	else if (strcmp(kind, "log") == 0 && !nftnl_expr_is_set(x, NFTNL_EXPR_LOG_LEVEL))
		nftnl_expr_set_u32(x, NFTNL_EXPR_LOG_LEVEL, LOG_WARNING);
	else if (strcmp(kind, "nat") == 0 && !nftnl_expr_is_set(x, NFTNL_EXPR_NAT_REG_ADDR_MAX))
		nftnl_expr_set_u32(x, NFTNL_EXPR_NAT_REG_ADDR_MAX, nftnl_expr_get_u32(x, NFTNL_EXPR_NAT_REG_ADDR_MIN));
}

static int print_expression(struct nftnl_expr *x, void *arg)
{
	struct printed *p = arg;
	const char *kind = nftnl_expr_get_str(x, NFTNL_EXPR_NAME), *set;
	char text[1024] = "";

	if (strcmp(kind, "lookup") == 0 && (set = nftnl_expr_get_str(x, NFTNL_EXPR_LOOKUP_SET)) != NULL &&
	    strncmp(set, "__set", 5) == 0 && p->count < FW_TERMS_MAX) {
		snprintf(p->sets[p->count++], sizeof(p->sets[0]), "%s", set);
		nftnl_expr_set_str(x, NFTNL_EXPR_LOOKUP_SET, FW_ANONYMOUS);
	}
	fill(x, kind);
	nftnl_expr_snprintf(text, sizeof(text), x, NFTNL_OUTPUT_DEFAULT, 0);
	buf_printf(&p->text, "%s %s\n", kind, text);
	return 0;
}

/* With the comment as its bytes. */
static void print(struct nftnl_rule *r, struct printed *p)
{
	uint32_t len = 0;
	const void *userdata = nftnl_rule_get_data(r, NFTNL_RULE_USERDATA, &len);

	p->text = BUF_INIT(TEXT_MAX);
	p->count = 0;
	nftnl_expr_foreach(r, print_expression, p);
	if (userdata != NULL)
		buf_add(&p->text, userdata, len);
}

static int same_rule(struct fw_netlink *n, struct nftnl_rule *has, const char *chain, const struct fw_rule *rule)
{
	struct fw_anonymous sets[FW_TERMS_MAX];
	struct printed a, b;
	uint32_t id = 1;
	size_t count;
	struct nftnl_rule *want = fw_netlink_rule(chain, rule, &id, sets, &count);
	int err = 0;

	print(has, &a);
	print(want, &b);
	if (a.count != count || a.text.full || a.text.len != b.text.len ||
	    memcmp(a.text.data, b.text.data, a.text.len) != 0)
		err = ENOMSG;
	for (size_t i = 0; err == 0 && i < count; i++)
		err = holds(n, a.sets[i], &sets[i].term->values, fw_needs_intervals(&sets[i].term->values));
	nftnl_rule_free(want);
	buf_free(&a.text);
	buf_free(&b.text);
	return err;
}

/* Each is the next of its chain. */
static int same_rules(struct fw_netlink *n, const struct fw_model *m, const struct rules *list)
{
	size_t *next = xcalloc(m->chain_count + 1, sizeof(*next)), wanted = 0;
	int err = 0;

	for (size_t i = 0; i < m->chain_count; i++)
		wanted += m->chains[i].count;
	if (list->odd || list->count != wanted)
		err = ENOMSG;
	for (size_t i = 0; err == 0 && i < list->count; i++) {
		const char *name = nftnl_rule_get_str(list->at[i], NFTNL_RULE_CHAIN);
		const struct fw_chain *c = name != NULL ? fw_chain_find(m, name) : NULL;
		size_t *k = &next[c != NULL ? (size_t)(c - m->chains) : m->chain_count];

		err = c != NULL && *k < c->count ? same_rule(n, list->at[i], name, &c->rules[(*k)++]) : ENOMSG;
	}
	free(next);
	return err;
}

static int compare_rules(struct fw_netlink *n, const struct fw_model *m)
{
	char request[256] __attribute__((aligned(8)));
	struct nlmsghdr *h = nftnl_nlmsg_build_hdr(request, NFT_MSG_GETRULE, NFPROTO_INET, NLM_F_DUMP, ++n->sequence);
	struct rules list = { .at = NULL };
	int err;

	mnl_attr_put_strz(h, NFTA_RULE_TABLE, FW_TABLE);
	err = send_and_read(n, h, on_rule, &list);
	if (err == 0)
		err = same_rules(n, m, &list);
	for (size_t i = 0; i < list.count; i++)
		nftnl_rule_free(list.at[i]);
	free(list.at);
	return err;
}

/* The whole ------------------------------------------------------------------------------------------------------- */

/* A name is there once: when all that is there is the model's, and as many, then nothing is missing. */
static bool same_state(const struct fw_state *s, const struct fw_model *m)
{
	for (size_t i = 0; i < s->count; i++)
		if (!s->at[i].same)
			return false;
	return s->present && !s->dormant && s->count == m->chain_count + m->set_count + m->counter_count;
}

int fw_netlink_same(const struct fw_model *m, struct error *e)
{
	struct fw_netlink n;
	struct fw_state s = { .present = false };
	int err;

	if (fw_netlink_open(&n, e) == -1)
		return -1;
	err = fw_netlink_state(&n, m, &s);
	if (err == 0 && !same_state(&s, m))
		err = ENOMSG;
	for (size_t i = 0; err == 0 && i < m->set_count; i++)
		if (m->sets[i].interval)
			err = holds(&n, m->sets[i].name, &m->sets[i].elements, true);
	if (err == 0)
		err = compare_rules(&n, m);
	fw_state_free(&s);
	fw_netlink_close(&n);
	if (err == ENOMSG || err == EINTR || err == ENOENT) /* or it changed meanwhile, and cannot be told */
		return 0;
	return err == 0 ? 1 : fw_netlink_error(err, NULL, e);
}
