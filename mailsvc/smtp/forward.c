/*
 * The envelope sender of what is forwarded to other hosts (SRS, srs.h), and the way back for bounces to such a sender.
 * These addresses are in the host's own name.  They lead out of this host, so that they are taken only for messages
 * without a sender, and only while they are good.
 */
#include "mailsvc/smtp/smtp.h"

#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/clock.h"

static const struct smtp_refusal only_bounces = { 550, "5.7.1", "Only bounces are taken for this address" };
static const struct smtp_refusal forged = { 550, "5.1.1", "This host has made no such address" };
static const struct smtp_refusal expired = { 550, "5.1.1", "This address has expired" };

void smtp_forward_init(struct smtp_server *server, int fd)
{
	server->srs_ready = fd != -1 && pread(fd, server->srs.key, SRS_KEY_LEN, 0) == SRS_KEY_LEN;
	if (!server->srs_ready)
		log_warnx("event=srs error=\"no key\" reason=\"what is forwarded keeps its sender\"");
	if (fd != -1)
		close(fd);
}

const char *smtp_forward_sender(const struct smtp_session *s, char out[ADDRESS_MAX])
{
	const char *sender = s->tx.sender, *at = strrchr(sender, '@');
	char domain[ADDRESS_MAX];

	if (!s->site->relay.srs || !s->server->srs_ready || at == NULL ||
	    domain_normalise(view_of(at + 1), domain, sizeof(domain)) == -1 || site_is_local_domain(s->site, domain))
		return NULL;
	return srs_forward(&s->server->srs, sender, s->site->host.name, clock_wall(), out) == 0 ? out : NULL;
}

bool smtp_forward_is_return(const struct smtp_session *s, struct view address)
{
	struct address a;

	return srs_looks_like(address) && address_parse(address, &a) == 0 && view_caseeq(a.domain, s->site->host.name);
}

const struct smtp_refusal *smtp_forward_return(const struct smtp_session *s, struct view address, struct route *route)
{
	char origin[ADDRESS_MAX];

	if (!s->server->srs_ready)
		return &forged;
	switch (srs_reverse(&s->server->srs, address, clock_wall(), origin)) {
	case SRS_FORGED:
		return &forged;
	case SRS_EXPIRED:
		return &expired;
	case SRS_OK:
		break;
	}
	if (s->tx.sender[0] != '\0')
		return &only_bounces;
	route_resolve(s->site, view_of(origin), route);
	return route->status == ROUTE_OK || route->status == ROUTE_FOREIGN ? NULL : &forged;
}
