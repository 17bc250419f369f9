/*
 * The asking side of the resolver.  A lost or absent resolver, a name that is too long and a malformed answer all come
 * back as DNS_TEMPFAIL: the caller tries again later and never takes silence for "does not exist".
 */
#include "client.h"

#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "lib/log.h"
#include "proto.h"

struct pending {
	LIST_ENTRY(pending) entry;
	uint32_t id;
	dns_fn fn;
	void *arg;
};

struct dns_client {
	struct rpc *rpc;
	LIST_HEAD(, pending) pending; /* to find one again by its id */
};

struct dns_client *dns_client_new(struct event_base *base)
{
	struct dns_client *d = xcalloc(1, sizeof(*d));

	d->rpc = rpc_new(base, NULL, NULL);
	LIST_INIT(&d->pending);
	return d;
}

void dns_client_attach(struct dns_client *d, int fd)
{
	rpc_attach(d->rpc, fd);
}

static void answered(void *arg, enum rpc_status status, struct imsg *reply)
{
	struct pending *p = arg;
	struct dns_record records[DNS_RECORDS_MAX];
	struct dns_answer answer = { .status = DNS_TEMPFAIL };

	if (status == RPC_OK &&
	    (reply->type != DNS_MESSAGE_ANSWER || dns_answer_get(reply->data, &answer, records) == -1)) {
		log_warnx("event=dns error=\"malformed answer from the resolver\"");
		answer = (struct dns_answer){ .status = DNS_TEMPFAIL };
	}
	LIST_REMOVE(p, entry);
	p->fn(p->arg, &answer);
	free(p);
}

uint32_t dns_query(struct dns_client *d, const char *name, enum dns_type type, dns_fn fn, void *arg)
{
	struct pending *p = xcalloc(1, sizeof(*p));
	struct buf msg = BUF_INIT(IMSG_MAX);

	p->fn = fn;
	p->arg = arg;
	/* The empty name stands for one over DNS_NAME_MAX: the resolver answers it with DNS_TEMPFAIL. */
	dns_query_put(&msg, strlen(name) <= DNS_NAME_MAX ? name : "", type);
	p->id = rpc_call(d->rpc, DNS_MESSAGE_QUERY, buf_view(&msg), -1, answered, p);
	LIST_INSERT_HEAD(&d->pending, p, entry);
	buf_free(&msg);
	return p->id;
}

void dns_cancel(struct dns_client *d, uint32_t id)
{
	struct pending *p;

	LIST_FOREACH(p, &d->pending, entry)
	{
		if (p->id == id)
			break;
	}
	if (p == NULL)
		return;
	rpc_cancel(d->rpc, id);
	LIST_REMOVE(p, entry);
	free(p);
}
