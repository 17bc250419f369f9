/*
 * A world where every name has one and the same key record: the first line of the input ("T": no answer, "N": no such
 * name). What follows is a message.
 */
#ifndef TESTS_FUZZ_KEY_WORLD_H
#define TESTS_FUZZ_KEY_WORLD_H

#include <stdlib.h>

#include "mailsvc/policy/dns.h"

#define WORLD_QUESTIONS 200

struct world {
	struct view record, message;
	struct {
		dns_fn fn;
		void *arg;
	} asked[WORLD_QUESTIONS];
	size_t count, answered;
};

static uint32_t world_query(void *ctx, const char *name, enum dns_type type, dns_fn fn, void *arg)
{
	struct world *w = ctx;

	if (strlen(name) > 255 || type != DNS_TXT || w->count == WORLD_QUESTIONS)
		abort();
	w->asked[w->count].fn = fn;
	w->asked[w->count].arg = arg;
	return (uint32_t)++w->count;
}

static void world_cancel(void *ctx, uint32_t id)
{
	struct world *w = ctx;

	if (id > w->count)
		abort();
	if (id > 0)
		w->asked[id - 1].fn = NULL;
}

static void world_of(struct world *w, const uint8_t *data, size_t size)
{
	const char *end = size > 0 ? memchr(data, '\n', size) : NULL;
	size_t len = end != NULL ? (size_t)(end - (const char *)data) : size;

	*w = (struct world){ .record = { (const char *)data, len } };
	if (end != NULL)
		w->message = (struct view){ end + 1, size - len - 1 };
}

static void world_run(struct world *w)
{
	struct dns_record record = { .data = w->record };
	struct dns_answer a = { .records = &record, .count = 1 };

	if (view_eq(w->record, "T") || view_eq(w->record, "N"))
		a = (struct dns_answer){ .status = w->record.ptr[0] == 'T' ? DNS_TEMPFAIL : DNS_NXDOMAIN };
	for (; w->answered < w->count; w->answered++)
		if (w->asked[w->answered].fn != NULL)
			w->asked[w->answered].fn(w->asked[w->answered].arg, &a);
}

/* One line of printable ASCII, and there is one. */
static void world_text(const char *text, bool may_be_empty)
{
	if (text[0] == '\0' && !may_be_empty)
		abort();
	for (; *text != '\0'; text++)
		if (*text < ' ' || *text == 0x7f)
			abort();
}

#endif
