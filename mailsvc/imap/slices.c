/* Requests to store in slices of STORE_RANGES_MAX ranges, one at a time. */
#include "slices.h"

#include <stdlib.h>
#include <string.h>

static void slices_free(void *state)
{
	struct slices *x = state;

	free(x->ranges);
	free(x->source);
	free(x->destination);
	free(x->modseqs);
	free(x->arg);
	free(x);
}

static void append(struct uid_range **to, size_t *have, const struct uid_range *more, size_t count)
{
	if (count == 0)
		return;
	*to = xreallocarray(*to, *have + count, sizeof(**to));
	memcpy(*to + *have, more, count * sizeof(*more));
	*have += count;
}

static void append_modseqs(struct slices *x, const struct store_result *result)
{
	if (result->modseq_count == 0)
		return;
	x->modseqs = xreallocarray(x->modseqs, x->modseq_count + result->modseq_count, sizeof(*x->modseqs));
	memcpy(x->modseqs + x->modseq_count, result->modseqs, result->modseq_count * sizeof(*x->modseqs));
	x->modseq_count += result->modseq_count;
}

static void on_reply(void *arg, const struct store_result *result);

static void send_next(struct slices *x)
{
	struct imap_session *s = x->session;
	size_t from = x->next, count = x->count - from < STORE_RANGES_MAX ? x->count - from : STORE_RANGES_MAX;

	x->next += count;
	s->pending = x->send(s, x, x->ranges + from, count, on_reply, x);
}

static void on_reply(void *arg, const struct store_result *result)
{
	struct slices *x = arg;
	struct imap_session *s = x->session;

	x->status = result->status;
	if (result->status == STORE_OK) {
		x->uid_validity = result->uid_validity;
		x->modseq = result->modseq;
		append(&x->source, &x->source_count, result->source, result->source_count);
		append(&x->destination, &x->destination_count, result->destination, result->destination_count);
		append_modseqs(x, result);
		if (x->next < x->count) {
			send_next(x);
			return;
		}
	}
	if (!imap_landed(s, x))
		x->done(s, x);
}

static void land(struct imap_session *s, void *state)
{
	struct slices *x = state;

	x->done(s, x);
}

int slices_start(
    struct imap_session *s, struct uid_range *ranges, size_t count, slices_send_fn send, slices_done_fn done, void *arg)
{
	struct slices *x = xcalloc(1, sizeof(*x));
	struct imap_job job = { .free = slices_free, .state = x };

	x->session = s;
	x->ranges = ranges;
	x->count = count;
	x->send = send;
	x->done = done;
	x->arg = arg;
	imap_start_job(s, &job);
	if (count <= STORE_RANGES_MAX)
		imap_may_park(s, land);
	send_next(x);
	return IMAP_WAIT;
}

void slices_put_set(struct buf *out, const struct uid_range *at, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		buf_printf(out, i == 0 ? "%u" : ",%u", at[i].first);
		if (at[i].last != at[i].first)
			buf_printf(out, ":%u", at[i].last);
	}
}
