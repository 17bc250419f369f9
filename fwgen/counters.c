/* counters.h: one dump of the table's stateful objects (libnftnl). */
#include "fwgen/counters.h"

#include <errno.h>
#include <libnftnl/object.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fwgen/netlink.h"

#define COUNTERS_MAX 4096
#define DUMP_TRIES 5 /* while others change the rules */

struct counters {
	struct fw_counter *at;
	size_t count;
};

static int on_object(const struct nlmsghdr *h, void *data)
{
	struct counters *c = data;
	struct nftnl_obj *o = nftnl_obj_alloc();

	if (o != NULL && nftnl_obj_nlmsg_parse(h, o) == 0 && c->count < COUNTERS_MAX &&
	    nftnl_obj_get_u32(o, NFTNL_OBJ_TYPE) == NFT_OBJECT_COUNTER &&
	    strcmp(nftnl_obj_get_str(o, NFTNL_OBJ_TABLE), FW_TABLE) == 0) {
		struct fw_counter *at;
		c->at = xreallocarray(c->at, c->count + 1, sizeof(*c->at));
		at = &c->at[c->count++];
		snprintf(at->name, sizeof(at->name), "%s", nftnl_obj_get_str(o, NFTNL_OBJ_NAME));
		at->packets = nftnl_obj_get_u64(o, NFTNL_OBJ_CTR_PKTS);
		at->bytes = nftnl_obj_get_u64(o, NFTNL_OBJ_CTR_BYTES);
	}
	if (o != NULL)
		nftnl_obj_free(o);
	return MNL_CB_OK;
}

/* 0, or an errno. */
static int dump(struct fw_netlink *n, struct counters *c)
{
	_Alignas(struct nlmsghdr) char request[256];
	struct nlmsghdr *h = nftnl_nlmsg_build_hdr(request, NFT_MSG_GETOBJ, NFPROTO_INET, NLM_F_DUMP, ++n->sequence);
	struct nftnl_obj *filter = nftnl_obj_alloc();

	if (filter == NULL)
		return ENOMEM;
	nftnl_obj_set_str(filter, NFTNL_OBJ_TABLE, FW_TABLE);
	nftnl_obj_set_u32(filter, NFTNL_OBJ_TYPE, NFT_OBJECT_COUNTER);
	nftnl_obj_nlmsg_build_payload(h, filter);
	nftnl_obj_free(filter);
	c->count = 0;
	if (mnl_socket_sendto(n->socket, h, h->nlmsg_len) < 0)
		return errno;
	return fw_answer(
	    mnl_socket_get_fd(n->socket), n->received, FW_RECEIVE_SIZE, n->sequence, n->portid, on_object, c);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct fw_counter *)a)->name, ((const struct fw_counter *)b)->name);
}

int fw_kernel_counters(struct fw_counter **out, size_t *count, struct error *e)
{
	struct counters c = { NULL, 0 };
	struct fw_netlink n;
	int err = EINTR;

	if (fw_netlink_open(&n, e) == -1)
		return -1;
	for (int i = 0; err == EINTR && i < DUMP_TRIES; i++)
		err = dump(&n, &c);
	fw_netlink_close(&n);
	if (err != 0 && err != ENOENT) {
		free(c.at);
		return fw_netlink_error(err, "the counters of table inet " FW_TABLE, e);
	}
	if (c.count > 0)
		qsort(c.at, c.count, sizeof(*c.at), by_name);
	*out = c.at;
	*count = c.count;
	return 0;
}
