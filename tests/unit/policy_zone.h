/*
 * A DNS of a few records in memory, as struct policy_dns: answers come when zone_run is called, never from inside a
 * query. Every question is remembered, so that a test can say how many and which there were.
 */
#ifndef TESTS_UNIT_POLICY_ZONE_H
#define TESTS_UNIT_POLICY_ZONE_H

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "mailsvc/policy/dns.h"

#define ZONE_RECORDS 1024
#define ZONE_PENDING 64
#define ZONE_CNAME 5
#define ZONE_TIMEOUT 0 /* type of a row: types that have no row of their own are not answered */

struct zone_row {
	char name[300];
	int type;
	uint16_t preference;
	char *data;
	size_t len;
};

struct zone_pending {
	uint32_t id;
	char name[300];
	enum dns_type type;
	dns_fn fn;
	void *arg;
};

struct zone {
	struct zone_row rows[ZONE_RECORDS];
	size_t count;
	struct zone_pending pending[ZONE_PENDING];
	size_t waiting;
	uint32_t last_id;
	unsigned questions; /* with a name */
	char asked[ZONE_PENDING][300];
};

static void zone_add(struct zone *z, const char *name, int type, const void *data, size_t len)
{
	struct zone_row *r = &z->rows[z->count++];

	if (z->count > ZONE_RECORDS)
		abort();
	snprintf(r->name, sizeof(r->name), "%s", name);
	r->type = type;
	r->data = malloc(len + 1);
	memcpy(r->data, data, len);
	r->data[len] = '\0';
	r->len = len;
}

/* data as people write it; a final dot of a name is dropped. */
static void zone_put(struct zone *z, const char *name, int type, const char *data)
{
	unsigned char raw[16];
	size_t len = strlen(data);

	if (type == DNS_A && inet_pton(AF_INET, data, raw) == 1)
		zone_add(z, name, type, raw, 4);
	else if (type == DNS_AAAA && inet_pton(AF_INET6, data, raw) == 1)
		zone_add(z, name, type, raw, 16);
	else if (type == DNS_A || type == DNS_AAAA)
		abort();
	else
		zone_add(z, name, type, data, type != DNS_TXT && len > 0 && data[len - 1] == '.' ? len - 1 : len);
}

static void zone_clear(struct zone *z)
{
	for (size_t i = 0; i < z->count; i++)
		free(z->rows[i].data);
	z->count = z->waiting = 0;
	z->questions = 0;
}

static uint32_t zone_query(void *ctx, const char *name, enum dns_type type, dns_fn fn, void *arg)
{
	struct zone *z = ctx;
	struct zone_pending *p = &z->pending[z->waiting++];

	if (z->waiting > ZONE_PENDING)
		abort();
	*p = (struct zone_pending){ ++z->last_id, "", type, fn, arg };
	snprintf(p->name, sizeof(p->name), "%s", name);
	if (name[0] != '\0')
		snprintf(z->asked[z->questions++ % ZONE_PENDING], sizeof(z->asked[0]), "%s", name);
	return p->id;
}

static void zone_cancel(void *ctx, uint32_t id)
{
	struct zone *z = ctx;

	for (size_t i = 0; i < z->waiting; i++) {
		if (z->pending[i].id != id)
			continue;
		memmove(&z->pending[i], &z->pending[i + 1], (--z->waiting - i) * sizeof(z->pending[0]));
		return;
	}
	if (id != 0)
		abort();
}

static struct policy_dns zone_dns(struct zone *z)
{
	return (struct policy_dns){ zone_query, zone_cancel, z };
}

static enum dns_status zone_find(struct zone *z, const char *name, int type, struct dns_record *out, size_t *count)
{
	for (int depth = 0; depth < 8; depth++) {
		const struct zone_row *alias = NULL;
		bool exists = false, timeout = false;
		*count = 0;
		for (size_t i = 0; i < z->count; i++) {
			const struct zone_row *r = &z->rows[i];
			if (strcasecmp(r->name, name) != 0)
				continue;
			exists = true;
			timeout = timeout || r->type == ZONE_TIMEOUT;
			alias = r->type == ZONE_CNAME ? r : alias;
			if (r->type == type && *count < DNS_RECORDS_MAX)
				out[(*count)++] = (struct dns_record){ r->preference, { r->data, r->len } };
		}
		if (*count > 0)
			return DNS_OK;
		if (alias == NULL)
			return timeout ? DNS_TEMPFAIL : exists ? DNS_NODATA : DNS_NXDOMAIN;
		name = alias->data;
	}
	return DNS_TEMPFAIL; /* a loop of CNAMEs */
}

/* Answers the oldest question; false when there is none. */
static bool zone_step(struct zone *z)
{
	struct dns_record records[DNS_RECORDS_MAX];
	struct dns_answer a = { .records = records, .status = DNS_TEMPFAIL };

	if (z->waiting == 0)
		return false;
	struct zone_pending p = z->pending[0];
	memmove(&z->pending[0], &z->pending[1], --z->waiting * sizeof(z->pending[0]));
	if (p.name[0] != '\0')
		a.status = zone_find(z, p.name, p.type, records, &a.count);
	p.fn(p.arg, &a);
	return true;
}

static void zone_run(struct zone *z)
{
	while (zone_step(z))
		;
}

#endif
