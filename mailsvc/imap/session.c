/*
 * One IMAP session: reads commands, runs them one after another, sends replies, and dies in order.
 *
 * session_run is the only place that makes progress: it is called when input came, when output drained, and from the
 * process's run queue after a reply of store or between the slices of a job.  Nothing here frees a session: imap_close
 * moves it to the dead list, which the run event empties at the end of the loop.
 *
 * Limits: a command's size (limits below), bad commands (limits.errors), output (IMAP_OUTPUT_MAX), 30 minutes of
 * silence, 5 minutes without a byte accepted by the peer.
 */
#include <stdlib.h>
#include <string.h>

#include "imap.h"
#include "lib/clock.h"
#include "process.h"

#define IDLE_SECONDS (30 * 60)  /* RFC 3501 5.4 */
#define APPEND_SECONDS (2 * 60) /* in the middle of a message, which holds some of APPEND_BUDGET */
#define WRITE_SECONDS (5 * 60)
#define COMMANDS_A_TURN 64 /* then other sessions have theirs */

static const struct imap_reader_limits limits = {
	.line = 64 * 1024, .literal = 64 * 1024, .total = 128 * 1024, .discard = 1024 * 1024
};

struct store_client *imap_store(const struct imap_session *s)
{
	return s->process->store;
}

struct store_view *imap_view(const struct imap_session *s)
{
	return s->process->view;
}

const char *imap_address(const struct imap_session *s)
{
	return s->opened->address;
}

uint64_t imap_message_size_max(const struct imap_session *s)
{
	return s->process->ctx->site->limits.message_size;
}

int imap_bad(struct imap_parser *p, const char *error)
{
	p->error = error;
	return IMAP_BAD;
}

bool imap_output_full(const struct imap_session *s)
{
	return conn_output_len(s->conn) >= IMAP_OUTPUT_SLICE;
}

void imap_put_string(struct buf *out, struct view v)
{
	bool plain = v.len <= 1024;

	if (v.ptr == NULL) {
		buf_puts(out, "NIL");
		return;
	}
	for (size_t i = 0; plain && i < v.len; i++)
		plain = v.ptr[i] >= 0x20 && v.ptr[i] < 0x7f;
	if (plain) {
		buf_addc(out, '"');
		for (size_t i = 0; i < v.len; i++) {
			if (v.ptr[i] == '"' || v.ptr[i] == '\\')
				buf_addc(out, '\\');
			buf_addc(out, v.ptr[i]);
		}
		buf_addc(out, '"');
	} else {
		buf_printf(out, "{%zu}\r\n", v.len);
		buf_addv(out, v);
	}
}

/* Ending ------------------------------------------------------------------------------------------------------- */

static void free_job(struct imap_session *s)
{
	struct imap_job job = s->job;

	s->job = (struct imap_job){ 0 };
	if (job.free != NULL)
		job.free(job.state);
}

void imap_close(struct imap_session *s, const char *bye, const char *reason)
{
	struct process *p = s->process;

	if (s->phase == IMAP_PHASE_CLOSED)
		return;
	s->phase = IMAP_PHASE_CLOSED;
	s->reason = reason;
	if (bye != NULL)
		conn_printf(s->conn, "* BYE %s\r\n", bye);
	store_cancel(p->store, s->pending);
	s->pending = 0;
	parked_cancel(s);
	imap_deselect(s);
	free(s->ending);
	s->ending = NULL;
	*s->prev_next = s->next;
	if (s->next != NULL)
		s->next->prev_next = s->prev_next;
	s->next = p->dead;
	p->dead = s;
	process_kick(p);
}

void imap_free_dead(struct process *p)
{
	struct imap_session **at = &p->dead, *s;

	while ((s = *at) != NULL) {
		if (s->runnable) { /* still in the run queue: next time */
			at = &s->next;
			continue;
		}
		*at = s->next;
		free_job(s);
		append_free(s);
		parked_free(s);
		imap_reader_next(&s->reader);
		process_log_close(s->opened, "imap", s->reason, s->bytes_in, s->bytes_out);
		evbuffer_remove_cb_entry(conn_output(s->conn), s->counter);
		conn_close(s->conn);
		p->compressed -= s->compressed;
		free(s->opened);
		free(s);
		p->session_count--;
	}
}

void imap_error(struct imap_session *s, const char *text)
{
	conn_printf(s->conn, "%s BAD %s\r\n", s->tag[0] != '\0' ? s->tag : "*", text);
	if (++s->errors >= (unsigned)s->process->ctx->site->limits.errors)
		imap_close(s, "Too many errors.", "errors");
}

/* Replies ------------------------------------------------------------------------------------------------------- */

void imap_kick(struct imap_session *s)
{
	struct process *p = s->process;

	if (s->runnable || s->phase == IMAP_PHASE_CLOSED)
		return;
	s->runnable = true;
	s->run_next = NULL;
	*p->run_last = s;
	p->run_last = &s->run_next;
	process_kick(p);
}

/* Takes HIGHESTMODSEQ out of a tagged line: the changes up to there could not be told. */
static void drop_highest(char *line)
{
	char *code = strstr(line, "[HIGHESTMODSEQ "), *end = code != NULL ? strstr(code, "] ") : NULL;

	if (end != NULL)
		memmove(code, end + 2, strlen(end + 2) + 1);
}

/* Reports what is left and then sends the tagged line; false: there is more than the output takes now. */
static bool end_command(struct imap_session *s)
{
	bool expunge = s->command == NULL || !(s->command->flags & IMAP_NO_EXPUNGE);
	int more = 0;

	if (s->mailbox != NULL && (s->command == NULL || !(s->command->flags & IMAP_NO_SYNC)))
		more = s->parked == NULL ? imap_sync(s, expunge) : imap_sync_until(s, expunge, s->landing_modseq);
	if (more > 0)
		return false;
	if (more < 0)
		drop_highest(s->ending);
	conn_printf(s->conn, "%s ", s->tag);
	conn_write(s->conn, s->ending, strlen(s->ending));
	conn_write(s->conn, "\r\n", 2);
	free(s->ending);
	s->ending = NULL;
	s->heard_ms = clock_mono_ms();
	s->phase = IMAP_PHASE_READY;
	return true;
}

void imap_finish(struct imap_session *s, const char *fmt, ...)
{
	va_list ap;

	if (s->phase == IMAP_PHASE_CLOSED)
		return;
	va_start(ap, fmt);
	free(s->ending);
	if (vasprintf(&s->ending, fmt, ap) < 0)
		fatalx("out of memory: reply");
	va_end(ap);
	s->pending = 0;
	s->finished = true;
	if (s->parked != NULL && !s->landing) { /* it is not its turn */
		parked_add_text(s, s->ending, false);
		free(s->ending);
		s->ending = NULL;
		s->phase = IMAP_PHASE_READY;
	} else {
		s->phase = IMAP_PHASE_ENDING;
		end_command(s);
	}
	if (!s->in_command)
		imap_kick(s);
}

void imap_finish_store(struct imap_session *s, enum store_status status)
{
	static const char *const texts[] = {
		[STORE_OK] = "OK Completed.",
		[STORE_UNAVAILABLE] = "NO [UNAVAILABLE] The store is not available; try again.",
		[STORE_FULL] = "NO [UNAVAILABLE] The disk is full; try again later.",
		[STORE_OVER_QUOTA] = "NO [OVERQUOTA] Over quota.",
		[STORE_NO_MAILBOX] = "NO [TRYCREATE] No such mailbox.",
		[STORE_EXISTS] = "NO [ALREADYEXISTS] The mailbox exists.",
		[STORE_INVALID] = "NO [CANNOT] The name or an argument is not allowed.",
		[STORE_NO_ACCOUNT] = "NO [UNAVAILABLE] No such account.",
		[STORE_IO] = "NO [SERVERBUG] The disk has failed; try again later.",
	};

	imap_finish(s, "%s", texts[status]);
}

/* Running ------------------------------------------------------------------------------------------------------- */

void imap_start_job(struct imap_session *s, const struct imap_job *job)
{
	free_job(s);
	s->job = *job;
	imap_kick(s);
}

void imap_resume_job(struct imap_session *s)
{
	s->pending = 0;
	imap_kick(s);
}

static void run_job(struct imap_session *s)
{
	bool done;

	s->in_command = true;
	done = s->job.run(s, s->job.state);
	s->in_command = false;
	if (done)
		free_job(s);
	else if (s->pending == 0 && !imap_output_full(s))
		imap_kick(s);
}

static void dispatch(struct imap_session *s)
{
	struct imap_parser p = imap_parser_of(s->reader.text.data, s->reader.text.len);
	struct view tag;
	int status;

	p.utf8 = imap_names_utf8(s);
	s->tag[0] = '\0';
	s->command = NULL;
	s->land = NULL;
	if (!imap_parse_tag(&p, &tag)) {
		imap_reader_next(&s->reader);
		imap_error(s, p.error);
		return;
	}
	view_copy(tag, s->tag, sizeof(s->tag));
	s->phase = IMAP_PHASE_RUNNING;
	s->in_command = true;
	status = imap_command_run(s, &p);
	s->in_command = false;
	if (s->phase == IMAP_PHASE_CLOSED)
		return;
	if (status == IMAP_BAD) {
		s->phase = IMAP_PHASE_READY;
		s->finished = true;
		if (s->parked != NULL)
			parked_add_text(s, p.error != NULL ? p.error : "Syntax error.", true);
		else
			imap_error(s, p.error != NULL ? p.error : "Syntax error.");
	} else if (status == IMAP_DONE && !s->finished) {
		s->in_command = true;
		imap_finish(s, "OK %s completed.", s->command->name);
		s->in_command = false;
	}
}

/* A command that could not be read: BAD with its tag, if it had one. */
static void reader_failed(struct imap_session *s, bool fatal)
{
	struct imap_parser p = imap_parser_of(s->reader.text.data, s->reader.text.len);
	const char *error = s->reader.error;
	struct view tag;

	s->tag[0] = '\0';
	if (s->reader.text.len > 0 && imap_parse_tag(&p, &tag) && imap_peek(&p) == ' ')
		view_copy(tag, s->tag, sizeof(s->tag));
	append_free(s);
	imap_reader_next(&s->reader);
	s->phase = IMAP_PHASE_READY;
	imap_error(s, error);
	if (fatal)
		imap_close(s, "Cannot follow this input.", "input");
}

/* Feeds the reader with what is there; false when it needs more, or what it has must wait. */
static bool read_command(struct imap_session *s)
{
	struct evbuffer *in = conn_input(s->conn);
	enum reader_status status = s->held;

	if (status == READER_MORE)
		status = imap_reader_pull(&s->reader, in, &s->bytes_in);
	s->held = READER_MORE;
	if (status != READER_MORE && s->parked != NULL && !parked_may_join(s, status)) {
		s->held = status;
		return false;
	}
	switch (status) {
	case READER_MORE:
		return evbuffer_get_length(in) > 0;
	case READER_LITERAL:
		if (s->phase == IMAP_PHASE_READY && append_literal(s))
			return true;
		if (imap_reader_take(&s->reader))
			conn_printf(s->conn, "+ OK\r\n");
		return true;
	case READER_COMMAND:
		if (s->phase == IMAP_PHASE_IDLE)
			idle_line(s, buf_view(&s->reader.text));
		else
			dispatch(s);
		if (s->phase == IMAP_PHASE_IDLE)
			imap_reader_next(&s->reader);
		return true;
	case READER_ERROR:
	case READER_FATAL:
		reader_failed(s, status == READER_FATAL);
		return true;
	}
	return false;
}

/* Makes what progress it can; true when it stopped for want of input. */
static bool progress(struct imap_session *s)
{
	for (unsigned turns = 0;; turns++) {
		if (s->finished && s->phase != IMAP_PHASE_RUNNING) {
			s->finished = false;
			imap_reader_next(&s->reader);
			free_job(s);
		}
		if (s->phase == IMAP_PHASE_CLOSED)
			return false;
		if (conn_output_len(s->conn) >= IMAP_OUTPUT_MAX ||
		    ((s->job.run != NULL || s->phase == IMAP_PHASE_ENDING) && imap_output_full(s))) {
			s->waiting_drain = true;
			return false;
		}
		if (s->landing && s->phase == IMAP_PHASE_READY)
			parked_landed(s);
		if (turns == COMMANDS_A_TURN) {
			imap_kick(s);
			return false;
		}
		if (s->phase == IMAP_PHASE_ENDING) {
			if (end_command(s))
				continue;
			if (s->claiming == 0)
				imap_kick(s);
			return false;
		}
		if (s->phase == IMAP_PHASE_RUNNING) {
			if (parked_add(s))
				continue;
			if (s->job.run == NULL || s->pending != 0)
				return false;
			run_job(s);
			if (!s->finished && !imap_output_full(s))
				return false;
		} else if (parked_land(s)) {
			continue;
		} else if (s->phase == IMAP_PHASE_APPEND) {
			if (!append_input(s))
				return s->parked == NULL;
		} else if (!read_command(s)) {
			return s->parked == NULL;
		}
	}
}

/*
 * While a command runs, reading is paused: the end of input is then told only after the replies to all commands, so
 * that a client may pipeline and shut its side.
 */
static void session_run(struct imap_session *s)
{
	bool wants_input = progress(s);

	if (s->phase == IMAP_PHASE_CLOSED)
		return;
	if (wants_input)
		conn_resume(s->conn);
	else
		conn_pause(s->conn);
}

void imap_run_queue(struct process *p)
{
	struct imap_session *s = p->run_first, *next;

	p->run_first = NULL;
	p->run_last = &p->run_first;
	for (; s != NULL; s = next) {
		next = s->run_next;
		s->runnable = false;
		if (s->phase == IMAP_PHASE_IDLE && imap_output_full(s))
			s->waiting_drain = true; /* the client does not read: tell it later */
		else if (s->phase == IMAP_PHASE_IDLE && imap_sync(s, true) == 1)
			imap_kick(s);
		session_run(s);
	}
}

/* Events -------------------------------------------------------------------------------------------------------- */

static void on_readable(struct conn *c, void *arg)
{
	struct imap_session *s = arg;

	(void)c;
	s->heard_ms = clock_mono_ms();
	session_run(s);
}

static void on_drained(struct conn *c, void *arg)
{
	struct imap_session *s = arg;

	if (!s->waiting_drain || s->phase == IMAP_PHASE_CLOSED)
		return;
	(void)c;
	s->waiting_drain = false;
	imap_kick(s);
}

static void on_ended(struct conn *c, void *arg, enum conn_end how)
{
	struct imap_session *s = arg;

	(void)c;
	imap_close(s, NULL, how == CONN_TIMEOUT ? "timeout" : how == CONN_EOF ? "eof" : "error");
}

static const struct conn_ops ops = { .readable = on_readable, .drained = on_drained, .ended = on_ended };

static void count_output(struct evbuffer *b, const struct evbuffer_cb_info *info, void *arg)
{
	struct imap_session *s = arg;

	(void)b;
	s->bytes_out += info->n_added;
}

void imap_session_start(struct process *p, int fd, struct opened *opened, const char *tag, struct view rest)
{
	struct imap_session *s = xcalloc(1, sizeof(*s));

	s->process = p;
	s->conn = conn_accept(p->base, fd, NULL, &ops, s);
	s->opened = opened;
	s->account = opened->account;
	s->phase = IMAP_PHASE_READY;
	s->held = READER_MORE;
	imap_reader_init(&s->reader, &limits);
	s->next = p->sessions;
	s->prev_next = &p->sessions;
	if (s->next != NULL)
		s->next->prev_next = &s->next;
	p->sessions = s;
	s->heard_ms = clock_mono_ms();
	conn_set_timeout(s->conn, 0, WRITE_SECONDS); /* silence is imap_sweep's */
	conn_set_low_water(s->conn, IMAP_OUTPUT_SLICE / 4);
	s->counter = evbuffer_add_cb(conn_output(s->conn), count_output, s);
	conn_printf(s->conn, "%s OK [CAPABILITY " IMAP_CAPABILITY "] Logged in\r\n", tag);
	process_log_open(opened, "imap");
	evbuffer_add(conn_input(s->conn), rest.ptr, rest.len);
	conn_resume(s->conn);
	imap_kick(s);
}

/* The connection's own timeout would leave no way to say BYE. */
void imap_sweep(struct process *p)
{
	uint64_t now = clock_mono_ms();
	struct imap_session *s, *next;

	for (s = p->sessions; s != NULL; s = next) {
		unsigned seconds = s->phase == IMAP_PHASE_APPEND ? APPEND_SECONDS : IDLE_SECONDS;

		next = s->next;
		if (s->phase == IMAP_PHASE_RUNNING || s->phase == IMAP_PHASE_ENDING || s->parked != NULL ||
		    s->waiting_drain)
			continue; /* it is our turn, or WRITE_SECONDS count */
		if (now - s->heard_ms >= 1000ull * seconds)
			imap_close(s, "Autologout: nothing was heard for too long.", "timeout");
	}
}

void imap_shutdown_lost(struct process *p)
{
	struct imap_session *s, *next;

	for (s = p->sessions; s != NULL; s = next) {
		next = s->next;
		if (!process_may(p, imap_address(s), PROTOCOL_IMAP))
			imap_close(s, "This account may not use IMAP any more.", "account");
	}
}

void imap_shutdown_all(struct process *p)
{
	while (p->sessions != NULL)
		imap_close(p->sessions, "The server is shutting down.", "shutdown");
	imap_free_dead(p);
}
