/*
 * APPEND (RFC 3501 6.3.11, RFC 7888, RFC 4315).  The arguments in front of the message are read when its literal is
 * announced: what cannot be stored is refused before the client sends it.  The bytes go straight from the connection
 * into one buffer of the announced size, which holds no more memory than has arrived.
 *
 * Limits: limits.message_size a message, APPEND_BUDGET bytes a process.  A message that is refused and comes all the
 * same (LITERAL+) is read and thrown away, up to DRAIN_MAX bytes; beyond that the connection ends.
 */
#include <stdlib.h>
#include <string.h>

#include "imap.h"
#include "lib/clock.h"
#include "mailsvc/mime/mime.h"
#include "process.h"

#define DRAIN_MAX (256ull * 1024 * 1024)

struct append {
	uint32_t mailbox;
	struct imap_flags flags;
	int64_t internal_date;
	char *data; /* size bytes, or NULL while draining */
	uint64_t size, got;
	size_t text_len;     /* of the command up to the literal: nothing may follow */
	const char *refusal; /* "NO [...] ..." when the bytes are drained */
};

void append_free(struct imap_session *s)
{
	struct append *a = s->append;

	if (a == NULL)
		return;
	if (a->data != NULL)
		s->process->append_bytes -= a->size;
	free(a->data);
	imap_flags_free(&a->flags);
	free(a);
	s->append = NULL;
}

/* "TAG APPEND mailbox [(flags)] [date] " up to the announced literal. 1: that is it, 0: it is another literal. */
static int parse_head(struct imap_session *s, struct imap_parser *p, char *name, struct append *a)
{
	struct view word;

	a->internal_date = clock_wall();
	if (!imap_parse_tag(p, &word) || view_copy(word, s->tag, sizeof(s->tag)) < 0 || !imap_parse_sp(p) ||
	    !imap_parse_atom(p, &word) || !view_caseeq(word, "APPEND") || !imap_parse_sp(p) ||
	    !imap_parse_mailbox(p, name) || !imap_parse_sp(p))
		return 0;
	if (imap_peek(p) == '(' && (!imap_parse_flags(p, false, &a->flags) || !imap_parse_sp(p)))
		return 0;
	if (imap_peek(p) == '"' && (!imap_parse_datetime(p, &a->internal_date) || !imap_parse_sp(p)))
		return 0;
	/* Only the announcement is left: no data stands behind it yet. */
	return imap_peek(p) == '{' && memchr(p->p, '\n', (size_t)(p->end - p->p)) == NULL &&
	       memchr(p->p, '}', (size_t)(p->end - p->p)) == p->end - 1;
}

/* Why the message cannot be taken, or NULL. */
static const char *check(struct imap_session *s, struct append *a, const char *name)
{
	struct mailbox_row row;
	int found;

	if (a->size > imap_message_size_max(s))
		return "NO [TOOBIG] The message is too large.";
	if (a->size > APPEND_BUDGET - s->process->append_bytes)
		return "NO [LIMIT] Too many messages are being appended; try again.";
	if (view_begin(imap_view(s)) < 0)
		return "NO [UNAVAILABLE] The store is not available; try again.";
	found = view_mailbox_by_name(imap_view(s), s->account, name, &row);
	view_end(imap_view(s));
	if (found != 1)
		return "NO [TRYCREATE] No such mailbox.";
	a->mailbox = row.id;
	return NULL;
}

bool append_literal(struct imap_session *s)
{
	size_t len = s->reader.text.len;
	char name[MAILBOX_NAME_MAX + 1];
	struct append *a;
	struct imap_parser p;
	char *copy;
	int found;

	if (s->append != NULL)
		return false; /* a second message: MULTIAPPEND is not offered, imap_cmd_append says so */
	a = xcalloc(1, sizeof(*a));
	copy = xmalloc(len + 1); /* parsing unescapes in place, and this may be the wrong literal */
	memcpy(copy, s->reader.text.data, len);
	p = imap_parser_of(copy, len);
	s->append = a;
	found = parse_head(s, &p, name, a);
	free(copy);
	if (!found) {
		append_free(s);
		return false;
	}
	a->size = s->reader.literal;
	a->text_len = len;
	a->refusal = check(s, a, name);
	if (a->refusal != NULL && (s->reader.sync || a->size > DRAIN_MAX)) {
		conn_printf(s->conn, "%s %s\r\n", s->tag, a->refusal);
		append_free(s);
		if (!s->reader.sync)
			imap_close(s, "Too much data.", "too-big");
		imap_reader_next(&s->reader);
		return true;
	}
	if (a->refusal == NULL) {
		a->data = xmalloc(a->size > 0 ? a->size : 1);
		s->process->append_bytes += a->size;
	}
	if (s->reader.sync)
		conn_printf(s->conn, "+ OK\r\n");
	imap_reader_external(&s->reader);
	s->phase = IMAP_PHASE_APPEND;
	return true;
}

bool append_input(struct imap_session *s)
{
	struct append *a = s->append;
	struct evbuffer *in = conn_input(s->conn);
	size_t have = evbuffer_get_length(in), n = a->size - a->got < have ? (size_t)(a->size - a->got) : have;

	if (n > 0 && a->data != NULL)
		evbuffer_remove(in, a->data + a->got, n);
	else if (n > 0)
		evbuffer_drain(in, n);
	a->got += n;
	s->bytes_in += n;
	if (a->got < a->size)
		return false;
	s->phase = IMAP_PHASE_READY; /* the rest of the line */
	return true;
}

static void on_appended(void *arg, const struct store_result *result)
{
	struct imap_session *s = arg;

	s->pending = 0;
	if (result->status == STORE_OK && result->destination_count > 0)
		imap_finish(
		    s, "OK [APPENDUID %u %u] APPEND completed.", result->uid_validity, result->destination[0].first);
	else
		imap_finish_store(s, result->status);
}

static void store_message(struct imap_session *s, struct append *a)
{
	struct buf record = BUF_INIT(2 * MIME_RECORD_MAX);
	struct view body = { a->data, (size_t)a->size };
	struct store_body message = { .body = body };

	mime_parse(body, &record);
	message.mime = buf_view(&record);
	s->pending = store_append(imap_store(s), a->mailbox, &message, a->flags.flags, a->flags.keywords,
	    a->flags.keyword_count, a->internal_date, on_appended, s);
	buf_free(&record);
}

/* The whole command is here; p stands behind the name. */
int imap_cmd_append(struct imap_session *s, struct imap_parser *p)
{
	struct append *a = s->append;
	int status = IMAP_DONE;

	if (a == NULL)
		return imap_bad(p, "Expected a mailbox, flags, a date and a literal.");
	if (s->reader.text.len != a->text_len)
		status = imap_bad(p, "One message at a time; nothing may follow it.");
	else if (a->refusal != NULL)
		imap_finish(s, "%s", a->refusal);
	else if (memchr(a->data, '\0', (size_t)a->size) != NULL)
		imap_finish(s, "NO [CANNOT] The message holds a NUL byte.");
	else {
		store_message(s, a);
		status = IMAP_WAIT;
	}
	append_free(s);
	return status;
}
