/*
 * A DNS that answers one question after another, with a line each: "T" no answer, "N" no such name, "" no such type,
 * else what the fuzzer makes of it; behind the last line there is no such name.
 */
#ifndef TESTS_FUZZ_DNS_LINES_H
#define TESTS_FUZZ_DNS_LINES_H

#include <stdlib.h>

#include "mailsvc/policy/dns.h"

struct dns_lines {
	struct view rest;
	unsigned most; /* questions there may be */
	enum dns_type type;
	dns_fn fn; /* NULL: nothing is asked */
	void *arg;
	unsigned questions;
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

	if (strlen(name) > 255 || d->fn != NULL || ++d->questions > d->most)
		abort();
	d->type = type;
	d->fn = fn;
	d->arg = arg;
	return d->questions;
}

static void dns_lines_cancel(void *ctx, uint32_t id)
{
	struct dns_lines *d = ctx;

	if (id != d->questions)
		abort();
	d->fn = NULL;
}

/* The line for what was asked, and what it says of it; its records are the caller's, who calls fn. */
static enum dns_status dns_lines_next(struct dns_lines *d, struct view *line, dns_fn *fn)
{
	bool left = d->rest.len > 0;

	*line = next_line(&d->rest);
	*fn = d->fn;
	d->fn = NULL;
	if (!left || view_eq(*line, "N"))
		return DNS_NXDOMAIN;
	return line->len == 0 ? DNS_NODATA : view_eq(*line, "T") ? DNS_TEMPFAIL : DNS_OK;
}

#endif
