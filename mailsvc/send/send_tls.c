/* What the send role has for TLS: contexts, where policies come from, and the counts. */
#include <stdlib.h>

#include "internal.h"
#include "lib/clock.h"

static char *trust_file(const struct site *site)
{
	return site->tls.trust[0] != '\0' ? site_path(site, site->tls.trust) : xstrdup(tls_trust_file());
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
	send_tls_reload(s);
	return 0;
}

bool send_tls_reload(struct send *s)
{
	const struct site *site = s->ctx->site;

	sts_set_port(s->sts, site->relay.https_port);
	s->tls_policies = (struct tls_policies){
		.base = s->base, .dns = s->dns, .dane = site->relay.dane, .sts = site->relay.mta_sts ? s->sts : NULL
	};
	char *file = trust_file(site);
	bool same = strcmp(file, s->trust_file) == 0;
	free(file);
	return same;
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
}
