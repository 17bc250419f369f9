/*
 * A rule of the model as libnftnl expressions: the same that nft makes of its text, so that nft lists it as it was
 * written.  Before what belongs to one protocol stands a comparison of that protocol, once a rule, unless a term of the
 * rule has said so already; a prefix of whole bytes loads only these.
 *
 * Everything is compared in register 1.  Payload is in network order; ct state, ct status, uid and interface index are
 * in host order.
 */
#include <netinet/in.h> /* before the kernel's */
#include <stdio.h>

#include <libnftnl/expr.h>
#include <libnftnl/rule.h>
#include <libnftnl/udata.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nf_nat.h>
#include <linux/netfilter/nf_tables.h>
#include <net/if.h>
#include <string.h>
#include <sys/socket.h>

#include "fwgen/netlink.h"

#define USERDATA_MAX 256 /* the kernel's limit */

struct maker {
	struct nftnl_rule *rule;
	enum fw_type family; /* known to be, when has_family */
	bool has_family;
	uint8_t protocol; /* known to be; 0: none */
	uint32_t *id;
	struct fw_anonymous *sets;
	size_t count;
};

static struct nftnl_expr *new_expression(const char *name)
{
	struct nftnl_expr *e = nftnl_expr_alloc(name);

	if (e == NULL)
		fatalx("libnftnl: no expression %s", name);
	return e;
}

static struct nftnl_expr *add(struct maker *m, const char *name)
{
	struct nftnl_expr *e = new_expression(name);

	nftnl_rule_add_expr(m->rule, e);
	return e;
}

static void load_meta(struct maker *m, uint32_t key)
{
	struct nftnl_expr *e = add(m, "meta");

	nftnl_expr_set_u32(e, NFTNL_EXPR_META_KEY, key);
	nftnl_expr_set_u32(e, NFTNL_EXPR_META_DREG, NFT_REG_1);
}

static void load_ct(struct maker *m, uint32_t key)
{
	struct nftnl_expr *e = add(m, "ct");

	nftnl_expr_set_u32(e, NFTNL_EXPR_CT_KEY, key);
	nftnl_expr_set_u32(e, NFTNL_EXPR_CT_DREG, NFT_REG_1);
}

static void load_payload(struct maker *m, uint32_t base, uint32_t offset, size_t len)
{
	struct nftnl_expr *e = add(m, "payload");

	nftnl_expr_set_u32(e, NFTNL_EXPR_PAYLOAD_DREG, NFT_REG_1);
	nftnl_expr_set_u32(e, NFTNL_EXPR_PAYLOAD_BASE, base);
	nftnl_expr_set_u32(e, NFTNL_EXPR_PAYLOAD_OFFSET, offset);
	nftnl_expr_set_u32(e, NFTNL_EXPR_PAYLOAD_LEN, (uint32_t)len);
}

static void compare(struct maker *m, uint32_t op, const void *data, size_t len)
{
	struct nftnl_expr *e = add(m, "cmp");

	nftnl_expr_set_u32(e, NFTNL_EXPR_CMP_SREG, NFT_REG_1);
	nftnl_expr_set_u32(e, NFTNL_EXPR_CMP_OP, op);
	nftnl_expr_set(e, NFTNL_EXPR_CMP_DATA, data, (uint32_t)len);
}

static void mask(struct maker *m, const void *bits, size_t len)
{
	static const unsigned char zero[16];
	struct nftnl_expr *e = add(m, "bitwise");

	nftnl_expr_set_u32(e, NFTNL_EXPR_BITWISE_SREG, NFT_REG_1);
	nftnl_expr_set_u32(e, NFTNL_EXPR_BITWISE_DREG, NFT_REG_1);
	nftnl_expr_set_u32(e, NFTNL_EXPR_BITWISE_OP, NFT_BITWISE_BOOL);
	nftnl_expr_set_u32(e, NFTNL_EXPR_BITWISE_LEN, (uint32_t)len);
	nftnl_expr_set(e, NFTNL_EXPR_BITWISE_MASK, bits, (uint32_t)len);
	nftnl_expr_set(e, NFTNL_EXPR_BITWISE_XOR, zero, (uint32_t)len);
}

static void any_bit(struct maker *m, uint32_t bits)
{
	static const uint32_t zero;

	mask(m, &bits, sizeof(bits));
	compare(m, NFT_CMP_NEQ, &zero, sizeof(zero));
}

static void look_up(struct maker *m, const char *set, uint32_t id, bool inverted)
{
	struct nftnl_expr *e = add(m, "lookup");

	nftnl_expr_set_u32(e, NFTNL_EXPR_LOOKUP_SREG, NFT_REG_1);
	nftnl_expr_set_str(e, NFTNL_EXPR_LOOKUP_SET, set);
	if (id != 0)
		nftnl_expr_set_u32(e, NFTNL_EXPR_LOOKUP_SET_ID, id);
	if (inverted)
		nftnl_expr_set_u32(e, NFTNL_EXPR_LOOKUP_FLAGS, NFT_LOOKUP_F_INV);
}

/* Protocols ------------------------------------------------------------------------------------------------------- */

static void need_family(struct maker *m, enum fw_type type)
{
	uint8_t family = type == FW_TYPE_IPV4 ? NFPROTO_IPV4 : NFPROTO_IPV6;

	if (m->has_family && m->family == type)
		return;
	m->has_family = true;
	m->family = type;
	load_meta(m, NFT_META_NFPROTO);
	compare(m, NFT_CMP_EQ, &family, sizeof(family));
}

static void need_protocol(struct maker *m, uint8_t protocol)
{
	if (m->protocol == protocol)
		return;
	m->protocol = protocol;
	load_meta(m, NFT_META_L4PROTO);
	compare(m, NFT_CMP_EQ, &protocol, sizeof(protocol));
}

/* Values ------------------------------------------------------------------------------------------------------------
 */

static void match_own_set(struct maker *m, const struct fw_term *t)
{
	uint32_t id = (*m->id)++;

	m->sets[m->count++] = (struct fw_anonymous){ id, t };
	look_up(m, FW_ANONYMOUS, id, t->inverted);
}

static void match_range(struct maker *m, const struct fw_range *range, size_t width, bool inverted)
{
	struct nftnl_expr *e;

	if (!inverted) {
		compare(m, NFT_CMP_GTE, range->first, width);
		compare(m, NFT_CMP_LTE, range->last, width);
		return;
	}
	e = add(m, "range");
	nftnl_expr_set_u32(e, NFTNL_EXPR_RANGE_SREG, NFT_REG_1);
	nftnl_expr_set_u32(e, NFTNL_EXPR_RANGE_OP, NFT_RANGE_NEQ);
	nftnl_expr_set(e, NFTNL_EXPR_RANGE_FROM_DATA, range->first, (uint32_t)width);
	nftnl_expr_set(e, NFTNL_EXPR_RANGE_TO_DATA, range->last, (uint32_t)width);
}

/* What is loaded is compared with the values: in a set of their own when they are several. */
static void match_values(struct maker *m, const struct fw_term *t)
{
	const struct fw_range *range = t->values.at;
	size_t width = fw_type_width(t->values.type);

	if (t->values.count > 1)
		match_own_set(m, t);
	else if (fw_range_single(t->values.type, range))
		compare(m, t->inverted ? NFT_CMP_NEQ : NFT_CMP_EQ, range->first, width);
	else
		match_range(m, range, width, t->inverted);
}

static void load_address(struct maker *m, const struct fw_term *t, size_t width)
{
	bool destination = t->kind == FW_DADDR, v4 = t->type == FW_TYPE_IPV4;
	static const unsigned char by_64[16] = { 255, 255, 255, 255, 255, 255, 255, 255 };

	need_family(m, t->type);
	load_payload(m, NFT_PAYLOAD_NETWORK_HEADER, v4 ? (destination ? 16 : 12) : (destination ? 24 : 8), width);
	if (t->by_64)
		mask(m, by_64, width);
}

static void match_address(struct maker *m, const struct fw_term *t)
{
	size_t width = fw_type_width(t->type);
	const struct fw_range *range = t->values.at;
	int bits = t->name[0] == '\0' && t->values.count == 1 ? fw_range_bits(t->type, range) : -1;
	uint32_t op = t->inverted ? NFT_CMP_NEQ : NFT_CMP_EQ;

	if (bits > 0 && bits % 8 == 0) {
		load_address(m, t, (size_t)bits / 8);
		compare(m, op, range->first, (size_t)bits / 8);
		return;
	}
	load_address(m, t, width);
	if (t->name[0] != '\0') {
		look_up(m, t->name, 0, t->inverted);
	} else if (bits >= 0) {
		unsigned char prefix[16];

		for (size_t i = 0; i < width; i++)
			prefix[i] = (unsigned char)~(range->first[i] ^ range->last[i]);
		mask(m, prefix, width);
		compare(m, op, range->first, width);
	} else {
		match_values(m, t);
	}
}

static void match_tcp_flags(struct maker *m, const struct fw_term *t)
{
	uint8_t bits = (uint8_t)t->bits, of = (uint8_t)t->mask;

	need_protocol(m, IPPROTO_TCP);
	load_payload(m, NFT_PAYLOAD_TRANSPORT_HEADER, 13, 1);
	mask(m, &of, sizeof(of));
	compare(m, t->inverted ? NFT_CMP_NEQ : NFT_CMP_EQ, &bits, sizeof(bits));
}

static void match_l4proto(struct maker *m, const struct fw_term *t)
{
	load_meta(m, NFT_META_L4PROTO);
	match_values(m, t);
	if (t->values.count == 1 && !t->inverted)
		m->protocol = t->values.at[0].first[0];
}

static void match_interface(struct maker *m, const struct fw_term *t)
{
	char name[IFNAMSIZ] = "";

	snprintf(name, sizeof(name), "%s", t->name);
	load_meta(m, t->kind == FW_IIFNAME ? NFT_META_IIFNAME : NFT_META_OIFNAME);
	compare(m, NFT_CMP_EQ, name, sizeof(name));
}

static void match_loopback(struct maker *m, uint32_t key)
{
	uint32_t index = if_nametoindex("lo");

	load_meta(m, key);
	compare(m, NFT_CMP_EQ, &index, sizeof(index));
}

/* Rates, counters, log ----------------------------------------------------------------------------------------------
 */

static struct nftnl_expr *rate_expression(const struct fw_rate *rate)
{
	struct nftnl_expr *e = new_expression(rate->connections ? "connlimit" : "limit");

	if (rate->connections) {
		nftnl_expr_set_u32(e, NFTNL_EXPR_CONNLIMIT_COUNT, rate->count);
		nftnl_expr_set_u32(e, NFTNL_EXPR_CONNLIMIT_FLAGS, NFT_CONNLIMIT_F_INV); /* over */
		return e;
	}
	nftnl_expr_set_u64(e, NFTNL_EXPR_LIMIT_RATE, rate->count);
	nftnl_expr_set_u64(e, NFTNL_EXPR_LIMIT_UNIT, rate->per_s == 1 ? 1 : 60);
	nftnl_expr_set_u32(e, NFTNL_EXPR_LIMIT_BURST, rate->burst);
	nftnl_expr_set_u32(e, NFTNL_EXPR_LIMIT_TYPE, NFT_LIMIT_PKTS);
	nftnl_expr_set_u32(e, NFTNL_EXPR_LIMIT_FLAGS, rate->over ? NFT_LIMIT_F_INV : 0);
	return e;
}

static void match_meter(struct maker *m, const struct fw_term *t)
{
	struct nftnl_expr *e;

	load_address(m, t, fw_type_width(t->type));
	e = add(m, "dynset");
	nftnl_expr_set_u32(e, NFTNL_EXPR_DYNSET_SREG_KEY, NFT_REG_1);
	nftnl_expr_set_u32(e, NFTNL_EXPR_DYNSET_OP, t->rate.connections ? NFT_DYNSET_OP_ADD : NFT_DYNSET_OP_UPDATE);
	nftnl_expr_set_str(e, NFTNL_EXPR_DYNSET_SET_NAME, t->name);
	nftnl_expr_set(e, NFTNL_EXPR_DYNSET_EXPR, rate_expression(&t->rate), 0);
}

static void count_packets(struct maker *m, const struct fw_term *t)
{
	struct nftnl_expr *e = add(m, "objref");

	nftnl_expr_set_u32(e, NFTNL_EXPR_OBJREF_IMM_TYPE, NFT_OBJECT_COUNTER);
	nftnl_expr_set_str(e, NFTNL_EXPR_OBJREF_IMM_NAME, t->name);
}

static void put_term(struct maker *m, const struct fw_term *t)
{
	uint32_t uid = t->uid;

	switch (t->kind) {
	case FW_IIF_LO:
	case FW_OIF_LO:
		match_loopback(m, t->kind == FW_IIF_LO ? NFT_META_IIF : NFT_META_OIF);
		break;
	case FW_IIFNAME:
	case FW_OIFNAME:
		match_interface(m, t);
		break;
	case FW_NFPROTO:
		need_family(m, t->type);
		break;
	case FW_L4PROTO:
		match_l4proto(m, t);
		break;
	case FW_CT_STATE:
		load_ct(m, NFT_CT_STATE);
		any_bit(m, t->bits);
		break;
	case FW_CT_DNAT:
		load_ct(m, NFT_CT_STATUS);
		any_bit(m, IPS_DST_NAT);
		break;
	case FW_SADDR:
	case FW_DADDR:
		match_address(m, t);
		break;
	case FW_ICMP_TYPE:
		need_family(m, t->type == FW_TYPE_ICMP ? FW_TYPE_IPV4 : FW_TYPE_IPV6);
		need_protocol(m, t->type == FW_TYPE_ICMP ? IPPROTO_ICMP : IPPROTO_ICMPV6);
		load_payload(m, NFT_PAYLOAD_TRANSPORT_HEADER, 0, 1);
		match_values(m, t);
		break;
	case FW_SPORT:
	case FW_DPORT:
		need_protocol(m, t->protocol);
		load_payload(m, NFT_PAYLOAD_TRANSPORT_HEADER, t->kind == FW_SPORT ? 0 : 2, 2);
		match_values(m, t);
		break;
	case FW_TCP_FLAGS:
		match_tcp_flags(m, t);
		break;
	case FW_SKUID:
		load_meta(m, NFT_META_SKUID);
		compare(m, NFT_CMP_EQ, &uid, sizeof(uid));
		break;
	case FW_LIMIT:
		nftnl_rule_add_expr(m->rule, rate_expression(&t->rate));
		break;
	case FW_METER:
		match_meter(m, t);
		break;
	case FW_COUNTER:
		count_packets(m, t);
		break;
	case FW_LOG:
		nftnl_expr_set_str(add(m, "log"), NFTNL_EXPR_LOG_PREFIX, t->name);
		break;
	}
}

/* Verdicts ----------------------------------------------------------------------------------------------------------
 */

static void decide(struct maker *m, int verdict, const char *chain)
{
	struct nftnl_expr *e = add(m, "immediate");

	nftnl_expr_set_u32(e, NFTNL_EXPR_IMM_DREG, NFT_REG_VERDICT);
	nftnl_expr_set_u32(e, NFTNL_EXPR_IMM_VERDICT, (uint32_t)verdict);
	if (chain != NULL)
		nftnl_expr_set_str(e, NFTNL_EXPR_IMM_CHAIN, chain);
}

static void rewrite(struct maker *m, const struct fw_rule *r)
{
	struct nftnl_expr *e = add(m, "immediate");

	nftnl_expr_set_u32(e, NFTNL_EXPR_IMM_DREG, NFT_REG_1);
	nftnl_expr_set(e, NFTNL_EXPR_IMM_DATA, r->to, (uint32_t)fw_type_width(r->family));
	e = add(m, "nat");
	nftnl_expr_set_u32(e, NFTNL_EXPR_NAT_TYPE, NFT_NAT_DNAT);
	nftnl_expr_set_u32(e, NFTNL_EXPR_NAT_FAMILY, r->family == FW_TYPE_IPV4 ? NFPROTO_IPV4 : NFPROTO_IPV6);
	nftnl_expr_set_u32(e, NFTNL_EXPR_NAT_REG_ADDR_MIN, NFT_REG_1);
	nftnl_expr_set_u32(e, NFTNL_EXPR_NAT_FLAGS, NF_NAT_RANGE_MAP_IPS);
}

static void put_verdict(struct maker *m, const struct fw_rule *r)
{
	switch (r->verdict) {
	case FW_CONTINUE:
		break;
	case FW_ACCEPT:
		decide(m, NF_ACCEPT, NULL);
		break;
	case FW_DROP:
		decide(m, NF_DROP, NULL);
		break;
	case FW_RETURN:
		decide(m, NFT_RETURN, NULL);
		break;
	case FW_JUMP:
		decide(m, NFT_JUMP, r->target);
		break;
	case FW_GOTO:
		decide(m, NFT_GOTO, r->target);
		break;
	case FW_DNAT:
		rewrite(m, r);
		break;
	case FW_MASQUERADE:
		add(m, "masq");
		break;
	}
}

static void put_comment(struct nftnl_rule *rule, const char *comment)
{
	struct nftnl_udata_buf *u = nftnl_udata_buf_alloc(USERDATA_MAX);

	if (u == NULL)
		fatalx("out of memory");
	nftnl_udata_put_strz(u, NFTNL_UDATA_RULE_COMMENT, comment);
	nftnl_rule_set_data(rule, NFTNL_RULE_USERDATA, nftnl_udata_buf_data(u), nftnl_udata_buf_len(u));
	nftnl_udata_buf_free(u);
}

struct nftnl_rule *fw_netlink_rule(
    const char *chain, const struct fw_rule *r, uint32_t *id, struct fw_anonymous sets[FW_TERMS_MAX], size_t *count)
{
	struct maker m = { .rule = nftnl_rule_alloc(), .id = id, .sets = sets };

	if (m.rule == NULL)
		fatalx("out of memory");
	nftnl_rule_set_u32(m.rule, NFTNL_RULE_FAMILY, NFPROTO_INET);
	nftnl_rule_set_str(m.rule, NFTNL_RULE_TABLE, FW_TABLE);
	nftnl_rule_set_str(m.rule, NFTNL_RULE_CHAIN, chain);
	for (size_t i = 0; i < r->term_count; i++)
		put_term(&m, &r->terms[i]);
	put_verdict(&m, r);
	put_comment(m.rule, r->comment);
	*count = m.count;
	return m.rule;
}
