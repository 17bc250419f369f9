/*
 * verify.h: channels to smtp, and the questions.  Each is answered once, unless it is cancelled or its asker goes.
 * Bounds: VERIFY_QUESTIONS_MAX in all, VERIFY_HOST_QUESTIONS_MAX for one host; what comes on top is not known now.
 */
#include "verify_internal.h"

#include <stdio.h>
#include <stdlib.h>

struct verify *verify_new(struct send *s)
{
	struct verify *v = xcalloc(1, sizeof(*v));

	v->send = s;
	LIST_INIT(&v->askers);
	LIST_INIT(&v->questions);
	LIST_INIT(&v->hosts);
	return v;
}

/* Questions ---------------------------------------------------------------------------------------------------- */

static void copy_printable(char *out, size_t size, const char *s)
{
	size_t n = 0;

	for (; *s != '\0' && n + 1 < size; s++)
		out[n++] = (unsigned char)*s < ' ' || (unsigned char)*s > '~' ? '?' : *s;
	out[n] = '\0';
}

static void answer(struct verify_asker *a, uint32_t id, const struct verify_answer *answer)
{
	struct buf msg = BUF_INIT(IMSG_MAX);

	a->verify->answered[answer->status]++;
	verify_answer_put(&msg, answer);
	chan_send(a->chan, VERIFY_MESSAGE_ANSWER, id, buf_view(&msg), -1);
	buf_free(&msg);
}

static void answer_unknown(struct verify_asker *a, uint32_t id, const char *why)
{
	struct verify_answer unknown = { .status = VERIFY_UNKNOWN };

	copy_printable(unknown.text, sizeof(unknown.text), why);
	answer(a, id, &unknown);
}

static void question_free(struct verify_question *q)
{
	LIST_REMOVE(q, entry);
	q->verify->question_count--;
	free(q->recipient);
	free(q);
}

void verify_question_end(
    struct verify_question *q, enum verify_status status, const char *enhanced, const char *relay, const char *text)
{
	struct verify_answer a = { .status = status };

	snprintf(a.enhanced, sizeof(a.enhanced), "%s", enhanced);
	copy_printable(a.relay, sizeof(a.relay), relay);
	copy_printable(a.text, sizeof(a.text), text);
	if (q->asker != NULL)
		answer(q->asker, q->id, &a);
	question_free(q);
}

static void ask(struct verify_asker *a, uint32_t id, const char *sender, const char *recipient)
{
	struct verify *v = a->verify;
	struct verify_question *q;
	struct next_hop hop;

	if (v->draining || v->question_count >= VERIFY_QUESTIONS_MAX) {
		answer_unknown(a, id, v->draining ? "the send process is ending" : "too many questions at once");
		return;
	}
	/* An smtp that was taken over is not to have any host of the world connected to. */
	if (!site_verifies(v->send->ctx->site, sender, recipient, &hop)) {
		answer_unknown(a, id, "no host is asked for this address");
		return;
	}
	q = xcalloc(1, sizeof(*q));
	q->verify = v;
	q->asker = a;
	q->id = id;
	q->recipient = xstrdup(recipient);
	LIST_INSERT_HEAD(&v->questions, q, entry);
	v->question_count++;
	verify_host_ask(verify_host_of(v, sender, recipient), q);
}

/* What a connection is asking already goes on, for nobody. */
static void drop(struct verify_question *q)
{
	q->asker = NULL;
	if (q->host == NULL)
		return;
	verify_host_forget(q);
	question_free(q);
}

static void cancel(struct verify_asker *a, uint32_t id)
{
	struct verify_question *q;

	LIST_FOREACH(q, &a->verify->questions, entry)
	{
		if (q->asker == a && q->id == id) {
			drop(q);
			return;
		}
	}
}

/* Peers -------------------------------------------------------------------------------------------------------- */

static void asker_free(struct verify_asker *a)
{
	struct verify_question *q, *next;

	for (q = LIST_FIRST(&a->verify->questions); q != NULL; q = next) {
		next = LIST_NEXT(q, entry);
		if (q->asker == a)
			drop(q);
	}
	chan_free(a->chan);
	LIST_REMOVE(a, entry);
	free(a);
}

static void asker_kill(struct verify_asker *a, const char *why)
{
	role_kill_peer(a->verify->send->ctx, ROLE_SMTP, a->instance, why);
	asker_free(a);
}

static void asker_message(struct chan *chan, struct imsg *m, void *arg)
{
	struct verify_asker *a = arg;
	struct cursor c = cursor_of(m->data.ptr, m->data.len);
	char sender[VERIFY_ADDRESS_MAX], recipient[VERIFY_ADDRESS_MAX];
	uint32_t id;

	if (chan_queued(chan) > VERIFY_UNSENT_MAX) {
		asker_kill(a, "it does not read its answers");
		return;
	}
	if (m->type == VERIFY_MESSAGE_ASK && m->id != 0 && verify_ask_get(m->data, sender, recipient) == 0) {
		ask(a, m->id, sender, recipient);
		return;
	}
	id = cursor_u32(&c);
	if (m->type != VERIFY_MESSAGE_CANCEL || m->id != 0 || !cursor_done(&c)) {
		log_warnx("event=peer peer=smtp error=\"malformed request\"");
		asker_kill(a, "malformed request");
		return;
	}
	cancel(a, id);
}

static void asker_closed(struct chan *chan, void *arg)
{
	if (chan_broken(chan))
		asker_kill(arg, "malformed message");
	else
		asker_free(arg);
}

void verify_peer(struct verify *v, unsigned instance, int fd)
{
	static const struct chan_ops ops = { .message = asker_message, .closed = asker_closed };
	struct verify_asker *a;

	LIST_FOREACH(a, &v->askers, entry)
	{
		if (a->instance == instance) {
			asker_free(a);
			break;
		}
	}
	a = xcalloc(1, sizeof(*a));
	a->verify = v;
	a->instance = instance;
	a->chan = chan_new(v->send->base, fd, &ops, a);
	LIST_INSERT_HEAD(&v->askers, a, entry);
}

/* All hosts ---------------------------------------------------------------------------------------------------- */

void verify_retire(struct verify *v)
{
	for (struct verify_host *h = LIST_FIRST(&v->hosts); h != NULL; h = verify_host_next(h))
		verify_host_retire(h);
}

void verify_drain(struct verify *v)
{
	v->draining = true;
	for (struct verify_host *h = LIST_FIRST(&v->hosts); h != NULL; h = verify_host_next(h))
		verify_host_drain(h);
}

void verify_sweep(struct verify *v)
{
	struct verify_host *h, *next;

	for (h = LIST_FIRST(&v->hosts); h != NULL; h = next) {
		next = verify_host_next(h);
		if (verify_host_idle(h))
			verify_host_free(h);
	}
}

void verify_status(const struct verify *v, struct buf *json)
{
	buf_printf(json,
	    "\"verifying\": %u, \"recipients_taken\": %llu, \"recipients_refused\": %llu, \"recipients_unknown\": "
	    "%llu, ",
	    v->question_count, (unsigned long long)v->answered[VERIFY_TAKEN],
	    (unsigned long long)v->answered[VERIFY_REFUSED], (unsigned long long)v->answered[VERIFY_UNKNOWN]);
}
