/*
 * What table inet mailadm has: chains, sets and objects, listed by dumps and compared with the model.  The generation
 * is read first, so that a batch that names it fails when any of this changed meanwhile.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <libnftnl/chain.h>
#include <libnftnl/common.h>
#include <libnftnl/expr.h>
#include <libnftnl/flowtable.h>
#include <libnftnl/object.h>
#include <libnftnl/rule.h>
#include <libnftnl/set.h>
#include <libnftnl/table.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>

#include "fwgen/netlink.h"

#pragma GCC diagnostic ignored "-Wconversion" /* libmnl's loops over attributes subtract pointers into an int */

#define THERE_MAX 65536
#define STATE_TRIES 20

int fw_netlink_open(struct fw_netlink *n, struct error *e)
{
	int on = 1;

	*n = (struct fw_netlink){ .received = xmalloc(FW_RECEIVE_SIZE) };
	n->socket = mnl_socket_open2(NETLINK_NETFILTER, SOCK_CLOEXEC);
	if (n->socket == NULL || mnl_socket_bind(n->socket, 0, MNL_SOCKET_AUTOPID) < 0) {
		error_errno(e, "netlink");
		fw_netlink_close(n);
		return -1;
	}
	n->portid = mnl_socket_get_portid(n->socket);
	/* Errors without the message they are about. */
	mnl_socket_setsockopt(n->socket, NETLINK_CAP_ACK, &on, sizeof(on));
	return 0;
}

void fw_netlink_close(struct fw_netlink *n)
{
	if (n->socket != NULL)
		mnl_socket_close(n->socket);
	free(n->received);
}

struct looker {
	const struct fw_model *model;
	struct fw_state *state;
};

static struct fw_there *add(struct fw_state *s, enum fw_there_kind kind, const char *name)
{
	if (s->count == s->room) {
		s->room = s->room > 0 ? 2 * s->room : 64;
		s->at = xreallocarray(s->at, s->room, sizeof(*s->at));
	}
	s->at[s->count] = (struct fw_there){ .kind = kind, .name = xstrdup(name) };
	return &s->at[s->count++];
}

static bool ours(const char *table, const char *name, const struct fw_state *s)
{
	return table != NULL && name != NULL && strcmp(table, FW_TABLE) == 0 && s->count < THERE_MAX;
}

static int on_table(const struct nlmsghdr *h, void *arg)
{
	struct looker *l = arg;
	struct nftnl_table *t = nftnl_table_alloc();

	if (t != NULL && nftnl_table_nlmsg_parse(h, t) == 0) {
		const char *name = nftnl_table_get_str(t, NFTNL_TABLE_NAME);

		if (name != NULL && strcmp(name, FW_TABLE) == 0) {
			l->state->present = true;
			l->state->dormant = (nftnl_table_get_u32(t, NFTNL_TABLE_FLAGS) & NFT_TABLE_F_DORMANT) != 0;
		}
	}
	nftnl_table_free(t);
	return MNL_CB_OK;
}

static bool same_chain(struct nftnl_chain *c, const struct fw_chain *want)
{
	const char *type = nftnl_chain_get_str(c, NFTNL_CHAIN_TYPE);

	if (want == NULL || nftnl_chain_is_set(c, NFTNL_CHAIN_HOOKNUM) != (want->hook != FW_NO_HOOK))
		return false;
	return want->hook == FW_NO_HOOK || (nftnl_chain_get_u32(c, NFTNL_CHAIN_HOOKNUM) == (uint32_t)want->hook &&
					       nftnl_chain_get_s32(c, NFTNL_CHAIN_PRIO) == want->priority &&
					       type != NULL && strcmp(type, want->nat ? "nat" : "filter") == 0);
}

static int on_chain(const struct nlmsghdr *h, void *arg)
{
	struct looker *l = arg;
	struct nftnl_chain *c = nftnl_chain_alloc();

	if (c != NULL && nftnl_chain_nlmsg_parse(h, c) == 0) {
		const char *name = nftnl_chain_get_str(c, NFTNL_CHAIN_NAME);

		if (ours(nftnl_chain_get_str(c, NFTNL_CHAIN_TABLE), name, l->state)) {
			const struct fw_chain *want = fw_chain_find(l->model, name);
			struct fw_there *t = add(l->state, FW_THERE_CHAIN, name);

			t->stays = same_chain(c, want);
			t->same = t->stays && !nftnl_chain_is_set(c, NFTNL_CHAIN_USERDATA) &&
			          (want->hook == FW_NO_HOOK || nftnl_chain_get_u32(c, NFTNL_CHAIN_POLICY) ==
								   (want->accepts ? NF_ACCEPT : NF_DROP));
		}
	}
	nftnl_chain_free(c);
	return MNL_CB_OK;
}

static bool same_set(const struct nftnl_set *s, const struct fw_set *want)
{
	return nftnl_set_get_u32(s, NFTNL_SET_KEY_TYPE) == fw_set_key(want->type) &&
	       nftnl_set_get_u32(s, NFTNL_SET_FLAGS) == fw_set_flags(want) &&
	       nftnl_set_get_u32(s, NFTNL_SET_DESC_SIZE) == want->size &&
	       nftnl_set_get_u64(s, NFTNL_SET_TIMEOUT) == 1000ULL * want->timeout_s;
}

/* Bans are never thrown away, whatever their set was made with. */
static bool set_stays(const struct nftnl_set *s, const struct fw_set *want)
{
	bool bans = strcmp(want->name, FW_SET_BANS4) == 0 || strcmp(want->name, FW_SET_BANS6) == 0;

	return bans ? nftnl_set_get_u32(s, NFTNL_SET_KEY_TYPE) == fw_set_key(want->type) : same_set(s, want);
}

/* Sets without a name go with their rules. */
static int on_set(const struct nlmsghdr *h, void *arg)
{
	struct looker *l = arg;
	struct nftnl_set *s = nftnl_set_alloc();

	if (s != NULL && nftnl_set_nlmsg_parse(h, s) == 0 &&
	    (nftnl_set_get_u32(s, NFTNL_SET_FLAGS) & NFT_SET_ANONYMOUS) == 0) {
		const char *name = nftnl_set_get_str(s, NFTNL_SET_NAME);

		if (ours(nftnl_set_get_str(s, NFTNL_SET_TABLE), name, l->state)) {
			const struct fw_set *want = fw_set_find(l->model, name);
			struct fw_there *t = add(l->state, FW_THERE_SET, name);

			t->stays = want != NULL && set_stays(s, want);
			t->same = want != NULL && same_set(s, want) && !nftnl_set_is_set(s, NFTNL_SET_EXPR) &&
			          !nftnl_set_is_set(s, NFTNL_SET_EXPRESSIONS);
			t->map = (nftnl_set_get_u32(s, NFTNL_SET_FLAGS) & (NFT_SET_MAP | NFT_SET_OBJECT)) != 0;
		}
	}
	if (s != NULL)
		nftnl_set_free(s);
	return MNL_CB_OK;
}

static bool has_counter(const struct fw_model *m, const char *name)
{
	for (size_t i = 0; i < m->counter_count; i++)
		if (strcmp(m->counters[i], name) == 0)
			return true;
	return false;
}

static int on_object(const struct nlmsghdr *h, void *arg)
{
	struct looker *l = arg;
	struct nftnl_obj *o = nftnl_obj_alloc();

	if (o != NULL && nftnl_obj_nlmsg_parse(h, o) == 0) {
		const char *name = nftnl_obj_get_str(o, NFTNL_OBJ_NAME);
		uint32_t type = nftnl_obj_get_u32(o, NFTNL_OBJ_TYPE);

		if (ours(nftnl_obj_get_str(o, NFTNL_OBJ_TABLE), name, l->state)) {
			struct fw_there *t = add(l->state, FW_THERE_OBJECT, name);
			t->type = type;
			t->stays = t->same = type == NFT_OBJECT_COUNTER && has_counter(l->model, name);
		}
	}
	if (o != NULL)
		nftnl_obj_free(o);
	return MNL_CB_OK;
}

static const struct fw_rate *rate_of_meter(const struct fw_model *m, const char *set)
{
	for (size_t i = 0; i < m->chain_count; i++)
		for (size_t j = 0; j < m->chains[i].count; j++)
			for (size_t k = 0; k < m->chains[i].rules[j].term_count; k++) {
				const struct fw_term *t = &m->chains[i].rules[j].terms[k];

				if (t->kind == FW_METER && strcmp(t->name, set) == 0)
					return &t->rate;
			}
	return NULL;
}

static bool same_rate(const struct nftnl_expr *x, const struct fw_rate *want)
{
	const char *name = nftnl_expr_get_str(x, NFTNL_EXPR_NAME);

	if (want->connections)
		return strcmp(name, "connlimit") == 0 &&
		       nftnl_expr_get_u32(x, NFTNL_EXPR_CONNLIMIT_COUNT) == want->count;
	return strcmp(name, "limit") == 0 && nftnl_expr_get_u64(x, NFTNL_EXPR_LIMIT_RATE) == want->count &&
	       nftnl_expr_get_u64(x, NFTNL_EXPR_LIMIT_UNIT) == want->per_s &&
	       nftnl_expr_get_u32(x, NFTNL_EXPR_LIMIT_BURST) == want->burst;
}

/* Each source that a meter holds keeps the rate that its rule had: with another one the set begins anew. */
static int on_expr(struct nftnl_expr *x, void *arg)
{
	struct looker *l = arg;
	const struct nftnl_expr *rate;
	const struct fw_rate *want;
	const char *set;
	uint32_t len;

	if (strcmp(nftnl_expr_get_str(x, NFTNL_EXPR_NAME), "dynset") != 0 ||
	    !nftnl_expr_is_set(x, NFTNL_EXPR_DYNSET_EXPR))
		return 0;
	set = nftnl_expr_get_str(x, NFTNL_EXPR_DYNSET_SET_NAME);
	want = set != NULL ? rate_of_meter(l->model, set) : NULL;
	rate = nftnl_expr_get(x, NFTNL_EXPR_DYNSET_EXPR, &len);
	if (want == NULL || rate == NULL || same_rate(rate, want))
		return 0;
	for (size_t i = 0; i < l->state->count; i++)
		if (l->state->at[i].kind == FW_THERE_SET && strcmp(l->state->at[i].name, set) == 0)
			l->state->at[i].stays = false;
	return 0;
}

static int on_rule(const struct nlmsghdr *h, void *arg)
{
	struct nftnl_rule *r = nftnl_rule_alloc();

	if (r != NULL && nftnl_rule_nlmsg_parse(h, r) == 0) {
		const char *table = nftnl_rule_get_str(r, NFTNL_RULE_TABLE);

		if (table != NULL && strcmp(table, FW_TABLE) == 0)
			nftnl_expr_foreach(r, on_expr, arg);
	}
	nftnl_rule_free(r);
	return MNL_CB_OK;
}

/* The model has none; without rules that name it it does nothing. */
static int on_flowtable(const struct nlmsghdr *h, void *arg)
{
	struct looker *l = arg;
	struct nftnl_flowtable *f = nftnl_flowtable_alloc();

	if (f != NULL && nftnl_flowtable_nlmsg_parse(h, f) == 0) {
		const char *name = nftnl_flowtable_get_str(f, NFTNL_FLOWTABLE_NAME);

		if (ours(nftnl_flowtable_get_str(f, NFTNL_FLOWTABLE_TABLE), name, l->state))
			add(l->state, FW_THERE_FLOWTABLE, name)->stays = true;
	}
	if (f != NULL)
		nftnl_flowtable_free(f);
	return MNL_CB_OK;
}

static int on_generation(const struct nlmsghdr *h, void *arg)
{
	struct looker *l = arg;
	const struct nlattr *a;

	mnl_attr_for_each(a, h, sizeof(struct nfgenmsg))
	{
		if (mnl_attr_get_type(a) == NFTA_GEN_ID && mnl_attr_get_payload_len(a) == sizeof(uint32_t))
			l->state->generation = ntohl(mnl_attr_get_u32(a));
	}
	return MNL_CB_STOP;
}

/* Asks and has fn see each message of the answer: 0, or an errno. */
static int ask(struct fw_netlink *n, uint16_t type, uint16_t flags, mnl_cb_t fn, struct looker *l)
{
	char request[256] __attribute__((aligned(8)));
	struct nlmsghdr *h =
	    nftnl_nlmsg_build_hdr(request, type, flags != 0 ? NFPROTO_INET : NFPROTO_UNSPEC, flags, ++n->sequence);

	if (mnl_socket_sendto(n->socket, h, h->nlmsg_len) < 0)
		return errno;
	return fw_answer(mnl_socket_get_fd(n->socket), n->received, FW_RECEIVE_SIZE, n->sequence, n->portid, fn, l);
}

static int look(struct fw_netlink *n, struct looker *l)
{
	static const struct {
		uint16_t type, flags;
		mnl_cb_t fn;
	} steps[] = {
		{ NFT_MSG_GETGEN, 0, on_generation },
		{ NFT_MSG_GETTABLE, NLM_F_DUMP, on_table },
		{ NFT_MSG_GETCHAIN, NLM_F_DUMP, on_chain },
		{ NFT_MSG_GETSET, NLM_F_DUMP, on_set },
		{ NFT_MSG_GETRULE, NLM_F_DUMP, on_rule }, /* behind the sets */
		{ NFT_MSG_GETOBJ, NLM_F_DUMP, on_object },
		{ NFT_MSG_GETFLOWTABLE, NLM_F_DUMP, on_flowtable },
	};
	int err = 0;

	for (size_t i = 0; err == 0 && i < sizeof(steps) / sizeof(steps[0]); i++)
		err = ask(n, steps[i].type, steps[i].flags, steps[i].fn, l);
	return err;
}

int fw_netlink_state(struct fw_netlink *n, const struct fw_model *m, struct fw_state *s)
{
	struct looker l = { m, s };
	int err = EINTR;

	*s = (struct fw_state){ .present = false };
	for (int i = 0; err == EINTR && i < STATE_TRIES; i++) {
		fw_state_free(s);
		err = look(n, &l);
	}
	if (err != 0)
		fw_state_free(s);
	return err;
}

void fw_state_free(struct fw_state *s)
{
	for (size_t i = 0; i < s->count; i++)
		free(s->at[i].name);
	free(s->at);
	*s = (struct fw_state){ .present = false };
}

bool fw_state_stays(const struct fw_state *s, enum fw_there_kind kind, const char *name)
{
	for (size_t i = 0; i < s->count; i++)
		if (s->at[i].kind == kind && s->at[i].stays && strcmp(s->at[i].name, name) == 0)
			return true;
	return false;
}

static void put_removal(const struct fw_there *t, struct buf *out)
{
	static const char *const objects[] = { [NFT_OBJECT_COUNTER] = "counter",
		[NFT_OBJECT_QUOTA] = "quota",
		[NFT_OBJECT_CT_HELPER] = "ct helper",
		[NFT_OBJECT_LIMIT] = "limit",
		[NFT_OBJECT_CT_TIMEOUT] = "ct timeout",
		[NFT_OBJECT_SECMARK] = "secmark",
		[NFT_OBJECT_CT_EXPECT] = "ct expectation",
		[NFT_OBJECT_SYNPROXY] = "synproxy" };
	const char *kind = t->kind == FW_THERE_SET                          ? (t->map ? "map" : "set")
	                   : t->kind == FW_THERE_CHAIN                      ? "chain"
	                   : t->type < sizeof(objects) / sizeof(objects[0]) ? objects[t->type]
	                                                                    : NULL;

	if (kind != NULL)
		buf_printf(out, "delete %s inet " FW_TABLE " %s\n", kind, t->name);
}

int fw_netlink_clear_text(const struct fw_model *m, struct buf *out, struct error *e)
{
	struct fw_netlink n;
	struct fw_state s;
	int err;

	if (fw_netlink_open(&n, e) == -1)
		return -1;
	err = fw_netlink_state(&n, m, &s);
	fw_netlink_close(&n);
	if (err != 0)
		return fw_netlink_error(err, NULL, e);
	if (s.dormant) { /* nft would wake it first, and then the kernel takes no chain that hooks */
		fw_state_free(&s);
		return error_set(e, "table inet " FW_TABLE " is dormant; wake it with: nft add table inet " FW_TABLE);
	}
	if (s.present)
		buf_puts(out, "flush table inet " FW_TABLE "\n");
	for (int kind = FW_THERE_SET; kind <= FW_THERE_OBJECT; kind++)
		for (size_t i = 0; i < s.count; i++)
			if (s.at[i].kind == (enum fw_there_kind)kind && !s.at[i].stays)
				put_removal(&s.at[i], out);
	fw_state_free(&s);
	return 0;
}
