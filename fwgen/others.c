/*
 * fw_kernel_others (kernel.h): dumps all tables, chains and rules over netlink (libnftnl), asks the old iptables of
 * others_legacy.h, and knows the usual owners by the names of their tables and chains.
 *
 * A packet passes every base chain of its hook; one drop anywhere is the end, while an accept holds for its own table
 * alone.  So another table conflicts with ours when it can drop what comes in: its policy on the input hook (or
 * before it) drops, or one of the rules in the table drops or rejects.  Whether that rule is ever reached is not asked.
 * Rules beyond RULES_MAX are not looked at.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <libnftnl/chain.h>
#include <libnftnl/expr.h>
#include <libnftnl/rule.h>
#include <libnftnl/table.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fwgen/kernel.h"
#include "fwgen/netlink.h"
#include "fwgen/others_legacy.h"

#define TABLES_MAX 256
#define CHAINS_MAX 65536
#define RULES_MAX 1000000

/* ---- who is known, most telling first */

struct owner {
	const char *name;
	const char *const *tables; /* beginnings of names */
	const char *const *chains;
	const char *text; /* what it means and what to do */
};

#define NAMES(...) ((const char *const[]){ __VA_ARGS__, NULL })
#define NO_NAMES NAMES(NULL)

static const struct owner owners[] = {
	{ "ufw", NO_NAMES, NAMES("ufw-", "ufw6-"),
	    "what mailadm accepts has to pass ufw too, and ufw may drop it: put its rules into firewall.extra and run "
	    "`ufw disable`, or "
	    "open the same ports there" },
	{ "firewalld", NAMES("firewalld"), NAMES("FWDI_", "FWDO_", "INPUT_ZONES", "FORWARD_IN_ZONES"),
	    "what mailadm accepts has to pass firewalld's zones too: stop and mask firewalld, or open the same "
	    "services in its zone" },
	{ "fail2ban", NAMES("f2b-"), NAMES("f2b-"),
	    "it rejects the sources it has banned, which is fine beside mailadm; mailadm bans for its own services "
	    "itself, so the mail jails "
	    "can go, and firewall.admin_from belongs into its ignoreip" },
	{ "docker", NAMES("docker-"), NAMES("DOCKER"),
	    "published container ports pass by the input chain, so the site does not close them: publish them on "
	    "127.0.0.1, or list what may "
	    "reach them in chain DOCKER-USER" },
	{ "libvirt", NAMES("libvirt_"), NAMES("LIBVIRT_"),
	    "it forwards and masquerades for virtual machines; mailadm leaves that alone, and DHCP and DNS for them "
	    "need firewall.extra" },
	{ "podman", NAMES("netavark"), NAMES("NETAVARK", "CNI-"),
	    "published container ports pass by the input chain, so the site does not close them: publish them on "
	    "127.0.0.1" },
	{ "lxd", NAMES("lxd", "incus"), NAMES("lxd_", "incus_"),
	    "it forwards and masquerades for containers; DHCP and DNS for them need firewall.extra" },
	{ "kubernetes", NAMES("kube-"), NAMES("KUBE-"),
	    "its services pass by the input chain, so the site does not close them" },
	{ "tailscale", NO_NAMES, NAMES("ts-"),
	    "it accepts and forwards for its own interface in its own chains; what comes over it still passes "
	    "mailadm's input chain" },
};

static const struct owner iptables = { "iptables", NO_NAMES, NO_NAMES,
	"rules of iptables (nft) are here too, and what mailadm accepts has to pass them: move them to firewall.extra "
	"or "
	"firewall.include, flush them, and disable what loads them (netfilter-persistent)" };
static const struct owner stranger = { NULL, NO_NAMES, NO_NAMES,
	"another table filters here too, and what mailadm accepts has to pass it: move its rules to firewall.extra or "
	"firewall.include, "
	"or see that both agree" };
static const struct owner bystander = { NULL, NO_NAMES, NO_NAMES,
	"another table has chains here too; it lets everything in that mailadm lets in" };

static bool begins_with(const char *name, const char *const *beginnings)
{
	for (; *beginnings != NULL; beginnings++)
		if (strncmp(name, *beginnings, strlen(*beginnings)) == 0)
			return true;
	return false;
}

/* ---- what is there */

struct found_table {
	uint32_t family;
	char name[NFT_NAME_MAXLEN];
	size_t owners; /* a bit for each of owners[] */
	bool iptables; /* its base chains are iptables-nft's */
	bool hooked;   /* a filter chain on input, forward, output or before */
	bool incoming; /* on the way in */
	bool rules;    /* there is one */
	bool may_drop;
	bool forward_drops; /* by its policy */
};

struct found {
	struct found_table tables[TABLES_MAX];
	size_t count, chains, rules;
};

static struct found_table *table_of(struct found *f, uint32_t family, const char *name)
{
	for (size_t i = 0; i < f->count; i++)
		if (f->tables[i].family == family && strcmp(f->tables[i].name, name) == 0)
			return &f->tables[i];
	return NULL;
}

static size_t owners_of(const char *table, const char *chain)
{
	size_t bits = 0;

	for (size_t i = 0; i < sizeof(owners) / sizeof(owners[0]); i++)
		if ((table != NULL && begins_with(table, owners[i].tables)) ||
		    (chain != NULL && begins_with(chain, owners[i].chains)))
			bits |= (size_t)1 << i;
	return bits;
}

static int on_table(const struct nlmsghdr *h, void *data)
{
	struct found *f = data;
	struct nftnl_table *t = nftnl_table_alloc();

	if (t != NULL && nftnl_table_nlmsg_parse(h, t) == 0 && f->count < TABLES_MAX) {
		struct found_table *found = &f->tables[f->count];
		const char *name = nftnl_table_get_str(t, NFTNL_TABLE_NAME);
		found->family = nftnl_table_get_u32(t, NFTNL_TABLE_FAMILY);
		if (name != NULL && !(found->family == NFPROTO_INET && strcmp(name, FW_TABLE) == 0)) {
			snprintf(found->name, sizeof(found->name), "%s", name);
			found->owners = owners_of(name, NULL);
			f->count++;
		}
	}
	nftnl_table_free(t);
	return MNL_CB_OK;
}

static void note_base_chain(struct found_table *t, const struct nftnl_chain *c, const char *name)
{
	uint32_t hook = nftnl_chain_get_u32(c, NFTNL_CHAIN_HOOKNUM);
	const char *type = nftnl_chain_get_str(c, NFTNL_CHAIN_TYPE);
	bool netdev = t->family == NFPROTO_NETDEV;

	if ((t->family == NFPROTO_IPV4 || t->family == NFPROTO_IPV6) &&
	    begins_with(name, NAMES("INPUT", "FORWARD", "OUTPUT", "PREROUTING", "POSTROUTING")))
		t->iptables = true;
	if (t->family == NFPROTO_ARP || (type != NULL && strcmp(type, "nat") == 0))
		return;
	t->hooked = true;
	if (netdev || hook == NF_INET_PRE_ROUTING || hook == NF_INET_LOCAL_IN || hook == NF_INET_INGRESS)
		t->incoming = true;
	if (!nftnl_chain_is_set(c, NFTNL_CHAIN_POLICY) || nftnl_chain_get_u32(c, NFTNL_CHAIN_POLICY) != NF_DROP)
		return;
	if (!netdev && hook == NF_INET_FORWARD)
		t->forward_drops = true;
	else if (netdev || hook != NF_INET_LOCAL_OUT)
		t->may_drop = true;
}

static int on_chain(const struct nlmsghdr *h, void *data)
{
	struct found *f = data;
	struct nftnl_chain *c = nftnl_chain_alloc();

	if (c != NULL && nftnl_chain_nlmsg_parse(h, c) == 0 && f->chains++ < CHAINS_MAX) {
		const char *table = nftnl_chain_get_str(c, NFTNL_CHAIN_TABLE),
			   *name = nftnl_chain_get_str(c, NFTNL_CHAIN_NAME);
		struct found_table *t = NULL;
		if (table != NULL && name != NULL)
			t = table_of(f, nftnl_chain_get_u32(c, NFTNL_CHAIN_FAMILY), table);
		if (t != NULL) {
			t->owners |= owners_of(NULL, name);
			if (nftnl_chain_is_set(c, NFTNL_CHAIN_HOOKNUM))
				note_base_chain(t, c, name);
		}
	}
	nftnl_chain_free(c);
	return MNL_CB_OK;
}

/* Drops, rejects, or asks a verdict map, which may hold a drop. */
static int on_expr(struct nftnl_expr *x, void *data)
{
	const char *name = nftnl_expr_get_str(x, NFTNL_EXPR_NAME);
	bool *drops = data;

	if (strcmp(name, "reject") == 0 ||
	    (strcmp(name, "immediate") == 0 && nftnl_expr_is_set(x, NFTNL_EXPR_IMM_VERDICT) &&
		nftnl_expr_get_u32(x, NFTNL_EXPR_IMM_VERDICT) == NF_DROP) ||
	    (strcmp(name, "lookup") == 0 && nftnl_expr_is_set(x, NFTNL_EXPR_LOOKUP_DREG) &&
		nftnl_expr_get_u32(x, NFTNL_EXPR_LOOKUP_DREG) == NFT_REG_VERDICT))
		*drops = true;
	else if (strcmp(name, "target") == 0) {
		const char *target = nftnl_expr_get_str(x, NFTNL_EXPR_TG_NAME);
		*drops = *drops || (target != NULL && strcmp(target, "REJECT") == 0);
	}
	return 0;
}

static int on_rule(const struct nlmsghdr *h, void *data)
{
	struct found *f = data;

	if (f->rules++ >= RULES_MAX)
		return MNL_CB_OK;
	struct nftnl_rule *r = nftnl_rule_alloc();
	if (r != NULL && nftnl_rule_nlmsg_parse(h, r) == 0) {
		const char *table = nftnl_rule_get_str(r, NFTNL_RULE_TABLE);
		struct found_table *t =
		    table != NULL ? table_of(f, nftnl_rule_get_u32(r, NFTNL_RULE_FAMILY), table) : NULL;
		if (t != NULL) {
			t->rules = true;
			if (!t->may_drop)
				nftnl_expr_foreach(r, on_expr, &t->may_drop);
		}
	}
	nftnl_rule_free(r);
	return MNL_CB_OK;
}

/* 0, or an errno. */
static int dump(struct fw_netlink *n, uint16_t type, mnl_cb_t callback, struct found *f)
{
	_Alignas(struct nlmsghdr) char request[256];
	struct nlmsghdr *h = nftnl_nlmsg_build_hdr(request, type, NFPROTO_UNSPEC, NLM_F_DUMP, ++n->sequence);

	if (mnl_socket_sendto(n->socket, h, h->nlmsg_len) < 0)
		return errno;
	return fw_answer(
	    mnl_socket_get_fd(n->socket), n->received, FW_RECEIVE_SIZE, n->sequence, n->portid, callback, f);
}

#define DUMP_TRIES 8 /* a dump that somebody's change interrupted (EINTR) is made again */

static int dump_all(struct found *f, struct error *e)
{
	struct fw_netlink n;
	int err = EINTR;

	if (fw_netlink_open(&n, e) == -1)
		return -1;
	for (int i = 0; err == EINTR && i < DUMP_TRIES; i++) {
		memset(f, 0, sizeof(*f));
		err = dump(&n, NFT_MSG_GETTABLE, on_table, f);
		if (err == 0)
			err = dump(&n, NFT_MSG_GETCHAIN, on_chain, f);
		if (err == 0)
			err = dump(&n, NFT_MSG_GETRULE, on_rule, f);
	}
	fw_netlink_close(&n);
	return err == 0 ? 0 : fw_netlink_error(err, "the tables of others", e);
}

/* ---- what is said */

struct out {
	struct fw_other *at;
	size_t max, count;
};

#define FORWARD_TEXT "; its forward chain drops, which a gateway needs open"

static struct fw_other *entry(struct out *out, const struct owner *owner, const char *name)
{
	for (size_t i = 0; i < out->count; i++)
		if (strcmp(out->at[i].name, name) == 0)
			return &out->at[i];
	if (out->count == out->max)
		return NULL;
	struct fw_other *o = &out->at[out->count++];
	memset(o, 0, sizeof(*o));
	snprintf(o->name, sizeof(o->name), "%s", name);
	snprintf(o->text, sizeof(o->text), "%s", owner->text);
	return o;
}

/* One entry a name; it conflicts when one of its tables does. */
static void say(struct out *out, const struct owner *owner, const char *name, const struct found_table *t)
{
	struct fw_other *o = entry(out, owner, name);
	size_t len;

	if (o == NULL)
		return;
	o->conflicts |= t->incoming && t->may_drop;
	len = strlen(o->text);
	if (t->forward_drops && strstr(o->text, FORWARD_TEXT) == NULL)
		snprintf(o->text + len, sizeof(o->text) - len, FORWARD_TEXT);
}

static const char *family_name(uint32_t family)
{
	switch (family) {
	case NFPROTO_IPV4:
		return "ip";
	case NFPROTO_IPV6:
		return "ip6";
	case NFPROTO_INET:
		return "inet";
	case NFPROTO_NETDEV:
		return "netdev";
	case NFPROTO_BRIDGE:
		return "bridge";
	default:
		return "arp";
	}
}

static void say_table(struct out *out, const struct found_table *t)
{
	bool known = false;
	char name[64];

	for (size_t i = 0; i < sizeof(owners) / sizeof(owners[0]); i++) {
		if (t->owners & (size_t)1 << i) {
			say(out, &owners[i], owners[i].name, t);
			known = true;
		}
	}
	if (known || !t->hooked)
		return;
	if (t->iptables) {
		if (t->rules || t->may_drop) /* empty tables stay behind when somebody has asked iptables */
			say(out, &iptables, iptables.name, t);
		return;
	}
	snprintf(name, sizeof(name), "%s %.50s", family_name(t->family), t->name);
	say(out, t->incoming && t->may_drop ? &stranger : &bystander, name, t);
}

int fw_kernel_others(struct fw_other *others, size_t max, size_t *count, struct error *e)
{
	struct out out = { others, max, 0 };
	struct found *f = xcalloc(1, sizeof(*f));
	struct fw_other legacy;

	*count = 0;
	if (dump_all(f, e) == -1) {
		free(f);
		return -1;
	}
	for (size_t i = 0; i < f->count; i++)
		say_table(&out, &f->tables[i]);
	free(f);
	if (out.count < max && fw_legacy_iptables(&legacy))
		others[out.count++] = legacy;
	*count = out.count;
	return 0;
}
