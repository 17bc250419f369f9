/*
 * APPEND (RFC 3501 6.3.11, RFC 4315), of several messages too (MULTIAPPEND, RFC 3502) and of binary ones (RFC 3516).
 * The arguments in front of a message are read when its literal is announced: what cannot be stored is refused before
 * the client sends it.  The bytes go straight from the connection into one buffer of the announced size, which holds no
 * more memory than has arrived.  Behind the last message all are given to store at once: it takes all or none.
 *
 * Limits: limits.message_size a message, STORE_APPEND_MAX messages, APPEND_BUDGET bytes a process.  A message that is
 * refused and comes all the same (LITERAL+) is read and thrown away, and what follows it in its command too, up to
 * DRAIN_MAX bytes; beyond that the connection ends.
 */
#include <stdlib.h>
#include <string.h>

#include "imap.h"
#include "lib/clock.h"
#include "mailsvc/imap/namespace.h"
#include "mailsvc/mime/mime.h"
#include "process.h"
#include "slices.h"

#define DRAIN_MAX (256ull * 1024 * 1024)

struct message {
	struct imap_flags flags;
	int64_t internal_date;
	char *data; /* size bytes, or NULL while draining */
	uint64_t size;
	bool binary;       /* a literal8 */
	bool utf8;         /* in "UTF8 (~{...})" (RFC 6855 4) */
	struct buf record; /* of mime_parse */
};

struct append {
	struct place place;
	struct message *at; /* the last is the one that is on its way */
	size_t count, cap;
	uint64_t got;        /* bytes of it */
	uint64_t charged;    /* of APPEND_BUDGET */
	uint64_t drained;    /* bytes announced after a refusal */
	bool utf8;           /* of the last message: ")" follows it */
	size_t text_len;     /* of the command up to the first literal, to which it is cut back after each message */
	const char *refusal; /* "NO [...] ..." while what comes is drained */
};

static const char over_budget[] = "NO [LIMIT] Too many messages are being appended; try again.";

/* append_bytes never passes APPEND_BUDGET: who charges has asked for no more than this. */
static uint64_t budget_left(const struct imap_session *s)
{
	return APPEND_BUDGET - s->process->append_bytes;
}

static void charge(struct imap_session *s, struct append *a, uint64_t bytes)
{
	a->charged += bytes;
	s->process->append_bytes += bytes;
}

static void message_free(struct message *m)
{
	free(m->data);
	imap_flags_free(&m->flags);
	buf_free(&m->record);
}

static void messages_free(struct imap_session *s, struct append *a)
{
	for (size_t i = 0; i < a->count; i++)
		message_free(&a->at[i]);
	a->count = 0;
	s->process->append_bytes -= a->charged;
	a->charged = 0;
}

void append_free(struct imap_session *s)
{
	struct append *a = s->append;

	if (a == NULL)
		return;
	messages_free(s, a);
	free(a->at);
	free(a);
	s->append = NULL;
}

/* From here on the command is only read to its end. */
static void refuse(struct imap_session *s, struct append *a, const char *refusal)
{
	messages_free(s, a);
	a->refusal = refusal;
}

/* The announcement ------------------------------------------------------------------------------------------------ */

/* "[(flags)] [date] [UTF8 (]" up to the announced literal, behind a space; false: it is something else. */
static bool parse_message(struct imap_parser *p, struct message *m)
{
	m->internal_date = clock_wall();
	if (imap_peek(p) == '(' && (!imap_parse_flags(p, false, &m->flags) || !imap_parse_sp(p)))
		return false;
	if (imap_peek(p) == '"' && (!imap_parse_datetime(p, &m->internal_date) || !imap_parse_sp(p)))
		return false;
	if (p->utf8 && (imap_peek(p) == 'U' || imap_peek(p) == 'u')) {
		struct view word;

		m->utf8 = imap_parse_atom(p, &word) && view_caseeq(word, "UTF8") && imap_parse_sp(p) &&
		          imap_parse_char(p, '(') && imap_peek(p) == '~';
		if (!m->utf8)
			return false;
	}
	m->binary = imap_accept(p, '~');
	/* Only the announcement is left: no data stands behind it yet. */
	return imap_peek(p) == '{' && memchr(p->p, '\n', (size_t)(p->end - p->p)) == NULL &&
	       memchr(p->p, '}', (size_t)(p->end - p->p)) == p->end - 1;
}

/* "TAG APPEND mailbox " */
static bool parse_head(struct imap_session *s, struct imap_parser *p, char *name)
{
	struct view word;

	return imap_parse_tag(p, &word) && view_copy(word, s->tag, sizeof(s->tag)) == 0 && imap_parse_sp(p) &&
	       imap_parse_atom(p, &word) && view_caseeq(word, "APPEND") && imap_parse_sp(p) &&
	       imap_parse_mailbox(p, name) && imap_parse_sp(p);
}

/* Where to, as the first message is announced: why not, or NULL. */
static const char *check_mailbox(struct imap_session *s, struct append *a, const char *name)
{
	const char *refusal;

	if (view_begin(imap_view(s)) < 0)
		return "NO [UNAVAILABLE] The store is not available; try again.";
	namespace_resolve(s, name, &a->place);
	refusal = namespace_into(s, &a->place);
	view_end(imap_view(s));
	return refusal;
}

/* Why the message cannot be taken, or NULL. */
static const char *check_message(struct imap_session *s, struct append *a, struct message *m)
{
	if (m->size > imap_message_size_max(s))
		return "NO [TOOBIG] The message is too large.";
	if (m->size == 0)
		return "NO [CANNOT] A message must not be empty."; /* RFC 3502 calls it a way to cancel */
	if (a->count > STORE_APPEND_MAX || m->size > STORE_BODY_MAX - a->charged)
		return "NO [LIMIT] Too much for one command.";
	if (m->size > budget_left(s))
		return over_budget;
	m->flags.flags = namespace_flags(a->place.rights, m->flags.flags);
	if (!(a->place.rights & ACL_WRITE))
		m->flags.keyword_count = 0;
	return NULL;
}

/* The ")" behind a message in "UTF8 (...)", as a number of bytes. */
static size_t closing(const struct imap_session *s, const struct append *a)
{
	return a->utf8 && s->reader.text.len > a->text_len && s->reader.text.data[a->text_len] == ')' ? 1 : 0;
}

/* Reads what stands before the literal into a new message; false: it is not the announcement of one. */
static bool announced(struct imap_session *s, struct append *a)
{
	size_t skip = a->text_len + closing(s, a), len = s->reader.text.len - skip;
	char name[IMAP_NAME_MAX + 1], *copy = xmalloc(len + 1); /* parsing unescapes in place */
	struct imap_parser p = imap_parser_of(copy, len);
	struct message *m;
	bool first = skip == 0, fine = first || a->utf8 == (skip > a->text_len);

	p.utf8 = imap_names_utf8(s);
	memcpy(copy, s->reader.text.data + skip, len);
	if (a->count == a->cap) {
		a->cap = a->cap * 2 + 1;
		a->at = xreallocarray(a->at, a->cap, sizeof(*a->at));
	}
	m = &a->at[a->count];
	*m = (struct message){ .size = s->reader.literal, .record = BUF_INIT(2 * MIME_RECORD_MAX) };
	fine = fine && (first ? parse_head(s, &p, name) : imap_parse_sp(&p)) && parse_message(&p, m);
	free(copy);
	if (!fine) {
		message_free(m);
		return false;
	}
	a->count++;
	a->utf8 = m->utf8;
	if (first) {
		a->text_len = s->reader.text.len;
		a->refusal = check_mailbox(s, a, name);
	}
	if (a->refusal == NULL)
		a->refusal = check_message(s, a, m);
	return true;
}

/* The client will not send it, or must not: the command is over. */
static void end_early(struct imap_session *s, struct append *a)
{
	bool waits = s->reader.sync;

	conn_printf(s->conn, "%s %s\r\n", s->tag, a->refusal);
	append_free(s);
	if (!waits)
		imap_close(s, "Too much data.", "too-big");
	imap_reader_next(&s->reader);
}

bool append_literal(struct imap_session *s)
{
	struct append *a = s->append;
	bool first = a == NULL;
	struct message *m;

	if (first)
		s->append = a = xcalloc(1, sizeof(*a));
	if (!announced(s, a)) {
		if (first)
			append_free(s);
		return false;
	}
	m = &a->at[a->count - 1];
	a->got = 0;
	if (a->refusal != NULL) {
		uint64_t size = m->size;

		a->drained = size < DRAIN_MAX - a->drained ? a->drained + size : DRAIN_MAX;
		if (s->reader.sync || a->drained == DRAIN_MAX) {
			end_early(s, a);
			return true;
		}
		messages_free(s, a);
		a->at[a->count++] = (struct message){ .size = size };
	} else {
		m->data = xmalloc(m->size);
		charge(s, a, m->size);
	}
	if (s->reader.sync)
		conn_printf(s->conn, "+ OK\r\n");
	s->reader.text.len = a->text_len;
	imap_reader_external(&s->reader);
	s->phase = IMAP_PHASE_APPEND;
	return true;
}

/* The bytes ------------------------------------------------------------------------------------------------------- */

/* A NUL may only be in parts that can be encoded. */
static const char *make_text(struct imap_session *s, struct append *a, struct message *m)
{
	struct buf text = BUF_INIT(m->size + m->size / 2 + 65536);
	struct view body = { m->data, (size_t)m->size };
	const char *refusal = NULL;
	uint64_t more;

	if (memchr(m->data, '\0', (size_t)m->size) == NULL)
		return NULL;
	if (!m->binary)
		return "NO [CANNOT] The message holds a NUL byte.";
	if (!mime_encode_binary(body, &text) || memchr(text.data, '\0', text.len) != NULL)
		refusal = "NO [UNKNOWN-CTE] The message holds NUL bytes that no encoding can take away.";
	else if (text.len > imap_message_size_max(s))
		refusal = "NO [TOOBIG] The message is too large when it is encoded.";
	more = text.len > m->size ? text.len - m->size : 0;
	if (refusal == NULL && more > budget_left(s))
		refusal = over_budget;
	if (refusal != NULL) {
		buf_free(&text);
		return refusal;
	}
	free(m->data);
	m->data = text.data;
	charge(s, a, more);
	m->size = text.len;
	return NULL;
}

/* All bytes are here. */
static void complete(struct imap_session *s, struct append *a, struct message *m)
{
	const char *refusal = make_text(s, a, m);

	if (refusal != NULL) {
		refuse(s, a, refusal);
		return;
	}
	mime_parse((struct view){ m->data, (size_t)m->size }, &m->record);
	if (m->record.len > budget_left(s)) {
		refuse(s, a, over_budget);
		return;
	}
	charge(s, a, m->record.len);
}

bool append_input(struct imap_session *s)
{
	struct append *a = s->append;
	struct message *m = &a->at[a->count - 1];
	struct evbuffer *in = conn_input(s->conn);
	size_t have = evbuffer_get_length(in), n = m->size - a->got < have ? (size_t)(m->size - a->got) : have;

	if (n > 0 && m->data != NULL)
		evbuffer_remove(in, m->data + a->got, n);
	else if (n > 0)
		evbuffer_drain(in, n);
	a->got += n;
	s->bytes_in += n;
	if (a->got < m->size)
		return false;
	if (a->refusal == NULL)
		complete(s, a, m);
	s->phase = IMAP_PHASE_READY; /* the rest of the line */
	return true;
}

/* The end of the command ------------------------------------------------------------------------------------------ */

struct appended { /* the job while store has the messages */
	struct imap_session *session;
	enum store_status status;
	uint32_t uid_validity;
	struct uid_range *uids;
	size_t count;
	uint64_t charged; /* of APPEND_BUDGET: until store has answered, its copy of the messages takes as much */
};

static void discharge(struct appended *d)
{
	d->session->process->append_bytes -= d->charged;
	d->charged = 0;
}

static void appended_free(void *state)
{
	struct appended *d = state;

	discharge(d);
	free(d->uids);
	free(d);
}

static void finish(struct imap_session *s, void *state)
{
	struct appended *d = state;
	struct buf set = BUF_INIT(IMAP_OUTPUT_MAX);

	slices_put_set(&set, d->uids, d->count);
	if (d->status == STORE_OK && d->count > 0)
		imap_finish(s, "OK [APPENDUID %u %s] APPEND completed.", d->uid_validity, buf_str(&set));
	else
		imap_finish_store(s, d->status);
	buf_free(&set);
}

static void on_appended(void *arg, const struct store_result *result)
{
	struct appended *d = arg;

	discharge(d);
	d->status = result->status;
	d->uid_validity = result->uid_validity;
	d->uids = xreallocarray(NULL, result->destination_count + 1, sizeof(*d->uids));
	for (size_t i = 0; i < result->destination_count; i++) {
		struct uid_range next = result->destination[i];

		if (d->count > 0 && d->uids[d->count - 1].last + 1 == next.first)
			d->uids[d->count - 1].last = next.last;
		else
			d->uids[d->count++] = next;
	}
	if (!imap_landed(d->session, d))
		finish(d->session, d);
}

static void store_messages(struct imap_session *s, struct append *a)
{
	struct store_append_item *items = xcalloc(a->count, sizeof(*items)), *one = items;
	struct appended *d = xcalloc(1, sizeof(*d));

	d->session = s;
	d->charged = a->charged;
	a->charged = 0;
	for (size_t i = 0; i < a->count; i++) {
		const struct message *m = &a->at[i];

		items[i] = (struct store_append_item){ .body = { .body = { m->data, (size_t)m->size },
							   .mime = buf_view(&m->record) },
			.flags = m->flags.flags,
			.keywords = m->flags.keywords,
			.keyword_count = m->flags.keyword_count,
			.internal_date = m->internal_date };
	}
	imap_start_job(s, &(struct imap_job){ .free = appended_free, .state = d });
	imap_may_park(s, finish);
	if (a->count == 1)
		s->pending = store_append(imap_store(s), a->place.row.id, &one->body, one->flags, one->keywords,
		    one->keyword_count, one->internal_date, on_appended, d);
	else
		s->pending = store_append_many(imap_store(s), a->place.row.id, items, a->count, on_appended, d);
	free(items);
}

/* The whole command is here; p stands behind the name. */
int imap_cmd_append(struct imap_session *s, struct imap_parser *p)
{
	struct append *a = s->append;
	int status = IMAP_DONE;

	if (a == NULL)
		return imap_bad(p, "Expected a mailbox, flags, a date and a literal.");
	if (s->reader.text.len != a->text_len + a->utf8 || closing(s, a) != a->utf8)
		status = imap_bad(p, "Only another message may follow a message.");
	else if (a->refusal != NULL)
		imap_finish(s, "%s", a->refusal);
	else {
		store_messages(s, a);
		status = IMAP_WAIT;
	}
	append_free(s);
	return status;
}
