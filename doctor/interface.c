/*
 * The machine's addresses against what the site says: is the public address one of ours, is there NAT in between, is it
 * one that anybody could reach, and does it stay?  Lifetimes come from the kernel by rtnetlink (libmnl).
 */
#include <arpa/inet.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "doctor/doctor.h"

#define ADDRESSES_MAX 1024

struct local {
	int family;
	unsigned char bytes[16];
	bool dynamic; /* it has a lifetime: DHCP, SLAAC */
};
struct locals {
	struct local at[ADDRESSES_MAX];
	size_t count;
};

static int note_attribute(const struct nlattr *a, void *arg)
{
	const struct nlattr **of = arg;
	if (mnl_attr_get_type(a) <= IFA_MAX)
		of[mnl_attr_get_type(a)] = a;
	return MNL_CB_OK;
}

static int note_address(const struct nlmsghdr *h, void *arg)
{
	struct locals *all = arg;
	const struct ifaddrmsg *m = mnl_nlmsg_get_payload(h);
	const struct nlattr *of[IFA_MAX + 1] = { 0 };
	size_t size = m->ifa_family == AF_INET ? 4 : 16;
	if (h->nlmsg_type != RTM_NEWADDR || all->count == ADDRESSES_MAX ||
	    mnl_attr_parse(h, sizeof(*m), note_attribute, of) < 0)
		return MNL_CB_OK;
	const struct nlattr *address = of[IFA_LOCAL] ? of[IFA_LOCAL] : of[IFA_ADDRESS];
	if (!address || mnl_attr_get_payload_len(address) != size)
		return MNL_CB_OK;
	uint32_t flags = of[IFA_FLAGS] ? mnl_attr_get_u32(of[IFA_FLAGS]) : m->ifa_flags;
	struct local *l = &all->at[all->count++];
	l->family = m->ifa_family;
	l->dynamic = !(flags & IFA_F_PERMANENT);
	memcpy(l->bytes, mnl_attr_get_payload(address), size);
	return MNL_CB_OK;
}

static int read_locals(struct locals *all, struct error *e)
{
	union {
		char bytes[32768];
		struct nlmsghdr aligned;
	} buffer;
	struct mnl_socket *s = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);
	int r = -1;
	all->count = 0;
	if (!s || mnl_socket_bind(s, 0, MNL_SOCKET_AUTOPID) < 0)
		goto out;
	struct nlmsghdr *h = mnl_nlmsg_put_header(buffer.bytes);
	struct ifaddrmsg *m = mnl_nlmsg_put_extra_header(h, sizeof(*m));
	h->nlmsg_type = RTM_GETADDR;
	h->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	h->nlmsg_seq = 1;
	m->ifa_family = AF_UNSPEC;
	if (mnl_socket_sendto(s, h, h->nlmsg_len) < 0)
		goto out;
	do {
		ssize_t n = mnl_socket_recvfrom(s, buffer.bytes, sizeof(buffer.bytes));
		r = n < 0 ? -1 : mnl_cb_run(buffer.bytes, (size_t)n, 1, mnl_socket_get_portid(s), note_address, all);
	} while (r > MNL_CB_STOP);
out:
	if (r < 0)
		error_errno(e, "the kernel does not say its addresses");
	if (s)
		mnl_socket_close(s);
	return r < 0 ? -1 : 0;
}

static const struct local *find(const struct locals *all, int family, const unsigned char *bytes)
{
	for (size_t i = 0; i < all->count; i++)
		if (all->at[i].family == family && memcmp(all->at[i].bytes, bytes, family == AF_INET ? 4 : 16) == 0)
			return &all->at[i];
	return NULL;
}

/* Why nobody outside can reach it, or NULL. */
static const char *unreachable(int family, const unsigned char *b)
{
	if (family == AF_INET6)
		return (b[0] & 0xfe) == 0xfc                   ? "a unique local address"
		       : b[0] == 0xfe && (b[1] & 0xc0) == 0x80 ? "a link-local address"
		       : memcmp(b, &in6addr_loopback, 16) == 0 ? "the loopback address"
		                                               : NULL;
	if (b[0] == 10 || (b[0] == 172 && (b[1] & 0xf0) == 16) || (b[0] == 192 && b[1] == 168))
		return "a private address";
	if (b[0] == 100 && (b[1] & 0xc0) == 64)
		return "an address of a carrier's NAT (RFC 6598)";
	return b[0] == 127 ? "a loopback address" : b[0] == 169 && b[1] == 254 ? "a link-local address" : NULL;
}

static void check_one(const struct site *site, const struct locals *all, int family, struct check_results *out)
{
	const char *here = family == AF_INET ? site->host.ipv4 : site->host.ipv6;
	const char *world = family == AF_INET ? site->host.public_ipv4 : site->host.public_ipv6;
	unsigned char ours[16], public[16];
	if (!here[0] || inet_pton(family, here, ours) != 1)
		return;
	const struct local *local = find(all, family, ours);
	bool nat = world[0] && strcmp(here, world) != 0;
	if (!world[0] || inet_pton(family, world, public) != 1)
		memcpy(public, ours, 16);
	const char *why = unreachable(family, public);
	const char *name = family == AF_INET ? "host.ipv4" : "host.ipv6";
	if (why)
		check_results_add(out, CHECK_WRONG, "interface", world[0] ? world : here,
		    "set host.public_ipv4 or host.public_ipv6 to what the world sees; without a public address send by "
		    "relay.smarthost",
		    "the world cannot reach %s", why);
	else if (!local && site->listen.loopback)
		check_results_add(out, CHECK_WARNING, "interface", here,
		    "for the real thing give the machine this address and drop listen.loopback",
		    "this machine does not have it; the host listens on loopback in its stead");
	else if (!local)
		check_results_add(out, CHECK_WRONG, "interface", here,
		    "correct it in the site, or give the machine the address", "%s is not an address of this machine",
		    name);
	else if (local->dynamic)
		check_results_add(out, CHECK_WARNING, "interface", here,
		    "ask for a fixed address and write it into the network's configuration",
		    "it has a lifetime (DHCP or SLAAC): it may change");
	else if (nat)
		check_results_add(out, CHECK_OK, "interface", here, "", "behind NAT: the world sees %s", world);
	else
		check_results_add(out, CHECK_OK, "interface", here, "", "fixed, and this machine's own");
}

void doctor_interface(const struct doctor *d, struct check_results *out)
{
	static struct locals all;
	struct error e;
	if (read_locals(&all, &e) == -1) {
		check_results_add(out, CHECK_UNKNOWN, "interface", "", "", "%s", e.text);
		return;
	}
	check_one(d->site, &all, AF_INET, out);
	check_one(d->site, &all, AF_INET6, out);
}
