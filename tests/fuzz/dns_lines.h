/*
 * A DNS that answers questions, with a line each, of those that wait the one that the length of the rest picks: "T" no
 * answer, "N" no such name, "" no such type, else what the fuzzer makes of it; behind the last line there is no such
 * name.
 */
#ifndef TESTS_FUZZ_DNS_LINES_H
#define TESTS_FUZZ_DNS_LINES_H

#include <stdlib.h>

#include "mailsvc/policy/dns.h"

#define DNS_LINES_AT_ONCE 8

struct dns_lines {
	struct view rest;
	unsigned most, at_once; /* questions there may be, in all and at once (0: 1) */
	struct dns_lines_asked {
		uint32_t id;
		enum dns_type type;
		dns_fn fn;
		void *arg;
	} asked[DNS_LINES_AT_ONCE];
	unsigned waiting, questions;
};

static struct view next_line(struct view *rest)
{
	const char *end = rest->len > 0 ? memchr(rest->ptr, '\n', rest->len) : NULL;
	struct view line = { rest->ptr, end != NULL ? (size_t)(end - rest->ptr) : rest->len };
	size_t taken = line.len + (end != NULL);

	*rest = (struct view){ rest->ptr + taken, rest->len - taken };
	return line;
}

static uint32_t dns_lines_query(void *ctx, const char *name, enum dns_type type, dns_fn fn, void *arg)
{
	struct dns_lines *d = ctx;

	if (strlen(name) > 255 || d->waiting >= (d->at_once > 0 ? d->at_once : 1) || ++d->questions > d->most)
		abort();
	d->asked[d->waiting++] = (struct dns_lines_asked){ d->questions, type, fn, arg };
	return d->questions;
}

static void dns_lines_cancel(void *ctx, uint32_t id)
{
	struct dns_lines *d = ctx;

	if (id == 0)
		return;
	for (unsigned i = 0; i < d->waiting; i++) {
		if (d->asked[i].id != id)
			continue;
		d->asked[i] = d->asked[--d->waiting];
		return;
	}
	abort();
}

/* A question that waits, the line for it, and what that says; its records are the caller's, who calls asked->fn. */
static enum dns_status dns_lines_next(struct dns_lines *d, struct view *line, struct dns_lines_asked *asked)
{
	bool left = d->rest.len > 0;
	unsigned pick = (unsigned)(d->rest.len % d->waiting);

	*line = next_line(&d->rest);
	*asked = d->asked[pick];
	d->asked[pick] = d->asked[--d->waiting];
	if (!left || view_eq(*line, "N"))
		return DNS_NXDOMAIN;
	return line->len == 0 ? DNS_NODATA : view_eq(*line, "T") ? DNS_TEMPFAIL : DNS_OK;
}

#endif
