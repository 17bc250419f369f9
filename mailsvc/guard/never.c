/* never.h: a list that is walked; it has tens of entries, and is looked at once an offence. */
#include "mailsvc/guard/never.h"

#include <arpa/inet.h>
#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fwgen/answer.h"

#pragma GCC diagnostic ignored "-Wconversion" /* libmnl's loops over attributes subtract pointers into an int */

#define NEVER_MAX 65536
#define ANSWER_SIZE 32768

static const char own_address[] = "an address of this host";

static void append(struct never *n, const struct never_prefix *p)
{
	if (n->count >= NEVER_MAX)
		return;
	if ((n->count & (n->count - 1)) == 0)
		n->at = xreallocarray(n->at, n->count > 0 ? 2 * n->count : 1, sizeof(*n->at));
	n->at[n->count++] = *p;
}

void never_add(struct never *n, const char *prefix, const char *why)
{
	struct never_prefix p = { .why = why };
	const char *slash = strchr(prefix, '/');
	struct view address = { prefix, slash != NULL ? (size_t)(slash - prefix) : strlen(prefix) };
	uint64_t length;
	unsigned max;

	snprintf(p.text, sizeof(p.text), "%s", prefix);
	char text[INET6_ADDRSTRLEN];
	if (view_copy(address, text, sizeof(text)) < 0)
		return;
	if (inet_pton(AF_INET6, text, p.address) == 1)
		p.ipv6 = true;
	else if (inet_pton(AF_INET, text, p.address) != 1)
		return;
	max = p.ipv6 ? 128 : 32;
	length = max;
	if (slash != NULL && view_u64(view_of(slash + 1), max, &length) < 0)
		return;
	p.length = (unsigned)length;
	append(n, &p);
}

void never_of_site(struct never *n, const struct site *site)
{
	const char *const own[] = { site->host.ipv4, site->host.ipv6, site->host.public_ipv4, site->host.public_ipv6 };

	*n = (struct never){ NULL, 0 };
	for (size_t i = 0; i < site->firewall.admin_from.count; i++)
		never_add(n, site->firewall.admin_from.at[i], "firewall.admin_from");
	for (size_t i = 0; i < site->firewall.never_ban.count; i++)
		never_add(n, site->firewall.never_ban.at[i], "firewall.never_ban");
	/* A balancer is everybody's way in; a backup MX passes on what others sent to nobody. */
	for (size_t i = 0; i < site->listen.proxy_from.count; i++)
		never_add(n, site->listen.proxy_from.at[i], "listen.proxy_from");
	for (size_t i = 0; i < site->checks.trusted.count; i++)
		never_add(n, site->checks.trusted.at[i], "checks.trusted");
	for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++)
		never_add(n, own[i], own_address);
	never_add(n, "127.0.0.0/8", "loopback");
	never_add(n, "::/64", "loopback");
	never_add(n, "fe80::/10", "link-local"); /* neighbours and routers: one /64 for all */
}

void never_free(struct never *n)
{
	free(n->at);
	*n = (struct never){ NULL, 0 };
}

int never_machine_open(void)
{
	return socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
}

static int on_address(const struct nlmsghdr *h, void *arg)
{
	const struct ifaddrmsg *m = mnl_nlmsg_get_payload(h);
	const struct nlattr *a;
	char text[INET6_ADDRSTRLEN];

	if (h->nlmsg_type != RTM_NEWADDR || (m->ifa_family != AF_INET && m->ifa_family != AF_INET6))
		return MNL_CB_OK;
	mnl_attr_for_each(a, h, sizeof(*m))
	{
		/* IFA_ADDRESS of a point-to-point link is the other side; IPv6 has only that. */
		uint16_t type = m->ifa_family == AF_INET ? IFA_LOCAL : IFA_ADDRESS;

		if (mnl_attr_get_type(a) == type &&
		    mnl_attr_get_payload_len(a) == (m->ifa_family == AF_INET ? 4u : 16u) &&
		    inet_ntop(m->ifa_family, mnl_attr_get_payload(a), text, sizeof(text)) != NULL)
			never_add(arg, text, own_address);
	}
	return MNL_CB_OK;
}

void never_add_machine(struct never *n, int fd)
{
	static uint32_t sequence; /* what a dump that failed left in the socket is not the answer to the next */
	struct {
		struct nlmsghdr header;
		struct ifaddrmsg message;
	} request = { .header = { .nlmsg_len = sizeof(request),
			  .nlmsg_type = RTM_GETADDR,
			  .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP,
			  .nlmsg_seq = ++sequence } };
	char *answer;

	if (fd < 0 || send(fd, &request, sizeof(request), 0) < 0)
		return;
	answer = xmalloc(ANSWER_SIZE);
	fw_answer(fd, answer, ANSWER_SIZE, sequence, 0, on_address, n); /* a part of them is better than none */
	free(answer);
}

const struct never_prefix *never_find(const struct never *n, const struct guard_source *s)
{
	unsigned own = s->family == 6 ? 64 : 32;

	for (size_t i = 0; i < n->count; i++) {
		const struct never_prefix *p = &n->at[i];
		unsigned bits = p->length < own ? p->length : own;
		unsigned whole = bits / 8, rest = bits % 8;

		if (p->ipv6 != (s->family == 6) || s->family == 0 || memcmp(p->address, s->address, whole) != 0)
			continue;
		if (rest == 0 || ((p->address[whole] ^ s->address[whole]) & (0xff00u >> rest) & 0xff) == 0)
			return p;
	}
	return NULL;
}

void never_explain(const struct never_prefix *p, const struct guard_source *s, char *out, size_t size)
{
	char text[GUARD_SOURCE_TEXT];

	guard_source_text(s, text);
	if (p == NULL)
		snprintf(out, size, "%s is this machine itself", text);
	else if (strncmp(p->why, "firewall.", 9) == 0)
		snprintf(out, size, "%s is never banned: %s has %s", text, p->why, p->text);
	else
		snprintf(out, size, "%s is never banned: %s is %s", text, p->text, p->why);
}
