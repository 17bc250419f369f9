/*
 * try.h: tests become probes, probes become batches, and each batch runs in a child with namespaces of its own, some at
 * once.  A batch holds few probes of one source, so that the limits of the site by source (rates, connections) do not
 * decide about its own tests.  Children answer in shared memory.
 */
#include "fwgen/try.h"

#include <errno.h>
#include <net/if.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fwgen/kernel.h"
#include "fwgen/try_packets.h"

#define BATCH_MAX 64
#define SAME_SOURCE_MAX 4
#define CHILDREN_MAX 8
#define CHILD_LIMIT_S 20

const char *fw_tried_name(enum fw_tried t)
{
	static const char *const names[] = { "accept", "drop", "refuse" };

	return names[t];
}

/* ---- a test as a probe */

static bool is_gateway(const struct site *s)
{
	return strcmp(s->role, "gateway") == 0;
}

static void note(struct fw_try *result, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void note(struct fw_try *result, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(result->note, sizeof(result->note), fmt, ap);
	va_end(ap);
}

static bool is_address(const struct ip *ip, const char *text)
{
	struct ip other;

	return ip_parse(text, &other) == 0 && ip->ipv6 == other.ipv6 && memcmp(ip->bytes, other.bytes, 16) == 0;
}

static bool is_own(const struct site *s, const struct ip *ip)
{
	static const struct ip loopback4 = { .bytes = { 127 }, .length = 8 };
	static const struct ip loopback6 = { .ipv6 = true, .bytes = { [15] = 1 }, .length = 128 };

	return is_address(ip, s->host.ipv4) || is_address(ip, s->host.ipv6) || ip_within(ip, &loopback4) ||
	       ip_within(ip, &loopback6);
}

static bool is_inside(const struct site *s, const struct ip *ip)
{
	struct ip network;

	for (size_t i = 0; i < s->gateway.network.count; i++)
		if (ip_parse(s->gateway.network.at[i], &network) == 0 && ip_within(ip, &network))
			return true;
	return is_own(s, ip);
}

/* The host as its peer knows it: by the public address, where the rules are those of the machine in front. */
static const char *host_address(const struct site *s, bool ipv6)
{
	if (is_gateway(s))
		return ipv6 ? s->host.public_ipv6 : s->host.public_ipv4;
	return ipv6 ? s->host.ipv6 : s->host.ipv4;
}

static int addresses(const struct site *s, const struct site_fwtest *t, struct try_probe *p)
{
	bool ipv6 = s->host.ipv4[0] == '\0';

	p->outgoing = t->from[0] == '\0';
	if (!p->outgoing && ip_parse(t->from, &p->from) == -1) {
		note(p->result, "%s is no address; write one in from", t->from);
		return -1;
	}
	if (t->to[0] != '\0' && ip_parse(t->to, &p->to) == -1) {
		note(p->result, "%s is no address; write one in to", t->to);
		return -1;
	}
	if (!p->outgoing || t->to[0] != '\0')
		ipv6 = p->outgoing ? p->to.ipv6 : p->from.ipv6;
	if (t->to[0] == '\0' && ip_parse(host_address(s, ipv6), &p->to) == -1) {
		note(p->result, "the host has no IPv%c address: nothing can come to it", ipv6 ? '6' : '4');
		return -1;
	}
	if (p->outgoing && ip_parse(ipv6 ? s->host.ipv6 : s->host.ipv4, &p->from) == -1) {
		note(p->result, "the host has no IPv%c address: nothing can leave it", ipv6 ? '6' : '4');
		return -1;
	}
	if (p->from.ipv6 != p->to.ipv6) {
		note(p->result, "from and to are of two address families");
		p->result->got = FW_TRIED_REFUSE; /* passes for nobody */
		return -1;
	}
	return 0;
}

/* Who sends, when the packet leaves the machine whose rules are tried. */
static int sender(const struct site *s, const struct site_fwtest *t, struct try_probe *p)
{
	struct passwd *user;

	if (t->user[0] == '\0')
		return 0;
	if (is_gateway(s)) {
		note(p->result, "a user of the host: only the host can try it");
		p->result->got = strcmp(t->expect, "accept") == 0 ? FW_TRIED_ACCEPT : FW_TRIED_DROP;
		return -1;
	}
	if ((user = getpwnam(t->user)) == NULL) {
		note(p->result, "there is no user %s on this machine", t->user);
		p->result->got = FW_TRIED_REFUSE;
		return -1;
	}
	p->user = user->pw_uid;
	p->group = user->pw_gid;
	return 0;
}

/* The public address is the gateway's where it is not the host's. */
static bool is_gateways(const struct site *s, const struct ip *ip)
{
	return !is_own(s, ip) && (is_address(ip, s->host.public_ipv4) || is_address(ip, s->host.public_ipv6));
}

static void place(const struct site *s, struct try_probe *p)
{
	if (is_gateway(s))
		p->sender = p->outgoing || is_inside(s, &p->from) ? TRY_BEHIND : TRY_OUTSIDE;
	else
		p->sender = p->outgoing || is_own(s, &p->from) ? TRY_HERE : TRY_OUTSIDE;
}

static void ask_model(const struct site *s, const struct fw_model *model, struct try_probe *p)
{
	struct fw_packet packet = {
		.ipv6 = p->to.ipv6, .udp = p->udp, .from_port = 40000, .to_port = p->port, .user = p->user
	};

	memcpy(packet.from, p->from.bytes, 16);
	memcpy(packet.to, p->to.bytes, 16);
	if (is_gateway(s)) {
		packet.forward = !is_gateways(s, &p->to);
		snprintf(packet.interface, sizeof(packet.interface), "%s",
		    p->sender == TRY_BEHIND ? s->gateway.inside : s->gateway.outside);
	} else {
		packet.out = p->outgoing;
		if (p->sender == TRY_HERE && is_own(s, &p->to))
			snprintf(packet.interface, sizeof(packet.interface), "lo");
	}
	fw_decide(model, &packet, &p->result->decision);
}

/* False: there is nothing to send, and result says why. */
static bool make_probe(
    const struct site *s, const struct fw_model *model, size_t i, struct fw_try *result, struct try_probe *p)
{
	const struct site_fwtest *t = &s->firewall.tests[i];

	memset(result, 0, sizeof(*result));
	result->got = FW_TRIED_DROP;
	*p = (struct try_probe){ .udp = strcmp(t->protocol, "udp") == 0, .port = t->to_port, .result = result };
	if (addresses(s, t, p) == -1 || sender(s, t, p) == -1)
		return false;
	place(s, p);
	ask_model(s, model, p);
	if (p->user != 0 && geteuid() != 0) {
		result->got = result->decision.accept ? FW_TRIED_ACCEPT : FW_TRIED_DROP;
		note(result, "by the model alone: only root can send as %s", t->user);
		return false;
	}
	result->sent = true;
	return true;
}

/* ---- batches */

static bool same_source(const struct try_probe *a, const struct try_probe *b)
{
	return !a->outgoing && !b->outgoing && a->from.ipv6 == b->from.ipv6 &&
	       memcmp(a->from.bytes, b->from.bytes, a->from.ipv6 ? 8 : 4) == 0;
}

/* How many probes of one source may be in a batch. */
static size_t source_limit(const struct site *s)
{
	int limit = SAME_SOURCE_MAX;
	const int limits[] = { s->firewall.connections, s->firewall.smtp_rate, s->firewall.login_rate,
		s->firewall.syn_rate };

	for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++)
		limit = limits[i] < limit ? limits[i] : limit;
	for (size_t i = 0; i < s->firewall.extra_count; i++)
		if (s->firewall.extra[i].rate > 0 && s->firewall.extra[i].rate < limit)
			limit = s->firewall.extra[i].rate;
	return (size_t)limit;
}

/* Moves the next batch to the front of probes; its length. */
static size_t next_batch(struct try_probe *probes, size_t count, size_t limit)
{
	size_t taken = 0;

	for (size_t i = 0; i < count && taken < BATCH_MAX; i++) {
		size_t same = 0;
		for (size_t j = 0; j < taken; j++)
			same += same_source(&probes[j], &probes[i]);
		if (same >= limit)
			continue;
		struct try_probe p = probes[taken];
		probes[taken++] = probes[i];
		probes[i] = p;
	}
	return taken;
}

static int run_batch(
    const struct site *s, const struct fw_model *model, struct try_probe *probes, size_t count, struct error *e)
{
	struct try_net net;

	if (try_net_make(&net, s, e) == -1)
		return -1;
	for (size_t i = 0; i < count; i++)
		if (probes[i].sender == TRY_OUTSIDE && !is_own(s, &probes[i].to) &&
		    try_net_route(&net, &probes[i].to, e) == -1)
			return -1;
	if (try_net_enter(&net, TRY_HERE, e) == -1 || fw_kernel_load(model, e) == -1)
		return -1;
	return try_packets(&net, probes, count, e);
}

struct shared { /* with the children */
	struct error e;
	struct fw_try results[];
};

static pid_t start_batch(
    const struct site *s, const struct fw_model *model, struct try_probe *probes, size_t count, struct error *e)
{
	pid_t parent = getpid(), pid = fork();

	if (pid != 0)
		return pid;
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) == -1 || getppid() != parent)
		_exit(1);
	signal(SIGALRM, SIG_DFL);
	signal(SIGPIPE, SIG_IGN);
	alarm(CHILD_LIMIT_S);
	_exit(run_batch(s, model, probes, count, e) == 0 ? 0 : 1);
}

static int wait_batch(pid_t pid, struct error *e)
{
	int status;

	while (waitpid(pid, &status, 0) == -1)
		if (errno != EINTR)
			return error_errno(e, "waitpid");
	if (WIFSIGNALED(status))
		return error_set(e, "the tests did not end within %d s (signal %d)", CHILD_LIMIT_S, WTERMSIG(status));
	return WEXITSTATUS(status) == 0 ? 0 : -1;
}

static int run_all(
    const struct site *s, const struct fw_model *model, struct try_probe *probes, size_t count, struct error *e)
{
	pid_t children[CHILDREN_MAX];
	size_t done = 0, limit = source_limit(s);
	int result = 0;

	while (done < count && result == 0) {
		size_t running = 0;
		while (running < CHILDREN_MAX && done < count) {
			size_t n = next_batch(probes + done, count - done, limit);
			pid_t pid = start_batch(s, model, probes + done, n, e);
			if (pid == -1) {
				result = error_errno(e, "fork");
				break;
			}
			children[running++] = pid;
			done += n;
		}
		for (size_t i = 0; i < running; i++)
			if (wait_batch(children[i], e) == -1)
				result = -1;
	}
	return result;
}

/* ---- all of them */

static void judge(const struct site_fwtest *t, bool includes, struct fw_try *r)
{
	bool accept = strcmp(t->expect, "accept") == 0;

	r->passed = accept ? r->got == FW_TRIED_ACCEPT : r->got != FW_TRIED_ACCEPT;
	if (!r->sent && r->got == FW_TRIED_REFUSE) /* the test itself is wrong */
		r->passed = false;
	if (r->sent && r->note[0] == '\0' && r->decision.accept != (r->got == FW_TRIED_ACCEPT))
		note(r, "the packets say otherwise than the model, which would %s%s",
		    r->decision.accept ? "accept" : "drop",
		    includes ? ": perhaps a line of firewall.include decides" : "");
}

int fw_try(const struct site *s, const struct fw_model *model, struct fw_try *results, struct error *e)
{
	size_t count = s->firewall.test_count, probes = 0, size = sizeof(struct shared) + count * sizeof(struct fw_try);
	struct shared *shared = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct try_probe *p;
	int result;

	if (shared == MAP_FAILED)
		return error_errno(e, "mmap");
	p = xcalloc(count + 1, sizeof(*p));
	for (size_t i = 0; i < count; i++)
		probes += make_probe(s, model, i, &shared->results[i], &p[probes]);
	fflush(NULL);
	result = run_all(s, model, p, probes, &shared->e);
	for (size_t i = 0; i < count && result == 0; i++) {
		judge(&s->firewall.tests[i], s->firewall.include.count > 0, &shared->results[i]);
		results[i] = shared->results[i];
	}
	if (result == -1)
		*e = shared->e;
	free(p);
	munmap(shared, size);
	return result;
}
