/*
 * dnsbl.h: the address reversed below the zone, and for one that is listed its TXT.  Answers outside of 127.0.0.0/8 are
 * no entries (a list that is gone, whose domain somebody else has now), and 127.255.255.0/24 is how lists say that they
 * do not serve whom they were asked by.
 */
#include "mailsvc/policy/dnsbl.h"

#include <arpa/inet.h>
#include <stdlib.h>

#include "mailsvc/policy/name.h"

#define LOOPBACK 0x7f000000u
#define REFUSED 0x7fffff00u

struct dnsbl_check {
	struct policy_dns dns;
	dnsbl_fn fn;
	void *arg;
	uint32_t query;
	char name[256]; /* "" when there can be none */
	struct dnsbl_verdict verdict;
};

static void done(struct dnsbl_check *c)
{
	c->fn(c->arg, &c->verdict);
	free(c);
}

static void fail(struct dnsbl_check *c, const char *why)
{
	c->verdict = (struct dnsbl_verdict){ .failed = true };
	policy_say(c->verdict.text, sizeof(c->verdict.text), "%s", why);
	done(c);
}

static void on_text(void *arg, const struct dns_answer *a)
{
	struct dnsbl_check *c = arg;

	if (a->status == DNS_OK && a->count > 0)
		policy_say(c->verdict.text, sizeof(c->verdict.text), "%.*s",
		    (int)(a->records[0].data.len < sizeof(c->verdict.text) ? a->records[0].data.len
									   : sizeof(c->verdict.text)),
		    a->records[0].data.ptr);
	done(c);
}

static void on_codes(void *arg, const struct dns_answer *a)
{
	struct dnsbl_check *c = arg;
	struct dnsbl_verdict *v = &c->verdict;
	bool foreign = false, refused = false;

	if (a->status == DNS_TEMPFAIL) {
		fail(c, "no answer from DNS");
		return;
	}
	for (size_t i = 0; a->status == DNS_OK && i < a->count; i++) {
		uint32_t code;
		if (a->records[i].data.len != sizeof(code))
			continue;
		memcpy(&code, a->records[i].data.ptr, sizeof(code));
		code = ntohl(code);
		if ((code & 0xff000000u) != LOOPBACK)
			foreign = true;
		else if ((code & 0xffffff00u) == REFUSED)
			refused = true;
		else if (v->count < DNSBL_CODES_MAX)
			v->codes[v->count++] = code;
	}
	if (refused) {
		fail(c, "the list refuses this host: 127.255.255.0/24");
		return;
	}
	if (foreign && v->count == 0) {
		fail(c, "its answers are not in 127.0.0.0/8");
		return;
	}
	v->listed = v->count > 0;
	v->code = v->codes[0];
	c->query = v->listed ? policy_ask_host(&c->dns, c->name, DNS_TXT, on_text, c) : 0;
	if (c->query == 0)
		done(c);
}

static void on_none(void *arg, const struct dns_answer *a)
{
	(void)a;
	fail(arg, "no such list can be asked");
}

struct dnsbl_check *dnsbl_start(
    const struct policy_dns *dns, const struct sockaddr *peer, const char *zone, dnsbl_fn fn, void *arg)
{
	struct dnsbl_check *c = xcalloc(1, sizeof(*c));
	struct policy_address a;

	c->dns = *dns;
	c->fn = fn;
	c->arg = arg;
	if (zone[0] != '\0' && policy_address(peer, &a) == 0 && policy_reverse(&a, zone, c->name) == 0)
		c->query = policy_ask_host(dns, c->name, DNS_A, on_codes, c);
	if (c->query == 0)
		c->query = policy_later(dns, on_none, c);
	return c;
}

void dnsbl_cancel(struct dnsbl_check *c)
{
	if (c == NULL)
		return;
	c->dns.cancel(c->dns.ctx, c->query);
	free(c);
}
