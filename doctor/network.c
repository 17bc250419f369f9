/*
 * Is port 25 open on the way out?  Many providers close it.  The connections are made as the user of the sending role,
 * since the site's own firewall lets nobody else out there.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <grp.h>
#include <netinet/in.h>
#include <poll.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "dnsgen/lookup.h"
#include "doctor/doctor.h"
#include "lib/clock.h"

#define SEND_USER "mailadm-send"
#define TARGETS_MAX 8
#define DNS_LIMIT_S 4
#define CONNECT_LIMIT_MS 5000

struct target {
	char name[256];
	struct sockaddr_storage address;
	socklen_t length;
	int fd;
	enum { OUT_ASKED, OUT_OPEN, OUT_CLOSED } state;
	int error;
};
struct targets {
	struct target at[TARGETS_MAX];
	size_t count;
};

static void set_address(struct target *t, int family, const void *bytes, uint16_t port)
{
	struct sockaddr_in *v4 = (struct sockaddr_in *)&t->address;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&t->address;
	t->address = (struct sockaddr_storage){ .ss_family = (sa_family_t)family };
	if (family == AF_INET) {
		memcpy(&v4->sin_addr, bytes, 4);
		v4->sin_port = htons(port);
		t->length = sizeof(*v4);
	} else {
		memcpy(&v6->sin6_addr, bytes, 16);
		v6->sin6_port = htons(port);
		t->length = sizeof(*v6);
	}
}

/* "192.0.2.1" or "192.0.2.1@2525" */
static int add_probe(struct targets *all, const char *text, uint16_t port)
{
	unsigned char bytes[16];
	char host[64];
	const char *at = strchr(text, '@');
	uint64_t number = port;
	struct target *t = &all->at[all->count];
	if (view_copy((struct view){ text, at ? (size_t)(at - text) : strlen(text) }, host, sizeof(host)) == -1 ||
	    (at && view_u64(view_of(at + 1), 65535, &number) == -1))
		return -1;
	int family = strchr(host, ':') ? AF_INET6 : AF_INET;
	if (inet_pton(family, host, bytes) != 1)
		return -1;
	snprintf(t->name, sizeof(t->name), "%s", text);
	all->count++;
	set_address(t, family, bytes, (uint16_t)number);
	return 0;
}

static void add_host(struct targets *all, struct lookup *l, const char *host, int family, uint16_t port)
{
	ldns_rr_type type = family == AF_INET ? LDNS_RR_TYPE_A : LDNS_RR_TYPE_AAAA;
	const struct lookup_answer *answer = lookup(l, NULL, host, type);
	ldns_rr_list *list = answer->packet ? lookup_records(answer, host, type, NULL) : NULL;
	size_t size = family == AF_INET ? 4 : 16;
	if (list && ldns_rr_list_rr_count(list) > 0 && all->count < TARGETS_MAX) {
		const ldns_rdf *rdf = ldns_rr_rdf(ldns_rr_list_rr(list, 0), 0);
		struct target *t = &all->at[all->count];
		if (rdf && ldns_rdf_size(rdf) == size) {
			snprintf(t->name, sizeof(t->name), "%.200s", host);
			set_address(t, family, ldns_rdf_data(rdf), port);
			all->count++;
		}
	}
	ldns_rr_list_free(list);
}

static void add_provider(struct targets *all, struct lookup *l, const struct site *site, const char *domain)
{
	const struct lookup_answer *answer = lookup(l, NULL, domain, LDNS_RR_TYPE_MX);
	ldns_rr_list *list = answer->packet ? lookup_records(answer, domain, LDNS_RR_TYPE_MX, NULL) : NULL;
	if (list && ldns_rr_list_rr_count(list) > 0) {
		char *mx = lookup_name(ldns_rr_rdf(ldns_rr_list_rr(list, 0), 1));
		if (site->host.ipv4[0])
			add_host(all, l, mx, AF_INET, (uint16_t)site->relay.port_out);
		if (site->host.ipv6[0])
			add_host(all, l, mx, AF_INET6, (uint16_t)site->relay.port_out);
		free(mx);
	}
	ldns_rr_list_free(list);
}

/* Where to try; -1 when a row says why not. */
static int find_targets(const struct doctor *d, struct targets *all, struct check_results *out)
{
	static const char *const providers[] = { "gmail.com", "outlook.com", "gmx.net" };
	const struct site *site = d->site;
	struct error e = { "" };
	if (d->smtp_probe && add_probe(all, d->smtp_probe, (uint16_t)site->relay.port_out) == -1)
		check_results_add(out, CHECK_UNKNOWN, "smtp_out", d->smtp_probe, "write it as ADDRESS or ADDRESS@PORT",
		    "this is no address");
	if (d->smtp_probe)
		return all->count ? 0 : -1;
	struct lookup *l = lookup_new(site, DNS_LIMIT_S, &e);
	if (l && site->relay.smarthost[0] && add_probe(all, site->relay.smarthost, (uint16_t)site->relay.port) == -1)
		add_host(all, l, site->relay.smarthost, AF_INET, (uint16_t)site->relay.port);
	for (size_t i = 0; l && !site->relay.smarthost[0] && i < sizeof(providers) / sizeof(providers[0]); i++)
		add_provider(all, l, site, providers[i]);
	lookup_free(l);
	if (all->count == 0)
		check_results_add(out, CHECK_UNKNOWN, "smtp_out",
		    site->relay.smarthost[0] ? site->relay.smarthost : "providers",
		    "see whether names are resolved here (dns.forward, /etc/resolv.conf)", "no address was found%s%s",
		    l ? "" : ": ", l ? "" : e.text);
	return all->count ? 0 : -1;
}

/* The rights of the sending role: the firewall goes by its user. */
static void become_sender(void)
{
	const struct passwd *pw = geteuid() == 0 ? getpwnam(SEND_USER) : NULL;
	if (pw && (setgroups(0, NULL) == -1 || setgid(pw->pw_gid) == -1 || setuid(pw->pw_uid) == -1))
		_exit(1);
}

static void start(struct target *t)
{
	t->fd = socket(t->address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (t->fd != -1 &&
	    (connect(t->fd, (const struct sockaddr *)&t->address, t->length) == 0 || errno == EINPROGRESS))
		return;
	t->error = errno;
	t->state = OUT_CLOSED;
}

static void step(struct target *t)
{
	socklen_t len = sizeof(t->error);
	if (getsockopt(t->fd, SOL_SOCKET, SO_ERROR, &t->error, &len) == -1)
		t->error = errno;
	t->state = t->error == 0 ? OUT_OPEN : OUT_CLOSED;
}

/* Tries all of them at once. */
static void connect_all(struct targets *all)
{
	uint64_t end = clock_mono_ms() + CONNECT_LIMIT_MS, now;
	for (size_t i = 0; i < all->count; i++)
		start(&all->at[i]);
	while ((now = clock_mono_ms()) < end) {
		struct pollfd p[TARGETS_MAX];
		size_t waiting = 0;
		for (size_t i = 0; i < all->count; i++) {
			bool asked = all->at[i].state == OUT_ASKED;
			p[i] = (struct pollfd){ .fd = asked ? all->at[i].fd : -1, .events = POLLOUT };
			waiting += asked;
		}
		if (waiting == 0 || poll(p, all->count, (int)(end - now)) == 0)
			return;
		for (size_t i = 0; i < all->count; i++)
			if (p[i].fd != -1 && p[i].revents)
				step(&all->at[i]);
	}
}

void doctor_smtp_out(const struct doctor *d, struct check_results *out)
{
	struct targets all = { .count = 0 };
	if (find_targets(d, &all, out) == -1)
		return;
	become_sender();
	connect_all(&all);
	for (int family = AF_INET; family != 0; family = family == AF_INET ? AF_INET6 : 0) {
		const struct target *open = NULL, *closed = NULL;
		size_t tried = 0;
		for (size_t i = 0; i < all.count; i++) {
			const struct target *t = &all.at[i];
			if (t->address.ss_family != family)
				continue;
			tried++;
			if (t->state == OUT_OPEN)
				open = t;
			else
				closed = t;
		}
		const char *subject = family == AF_INET ? "IPv4" : "IPv6";
		if (open)
			check_results_add(out, CHECK_OK, "smtp_out", subject, "", "%s answers", open->name);
		else if (closed)
			check_results_add(out, CHECK_WRONG, "smtp_out", subject,
			    "ask the provider of this machine to open port 25, or send through relay.smarthost",
			    "none of %zu hosts could be reached; %s: %s", tried, closed->name,
			    closed->error ? strerror(closed->error) : "no answer");
	}
}
