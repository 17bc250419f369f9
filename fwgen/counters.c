/* counters.h: one dump of the table's stateful objects (libnftnl). */
#include "fwgen/counters.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <libnftnl/object.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fwgen/fwgen.h"

#define COUNTERS_MAX 4096

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

static int dump(struct mnl_socket *nl, struct counters *c)
{
	_Alignas(struct nlmsghdr) char bytes[65536];
	struct nlmsghdr *h = nftnl_nlmsg_build_hdr(bytes, NFT_MSG_GETOBJ, NFPROTO_INET, NLM_F_DUMP, 1);
	struct nftnl_obj *filter = nftnl_obj_alloc();
	int more;

	if (filter == NULL)
		return -1;
	nftnl_obj_set_str(filter, NFTNL_OBJ_TABLE, FW_TABLE);
	nftnl_obj_set_u32(filter, NFTNL_OBJ_TYPE, NFT_OBJECT_COUNTER);
	nftnl_obj_nlmsg_build_payload(h, filter);
	nftnl_obj_free(filter);
	more = mnl_socket_sendto(nl, h, h->nlmsg_len) == -1 ? -1 : MNL_CB_OK;
	while (more > MNL_CB_STOP) {
		ssize_t n = mnl_socket_recvfrom(nl, bytes, sizeof(bytes));
		more = n == -1 ? -1 : mnl_cb_run(bytes, (size_t)n, 1, mnl_socket_get_portid(nl), on_object, c);
	}
	return more;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct fw_counter *)a)->name, ((const struct fw_counter *)b)->name);
}

int fw_kernel_counters(struct fw_counter **out, size_t *count, struct error *e)
{
	struct counters c = { NULL, 0 };
	struct mnl_socket *nl = mnl_socket_open2(NETLINK_NETFILTER, SOCK_CLOEXEC);
	int result = nl == NULL || mnl_socket_bind(nl, 0, MNL_SOCKET_AUTOPID) == -1 ? -1 : dump(nl, &c);

	if (result == -1 && errno != ENOENT) {
		error_errno(e, "cannot read the counters of table inet " FW_TABLE);
		free(c.at);
		c.at = NULL;
	} else
		result = 0;
	if (nl != NULL)
		mnl_socket_close(nl);
	if (c.count > 0 && c.at != NULL)
		qsort(c.at, c.count, sizeof(*c.at), by_name);
	*out = c.at;
	*count = c.at != NULL ? c.count : 0;
	return result;
}
