/* Cross-checks of the host: addresses, ports, folders, sending, backup.  Nothing here opens a file. */
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "check.h"
#include "hop.h"
#include "prefix.h"
#include "route.h"
#include "schema.h"

/* Unspecified, multicast or broadcast: no host's own. */
static bool is_unusable(const char *text)
{
	unsigned char b[16];
	if (inet_pton(AF_INET, text, b) == 1)
		return b[0] == 0 || b[0] >= 224;
	if (inet_pton(AF_INET6, text, b) == 1)
		return b[0] == 0xff || strcmp(text, "::") == 0;
	return false;
}

static void check_address(const struct site *site, const char *path, const char *address, struct findings *f)
{
	struct site_origin at = check_origin(site, path);
	if (at.line && is_unusable(address))
		findings_add(f, false, &at, "%s = \"%s\" is not an address that a host can have; use the host's own",
		    path, address);
}

/* Behind an address translation the world has to be told another one; a host to try things on needs none. */
static void check_public(const struct site *site, const char *path, const char *address, struct findings *f)
{
	struct site_origin at = check_origin(site, path);
	if (!site->listen.loopback && !site->port_offset && address[0] && prefix_private(address))
		findings_add(f, true, &at, "%s is a private address that other hosts cannot reach; add host.public_%s",
		    address, strrchr(path, '.') + 1);
}

static void check_addresses(const struct site *site, struct findings *f)
{
	struct site_origin at = check_origin(site, "host");
	struct site_origin v4 = check_origin(site, "host.ipv4"), v6 = check_origin(site, "host.ipv6");
	if (!site->host.ipv4[0] && !site->host.ipv6[0] && !(at.line && check_said(f, &at)) &&
	    !(v4.line && check_said(f, &v4)) && !(v6.line && check_said(f, &v6)))
		findings_add(
		    f, false, &at, "host has no address; add ipv4 = \"192.0.2.10\"; or ipv6, with the host's own");
	check_address(site, "host.ipv4", site->host.ipv4, f);
	check_address(site, "host.ipv6", site->host.ipv6, f);
	check_address(site, "host.public_ipv4", site->host.public_ipv4, f);
	check_address(site, "host.public_ipv6", site->host.public_ipv6, f);
	at = check_origin(site, "host.public_ipv4");
	if (at.line && site->host.public_ipv4[0] && !site->host.ipv4[0])
		findings_add(
		    f, false, &at, "host.public_ipv4 is published, but host.ipv4 listens nowhere; add host.ipv4");
	at = check_origin(site, "host.public_ipv6");
	if (at.line && site->host.public_ipv6[0] && !site->host.ipv6[0])
		findings_add(
		    f, false, &at, "host.public_ipv6 is published, but host.ipv6 listens nowhere; add host.ipv6");
	check_public(site, "host.ipv4", site->host.public_ipv4, f);
	check_public(site, "host.ipv6", site->host.public_ipv6, f);
	at = check_origin(site, "listen.insecure_loopback");
	bool outside = (site->host.public_ipv4[0] && !prefix_private(site->host.public_ipv4)) ||
	               (site->host.public_ipv6[0] && !prefix_private(site->host.public_ipv6));
	if (site->listen.insecure_loopback && outside)
		findings_add(f, true, &at,
		    "listen.insecure_loopback on a host with a public address lets every local program send passwords "
		    "in the clear; "
		    "use it for measuring only");
}

/* ---- ports */

static void check_ports(const struct site *site, struct findings *f)
{
	struct site_origin at = check_origin(site, "port_offset");
	bool any = false;
	for (int s = 0; s < SERVICE_COUNT; s++) {
		int port = services[s].port + site->port_offset;
		any = any || site->listen.on[s];
		if (!site->listen.on[s])
			continue;
		if (port > 65535)
			findings_add(f, false, &at, "port_offset = %d puts %s (%d) beyond port 65535; use at most %d",
			    site->port_offset, services[s].name, services[s].port, 65535 - services[s].port);
		if (port == site->firewall.ssh_port) {
			struct site_origin ssh = check_origin(site, "firewall.ssh_port");
			findings_add(f, false, &ssh, "firewall.ssh_port = %d is the port of %s; use another for ssh",
			    port, services[s].name);
		}
	}
	at = check_origin(site, "listen");
	if (!any)
		findings_add(f, true, &at, "listen has every service switched off; switch one on");
}

static void check_extra_ports(const struct site *site, struct findings *f)
{
	for (size_t i = 0; i < site->firewall.extra_count; i++) {
		const struct site_port *p = &site->firewall.extra[i];
		if (!p->name || !p->protocol || check_said(f, &p->origin))
			continue;
		for (int s = 0; s < SERVICE_COUNT; s++)
			if (site->listen.on[s] && strcmp(p->protocol, "tcp") == 0 &&
			    site_port(site, (enum service)s) == p->port)
				findings_add(f, false, &p->origin,
				    "firewall port %s is %u, which the service %s opens already; remove it", p->name,
				    p->port, services[s].name);
		for (size_t j = 0; j < i; j++) {
			const struct site_port *q = &site->firewall.extra[j];
			if (q->name && q->protocol &&
			    (strcmp(p->name, q->name) == 0 ||
				(p->port == q->port && strcmp(p->protocol, q->protocol) == 0)))
				findings_add(f, false, &p->origin,
				    "firewall port %s (%s %u) is already the one of %s:%u; remove one of the two",
				    p->name, p->protocol, p->port, q->origin.file, q->origin.line);
		}
	}
}

/* ---- folders */

/* Lexically: removes "//", "/." and "/x/..". path is absolute. */
static char *clean_path(const char *path)
{
	struct buf b = BUF_INIT(65536);
	for (const char *p = path; *p;) {
		size_t n = strcspn(p, "/");
		if (n == 2 && memcmp(p, "..", 2) == 0) {
			while (b.len && b.data[b.len - 1] != '/')
				b.len--;
			b.len -= b.len > 0;
		} else if (n && !(n == 1 && *p == '.')) {
			buf_addc(&b, '/');
			buf_add(&b, p, n);
		}
		p += n + (p[n] == '/');
	}
	char *clean = xstrdup(b.len ? buf_str(&b) : "/");
	buf_free(&b);
	return clean;
}

bool check_inside(const char *path, const char *dir)
{
	char *a = clean_path(path), *b = clean_path(dir);
	size_t n = strlen(b);
	bool in = strcmp(b, "/") == 0 || (strncmp(a, b, n) == 0 && (a[n] == 0 || a[n] == '/'));
	free(a);
	free(b);
	return in;
}

/* The folder of a restic repository, or NULL when it is elsewhere (sftp:, s3: ...). */
static char *local_repository(const struct site *site, const char *repository)
{
	if (strncmp(repository, "local:", 6) == 0)
		return site_path(site, repository + 6);
	size_t scheme = strspn(repository, "abcdefghijklmnopqrstuvwxyz0123456789");
	return repository[scheme] == ':' ? NULL : site_path(site, repository);
}

static void check_backup(const struct site *site, const struct site_backup *b, struct findings *f)
{
	char *repository = local_repository(site, b->repository);
	if (repository && check_inside(repository, site->state_dir))
		findings_add(f, false, &b->origin,
		    "backup %s would write into what it backs up (%s); put its repository outside state_dir", b->name,
		    site->state_dir);
	free(repository);
	if (!b->keep_daily && !b->keep_weekly && !b->keep_monthly)
		findings_add(f, false, &b->origin,
		    "backup %s keeps no snapshot; set keep_daily, keep_weekly or keep_monthly", b->name);
}

static void check_backups(const struct site *site, struct findings *f)
{
	for (size_t i = 0; i < site->backup_count; i++) {
		const struct site_backup *b = &site->backups[i];
		if (!b->name || !b->repository)
			continue;
		check_backup(site, b, f);
		for (size_t j = 0; j < i; j++)
			if (site->backups[j].name && strcmp(site->backups[j].name, b->name) == 0)
				findings_add(f, false, &b->origin,
				    "backup %s is already the backup of %s:%u; remove one of the two", b->name,
				    site->backups[j].origin.file, site->backups[j].origin.line);
	}
}

static void check_folders(const struct site *site, struct findings *f)
{
	const struct sockaddr_un *un = NULL;
	struct site_origin at = check_origin(site, "state_dir");
	if (strcmp(site->state_dir, "/") == 0)
		findings_add(f, false, &at, "state_dir must not be /; give the mail host a folder of its own");
	if (strlen(site->run_dir) + sizeof("/submission.sock") > sizeof(un->sun_path)) {
		struct site_origin run = check_origin(site, "run_dir");
		findings_add(f, false, run.line ? &run : &at,
		    "the path of run_dir is too long for sockets (%zu bytes); set run_dir to a folder with at most %zu",
		    strlen(site->run_dir), sizeof(un->sun_path) - sizeof("/submission.sock"));
	}
}

/* ---- sending, limits, TLS */

static void check_relay(const struct site *site, struct findings *f)
{
	struct site_origin at = check_origin(site, "relay.user");
	if (site->relay.user[0] && !site->relay.smarthost[0])
		findings_add(
		    f, false, &at, "relay.user without relay.smarthost has no use; add relay.smarthost, or remove it");
	at = check_origin(site, "relay.tls_required");
	if (site->relay.user[0] && !site->relay.tls_required)
		findings_add(f, true, &at,
		    "relay.tls_required is off while relay.user logs in; a password is only sent over TLS: switch it "
		    "on");
	at = check_origin(site, "relay.smarthost");
	if (site->host.name && strcmp(site->relay.smarthost, site->host.name) == 0)
		findings_add(
		    f, false, &at, "relay.smarthost is this host itself, so that mail would go round; name another");
	at = check_origin(site, "relay.retry_min");
	if (site->relay.retry_min > site->relay.retry_max)
		findings_add(f, false, &at, "relay.retry_min is above relay.retry_max; swap them");
	at = check_origin(site, "relay.retry_max");
	if (site->relay.retry_max > site->relay.expire)
		findings_add(f, true, &at,
		    "relay.retry_max is above relay.expire, so that mail may bounce after one attempt; lower it");
}

static void check_way(const struct site *site, const struct site_route *r, struct findings *f)
{
	size_t lmtp = 0;
	if (r->hosts.count > HOP_HOSTS_MAX)
		findings_add(f, false, &r->origin, "route %s has more than %d hosts; remove some", r->name, HOP_HOSTS_MAX);
	if (!r->hosts.count && (r->user[0] || strcmp(r->protocol, "lmtp") == 0))
		findings_add(f, false, &r->origin, "route %s needs hosts for its %s; add them", r->name, r->user[0] ? "user" : "protocol");
	if (r->user[0] && strcmp(r->tls, "none") == 0)
		findings_add(f, false, &r->origin, "route %s has a user and tls = \"none\", and a password is only sent over TLS; remove one",
		    r->name);
	for (size_t i = 0; i < r->hosts.count; i++) {
		struct hop_host h;
		if (hop_host_parse(r->hosts.at[i], &h) < 0)
			continue;
		lmtp += h.lmtp;
		if (site->host.name && strcmp(h.name, site->host.name) == 0)
			findings_add(f, false, &r->origin, "route %s leads to this host itself, so that mail would go round; name another",
			    r->name);
	}
	if (lmtp > 0 && lmtp < r->hosts.count && strcmp(r->protocol, "smtp") == 0) /* all of a route are spoken to alike */
		findings_add(f, false, &r->origin, "route %s has hosts for LMTP and hosts for SMTP; keep those of one kind", r->name);
}

static void check_ways(const struct site *site, struct findings *f)
{
	for (size_t i = 0; i < site->route_count; i++) {
		const struct site_route *r = &site->routes[i];
		if (!r->name)
			continue;
		check_way(site, r, f);
		if (strcmp(r->name, "relay") == 0)
			findings_add(f, false, &r->origin, "\"relay\" is the name of relay.smarthost; give the route another");
		for (size_t j = 0; j < i; j++)
			if (site->routes[j].name && strcmp(site->routes[j].name, r->name) == 0)
				findings_add(f, false, &r->origin, "there is another route %s; give each a name of its own", r->name);
	}
}

/* How far a list of a few machines went astray: 2: as far as the Internet, 1: beyond one network, and not a private one. */
static int too_wide(const char *range)
{
	struct prefix p;
	if (prefix_parse(range, &p) < 0)
		return 0;
	if (p.length < (p.family == AF_INET ? 8u : 32u))
		return 2;
	return p.length < (p.family == AF_INET ? 24u : 64u) && !prefix_private(range);
}

/* Whoever is in such a range sends mail without a password: it must be a few machines, of an account that there is. */
static void check_trusted(const struct site *site, struct findings *f)
{
	for (size_t i = 0; i < site->submission.trusted_count; i++) {
		const struct site_trusted *t = &site->submission.trusted[i];
		if (t->account && !site_find_account(site, t->account))
			findings_add(f, false, &t->origin, "submission.trusted names %s, which is no account; add it", t->account);
		for (size_t j = 0; j < t->from.count; j++) {
			int width = too_wide(t->from.at[j]);
			if (width == 2)
				findings_add(f, false, &t->origin,
				    "submission.trusted holds %s, which would make this host an open relay; name a smaller range", t->from.at[j]);
			else if (width == 1)
				findings_add(f, true, &t->origin,
				    "submission.trusted holds %s, and all of it may send without a password; name a smaller range", t->from.at[j]);
		}
	}
}

/* Whoever is in such a range says what address it has: one that may send without a password, if it likes. */
static void check_balancers(const struct site *site, struct findings *f)
{
	struct site_origin at = check_origin(site, "listen.proxy_from");
	for (size_t i = 0; i < site->listen.proxy_from.count; i++) {
		const char *from = site->listen.proxy_from.at[i];
		int width = too_wide(from);
		if (width > 0)
			findings_add(f, width == 1, &at, "listen.proxy_from holds %s, and all of it may pose as any address; name the balancers", from);
	}
}

static void check_limits(const struct site *site, struct findings *f)
{
	struct site_origin at = check_origin(site, "limits.connections_per_address");
	if (site->limits.connections_per_address > site->limits.connections)
		findings_add(f, true, &at,
		    "limits.connections_per_address is above limits.connections, so that one address can take all; "
		    "lower it");
	at = check_origin(site, "limits.disk_reserve");
	if (site->limits.disk_reserve < site->limits.message_size)
		findings_add(f, true, &at,
		    "limits.disk_reserve is below limits.message_size, so that one message can fill the disk; raise "
		    "it");
	at = check_origin(site, "tls.certificate");
	if (site->tls.certificate[0] && !site->tls.key[0])
		findings_add(f, false, &at, "tls.certificate without tls.key; add the key's file");
	at = check_origin(site, "tls.key");
	if (site->tls.key[0] && !site->tls.certificate[0])
		findings_add(f, false, &at, "tls.key without tls.certificate; add the certificate's file");
}

void check_machine(const struct site *site, struct findings *f)
{
	check_addresses(site, f);
	check_ports(site, f);
	check_extra_ports(site, f);
	check_folders(site, f);
	check_backups(site, f);
	check_relay(site, f);
	check_ways(site, f);
	check_trusted(site, f);
	check_balancers(site, f);
	check_limits(site, f);
}
