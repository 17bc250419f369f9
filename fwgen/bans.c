/*
 * bans.h: nfnetlink messages written straight into one buffer.
 *
 * A batch is BEGIN, messages with as many elements as an attribute holds (its length has 16 bits), END, sent by one
 * sendto; the kernel has done all or nothing when that returns, and its answers are there.  Adding an element that is
 * there changes nothing, its time included (until Linux 6.12), and deleting one that is not there is an error: so what
 * may be there is added, deleted and added in one batch, which between two packets is one change.
 */
#include "fwgen/bans.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "fwgen/answer.h"
#include "fwgen/fwgen.h"
#include "lib/buf.h"

#pragma GCC diagnostic ignored "-Wconversion" /* libmnl's loops over attributes subtract pointers into an int */

#define BATCH_MAX (64u << 20)
#define ELEMENTS_MAX 1024 /* of one message: the nested attribute stays below 64 KiB */
#define FEW 64
#define LIST_MAX (4u * FW_BANS_MAX)
#define LIST_TRIES 5
#define RECEIVE_SIZE 65536

struct bans {
	struct mnl_socket *socket;
	unsigned portid;
	uint32_t sequence;
	char *received; /* RECEIVE_SIZE bytes */
};

struct batch {
	struct buf out;
	uint32_t sequence; /* of the last message */
	size_t last;       /* where it begins */
};

static const char *const set_names[] = { FW_SET_BANS4, FW_SET_BANS6 };

struct bans *bans_open(struct error *e)
{
	struct bans *b = xcalloc(1, sizeof(*b));
	int on = 1;

	b->received = xmalloc(RECEIVE_SIZE);
	b->socket = mnl_socket_open2(NETLINK_NETFILTER, SOCK_CLOEXEC);
	if (b->socket == NULL || mnl_socket_bind(b->socket, 0, MNL_SOCKET_AUTOPID) < 0) {
		error_errno(e, "netlink");
		bans_close(b);
		return NULL;
	}
	b->portid = mnl_socket_get_portid(b->socket);
	/* Errors without the message they are about, which may have 60 KiB. */
	mnl_socket_setsockopt(b->socket, NETLINK_CAP_ACK, &on, sizeof(on));
	return b;
}

void bans_close(struct bans *b)
{
	if (b == NULL)
		return;
	if (b->socket != NULL)
		mnl_socket_close(b->socket);
	free(b->received);
	free(b);
}

/* Encoding ---------------------------------------------------------------------------------------------------- */

static void begin_message(
    struct bans *b, struct batch *batch, uint16_t type, uint16_t flags, uint8_t family, uint16_t resource)
{
	struct nlmsghdr header = { .nlmsg_type = type,
		.nlmsg_flags = NLM_F_REQUEST | flags,
		.nlmsg_seq = ++b->sequence,
		.nlmsg_pid = b->portid };
	struct nfgenmsg net = { .nfgen_family = family, .version = NFNETLINK_V0, .res_id = htons(resource) };

	batch->last = batch->out.len;
	batch->sequence = header.nlmsg_seq;
	buf_add(&batch->out, &header, sizeof(header));
	buf_add(&batch->out, &net, sizeof(net));
}

static void end_message(struct batch *batch)
{
	uint32_t length = (uint32_t)(batch->out.len - batch->last);

	if (!batch->out.full)
		memcpy(batch->out.data + batch->last, &length, sizeof(length));
}

static void put_attribute(struct buf *out, uint16_t type, const void *data, size_t len)
{
	static const char padding[MNL_ALIGNTO];
	struct nlattr header = { .nla_len = (uint16_t)(sizeof(header) + len), .nla_type = type };

	buf_add(out, &header, sizeof(header));
	buf_add(out, data, len);
	buf_add(out, padding, MNL_ALIGN(len) - len);
}

static void put_set(struct batch *batch, bool ipv6)
{
	const char *name = set_names[ipv6];

	put_attribute(&batch->out, NFTA_SET_ELEM_LIST_TABLE, FW_TABLE, sizeof(FW_TABLE));
	put_attribute(&batch->out, NFTA_SET_ELEM_LIST_SET, name, strlen(name) + 1);
}

/* An element as the kernel reads it; every field has a multiple of four bytes.  IPv4 leaves the last twelve away. */
struct element {
	struct nlattr element, timeout;
	unsigned char milliseconds[8];
	struct nlattr key, value;
	unsigned char address[16];
};
_Static_assert(sizeof(struct element) == 40, "no padding");

static struct element element_of(bool ipv6)
{
	const uint16_t header = sizeof(struct nlattr), width = ipv6 ? 16 : 4;

	return (struct element){ .element = { (uint16_t)(4 * header + 8 + width), NFTA_LIST_ELEM | NLA_F_NESTED },
		.timeout = { (uint16_t)(header + 8), NFTA_SET_ELEM_TIMEOUT },
		.key = { (uint16_t)(2 * header + width), NFTA_SET_ELEM_KEY | NLA_F_NESTED },
		.value = { (uint16_t)(header + width), NFTA_DATA_VALUE } };
}

/* Messages of one type about all bans of one family. */
static void put_elements(
    struct bans *b, struct batch *batch, uint16_t type, uint16_t flags, const struct ban *bans, size_t count, bool ipv6)
{
	struct element element = element_of(ipv6);
	size_t i = 0;

	while (i < count) {
		struct nlattr list = { .nla_type = NFTA_SET_ELEM_LIST_ELEMENTS | NLA_F_NESTED };
		size_t at, n = 0;

		for (; i < count && bans[i].ipv6 != ipv6; i++)
			;
		if (i == count)
			return;
		begin_message(b, batch, (uint16_t)(NFNL_SUBSYS_NFTABLES << 8 | type), flags, NFPROTO_INET, 0);
		put_set(batch, ipv6);
		at = batch->out.len;
		buf_add(&batch->out, &list, sizeof(list));
		for (; i < count && n < ELEMENTS_MAX; i++) {
			if (bans[i].ipv6 != ipv6)
				continue;
			uint64_t ms = htobe64(bans[i].left_ms > 0 ? bans[i].left_ms : 1);

			memcpy(element.milliseconds, &ms, sizeof(ms));
			memcpy(element.address, bans[i].address, sizeof(element.address));
			buf_add(&batch->out, &element, element.element.nla_len);
			n++;
		}
		list.nla_len = (uint16_t)(batch->out.len - at);
		if (!batch->out.full)
			memcpy(batch->out.data + at, &list, sizeof(list));
		end_message(batch);
	}
}
_Static_assert(ELEMENTS_MAX * sizeof(struct element) + 64 < UINT16_MAX, "a list of elements is one attribute");

static void put_both(
    struct bans *b, struct batch *batch, uint16_t type, uint16_t flags, const struct ban *bans, size_t count)
{
	put_elements(b, batch, type, flags, bans, count, false);
	put_elements(b, batch, type, flags, bans, count, true);
}

/* elements: how many will come, so that the buffer need not grow often. */
static void batch_begin(struct bans *b, struct batch *batch, size_t elements)
{
	*batch = (struct batch){ .out = BUF_INIT(BATCH_MAX) };
	buf_reserve(&batch->out, 1024 + elements * sizeof(struct element));
	begin_message(b, batch, NFNL_MSG_BATCH_BEGIN, 0, AF_UNSPEC, NFNL_SUBSYS_NFTABLES);
	end_message(batch);
}

/* Sending and answers --------------------------------------------------------------------------------------------- */

static int say(int err, struct error *e)
{
	if (err == ENOENT)
		return error_set(e, "the firewall's table inet " FW_TABLE " with its sets " FW_SET_BANS4
				    " and " FW_SET_BANS6 " is not loaded; load it with: mailadm apply");
	if (err == ENFILE)
		return error_set(e, "the set of bans is full (%d elements)", FW_BANS_MAX);
	return fw_netlink_error(err, "bans", e);
}

/* Sends the batch and frees it: 0, or an errno. */
static int commit(struct bans *b, struct batch *batch)
{
	struct nlmsghdr *last;
	uint32_t sequence = batch->sequence, about;
	int r;

	if (batch->out.full) {
		buf_free(&batch->out);
		return EMSGSIZE;
	}
	last = (void *)(batch->out.data + batch->last);
	last->nlmsg_flags |= NLM_F_ACK;
	begin_message(b, batch, NFNL_MSG_BATCH_END, 0, AF_UNSPEC, NFNL_SUBSYS_NFTABLES);
	end_message(batch);
	r = fw_send_batch(mnl_socket_get_fd(b->socket), batch->out.data, batch->out.len, b->received, RECEIVE_SIZE,
	    sequence, &about);
	buf_free(&batch->out);
	return r;
}

int bans_add(struct bans *b, const struct ban *bans, size_t count, struct error *e)
{
	struct batch batch;
	int err = EEXIST;

	if (count == 0)
		return 0;
	/* Many are rarely there, and then this is a third of the work; a batch that fails costs the kernel 15 ms. */
	if (count > FEW) {
		batch_begin(b, &batch, count);
		put_both(b, &batch, NFT_MSG_NEWSETELEM, NLM_F_CREATE | NLM_F_EXCL, bans, count);
		err = commit(b, &batch);
	}
	if (err == EEXIST) {
		batch_begin(b, &batch, 3 * count);
		put_both(b, &batch, NFT_MSG_NEWSETELEM, NLM_F_CREATE, bans, count);
		put_both(b, &batch, NFT_MSG_DELSETELEM, 0, bans, count);
		put_both(b, &batch, NFT_MSG_NEWSETELEM, NLM_F_CREATE, bans, count);
		err = commit(b, &batch);
	}
	return err == 0 ? 0 : say(err, e);
}

int bans_remove(struct bans *b, const struct ban *bans, size_t count, struct error *e)
{
	struct batch batch;
	int err;

	if (count == 0)
		return 0;
	batch_begin(b, &batch, 2 * count);
	put_both(b, &batch, NFT_MSG_NEWSETELEM, NLM_F_CREATE, bans, count);
	put_both(b, &batch, NFT_MSG_DELSETELEM, 0, bans, count);
	err = commit(b, &batch);
	/* Full: no room even for a moment.  One by one, where that one is not there is no error. */
	for (size_t i = 0; err == ENFILE && i < count; i++) {
		int one;

		batch_begin(b, &batch, 1);
		put_both(b, &batch, NFT_MSG_DELSETELEM, 0, &bans[i], 1);
		one = commit(b, &batch);
		if (one != 0 && one != ENOENT)
			return say(one, e);
		if (i + 1 == count)
			err = 0;
	}
	return err == 0 || err == ENOENT ? 0 : say(err, e); /* no set, so none of them */
}

int bans_replace(struct bans *b, const struct ban *bans, size_t count, struct error *e)
{
	struct batch batch;
	int err;

	batch_begin(b, &batch, count);
	for (int ipv6 = 0; ipv6 < 2; ipv6++) { /* without elements: all of them */
		begin_message(b, &batch, NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_DELSETELEM, 0, NFPROTO_INET, 0);
		put_set(&batch, ipv6);
		end_message(&batch);
	}
	put_both(b, &batch, NFT_MSG_NEWSETELEM, NLM_F_CREATE, bans, count);
	err = commit(b, &batch);
	return err == 0 ? 0 : say(err, e);
}

/* Reading ------------------------------------------------------------------------------------------------------------
 */

struct listing {
	struct ban *at;
	size_t count, room;
	bool ipv6;
};

/* The attribute of that type within another one, or NULL. */
static const struct nlattr *find_nested(const struct nlattr *in, uint16_t type)
{
	const struct nlattr *a;

	mnl_attr_for_each_nested(a, in)
	{
		if (mnl_attr_get_type(a) == type)
			return a;
	}
	return NULL;
}

static uint64_t milliseconds(const struct nlattr *element)
{
	const struct nlattr *left = find_nested(element, NFTA_SET_ELEM_EXPIRATION);
	uint64_t ms;

	if (left == NULL)
		left = find_nested(element, NFTA_SET_ELEM_TIMEOUT);
	if (left == NULL || mnl_attr_get_payload_len(left) != sizeof(ms))
		return UINT64_MAX;
	memcpy(&ms, mnl_attr_get_payload(left), sizeof(ms));
	return be64toh(ms);
}

static int on_elements(const struct nlmsghdr *h, void *arg)
{
	struct listing *l = arg;
	const struct nlattr *a, *element;
	size_t width = l->ipv6 ? 16 : 4;

	mnl_attr_for_each(a, h, sizeof(struct nfgenmsg))
	{
		if (mnl_attr_get_type(a) != NFTA_SET_ELEM_LIST_ELEMENTS)
			continue;
		mnl_attr_for_each_nested(element, a)
		{
			const struct nlattr *key = find_nested(element, NFTA_SET_ELEM_KEY);
			const struct nlattr *value = key != NULL ? find_nested(key, NFTA_DATA_VALUE) : NULL;
			struct ban *ban;

			if (value == NULL || mnl_attr_get_payload_len(value) != width || l->count >= LIST_MAX)
				continue;
			if (l->count == l->room) {
				l->room = l->room > 0 ? 2 * l->room : 256;
				l->at = xreallocarray(l->at, l->room, sizeof(*l->at));
			}
			ban = &l->at[l->count++];
			*ban = (struct ban){ .ipv6 = l->ipv6, .left_ms = milliseconds(element) };
			memcpy(ban->address, mnl_attr_get_payload(value), width);
		}
	}
	return MNL_CB_OK;
}

/* Sends one request and has fn see each message of its answer: 0, or an errno (EINTR: it changed meanwhile). */
static int ask(struct bans *b, struct batch *request, mnl_cb_t fn, void *arg)
{
	bool sent = mnl_socket_sendto(b->socket, request->out.data, request->out.len) >= 0;
	int err = errno;

	buf_free(&request->out);
	return !sent ? err
	             : fw_answer(mnl_socket_get_fd(b->socket), b->received, RECEIVE_SIZE, request->sequence, b->portid,
			   fn, arg);
}

static int list_set(struct bans *b, struct listing *l, bool ipv6)
{
	struct batch request = { .out = BUF_INIT(4096) };

	l->ipv6 = ipv6;
	begin_message(b, &request, NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETSETELEM, NLM_F_DUMP, NFPROTO_INET, 0);
	put_set(&request, ipv6);
	end_message(&request);
	return ask(b, &request, on_elements, l);
}

int bans_list(struct bans *b, struct ban **out, size_t *count, struct error *e)
{
	struct listing l = { .at = NULL };
	int err = EINTR;

	for (int i = 0; err == EINTR && i < LIST_TRIES; i++) {
		l.count = 0;
		err = list_set(b, &l, false);
		if (err == 0)
			err = list_set(b, &l, true);
	}
	if (err != 0 && err != EINTR) {
		free(l.at);
		return say(err, e);
	}
	*out = l.at; /* after so many tries: as good as it gets while others keep changing it */
	*count = l.count;
	return 0;
}

int ban_order(const void *a, const void *b)
{
	const struct ban *x = a, *y = b;

	return x->ipv6 != y->ipv6 ? x->ipv6 - y->ipv6 : memcmp(x->address, y->address, sizeof(x->address));
}

#define SAME_MS 1000 /* remaining times that differ by less are one */

static bool same_end(const struct ban *a, const struct ban *b)
{
	uint64_t apart = a->left_ms > b->left_ms ? a->left_ms - b->left_ms : b->left_ms - a->left_ms;

	return apart < SAME_MS || a->left_ms == UINT64_MAX || b->left_ms == UINT64_MAX;
}

/* Moves to the front of a what ends some time and b has not (times: or has with another end); sorted.  How many. */
static size_t keep_others(struct ban *a, size_t count, const struct ban *b, size_t others, bool times)
{
	size_t kept = 0, k = 0;

	for (size_t i = 0; i < count; i++) {
		while (k < others && ban_order(&b[k], &a[i]) < 0)
			k++;
		if (a[i].left_ms != UINT64_MAX &&
		    (k == others || ban_order(&b[k], &a[i]) != 0 || (times && !same_end(&b[k], &a[i]))))
			a[kept++] = a[i];
	}
	return kept;
}

int bans_settle(struct bans *b, struct ban *want, size_t count, struct error *e)
{
	struct ban *there = NULL, *missing = NULL;
	size_t n, lost;
	int r = bans_list(b, &there, &n, e);

	if (r < 0)
		return -1;
	if (count > 0)
		qsort(want, count, sizeof(*want), ban_order);
	if (n > 0)
		qsort(there, n, sizeof(*there), ban_order);
	missing = xmalloc((count + 1) * sizeof(*missing));
	if (count > 0)
		memcpy(missing, want, count * sizeof(*want));
	lost = keep_others(missing, count, there, n, true);
	n = keep_others(there, n, want, count, false);
	r = bans_remove(b, there, n, e);
	if (r == 0)
		r = bans_add(b, missing, lost, e);
	free(there);
	free(missing);
	return r;
}

static int on_generation(const struct nlmsghdr *h, void *arg)
{
	const struct nlattr *a;

	mnl_attr_for_each(a, h, sizeof(struct nfgenmsg))
	{
		if (mnl_attr_get_type(a) == NFTA_GEN_ID && mnl_attr_get_payload_len(a) == sizeof(uint32_t))
			*(uint32_t *)arg = ntohl(mnl_attr_get_u32(a));
	}
	return MNL_CB_STOP;
}

int bans_generation(struct bans *b, uint32_t *out, struct error *e)
{
	struct batch request = { .out = BUF_INIT(4096) };
	int err;

	*out = 0;
	begin_message(b, &request, NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETGEN, 0, AF_UNSPEC, 0);
	end_message(&request);
	err = ask(b, &request, on_generation, out);
	return err == 0 ? 0 : say(err, e);
}
