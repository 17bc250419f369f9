/*
 * POP3 after login (RFC 1939, 2449, 6856): one session an account at a time, on a snapshot of INBOX.  login sends all
 * connections of an account to the same process, so that a list of this process is the lock of the whole host; it goes
 * with the session or the process.
 *
 * DELE only marks; store hears of it at QUIT, in one request (more only beyond STORE_RANGES_MAX ranges), so that
 * whatever ends the session earlier deletes nothing.  Multi-line replies leave in slices while output is low: a message
 * of any size costs one slice of memory.  Reading is paused while a reply is under way, which is all that pipelining
 * needs.
 */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "command.h"
#include "common.h"
#include "dots.h"
#include "lib/clock.h"
#include "maildrop.h"
#include "mailsvc/imap/process.h"

#define IDLE_SECONDS (10 * 60)
#define WRITE_SECONDS (5 * 60)
#define READ_SLICE (64 * 1024)

static const struct imap_reader_limits limits = { .line = 1024, .literal = 0, .total = 4096, .discard = 65536 };

enum state { READY, SENDING_LIST, SENDING_UIDL, SENDING_MESSAGE, QUITTING, CLOSED };

struct transfer { /* a message under way */
	uint32_t uid;
	struct body_ref body;
	char *prefix; /* of the delivery, sent first */
	size_t prefix_len;
	uint64_t at; /* of the body */
	struct dots dots;
};

struct pop3_session {
	struct process *process;
	struct conn *conn;
	struct opened *opened;
	enum state state;
	unsigned errors;
	uint32_t pending; /* request to store */
	struct imap_reader reader;
	struct maildrop drop;
	uint32_t list_at;
	struct transfer *transfer;
	struct uid_range *deleted; /* at QUIT: the rest still to be deleted */
	size_t deleted_count, deleted_at;
	bool expunging; /* them, not hiding */
	const char *reason;
	uint64_t bytes_in, bytes_out;
	struct evbuffer_cb_entry *counter;
	struct pop3_session *next, **prev_next;
};

/* Ending ----------------------------------------------------------------------------------------------------------- */

static void end(struct pop3_session *s, const char *reason)
{
	struct process *p = s->process;

	if (s->state == CLOSED)
		return;
	s->state = CLOSED;
	s->reason = reason;
	store_cancel(p->store, s->pending);
	*s->prev_next = s->next;
	if (s->next != NULL)
		s->next->prev_next = s->prev_next;
	s->next = p->pop3_dead;
	p->pop3_dead = s;
	process_kick(p);
}

static void transfer_free(struct pop3_session *s)
{
	if (s->transfer != NULL)
		free(s->transfer->prefix);
	free(s->transfer);
	s->transfer = NULL;
}

void pop3_free_dead(struct process *p)
{
	struct pop3_session *s;

	while ((s = p->pop3_dead) != NULL) {
		p->pop3_dead = s->next;
		process_log_close(s->opened, "pop3", s->reason, s->bytes_in, s->bytes_out);
		evbuffer_remove_cb_entry(conn_output(s->conn), s->counter);
		conn_close(s->conn);
		transfer_free(s);
		imap_reader_next(&s->reader);
		maildrop_free(&s->drop);
		free(s->deleted);
		free(s->opened);
		free(s);
		p->session_count--;
	}
}

static void error(struct pop3_session *s, const char *text)
{
	conn_printf(s->conn, "-ERR %s\r\n", text);
	if (++s->errors >= (unsigned)s->process->ctx->site->limits.errors)
		end(s, "errors");
}

/* Multi-line replies -------------------------------------------------------------------------------------------------
 */

static void send_list(struct pop3_session *s)
{
	struct maildrop *d = &s->drop;

	for (; s->list_at < d->count && conn_output_len(s->conn) < IMAP_OUTPUT_SLICE; s->list_at++) {
		const struct maildrop_message *m = &d->at[s->list_at];

		if (m->deleted)
			continue;
		if (s->state == SENDING_LIST)
			conn_printf(s->conn, "%u %u\r\n", s->list_at + 1, m->size);
		else
			conn_printf(s->conn, "%u %u.%u\r\n", s->list_at + 1, d->uid_validity, m->uid);
	}
	if (s->list_at == d->count) {
		conn_write(s->conn, ".\r\n", 3);
		s->state = READY;
	}
}

/* Looks the message up, so that its place in the log is fresh; 1 found, 0 gone, -1 store is away. */
static int locate(struct pop3_session *s, struct transfer *t, bool prefix)
{
	struct store_view *view = s->process->view;
	struct message_row row;
	struct body_ref body;
	int found;

	if (view_begin(view) < 0)
		return -1;
	found = view_message(view, s->drop.mailbox, t->uid, &row) == 1 && view_body(view, row.body, &body) == 1;
	if (found)
		t->body = body;
	if (found && prefix) {
		t->prefix_len = row.prefix.len;
		t->prefix = xmalloc(row.prefix.len + 1);
		if (row.prefix.len > 0)
			memcpy(t->prefix, row.prefix.ptr, row.prefix.len);
	}
	view_end(view);
	return found;
}

/*
 * The next bytes of the body, read to where they leave from: only where dots must be doubled they are copied once more.
 * -1: they cannot be read.
 */
static int send_slice(struct pop3_session *s, struct transfer *t, size_t n)
{
	static char slice[READ_SLICE]; /* scratch of this call */
	struct evbuffer *out = conn_output(s->conn);
	struct evbuffer_iovec room;
	struct view piece;

	if (evbuffer_reserve_space(out, (ev_ssize_t)n, &room, 1) != 1)
		fatalx("event=out-of-memory");
	if (view_body_read(s->process->view, &t->body, t->at, room.iov_base, n) < 0)
		return -1;
	piece = (struct view){ room.iov_base, n };
	if (dots_pass(&t->dots, piece)) {
		room.iov_len = n;
		evbuffer_commit_space(out, &room, 1);
		return 0;
	}
	memcpy(slice, room.iov_base, n);
	dots_add(&t->dots, out, (struct view){ slice, n });
	return 0;
}

static void send_message(struct pop3_session *s)
{
	struct transfer *t = s->transfer;
	struct evbuffer *out = conn_output(s->conn);

	if (t->prefix != NULL) {
		dots_add(&t->dots, out, (struct view){ t->prefix, t->prefix_len });
		free(t->prefix);
		t->prefix = NULL;
	} else {
		locate(s, t, false); /* an old place still serves when the message has gone in the meantime */
	}
	while (t->at < t->body.length && !t->dots.done && conn_output_len(s->conn) < IMAP_OUTPUT_SLICE) {
		uint64_t left = t->body.length - t->at;
		size_t n = left < READ_SLICE ? (size_t)left : READ_SLICE;

		if (send_slice(s, t, n) < 0) {
			log_warn("id=%s event=read-failed uid=%u", s->opened->id, t->uid);
			end(s, "read-failed"); /* there is no other way to take a +OK back */
			return;
		}
		t->at += n;
	}
	if (t->at == t->body.length || t->dots.done) {
		dots_end(&t->dots, out);
		transfer_free(s);
		s->state = READY;
	}
}

/* Commands
 * ------------------------------------------------------------------------------------------------------------- */

static struct maildrop_message *named(struct pop3_session *s, struct view word, uint32_t *number)
{
	struct maildrop_message *m;
	uint64_t n;

	if (view_u64(word, UINT32_MAX, &n) < 0 || (m = maildrop_get(&s->drop, n)) == NULL) {
		error(s, "No such message.");
		return NULL;
	}
	*number = (uint32_t)n;
	return m;
}

static void run_stat(struct pop3_session *s, const struct args *a)
{
	uint32_t count;
	uint64_t octets;

	(void)a;
	maildrop_stat(&s->drop, &count, &octets);
	conn_printf(s->conn, "+OK %u %llu\r\n", count, (unsigned long long)octets);
}

static void run_list(struct pop3_session *s, const struct args *a)
{
	const struct maildrop_message *m;
	uint32_t n, count;
	uint64_t octets;

	if (a->count == 1) {
		if ((m = named(s, a->word[0], &n)) != NULL)
			conn_printf(s->conn, "+OK %u %u\r\n", n, m->size);
		return;
	}
	maildrop_stat(&s->drop, &count, &octets);
	conn_printf(s->conn, "+OK %u messages (%llu octets)\r\n", count, (unsigned long long)octets);
	s->list_at = 0;
	s->state = SENDING_LIST;
}

static void run_uidl(struct pop3_session *s, const struct args *a)
{
	const struct maildrop_message *m;
	uint32_t n;

	if (a->count == 1) {
		if ((m = named(s, a->word[0], &n)) != NULL)
			conn_printf(s->conn, "+OK %u %u.%u\r\n", n, s->drop.uid_validity, m->uid);
		return;
	}
	conn_printf(s->conn, "+OK\r\n");
	s->list_at = 0;
	s->state = SENDING_UIDL;
}

static void start_message(struct pop3_session *s, struct view word, uint64_t lines)
{
	const struct maildrop_message *m;
	uint32_t n;
	int found;

	if ((m = named(s, word, &n)) == NULL)
		return;
	s->transfer = xcalloc(1, sizeof(*s->transfer));
	s->transfer->uid = m->uid;
	dots_init(&s->transfer->dots, lines);
	found = locate(s, s->transfer, true);
	if (found != 1) {
		transfer_free(s);
		error(s,
		    found == 0 ? "[SYS/PERM] The message has been removed." : "[SYS/TEMP] The store is not available.");
		return;
	}
	conn_printf(s->conn, "+OK %u octets\r\n", m->size);
	s->state = SENDING_MESSAGE;
}

static void run_retr(struct pop3_session *s, const struct args *a)
{
	start_message(s, a->word[0], DOTS_ALL);
}

static void run_top(struct pop3_session *s, const struct args *a)
{
	uint64_t lines;

	if (view_u64(a->word[1], UINT32_MAX, &lines) < 0)
		error(s, "Expected a number of lines.");
	else
		start_message(s, a->word[0], lines);
}

static void run_dele(struct pop3_session *s, const struct args *a)
{
	struct maildrop_message *m;
	uint32_t n;

	if ((m = named(s, a->word[0], &n)) == NULL)
		return;
	m->deleted = true;
	conn_printf(s->conn, "+OK Marked to be deleted.\r\n");
}

static void run_noop(struct pop3_session *s, const struct args *a)
{
	(void)a;
	conn_printf(s->conn, "+OK\r\n");
}

static void run_rset(struct pop3_session *s, const struct args *a)
{
	(void)a;
	maildrop_reset(&s->drop);
	conn_printf(s->conn, "+OK\r\n");
}

static void run_capa(struct pop3_session *s, const struct args *a)
{
	(void)a;
	conn_printf(s->conn, "+OK\r\n" POP3_CAPABILITIES ".\r\n");
}

static void run_lang(struct pop3_session *s, const struct args *a)
{
	const char *answer = pop3_lang(a->count > 0 ? a->word[0] : VIEW_NONE);

	if (answer[0] == '-')
		error(s, "That language is not available.");
	else
		conn_printf(s->conn, "%s", answer);
}

/* QUIT: what was marked is expunged or hidden, as the site says, and then what is due of the hidden is expunged. */
static void delete_next(struct pop3_session *s);

static void on_deleted(void *arg, const struct store_result *result)
{
	struct pop3_session *s = arg;

	s->pending = 0;
	if (result->status != STORE_OK) {
		conn_printf(s->conn, "-ERR [SYS/TEMP] Some messages were not deleted.\r\n");
		end(s, "quit");
		return;
	}
	delete_next(s);
}

static bool hides(const struct pop3_session *s)
{
	return strcmp(s->process->ctx->site->pop3.delete, "expunge") != 0;
}

static void delete_next(struct pop3_session *s)
{
	static const char *const hidden[] = { MAILDROP_HIDDEN };
	const struct uid_range *at;
	size_t n;

	if (s->deleted_at == s->deleted_count && s->drop.due_count > 0) {
		free(s->deleted);
		s->deleted = s->drop.due;
		s->deleted_count = s->drop.due_count;
		s->deleted_at = 0;
		s->drop.due = NULL;
		s->drop.due_count = 0;
		s->expunging = true;
	}
	if (s->deleted_at == s->deleted_count) {
		conn_printf(s->conn, "+OK Bye.\r\n");
		end(s, "quit");
		return;
	}
	at = s->deleted + s->deleted_at;
	n = s->deleted_count - s->deleted_at;
	if (n > STORE_RANGES_MAX)
		n = STORE_RANGES_MAX;
	s->deleted_at += n;
	if (s->expunging)
		s->pending = store_expunge(s->process->store, s->drop.mailbox, false, at, n, on_deleted, s);
	else
		s->pending =
		    store_flags(s->process->store, s->drop.mailbox, FLAGS_ADD, 0, hidden, 1, at, n, on_deleted, s);
}

static void run_quit(struct pop3_session *s, const struct args *a)
{
	(void)a;
	s->deleted = maildrop_deleted(&s->drop, &s->deleted_count);
	s->expunging = !hides(s);
	s->state = QUITTING;
	delete_next(s);
}

static const struct {
	const char *name;
	unsigned min, max; /* arguments */
	void (*run)(struct pop3_session *, const struct args *);
} commands[] = {
	{ "RETR", 1, 1, run_retr },
	{ "DELE", 1, 1, run_dele },
	{ "UIDL", 0, 1, run_uidl },
	{ "LIST", 0, 1, run_list },
	{ "STAT", 0, 0, run_stat },
	{ "TOP", 2, 2, run_top },
	{ "NOOP", 0, 0, run_noop },
	{ "RSET", 0, 0, run_rset },
	{ "CAPA", 0, 0, run_capa },
	{ "LANG", 0, 1, run_lang },
	{ "QUIT", 0, 0, run_quit },
};

static void dispatch(struct pop3_session *s, struct view line)
{
	struct view name;
	struct args a;
	bool many = !pop3_split(line, &name, &a);

	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		if (!view_caseeq(name, commands[i].name))
			continue;
		if (many || a.count < commands[i].min || a.count > commands[i].max)
			error(s, "Wrong number of arguments.");
		else
			commands[i].run(s, &a);
		return;
	}
	error(s, "Unknown command.");
}

/* Running
 * --------------------------------------------------------------------------------------------------------------- */

/* Reads and runs one command; false when there is none. */
static bool read_command(struct pop3_session *s)
{
	struct evbuffer *in = conn_input(s->conn);
	enum reader_status status = imap_reader_pull(&s->reader, in, &s->bytes_in);

	if (status == READER_MORE)
		return evbuffer_get_length(in) > 0;
	if (status == READER_COMMAND)
		dispatch(s, buf_view(&s->reader.text));
	else
		error(s, s->reader.error);
	imap_reader_next(&s->reader);
	if (status == READER_FATAL)
		end(s, "input");
	return true;
}

static void run(struct pop3_session *s)
{
	while (s->state != QUITTING && s->state != CLOSED) {
		if (conn_output_len(s->conn) >= IMAP_OUTPUT_SLICE) {
			conn_pause(s->conn); /* until drained */
			return;
		}
		if (s->state == SENDING_MESSAGE) {
			send_message(s);
		} else if (s->state != READY) {
			send_list(s);
		} else if (!read_command(s)) {
			conn_resume(s->conn);
			return;
		}
	}
	conn_pause(s->conn);
}

static void on_readable(struct conn *c, void *arg)
{
	(void)c;
	run(arg);
}

static void on_ended(struct conn *c, void *arg, enum conn_end how)
{
	(void)c;
	end(arg, how == CONN_TIMEOUT ? "timeout" : how == CONN_EOF ? "eof" : "error");
}

static const struct conn_ops ops = { .readable = on_readable, .drained = on_readable, .ended = on_ended };

static void count_output(struct evbuffer *b, const struct evbuffer_cb_info *info, void *arg)
{
	struct pop3_session *s = arg;

	(void)b;
	s->bytes_out += info->n_added;
}

/* Hidden messages that were saved before this moment are expunged. */
static int64_t due_before(const struct process *p)
{
	const struct site *site = p->ctx->site;

	return strcmp(site->pop3.delete, "keep") == 0 ? clock_wall() - (int64_t)site->pop3.keep : INT64_MIN;
}

/* Takes the account's lock and the snapshot; the text of a refusal, or NULL. */
static const char *open_drop(struct pop3_session *s)
{
	struct process *p = s->process;
	int status = -1;

	for (const struct pop3_session *o = p->pop3; o != NULL; o = o->next)
		if (o != s && o->opened->account == s->opened->account)
			return "[IN-USE] Another POP3 session has this mailbox open.";
	if (view_begin(p->view) == 0) {
		status = maildrop_load(&s->drop, p->view, s->opened->inbox, due_before(p));
		view_end(p->view);
	}
	return status < 0 ? "[SYS/TEMP] The store is not available; try again." : NULL;
}

void pop3_session_start(struct process *p, int fd, struct opened *opened, struct view rest)
{
	struct pop3_session *s = xcalloc(1, sizeof(*s));
	const char *refusal;

	s->process = p;
	s->opened = opened;
	s->conn = conn_accept(p->base, fd, NULL, &ops, s);
	imap_reader_init(&s->reader, &limits);
	s->next = p->pop3;
	s->prev_next = &p->pop3;
	if (s->next != NULL)
		s->next->prev_next = &s->next;
	p->pop3 = s;
	conn_set_timeout(s->conn, IDLE_SECONDS, WRITE_SECONDS);
	conn_set_low_water(s->conn, IMAP_OUTPUT_SLICE / 4);
	s->counter = evbuffer_add_cb(conn_output(s->conn), count_output, s);
	process_log_open(opened, "pop3");
	refusal = open_drop(s);
	if (refusal != NULL) {
		conn_printf(s->conn, "-ERR %s\r\n", refusal);
		end(s, "refused");
		return;
	}
	conn_printf(s->conn, "+OK Logged in.\r\n");
	evbuffer_add(conn_input(s->conn), rest.ptr, rest.len);
	conn_resume(s->conn);
}

void pop3_shutdown_lost(struct process *p)
{
	struct pop3_session *s, *next;

	for (s = p->pop3; s != NULL; s = next) {
		next = s->next;
		if (!process_may(p, s->opened->address, PROTOCOL_POP3))
			end(s, "account");
	}
}

void pop3_shutdown_all(struct process *p)
{
	while (p->pop3 != NULL)
		end(p->pop3, "shutdown");
	pop3_free_dead(p);
}
