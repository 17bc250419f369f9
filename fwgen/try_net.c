/*
 * try_net.h with unshare, setns and rtnetlink (libmnl).
 *
 * No neighbour is ever asked for: both ends of a veth pair have one MAC address and IFF_NOARP, with which the kernel
 * sends to its own MAC.  So rules about neighbour discovery decide nothing here, and the first packet leaves at once.
 * OUTSIDE owns all addresses by a local default route, with routes to HERE beside it in the same table.
 */
#include "fwgen/try_net.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <libmnl/libmnl.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define RUNNING_MS 2000
#define OPER_UP 6 /* IF_OPER_UP of linux/if.h, which does not go with net/if.h */

int ip_parse(const char *text, struct ip *ip)
{
	char address[INET6_ADDRSTRLEN];
	const char *slash = strchr(text, '/');
	size_t len = slash ? (size_t)(slash - text) : strlen(text);
	uint64_t bits;

	memset(ip, 0, sizeof(*ip));
	if (view_copy((struct view){ text, len }, address, sizeof(address)) == -1)
		return -1;
	ip->ipv6 = strchr(address, ':') != NULL;
	if (inet_pton(ip->ipv6 ? AF_INET6 : AF_INET, address, ip->bytes) != 1)
		return -1;
	bits = ip->ipv6 ? 128 : 32;
	if (slash && view_u64(view_of(slash + 1), bits, &bits) == -1)
		return -1;
	ip->length = (unsigned char)bits;
	return 0;
}

bool ip_within(const struct ip *ip, const struct ip *prefix)
{
	size_t whole = prefix->length / 8;
	unsigned char mask = (unsigned char)(0xff00 >> prefix->length % 8);

	return ip->ipv6 == prefix->ipv6 && memcmp(ip->bytes, prefix->bytes, whole) == 0 &&
	       (mask == 0 || (ip->bytes[whole] & mask) == (prefix->bytes[whole] & mask));
}

/* ---- rtnetlink: one request, one answer */

struct request {
	struct mnl_socket *nl;
	struct nlmsghdr *head;
	_Alignas(struct nlmsghdr) char bytes[1024];
};

static int request_open(struct request *r, struct error *e)
{
	r->nl = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);
	if (r->nl == NULL || mnl_socket_bind(r->nl, 0, MNL_SOCKET_AUTOPID) == -1)
		return error_errno(e, "cannot open a netlink socket");
	return 0;
}

static void *request_start(struct request *r, uint16_t type, uint16_t flags, size_t header)
{
	memset(r->bytes, 0, sizeof(r->bytes));
	r->head = mnl_nlmsg_put_header(r->bytes);
	r->head->nlmsg_type = type;
	r->head->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | flags;
	r->head->nlmsg_seq = 1;
	return mnl_nlmsg_put_extra_header(r->head, header);
}

static int request_send(struct request *r, const char *what, struct error *e)
{
	char answer[8192];
	ssize_t n = mnl_socket_sendto(r->nl, r->head, r->head->nlmsg_len);

	if (n != -1)
		n = mnl_socket_recvfrom(r->nl, answer, sizeof(answer));
	if (n == -1 || mnl_cb_run(answer, (size_t)n, 1, mnl_socket_get_portid(r->nl), NULL, NULL) == -1)
		return error_errno(e, "cannot %s in a scratch network namespace", what);
	return 0;
}

static void request_close(struct request *r)
{
	if (r->nl != NULL)
		mnl_socket_close(r->nl);
}

/* A veth pair: name here, peer in the namespace fd. */
static int add_veth(struct request *r, const char *name, const char *peer, int fd, struct error *e)
{
	static const unsigned char mac[6] = { 0x02, 'm', 'a', 'i', 'l', 1 };
	struct nlattr *info, *data, *other;

	request_start(r, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, sizeof(struct ifinfomsg));
	mnl_attr_put_strz(r->head, IFLA_IFNAME, name);
	mnl_attr_put(r->head, IFLA_ADDRESS, sizeof(mac), mac);
	info = mnl_attr_nest_start(r->head, IFLA_LINKINFO);
	mnl_attr_put_str(r->head, IFLA_INFO_KIND, "veth");
	data = mnl_attr_nest_start(r->head, IFLA_INFO_DATA);
	other = mnl_attr_nest_start(r->head, VETH_INFO_PEER);
	mnl_nlmsg_put_extra_header(r->head, sizeof(struct ifinfomsg));
	mnl_attr_put_strz(r->head, IFLA_IFNAME, peer);
	mnl_attr_put(r->head, IFLA_ADDRESS, sizeof(mac), mac);
	mnl_attr_put_u32(r->head, IFLA_NET_NS_FD, (uint32_t)fd);
	mnl_attr_nest_end(r->head, other);
	mnl_attr_nest_end(r->head, data);
	mnl_attr_nest_end(r->head, info);
	return request_send(r, "make a veth pair", e);
}

/* Up, without ARP unless it is loopback; its index, or -1. */
static int set_up(struct request *r, const char *name, struct error *e)
{
	unsigned index = if_nametoindex(name);
	struct ifinfomsg *m = request_start(r, RTM_NEWLINK, 0, sizeof(*m));

	m->ifi_index = (int)index;
	m->ifi_flags = IFF_UP | IFF_NOARP;
	m->ifi_change = strcmp(name, "lo") == 0 ? IFF_UP : IFF_UP | IFF_NOARP;
	return request_send(r, "set an interface up", e) == -1 ? -1 : (int)index;
}

static int add_address(struct request *r, const struct ip *ip, int index, struct error *e)
{
	struct ifaddrmsg *m = request_start(r, RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, sizeof(*m));

	m->ifa_family = ip->ipv6 ? AF_INET6 : AF_INET;
	m->ifa_prefixlen = ip->ipv6 ? 128 : 32;
	m->ifa_flags = IFA_F_NODAD;
	m->ifa_index = (uint32_t)index;
	mnl_attr_put(r->head, IFA_LOCAL, ip->ipv6 ? 16 : 4, ip->bytes);
	mnl_attr_put(r->head, IFA_ADDRESS, ip->ipv6 ? 16 : 4, ip->bytes);
	return request_send(r, "add an address", e);
}

static int add_route(struct request *r, const struct ip *to, int index, unsigned char type, struct error *e)
{
	struct rtmsg *m = request_start(r, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, sizeof(*m));

	m->rtm_family = to->ipv6 ? AF_INET6 : AF_INET;
	m->rtm_dst_len = to->length;
	/* With the local ones in one table, so that the longest prefix wins. */
	m->rtm_table = to->length == 0 && type == RTN_UNICAST ? RT_TABLE_MAIN : RT_TABLE_LOCAL;
	m->rtm_protocol = RTPROT_STATIC;
	m->rtm_type = type;
	m->rtm_scope = type == RTN_LOCAL ? RT_SCOPE_HOST : RT_SCOPE_LINK;
	if (to->length > 0)
		mnl_attr_put(r->head, RTA_DST, to->ipv6 ? 16 : 4, to->bytes);
	mnl_attr_put_u32(r->head, RTA_OIF, (uint32_t)index);
	return request_send(r, "add a route", e);
}

/* ---- the namespaces */

static int write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	ssize_t n = fd == -1 ? -1 : write(fd, text, strlen(text));

	if (fd != -1)
		close(fd);
	return n == -1 ? -1 : 0;
}

/* A user namespace in which the caller is root, for who is not. */
static int become_root(struct error *e)
{
	char map[32];
	uid_t user = geteuid();
	gid_t group = getegid();

	if (user == 0)
		return 0;
	if (unshare(CLONE_NEWUSER) == -1)
		return error_errno(e, "a scratch network namespace needs root, or user namespaces for everybody");
	snprintf(map, sizeof(map), "0 %u 1", (unsigned)user);
	if (write_file("/proc/self/uid_map", map) == -1 || write_file("/proc/self/setgroups", "deny") == -1)
		return error_errno(e, "cannot map the user into a user namespace");
	snprintf(map, sizeof(map), "0 %u 1", (unsigned)group);
	return write_file("/proc/self/gid_map", map) == -1 ? error_errno(e, "cannot map the group") : 0;
}

static int make_namespace(int *fd, struct error *e)
{
	if (unshare(CLONE_NEWNET) == -1)
		return error_errno(e, "cannot make a network namespace");
	*fd = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	return *fd == -1 ? error_errno(e, "/proc/self/ns/net") : 0;
}

int try_net_enter(const struct try_net *net, enum try_place place, struct error *e)
{
	return setns(net->ns[place], CLONE_NEWNET) == -1 ? error_errno(e, "cannot enter a scratch network namespace")
	                                                 : 0;
}

static const char *or_else(const char *name, const char *otherwise)
{
	return name[0] ? name : otherwise;
}

static int on_attribute(const struct nlattr *a, void *state)
{
	if (mnl_attr_get_type(a) == IFLA_OPERSTATE)
		*(int *)state = mnl_attr_get_u8(a);
	return MNL_CB_OK;
}

/* The operational state of an interface (RFC 2863), 0 (unknown) when it cannot be read. */
static int oper_state(struct request *r, int index)
{
	char answer[16384];
	struct ifinfomsg *m = request_start(r, RTM_GETLINK, 0, sizeof(*m));
	int state = 0;

	r->head->nlmsg_flags = NLM_F_REQUEST;
	m->ifi_index = index;
	ssize_t n = mnl_socket_sendto(r->nl, r->head, r->head->nlmsg_len);
	if (n != -1)
		n = mnl_socket_recvfrom(r->nl, answer, sizeof(answer));
	if (n < (ssize_t)sizeof(struct nlmsghdr) || ((struct nlmsghdr *)(void *)answer)->nlmsg_type != RTM_NEWLINK)
		return state;
	mnl_attr_parse((struct nlmsghdr *)(void *)answer, sizeof(struct ifinfomsg), on_attribute, &state);
	return state;
}

/*
 * An interface that is up drops what it sends until the kernel's work queue has seen its carrier, a moment later.
 * IFF_RUNNING does not tell: it is set while the state is unknown.
 */
static int wait_running(int index, const char *name, struct error *e)
{
	struct request r = { 0 };
	int state = 0;

	if (request_open(&r, e) == -1) {
		request_close(&r);
		return -1;
	}
	for (int waited = 0; state != OPER_UP && waited < RUNNING_MS; waited++) {
		state = oper_state(&r, index);
		if (state != OPER_UP)
			poll(NULL, 0, 1);
	}
	request_close(&r);
	return state == OPER_UP ? 0 : error_set(e, "the interface %s of a scratch network does not come up", name);
}

/* The pair between two places; the names are of the interfaces there. */
static int join(
    struct try_net *net, enum try_place a, const char *a_name, enum try_place b, const char *b_name, struct error *e)
{
	struct request r = { 0 };
	int result = -1;

	if (try_net_enter(net, a, e) == 0 && request_open(&r, e) == 0 &&
	    add_veth(&r, a_name, b_name, net->ns[b], e) == 0 && set_up(&r, "lo", e) != -1 &&
	    (net->index_of[a][b] = set_up(&r, a_name, e)) != -1)
		result = 0;
	request_close(&r);
	if (result == -1 || try_net_enter(net, b, e) == -1)
		return -1;
	r = (struct request){ 0 };
	if (request_open(&r, e) == -1 || set_up(&r, "lo", e) == -1 ||
	    (net->index_of[b][a] = set_up(&r, b_name, e)) == -1)
		result = -1;
	request_close(&r);
	if (result == -1 || wait_running(net->index_of[b][a], b_name, e) == -1 || try_net_enter(net, a, e) == -1)
		return -1;
	return wait_running(net->index_of[a][b], a_name, e);
}

/* An IPv6 address that was added takes packets when the kernel's work queue has been at it, DAD or not. */
static int wait_usable(const struct ip *ip, const char *text, struct error *e)
{
	struct sockaddr_in6 address = { .sin6_family = AF_INET6 };
	int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0), bound = -1;

	memcpy(&address.sin6_addr, ip->bytes, sizeof(address.sin6_addr));
	for (int waited = 0; fd != -1 && bound == -1 && waited < RUNNING_MS; waited++) {
		bound = bind(fd, (struct sockaddr *)&address, sizeof(address));
		if (bound == -1)
			poll(NULL, 0, 1);
	}
	if (fd != -1)
		close(fd);
	return bound == 0 ? 0 : error_set(e, "%s does not become usable in a scratch network", text);
}

enum reach { OWN, VIA, LOCAL };

/* In place: an address of its own, a route to another place, or (LOCAL) every address of a prefix as its own. */
static int reach(
    struct try_net *net, enum try_place place, const char *text, enum reach how, enum try_place via, struct error *e)
{
	struct request r = { 0 };
	struct ip ip;
	int index = how == LOCAL ? 1 : net->index_of[place][via];

	if (text[0] == '\0' || (strchr(text, ':') != NULL && access("/proc/sys/net/ipv6", F_OK) == -1))
		return 0;
	if (ip_parse(text, &ip) == -1)
		return error_set(e, "%s is no address", text);
	if (try_net_enter(net, place, e) == -1)
		return -1;
	int result = request_open(&r, e);
	if (result == 0)
		result = how == OWN ? add_address(&r, &ip, index, e)
		                    : add_route(&r, &ip, index, how == LOCAL ? RTN_LOCAL : RTN_UNICAST, e);
	request_close(&r);
	return result == 0 && how == OWN && ip.ipv6 ? wait_usable(&ip, text, e) : result;
}

static int bind_source(int fd, bool ipv6)
{
	const int one = 1;
	struct sockaddr_in in4 = { .sin_family = AF_INET };
	struct sockaddr_in6 in6 = { .sin6_family = AF_INET6 };

	inet_pton(AF_INET, "198.51.100.99", &in4.sin_addr);
	inet_pton(AF_INET6, "2001:db8:ffff::99", &in6.sin6_addr);
	if (!ipv6)
		return bind(fd, (struct sockaddr *)&in4, sizeof(in4));
	setsockopt(fd, IPPROTO_IPV6, IPV6_FREEBIND, &one, sizeof(one));
	return bind(fd, (struct sockaddr *)&in6, sizeof(in6));
}

/*
 * Waits until a datagram gets from OUTSIDE, which owns every source, to an address: what the kernel does for a new
 * interface goes on in work queues, and only IPv6 knows how many.  There are no rules yet.
 */
static int settle(const struct try_net *net, enum try_place to, const char *text, struct error *e)
{
	struct ip ip;
	struct sockaddr_storage at = { 0 };
	struct sockaddr_in *in4 = (void *)&at;
	struct sockaddr_in6 *in6 = (void *)&at;
	socklen_t len;
	char byte;
	bool through = false;

	if (text[0] == '\0' || (strchr(text, ':') != NULL && access("/proc/sys/net/ipv6", F_OK) == -1))
		return 0;
	ip_parse(text, &ip);
	at.ss_family = ip.ipv6 ? AF_INET6 : AF_INET;
	len = ip.ipv6 ? sizeof(*in6) : sizeof(*in4);
	memcpy(ip.ipv6 ? (void *)&in6->sin6_addr : (void *)&in4->sin_addr, ip.bytes, ip.ipv6 ? 16 : 4);
	if (try_net_enter(net, to, e) == -1)
		return -1;
	int taker = socket(at.ss_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (taker == -1 || bind(taker, (struct sockaddr *)&at, len) == -1 ||
	    getsockname(taker, (struct sockaddr *)&at, &len) == -1 || try_net_enter(net, TRY_OUTSIDE, e) == -1) {
		if (taker != -1)
			close(taker);
		return error_errno(e, "%s in a scratch network", text);
	}
	int giver = socket(at.ss_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (giver != -1 && bind_source(giver, ip.ipv6) == -1) {
		close(giver);
		giver = -1;
	}
	for (int waited = 0; giver != -1 && !through && waited < RUNNING_MS; waited++) {
		if (sendto(giver, "", 1, 0, (struct sockaddr *)&at, len) == 1)
			poll(&(struct pollfd){ .fd = taker, .events = POLLIN }, 1, 1);
		else
			poll(NULL, 0, 1);
		through = recv(taker, &byte, 1, 0) == 1;
	}
	close(taker);
	if (giver != -1)
		close(giver);
	return through ? 0 : error_set(e, "nothing gets to %s in a scratch network", text);
}

int try_net_route(const struct try_net *net, const struct ip *ip, struct error *e)
{
	struct request r = { 0 };
	struct ip whole = *ip;
	int result = -1;

	whole.length = ip->ipv6 ? 128 : 32;
	if (try_net_enter(net, TRY_OUTSIDE, e) == 0 && request_open(&r, e) == 0)
		result = add_route(&r, &whole, net->index_of[TRY_OUTSIDE][TRY_HERE], RTN_UNICAST, e);
	request_close(&r);
	return result;
}

static int make_outside(struct try_net *net, const struct site *s, struct error *e)
{
	const char *const routed[] = { s->host.ipv4, s->host.ipv6, s->host.public_ipv4, s->host.public_ipv6 };

	if (join(net, TRY_HERE, or_else(net->ns[TRY_BEHIND] != -1 ? s->gateway.outside : "", "eth0"), TRY_OUTSIDE,
		"world", e) == -1 ||
	    reach(net, TRY_OUTSIDE, "0.0.0.0/0", LOCAL, TRY_OUTSIDE, e) == -1 ||
	    reach(net, TRY_OUTSIDE, "::/0", LOCAL, TRY_OUTSIDE, e) == -1 ||
	    reach(net, TRY_HERE, "0.0.0.0/0", VIA, TRY_OUTSIDE, e) == -1 ||
	    reach(net, TRY_HERE, "::/0", VIA, TRY_OUTSIDE, e) == -1)
		return -1;
	for (size_t i = 0; i < sizeof(routed) / sizeof(routed[0]); i++)
		if (reach(net, TRY_OUTSIDE, routed[i], VIA, TRY_HERE, e) == -1)
			return -1;
	return 0;
}

#define GATEWAY_IPV4 "198.18.255.254" /* to masquerade with, where the public address is the host's own (RFC 2544) */

/* The gateway owns a public address only where the host does not have it itself. */
static int make_behind(struct try_net *net, const struct site *s, struct error *e)
{
	const char *const own[] = { s->host.ipv4, s->host.ipv6 };
	const char *const seen[] = { s->host.public_ipv4, s->host.public_ipv6 };

	if (join(net, TRY_HERE, s->gateway.inside, TRY_BEHIND, "eth0", e) == -1 ||
	    reach(net, TRY_BEHIND, "0.0.0.0/0", VIA, TRY_HERE, e) == -1 ||
	    reach(net, TRY_BEHIND, "::/0", VIA, TRY_HERE, e) == -1)
		return -1;
	for (size_t i = 0; i < 2; i++) {
		if (reach(net, TRY_BEHIND, own[i], OWN, TRY_HERE, e) == -1 ||
		    reach(net, TRY_HERE, own[i], VIA, TRY_BEHIND, e) == -1)
			return -1;
		if (strcmp(own[i], seen[i]) != 0 && reach(net, TRY_HERE, seen[i], OWN, TRY_OUTSIDE, e) == -1)
			return -1;
	}
	if (strcmp(own[0], seen[0]) == 0 && (reach(net, TRY_HERE, GATEWAY_IPV4, OWN, TRY_OUTSIDE, e) == -1 ||
						reach(net, TRY_OUTSIDE, GATEWAY_IPV4, VIA, TRY_HERE, e) == -1))
		return -1;
	for (size_t i = 0; i < s->gateway.network.count; i++)
		if (reach(net, TRY_BEHIND, s->gateway.network.at[i], LOCAL, TRY_HERE, e) == -1 ||
		    reach(net, TRY_HERE, s->gateway.network.at[i], VIA, TRY_BEHIND, e) == -1 ||
		    reach(net, TRY_OUTSIDE, s->gateway.network.at[i], VIA, TRY_HERE, e) == -1)
			return -1;
	if (try_net_enter(net, TRY_HERE, e) == -1)
		return -1;
	if (write_file("/proc/sys/net/ipv4/ip_forward", "1") == -1 ||
	    write_file("/proc/sys/net/ipv6/conf/all/forwarding", "1") == -1)
		return error_errno(e, "cannot turn on forwarding in a scratch network namespace");
	for (size_t i = 0; i < 2; i++)
		if (settle(net, TRY_BEHIND, own[i], e) == -1)
			return -1;
	return 0;
}

int try_net_make(struct try_net *net, const struct site *s, struct error *e)
{
	bool gateway = strcmp(s->role, "gateway") == 0;

	for (int i = 0; i < TRY_PLACES; i++)
		net->ns[i] = -1;
	if (become_root(e) == -1)
		return -1;
	for (int i = 0; i < (gateway ? TRY_PLACES : TRY_BEHIND); i++)
		if (make_namespace(&net->ns[i], e) == -1)
			return -1;
	if (make_outside(net, s, e) == -1)
		return -1;
	if (gateway)
		return make_behind(net, s, e);
	for (size_t i = 0; i < 2; i++) {
		const char *own = i == 0 ? s->host.ipv4 : s->host.ipv6;

		if (reach(net, TRY_HERE, own, OWN, TRY_OUTSIDE, e) == -1 || settle(net, TRY_HERE, own, e) == -1)
			return -1;
	}
	return 0;
}
