/*
 * Commands on their way together (imap.h).  A parked command has left the session to the next one: its tag, its job and
 * its request wait in a list.  When the first of the list has its answer, the session is its again for as long as it
 * takes to report and to reply; what was being read meanwhile is put aside.
 *
 * Nothing may differ from one after another but the time it takes.  So only commands of one kind are together, whose
 * sets name what the client was told of (no "*", nothing beyond the end, which an earlier one may move), few enough
 * messages for store to change in one step, and none of those between that the others name; no expunge is told of while
 * a sequence number waits; and what is reported of the mailbox ends with the command's own change.  Everything else
 * waits until the list is empty.
 */
#include <stdlib.h>
#include <string.h>

#include "imap.h"
#include "process.h"

#define PARKED_MAX 64
#define MESSAGES_MAX 200          /* of one command */
#define LITERAL_MAX (1024 * 1024) /* longer ones wait */

struct imap_parked {
	struct imap_parked *next;
	char tag[65];
	const struct imap_command *command;
	struct imap_job job;
	uint32_t pending;
	void (*land)(struct imap_session *, void *state);
	bool answered;
	bool bad;   /* text is a BAD */
	char *text; /* the tagged line of a command that was over at once */
};

static bool take_number(struct view *v, uint64_t *n)
{
	size_t digits = 0;

	*n = 0;
	while (digits < v->len && digits < 10 && v->ptr[digits] >= '0' && v->ptr[digits] <= '9')
		*n = *n * 10 + (uint64_t)(v->ptr[digits++] - '0');
	*v = (struct view){ v->ptr + digits, v->len - digits };
	return digits > 0 && *n > 0;
}

static bool take_char(struct view *v, char c)
{
	if (v->len == 0 || v->ptr[0] != c)
		return false;
	*v = (struct view){ v->ptr + 1, v->len - 1 };
	return true;
}

/* Does the set at the front of v name few messages, of those that the client was told of?  hull: from which to which.
 */
static bool settled(const struct imap_mailbox *m, bool uids, struct view v, struct uid_range *hull)
{
	uint64_t first, last, count = 0, top = uids ? uidmap_last(&m->map) : m->map.count;

	*hull = (struct uid_range){ UINT32_MAX, 0 };
	do {
		if (!take_number(&v, &first))
			return false;
		last = first;
		if (take_char(&v, ':') && !take_number(&v, &last))
			return false;
		if (first > last || last > top)
			return false;
		count += last - first + 1;
		hull->first = first < hull->first ? (uint32_t)first : hull->first;
		hull->last = last > hull->last ? (uint32_t)last : hull->last;
	} while (take_char(&v, ','));
	return count <= MESSAGES_MAX && (v.len == 0 || v.ptr[0] == ' ');
}

/* The command in the reader, when it may be together with others like it. hull: of its set, or 0:0. */
static const struct imap_command *pipes(const struct imap_session *s, struct uid_range *hull)
{
	struct imap_parser p = imap_parser_of(s->reader.text.data, s->reader.text.len);
	const struct imap_command *c;
	struct view tag;

	*hull = (struct uid_range){ 0 };
	if (!imap_parse_tag(&p, &tag) || !imap_parse_sp(&p) || (c = imap_command_find(&p)) == NULL ||
	    !(c->flags & IMAP_PIPES))
		return NULL;
	if (!(c->flags & (IMAP_PIPES_UIDS | IMAP_PIPES_NUMBERS)))
		return c;
	if (s->mailbox == NULL || s->mailbox->foreign || s->mailbox->gone || !imap_accept(&p, ' ') ||
	    !settled(s->mailbox, c->flags & IMAP_PIPES_UIDS, (struct view){ p.p, (size_t)(p.end - p.p) }, hull))
		return NULL;
	return c;
}

void imap_may_park(struct imap_session *s, void (*land)(struct imap_session *, void *))
{
	s->land = land;
}

bool imap_landed(struct imap_session *s, void *state)
{
	if (s->job.state == state) {
		s->pending = 0;
		return false;
	}
	for (struct imap_parked *p = s->parked; p != NULL; p = p->next)
		if (p->job.state == state) {
			p->pending = 0;
			p->answered = true;
		}
	imap_kick(s);
	return true;
}

static struct imap_parked *add(struct imap_session *s)
{
	struct imap_parked *p = xcalloc(1, sizeof(*p));

	memcpy(p->tag, s->tag, sizeof(p->tag));
	p->command = s->command;
	if (s->parked == NULL)
		s->parked_last = &s->parked;
	*s->parked_last = p;
	s->parked_last = &p->next;
	s->parked_count++;
	return p;
}

bool parked_add(struct imap_session *s)
{
	struct uid_range hull = { 0 };
	struct imap_parked *p;

	if (s->land == NULL || s->pending == 0 || s->landing || s->parked_count >= PARKED_MAX)
		return false;
	if (s->parked == NULL) {
		if (evbuffer_get_length(conn_input(s->conn)) == 0 || pipes(s, &hull) != s->command)
			return false;
		s->parked_hull = hull;
	} else if (pipes(s, &hull) == s->command) {
		s->parked_hull.first = hull.first < s->parked_hull.first ? hull.first : s->parked_hull.first;
		s->parked_hull.last = hull.last > s->parked_hull.last ? hull.last : s->parked_hull.last;
	}
	p = add(s);
	p->job = s->job;
	p->land = s->land;
	p->pending = s->pending;
	s->job = (struct imap_job){ 0 };
	s->land = NULL;
	s->pending = 0;
	s->finished = true;
	s->phase = IMAP_PHASE_READY;
	return true;
}

void parked_add_text(struct imap_session *s, const char *text, bool bad)
{
	struct imap_parked *p = add(s);

	p->answered = true;
	p->bad = bad;
	p->text = xstrdup(text);
}

bool parked_may_join(const struct imap_session *s, enum reader_status status)
{
	struct uid_range hull;

	if (s->parked_count >= PARKED_MAX)
		return false;
	if (status == READER_LITERAL)
		return !s->reader.sync && s->reader.literal <= LITERAL_MAX &&
		       s->process->append_bytes < APPEND_BUDGET / 2; /* else one after another needs less */
	return status == READER_COMMAND && pipes(s, &hull) == s->parked->command &&
	       (hull.last == 0 || hull.first > s->parked_hull.last || hull.last < s->parked_hull.first);
}

bool parked_land(struct imap_session *s)
{
	struct imap_parked *p = s->parked;

	if (p == NULL || !p->answered || s->landing)
		return false;
	s->parked = p->next;
	s->parked_count--;
	s->stash = s->reader;
	s->stash_phase = s->phase;
	memcpy(s->stash_tag, s->tag, sizeof(s->stash_tag));
	imap_reader_init(&s->reader, s->stash.limits);
	memcpy(s->tag, p->tag, sizeof(s->tag));
	s->command = p->command;
	s->job = p->job;
	s->landing = true;
	s->landing_modseq = 0;
	s->land = NULL;
	s->phase = IMAP_PHASE_RUNNING;
	s->in_command = true;
	if (p->bad && s->parked != NULL) {
		s->phase = IMAP_PHASE_READY;
		imap_error(s, p->text);
	} else if (p->bad) { /* the last tells what those before it have kept back */
		imap_finish(s, "BAD %s", p->text);
		if (++s->errors >= (unsigned)s->process->ctx->site->limits.errors)
			imap_close(s, "Too many errors.", "errors");
	} else if (p->text != NULL) {
		imap_finish(s, "%s", p->text);
	} else {
		p->land(s, s->job.state);
	}
	s->in_command = false;
	free(p->text);
	free(p);
	return true;
}

void parked_landed(struct imap_session *s)
{
	imap_reader_next(&s->reader);
	s->reader = s->stash;
	s->phase = s->stash_phase;
	memcpy(s->tag, s->stash_tag, sizeof(s->tag));
	s->landing = false;
}

void parked_cancel(struct imap_session *s)
{
	for (struct imap_parked *p = s->parked; p != NULL; p = p->next) {
		store_cancel(s->process->store, p->pending);
		p->pending = 0;
	}
}

void parked_free(struct imap_session *s)
{
	struct imap_parked *p, *next;

	for (p = s->parked; p != NULL; p = next) {
		next = p->next;
		if (p->job.free != NULL)
			p->job.free(p->job.state);
		free(p->text);
		free(p);
	}
	s->parked = NULL;
	if (s->landing)
		imap_reader_next(&s->stash);
}
