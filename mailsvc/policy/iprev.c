/*
 * iprev.h: the names of the address, and one after another the addresses of each, until one leads back.  At most
 * NAMES_MAX names are looked at: an address may have any number.
 */
#include "mailsvc/policy/iprev.h"

#include <stdlib.h>

#include "mailsvc/policy/name.h"

#define NAMES_MAX 10

struct iprev_check {
	struct policy_dns dns;
	iprev_fn fn;
	void *arg;
	uint32_t query;
	struct policy_address peer;
	char names[NAMES_MAX][256];
	size_t count, at;
	bool trouble; /* the addresses of some name could not be had */
	struct iprev_verdict verdict;
};

static void on_address(void *arg, const struct dns_answer *);

const char *iprev_result_name(enum iprev_result r)
{
	static const char *const names[] = { "pass", "fail", "permerror", "temperror" };
	return names[r];
}

static void done(struct iprev_check *c, enum iprev_result result, const char *name)
{
	c->verdict.result = result;
	view_copy(view_of(name), c->verdict.name, sizeof(c->verdict.name));
	policy_clean(c->verdict.name);
	c->fn(c->arg, &c->verdict);
	free(c);
}

static void next(struct iprev_check *c)
{
	if (c->at == c->count) {
		done(c, c->trouble ? IPREV_TEMPERROR : IPREV_FAIL, c->names[0]);
		return;
	}
	c->query = policy_ask_host(&c->dns, c->names[c->at], policy_address_type(&c->peer), on_address, c);
}

static void on_address(void *arg, const struct dns_answer *a)
{
	struct iprev_check *c = arg;

	if (policy_address_among(&c->peer, a, (unsigned)policy_address_size(&c->peer) * 8)) {
		done(c, IPREV_PASS, c->names[c->at]);
		return;
	}
	c->trouble = c->trouble || a->status == DNS_TEMPFAIL;
	c->at++;
	next(c);
}

static void on_names(void *arg, const struct dns_answer *a)
{
	struct iprev_check *c = arg;

	if (a->status == DNS_TEMPFAIL) {
		done(c, IPREV_TEMPERROR, "");
		return;
	}
	for (size_t i = 0; a->status == DNS_OK && i < a->count && c->count < NAMES_MAX; i++)
		if (policy_domain(a->records[i].data, c->names[c->count]) == 0)
			c->count++;
	if (c->count == 0)
		done(c, IPREV_PERMERROR, "");
	else
		next(c);
}

static void on_none(void *arg, const struct dns_answer *a)
{
	(void)a;
	done(arg, IPREV_PERMERROR, "");
}

struct iprev_check *iprev_start(const struct policy_dns *dns, const struct sockaddr *peer, iprev_fn fn, void *arg)
{
	struct iprev_check *c = xcalloc(1, sizeof(*c));
	char name[256];

	c->dns = *dns;
	c->fn = fn;
	c->arg = arg;
	if (policy_address(peer, &c->peer) == 0 && policy_reverse(&c->peer, NULL, name) == 0)
		c->query = policy_ask_host(dns, name, DNS_PTR, on_names, c);
	else
		c->query = policy_later(dns, on_none, c);
	return c;
}

void iprev_cancel(struct iprev_check *c)
{
	if (c == NULL)
		return;
	c->dns.cancel(c->dns.ctx, c->query);
	free(c);
}
