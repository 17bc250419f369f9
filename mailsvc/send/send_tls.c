/* How the send role connects, above all by TLS: contexts, where policies come from, and the counts. */
#include <stdlib.h>

#include "internal.h"
#include "lib/clock.h"

#define TLS_SAVE_S 3 /* what was counted is written after at most */

static char *trust_file(const struct site *site)
{
	return site->tls.trust[0] != '\0' ? site_path(site, site->tls.trust) : xstrdup(tls_trust_file());
}

void send_tls_save(struct send *s)
{
	tls_count_file_save(s->tls_count_file, s->tls_count);
}

static void on_save(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what;
	send_tls_save(arg);
}

int send_tls_init(struct send *s, struct error *err)
{
	const struct site *site = s->ctx->site;

	s->tls = tls_client_ctx(false, err);
	if (s->tls == NULL)
		return -1;
	if (SSL_CTX_dane_enable(s->tls) != 1)
		return error_set(err, "OpenSSL has no DANE");
	/* The trust store cannot be opened any more when a route or a policy asks for it. */
	s->trust_file = trust_file(site);
	s->tls_verify = tls_client_ctx_trusting(s->trust_file, err);
	if (s->tls_verify == NULL)
		log_warnx("event=tls error=\"no trust store\" reason=\"%s\" hint=\"apt-get install ca-certificates\"",
		    err->text);
	else
		SSL_CTX_set_verify(
		    s->tls_verify, SSL_VERIFY_NONE, NULL); /* tls_policy_check has the last word, and says why */
	s->fetch = fetch_client_new(s->base);
	s->sts_cache = sts_cache_open(s->ctx->fds[ROLE_FD_MTA_STS]);
	s->sts = sts_new(s->base, s->dns, s->fetch, s->sts_cache, site->relay.https_port);
	s->tls_count = tls_count_new();
	s->tls_count_file = tls_count_file_open(s->ctx->fds[ROLE_FD_TLS_COUNTS], s->tls_count);
	s->tls_save = evtimer_new(s->base, on_save, s);
	if (s->tls_save == NULL)
		fatalx("cannot make a timer");
	send_tls_reload(s);
	return 0;
}

bool send_tls_reload(struct send *s)
{
	const struct site *site = s->ctx->site;

	sts_set_port(s->sts, site->relay.https_port);
	s->tls_policies = (struct tls_policies){
		.base = s->base, .dns = s->dns, .dane = site->relay.dane, .sts = site->relay.mta_sts ? s->sts : NULL,
		.trust = s->tls_verify != NULL
	};
	char *file = trust_file(site);
	bool same = strcmp(file, s->trust_file) == 0;
	free(file);
	return same;
}

struct tls_lookup *send_tls_lookup(struct send *s, const struct hop *h, const struct mx_address *to, bool secure,
    void (*fn)(void *arg, struct tls_policy *), void *arg)
{
	static const enum tls_demand demands[] = { [HOP_TLS_ENCRYPT] = TLS_DEMAND_ENCRYPT,
		[HOP_TLS_REQUIRED] = TLS_DEMAND_VERIFY,
		[HOP_TLS_NONE] = TLS_DEMAND_NONE };
	const struct tls_question q = { .domain = h->domain,
		.host = to->host,
		.port = mx_address_port(to),
		.family = to->to.ss_family,
		.secure = !hop_by_mx(h) || secure,
		.by_mx = hop_by_mx(h),
		.demand = demands[h->tls] };

	return tls_policy_lookup(&s->tls_policies, &q, fn, arg);
}

struct smtp_client_setup send_setup(
    const struct send *s, const struct hop *h, const struct mx_address *to, struct tls_policy *policy)
{
	struct smtp_client_setup setup = { .helo = s->ctx->site->host.name,
		.to = to,
		.tls = policy == NULL ? NULL : tls_policy_trusts(policy) ? s->tls_verify : s->tls,
		.lmtp = h->lmtp,
		.implicit_tls = hop_implicit_tls(h, to),
		.policy = policy };

	setup.from = hop_source(h, to, &setup.from_len);
	if (h->user[0] != '\0') {
		setup.user = h->user;
		setup.password = secrets_route(&s->secrets, h->route);
	}
	return setup;
}

void send_tls_count(struct send *s, const struct tls_policy *p, enum tls_result result, const struct mx_address *to,
    const char *tls, const char *reason)
{
	const struct tls_session session = { .kind = p->kind,
		.result = result,
		.ignored = result != TLS_RESULT_OK && !tls_policy_insists(p),
		.domain = p->domain,
		.host = to->host,
		.address = to->text,
		.tls = tls,
		.reason = reason };

	tls_count_add(s->tls_count, &session, clock_wall());
	if (!event_pending(s->tls_save, EV_TIMEOUT, NULL))
		event_add(s->tls_save, &(struct timeval){ TLS_SAVE_S, 0 });
}
