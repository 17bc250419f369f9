/* struct policy_dns over the client of the resolver role. */
#include "mailsvc/policy/dns.h"

static uint32_t query(void *ctx, const char *name, enum dns_type type, dns_fn fn, void *arg)
{
	return dns_query(ctx, name, type, fn, arg);
}

static void cancel(void *ctx, uint32_t id)
{
	dns_cancel(ctx, id);
}

struct policy_dns policy_dns_of(struct dns_client *client)
{
	return (struct policy_dns){ query, cancel, client };
}
