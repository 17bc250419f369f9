/*
 * The model as one batch of nfnetlink messages: all of it or nothing.  Old rules go, then chains, sets and counters
 * that the model has not; those that it has too stay as they are, so that bans, meters and counters keep what they
 * hold.  The elements of block lists are replaced.
 *
 * The batch names the generation at which the table was listed.  When somebody changed the ruleset since, the kernel
 * answers ERESTART, and all is listed and made again.
 *
 * An interval set holds points: where a range begins, and (flagged) where it has ended.  A range up to the last address
 * has no end; nft marks it by user data.  Elements are written by hand, since block lists have 100,000 of them.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h> /* before the kernel's */
#include <stdlib.h>
#include <string.h>

#include <libnftnl/chain.h>
#include <libnftnl/common.h>
#include <libnftnl/object.h>
#include <libnftnl/rule.h>
#include <libnftnl/set.h>
#include <libnftnl/table.h>
#include <libnftnl/udata.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>

#include "fwgen/netlink.h"

#define BATCH_MAX (256u << 20)
#define MESSAGE_MAX 65536
#define LIST_MAX 60000 /* bytes of elements in one message: the attribute's length has 16 bits */
#define TRIES 20

/* nft's own numbers in the user data of sets */
enum { HOST_ORDER = 1, NETWORK_ORDER = 2 };
enum { EXPRESSION_PAYLOAD = 7, EXPRESSION_META = 9 };
enum { HEADER_UDP = 6, HEADER_TCP = 8, HEADER_ICMP = 4, HEADER_IP = 12, HEADER_IP6 = 13, HEADER_ICMP6 = 14 };
#define INTERVAL_OPEN 1u

struct batch {
	struct buf out;
	uint32_t first, sequence; /* of the messages */
	const char **about;       /* what each is about, from first on */
	size_t room;
	uint32_t id; /* of the next set */
	char *message;
};

/* Messages ----------------------------------------------------------------------------------------------------------
 */

static struct nlmsghdr *begin(struct batch *b, uint16_t type, uint16_t flags, const char *about)
{
	size_t i = ++b->sequence - b->first;

	if (i >= b->room) {
		b->room = 2 * b->room + 64;
		b->about = xreallocarray(b->about, b->room, sizeof(*b->about));
	}
	b->about[i] = about;
	return nftnl_nlmsg_build_hdr(b->message, type, NFPROTO_INET, flags, b->sequence);
}

static void end(struct batch *b, const struct nlmsghdr *h)
{
	buf_add(&b->out, h, h->nlmsg_len);
}

static void control(struct batch *b, uint16_t type, const uint32_t *generation)
{
	struct nlmsghdr *h = mnl_nlmsg_put_header(b->message);
	struct nfgenmsg *g;

	h->nlmsg_type = type;
	h->nlmsg_flags = NLM_F_REQUEST;
	h->nlmsg_seq = ++b->sequence;
	g = mnl_nlmsg_put_extra_header(h, sizeof(*g));
	g->nfgen_family = AF_UNSPEC;
	g->version = NFNETLINK_V0;
	g->res_id = htons(NFNL_SUBSYS_NFTABLES);
	if (generation != NULL)
		mnl_attr_put_u32(h, NFNL_BATCH_GENID, htonl(*generation));
	buf_add(&b->out, h, h->nlmsg_len);
}

static void *made(void *object)
{
	if (object == NULL)
		fatalx("out of memory");
	return object;
}

/* Tables, chains, counters ------------------------------------------------------------------------------------------
 */

static void put_table(struct batch *b)
{
	struct nftnl_table *t = made(nftnl_table_alloc());
	struct nlmsghdr *h = begin(b, NFT_MSG_NEWTABLE, NLM_F_CREATE, "table inet " FW_TABLE);

	nftnl_table_set_str(t, NFTNL_TABLE_NAME, FW_TABLE);
	nftnl_table_set_u32(t, NFTNL_TABLE_FLAGS, 0);
	nftnl_table_nlmsg_build_payload(h, t);
	nftnl_table_free(t);
	end(b, h);
}

static void put_no_rules(struct batch *b)
{
	struct nftnl_rule *r = made(nftnl_rule_alloc());
	struct nlmsghdr *h = begin(b, NFT_MSG_DELRULE, 0, "the rules that are there");

	nftnl_rule_set_u32(r, NFTNL_RULE_FAMILY, NFPROTO_INET);
	nftnl_rule_set_str(r, NFTNL_RULE_TABLE, FW_TABLE);
	nftnl_rule_nlmsg_build_payload(h, r);
	nftnl_rule_free(r);
	end(b, h);
}

static void put_chain(struct batch *b, uint16_t message, const char *name, const struct fw_chain *c)
{
	struct nftnl_chain *chain = made(nftnl_chain_alloc());
	struct nlmsghdr *h = begin(b, message, message == NFT_MSG_NEWCHAIN ? NLM_F_CREATE : 0, name);

	nftnl_chain_set_str(chain, NFTNL_CHAIN_TABLE, FW_TABLE);
	nftnl_chain_set_str(chain, NFTNL_CHAIN_NAME, name);
	if (c != NULL && c->hook != FW_NO_HOOK) {
		nftnl_chain_set_str(chain, NFTNL_CHAIN_TYPE, c->nat ? "nat" : "filter");
		nftnl_chain_set_u32(chain, NFTNL_CHAIN_POLICY, c->accepts ? NF_ACCEPT : NF_DROP);
		nftnl_chain_set_u32(chain, NFTNL_CHAIN_HOOKNUM, (uint32_t)c->hook);
		nftnl_chain_set_s32(chain, NFTNL_CHAIN_PRIO, c->priority);
	}
	nftnl_chain_nlmsg_build_payload(h, chain);
	nftnl_chain_free(chain);
	end(b, h);
}

static void put_object(struct batch *b, uint16_t message, const char *name, uint32_t type)
{
	struct nftnl_obj *o = made(nftnl_obj_alloc());
	struct nlmsghdr *h = begin(b, message, message == NFT_MSG_NEWOBJ ? NLM_F_CREATE : 0, name);

	nftnl_obj_set_str(o, NFTNL_OBJ_TABLE, FW_TABLE);
	nftnl_obj_set_str(o, NFTNL_OBJ_NAME, name);
	nftnl_obj_set_u32(o, NFTNL_OBJ_TYPE, type);
	nftnl_obj_nlmsg_build_payload(h, o);
	nftnl_obj_free(o);
	end(b, h);
}

/* Sets --------------------------------------------------------------------------------------------------------------
 */

uint32_t fw_set_key(enum fw_type type)
{
	static const uint32_t keys[] = { [FW_TYPE_IPV4] = 7,
		[FW_TYPE_IPV6] = 8,
		[FW_TYPE_PORT] = 13,
		[FW_TYPE_ICMP] = 14,
		[FW_TYPE_ICMPV6] = 29,
		[FW_TYPE_PROTOCOL] = 12 };

	return keys[type];
}

uint32_t fw_set_flags(const struct fw_set *s)
{
	return (s->interval ? NFT_SET_INTERVAL : 0u) | (s->dynamic ? NFT_SET_EVAL : 0u) |
	       (s->timeouts ? NFT_SET_TIMEOUT : 0u);
}

static struct nftnl_set *new_set(const char *name, uint32_t id, enum fw_type type, uint32_t flags)
{
	struct nftnl_set *s = made(nftnl_set_alloc());

	nftnl_set_set_u32(s, NFTNL_SET_FAMILY, NFPROTO_INET);
	nftnl_set_set_str(s, NFTNL_SET_TABLE, FW_TABLE);
	nftnl_set_set_str(s, NFTNL_SET_NAME, name);
	nftnl_set_set_u32(s, NFTNL_SET_ID, id);
	nftnl_set_set_u32(s, NFTNL_SET_FLAGS, flags);
	nftnl_set_set_u32(s, NFTNL_SET_KEY_TYPE, fw_set_key(type));
	nftnl_set_set_u32(s, NFTNL_SET_KEY_LEN, (uint32_t)fw_type_width(type));
	return s;
}

/* With the user data, which it frees. */
static void put_set(struct batch *b, struct nftnl_set *s, struct nftnl_udata_buf *u, const char *about)
{
	struct nlmsghdr *h = begin(b, NFT_MSG_NEWSET, NLM_F_CREATE, about);

	nftnl_set_set_data(s, NFTNL_SET_USERDATA, nftnl_udata_buf_data(u), nftnl_udata_buf_len(u));
	nftnl_udata_buf_free(u);
	nftnl_set_nlmsg_build_payload(h, s);
	nftnl_set_free(s);
	end(b, h);
}

static void put_no_set(struct batch *b, const char *name)
{
	struct nlmsghdr *h = begin(b, NFT_MSG_DELSET, 0, name);

	mnl_attr_put_strz(h, NFTA_SET_TABLE, FW_TABLE);
	mnl_attr_put_strz(h, NFTA_SET_NAME, name);
	end(b, h);
}

/* What the kernel has no use for and nft reads: whose field a set without a name holds. */
static void put_origin(struct nftnl_udata_buf *u, const struct fw_term *t)
{
	bool v4 = t->type == FW_TYPE_IPV4;
	uint32_t header, field;
	struct nftnl_udata *whole, *inner;

	whole = nftnl_udata_nest_start(u, NFTNL_UDATA_SET_KEY_TYPEOF);
	nftnl_udata_put_u32(
	    u, NFTNL_UDATA_SET_TYPEOF_EXPR, t->kind == FW_L4PROTO ? EXPRESSION_META : EXPRESSION_PAYLOAD);
	inner = nftnl_udata_nest_start(u, NFTNL_UDATA_SET_TYPEOF_DATA);
	if (t->kind == FW_L4PROTO) {
		nftnl_udata_put_u32(u, 0, NFT_META_L4PROTO);
	} else {
		switch (t->kind) {
		case FW_SADDR:
		case FW_DADDR:
			header = v4 ? HEADER_IP : HEADER_IP6;
			field = (v4 ? 11u : 8u) + (t->kind == FW_DADDR);
			break;
		case FW_ICMP_TYPE:
			header = t->type == FW_TYPE_ICMP ? HEADER_ICMP : HEADER_ICMP6;
			field = 1;
			break;
		default: /* a port */
			header = t->protocol == IPPROTO_UDP ? HEADER_UDP : HEADER_TCP;
			field = t->kind == FW_SPORT ? 1 : 2;
			break;
		}
		nftnl_udata_put_u32(u, 0, header);
		nftnl_udata_put_u32(u, 1, field);
	}
	nftnl_udata_nest_end(u, inner);
	nftnl_udata_nest_end(u, whole);
}

/* Elements ----------------------------------------------------------------------------------------------------------
 */

static void put_element(struct nlmsghdr *h, const struct fw_point *p, size_t width)
{
	static const unsigned char userdata[] = { NFTNL_UDATA_SET_ELEM_FLAGS, 4, INTERVAL_OPEN, 0, 0, 0 };
	struct nlattr *element = mnl_attr_nest_start(h, NFTA_LIST_ELEM), *nested;

	if (p->end)
		mnl_attr_put_u32(h, NFTA_SET_ELEM_FLAGS, htonl(NFT_SET_ELEM_INTERVAL_END));
	nested = mnl_attr_nest_start(h, NFTA_SET_ELEM_KEY);
	mnl_attr_put(h, NFTA_DATA_VALUE, width, p->key);
	mnl_attr_nest_end(h, nested);
	if (p->open)
		mnl_attr_put(h, NFTA_SET_ELEM_USERDATA, sizeof(userdata), userdata);
	mnl_attr_nest_end(h, element);
}

/* The value after it; false where there is none. */
static bool next_value(unsigned char out[16], const unsigned char *value, size_t width)
{
	memcpy(out, value, 16);
	for (size_t i = width; i-- > 0;)
		if (++out[i] != 0)
			return true;
	return false;
}

static bool begins_at_zero(const struct fw_ranges *r)
{
	static const unsigned char zero[16];

	return memcmp(r->at[0].first, zero, sizeof(zero)) == 0;
}

struct fw_point *fw_points(const struct fw_ranges *r, bool interval, size_t *count)
{
	struct fw_point *points = xcalloc(2 * r->count + 1, sizeof(*points));
	size_t width = fw_type_width(r->type), n = 0;

	if (interval && r->count > 0 && !begins_at_zero(r))
		points[n++].end = true;
	for (size_t i = 0; i < r->count; i++) {
		unsigned char after[16];
		bool ends = interval && next_value(after, r->at[i].last, width);

		memcpy(points[n].key, r->at[i].first, width);
		points[n++].open = interval && !ends;
		if (ends && (i + 1 == r->count || memcmp(after, r->at[i + 1].first, width) != 0)) {
			memcpy(points[n].key, after, width);
			points[n++].end = true;
		}
	}
	*count = n;
	return points;
}

static struct nlmsghdr *begin_elements(
    struct batch *b, uint16_t message, const char *set, uint32_t id, const char *about)
{
	struct nlmsghdr *h = begin(b, message, message == NFT_MSG_NEWSETELEM ? NLM_F_CREATE : 0, about);

	mnl_attr_put_strz(h, NFTA_SET_ELEM_LIST_TABLE, FW_TABLE);
	mnl_attr_put_strz(h, NFTA_SET_ELEM_LIST_SET, set);
	if (id != 0)
		mnl_attr_put_u32(h, NFTA_SET_ELEM_LIST_SET_ID, htonl(id));
	return h;
}

static void put_elements(
    struct batch *b, const char *set, uint32_t id, const struct fw_ranges *r, bool interval, const char *about)
{
	size_t width = fw_type_width(r->type), i = 0, count;
	struct fw_point *points = fw_points(r, interval, &count);

	while (i < count) {
		struct nlmsghdr *h = begin_elements(b, NFT_MSG_NEWSETELEM, set, id, about);
		struct nlattr *list = mnl_attr_nest_start(h, NFTA_SET_ELEM_LIST_ELEMENTS);

		for (; i < count && h->nlmsg_len < LIST_MAX; i++)
			put_element(h, &points[i], width);
		mnl_attr_nest_end(h, list);
		end(b, h);
	}
	free(points);
}

static void put_named_set(struct batch *b, const struct fw_set *s, const struct fw_state *state)
{
	uint32_t id = b->id++;
	struct nftnl_set *set;
	struct nftnl_udata_buf *u;

	if (fw_state_stays(state, FW_THERE_SET, s->name)) {
		id = 0;
		if (s->interval)
			end(b, begin_elements(b, NFT_MSG_DELSETELEM, s->name, 0, s->name)); /* all of them */
	} else {
		set = new_set(s->name, id, s->type, fw_set_flags(s));
		u = made(nftnl_udata_buf_alloc(64));
		if (s->size > 0)
			nftnl_set_set_u32(set, NFTNL_SET_DESC_SIZE, s->size);
		if (s->timeout_s > 0)
			nftnl_set_set_u64(set, NFTNL_SET_TIMEOUT, 1000ULL * s->timeout_s);
		nftnl_udata_put_u32(u, NFTNL_UDATA_SET_KEYBYTEORDER, NETWORK_ORDER);
		put_set(b, set, u, s->name);
	}
	if (s->interval)
		put_elements(b, s->name, id, &s->elements, true, s->name);
}

/* Without a range among them they need no intervals. */
bool fw_needs_intervals(const struct fw_ranges *r)
{
	for (size_t i = 0; i < r->count; i++)
		if (!fw_range_single(r->type, &r->at[i]))
			return true;
	return false;
}

static void put_anonymous_set(struct batch *b, const struct fw_anonymous *a, const char *about)
{
	const struct fw_ranges *r = &a->term->values;
	bool interval = fw_needs_intervals(r), host_order = a->term->kind == FW_L4PROTO;
	struct nftnl_udata_buf *u = made(nftnl_udata_buf_alloc(128));
	struct nftnl_set *s = new_set(
	    FW_ANONYMOUS, a->id, r->type, NFT_SET_ANONYMOUS | NFT_SET_CONSTANT | (interval ? NFT_SET_INTERVAL : 0u));

	nftnl_set_set_u32(s, NFTNL_SET_DESC_SIZE, (uint32_t)(interval ? 2 * r->count + !begins_at_zero(r) : r->count));
	nftnl_udata_put_u32(u, NFTNL_UDATA_SET_KEYBYTEORDER, host_order ? HOST_ORDER : NETWORK_ORDER);
	if (interval)
		nftnl_udata_put_u32(u, NFTNL_UDATA_SET_MERGE_ELEMENTS, 1);
	put_origin(u, a->term);
	put_set(b, s, u, about);
	put_elements(b, FW_ANONYMOUS, a->id, r, interval, about);
}

/* The whole ---------------------------------------------------------------------------------------------------------
 */

static void put_rule(struct batch *b, const struct fw_chain *c, const struct fw_rule *rule)
{
	struct fw_anonymous sets[FW_TERMS_MAX];
	size_t count;
	struct nftnl_rule *r = fw_netlink_rule(c->name, rule, &b->id, sets, &count);
	struct nlmsghdr *h;

	for (size_t i = 0; i < count; i++)
		put_anonymous_set(b, &sets[i], rule->comment);
	h = begin(b, NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND, rule->comment);
	nftnl_rule_nlmsg_build_payload(h, r);
	nftnl_rule_free(r);
	end(b, h);
}

static void put_removal(struct batch *b, const struct fw_there *t)
{
	switch (t->kind) {
	case FW_THERE_SET:
		put_no_set(b, t->name);
		break;
	case FW_THERE_CHAIN:
		put_chain(b, NFT_MSG_DELCHAIN, t->name, NULL);
		break;
	case FW_THERE_OBJECT:
		put_object(b, NFT_MSG_DELOBJ, t->name, t->type);
		break;
	case FW_THERE_FLOWTABLE:
		break;
	}
}

/* First what names others: rules, then sets (maps name chains and objects). */
static void put_removals(struct batch *b, const struct fw_state *s)
{
	if (s->present)
		put_no_rules(b);
	for (int kind = FW_THERE_SET; kind <= FW_THERE_OBJECT; kind++)
		for (size_t i = 0; i < s->count; i++)
			if (s->at[i].kind == (enum fw_there_kind)kind && !s->at[i].stays)
				put_removal(b, &s->at[i]);
}

static void put_model(struct batch *b, const struct fw_model *m, const struct fw_state *s)
{
	for (size_t i = 0; i < m->chain_count; i++) {
		const struct fw_chain *c = &m->chains[i];

		/* One that hooks is told its policy again. */
		if (c->hook != FW_NO_HOOK || !fw_state_stays(s, FW_THERE_CHAIN, c->name))
			put_chain(b, NFT_MSG_NEWCHAIN, c->name, c);
	}
	for (size_t i = 0; i < m->counter_count; i++)
		if (!fw_state_stays(s, FW_THERE_OBJECT, m->counters[i]))
			put_object(b, NFT_MSG_NEWOBJ, m->counters[i], NFT_OBJECT_COUNTER);
	for (size_t i = 0; i < m->set_count; i++)
		put_named_set(b, &m->sets[i], s);
	for (size_t i = 0; i < m->chain_count; i++)
		for (size_t j = 0; j < m->chains[i].count; j++)
			put_rule(b, &m->chains[i], &m->chains[i].rules[j]);
}

/* 0, or an errno and which message it is about. */
static int commit(struct fw_netlink *n, struct batch *b, size_t last_at, uint32_t last, uint32_t *about)
{
	struct nlmsghdr *h;

	if (b->out.full)
		return EMSGSIZE;
	h = (void *)(b->out.data + last_at);
	h->nlmsg_flags |= NLM_F_ACK;
	return fw_send_batch(
	    mnl_socket_get_fd(n->socket), b->out.data, b->out.len, n->received, FW_RECEIVE_SIZE, last, about);
}

/*
 * Once: 0, or an errno with an error that says what it is about.  A dormant table is only woken (ERESTART): the kernel
 * takes no new hooks in the same batch.
 */
static int try_load(struct fw_netlink *n, const struct fw_model *m, const struct fw_state *s, struct error *e)
{
	struct batch b = { .out = BUF_INIT(BATCH_MAX),
		.first = n->sequence + 1,
		.sequence = n->sequence,
		.id = 1,
		.message = xmalloc(2 * MESSAGE_MAX) };
	uint32_t last, about = 0;
	size_t last_at;
	int err;

	control(&b, NFNL_MSG_BATCH_BEGIN, &s->generation);
	if (!s->dormant) {
		put_table(&b);
		put_removals(&b, s);
		put_model(&b, m, s);
	}
	last_at = b.out.len;
	put_table(&b); /* for its acknowledgement, and to wake it */
	last = b.sequence;
	control(&b, NFNL_MSG_BATCH_END, NULL);
	n->sequence = b.sequence;
	err = commit(n, &b, last_at, last, &about);
	if (err == 0 && s->dormant)
		err = ERESTART;
	if (err != 0)
		fw_netlink_error(err, about > b.first && about <= last ? b.about[about - b.first] : NULL, e);
	buf_free(&b.out);
	free(b.about);
	free(b.message);
	return err;
}

int fw_netlink_load(const struct fw_model *m, struct error *e)
{
	struct fw_netlink n;
	int err = ERESTART;

	if (fw_netlink_open(&n, e) == -1)
		return -1;
	for (int i = 0; err == ERESTART && i < TRIES; i++) {
		struct fw_state s;

		err = fw_netlink_state(&n, m, &s);
		if (err != 0) {
			fw_netlink_error(err, NULL, e);
			break;
		}
		err = try_load(&n, m, &s, e);
		fw_state_free(&s);
	}
	fw_netlink_close(&n);
	return err == 0 ? 0 : -1;
}

bool fw_netlink_can(const struct fw_model *m)
{
	if (m->includes)
		return false;
	for (size_t i = 0; i < m->chain_count; i++)
		for (size_t j = 0; j < m->chains[i].count; j++) {
			const struct fw_rule *r = &m->chains[i].rules[j];

			for (size_t k = 0; k < r->term_count; k++) {
				const struct fw_term *t = &r->terms[k];
				bool values = t->kind == FW_L4PROTO || t->kind == FW_SADDR || t->kind == FW_DADDR ||
				              t->kind == FW_ICMP_TYPE || t->kind == FW_SPORT || t->kind == FW_DPORT;
				bool interface = t->kind == FW_IIFNAME || t->kind == FW_OIFNAME;

				if ((values && t->name[0] == '\0' && t->values.count == 0) ||
				    (interface && strchr(t->name, '*') != NULL))
					return false;
			}
		}
	return true;
}
