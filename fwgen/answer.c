/* answer.h, for whoever speaks with nftables. */
#include "fwgen/answer.h"

#include <errno.h>
#include <stdbool.h>
#include <sys/socket.h>

#define LARGE 100000 /* bytes: about what a socket takes at once by itself */

/* libmnl stops at the message that says "interrupted", and that may be the one that ends the dump. */
static bool is_last(const char *bytes, size_t size)
{
	const struct nlmsghdr *h = (const void *)bytes;

	for (int left = (int)size; mnl_nlmsg_ok(h, left); h = mnl_nlmsg_next(h, &left)) {
		if (h->nlmsg_type == NLMSG_DONE || h->nlmsg_type == NLMSG_ERROR)
			return true;
	}
	return false;
}

int fw_answer(int fd, char *room, size_t size, uint32_t sequence, unsigned portid, mnl_cb_t fn, void *arg)
{
	const struct nlmsghdr *first = (const void *)room;
	bool changed = false;
	int r = MNL_CB_OK;

	while (r > MNL_CB_STOP) {
		ssize_t n = recv(fd, room, size, MSG_TRUNC);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno;
		if (n == 0 || (size_t)n > size)
			return EMSGSIZE;
		if (mnl_nlmsg_ok(first, (int)n) && first->nlmsg_seq != sequence)
			continue;
		r = mnl_cb_run(room, (size_t)n, sequence, portid, fn, arg);
		if (r == MNL_CB_ERROR && errno != EINTR)
			return errno;
		if (r == MNL_CB_ERROR) {
			changed = true;
			r = is_last(room, (size_t)n) ? MNL_CB_STOP : MNL_CB_OK;
		}
	}
	return changed ? EINTR : 0;
}

static int batch_answer(int fd, char *room, size_t size, uint32_t last, uint32_t *about)
{
	bool acknowledged = false;
	int first = 0;

	for (;;) {
		ssize_t n = recv(fd, room, size, MSG_DONTWAIT);
		int left = (int)n;

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno != EAGAIN)
			return errno;
		if (n < 0)
			return first != 0 || acknowledged ? first : EBADMSG;
		for (struct nlmsghdr *h = (void *)room; mnl_nlmsg_ok(h, left); h = mnl_nlmsg_next(h, &left)) {
			const struct nlmsgerr *error = mnl_nlmsg_get_payload(h);

			if (h->nlmsg_type != NLMSG_ERROR || mnl_nlmsg_get_payload_len(h) < sizeof(*error))
				continue;
			if (error->error != 0 && first == 0) {
				first = -error->error;
				*about = h->nlmsg_seq;
			}
			acknowledged = acknowledged || h->nlmsg_seq == last;
		}
	}
}

int fw_send_batch(int fd, const void *batch, size_t len, char *room, size_t size, uint32_t last, uint32_t *about)
{
	int wanted = (int)len + 65536;

	if (len > LARGE && setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &wanted, sizeof(wanted)) < 0)
		setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &wanted, sizeof(wanted));
	return send(fd, batch, len, 0) < 0 ? errno : batch_answer(fd, room, size, last, about);
}

int fw_netlink_error(int err, const char *about, struct error *e)
{
	if (err == EPERM || err == EACCES)
		return error_set(e, "the firewall needs CAP_NET_ADMIN; run this as root");
	if (err == EMSGSIZE || err == ENOBUFS)
		return error_set(e,
		    "the firewall is too large for one message to the kernel; raise net.core.wmem_max, or "
		    "shorten firewall.block_lists");
	if (err == ERESTART || err == EINTR)
		return error_set(e, "somebody else keeps changing the firewall; try again");
	errno = err;
	return error_errno(e, "nftables: %s", about != NULL ? about : "table inet mailadm");
}
