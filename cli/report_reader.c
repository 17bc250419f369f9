/*
 * report_reader.h.  A child with two pipes: a question is a length and a message, an answer a length and JSON, which is
 * a string when it tells of a failure.  A child that does not answer in time is ended.
 */
#include "cli/report_reader.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/proc.h"
#include "lib/sandbox.h"
#include "mailsvc/mime/mime.h"
#include "mailsvc/policy/name.h"

#define READER_USER "mailadm-imap" /* as exposed to strangers' mail as the imap role */
#define QUESTION 3
#define ANSWER 4
#define MESSAGE_MAX (1u << 30)
#define ANSWER_MAX (256u << 20)
#define ANSWER_MS 60000

/* until: monotonic ms; 0 waits for ever. */
static int read_all(int fd, void *data, size_t len, uint64_t until)
{
	char *p = data;

	while (len > 0) {
		struct pollfd ready = { fd, POLLIN, 0 };
		uint64_t now = until != 0 ? clock_mono_ms() : 0;
		int rc = poll(&ready, 1, until == 0 ? -1 : now < until ? (int)(until - now) : 0);
		ssize_t n = rc > 0 ? read(fd, p, len) : -1;

		if ((rc == -1 || (rc > 0 && n == -1)) && errno == EINTR)
			continue;
		if (n <= 0)
			return -1;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

static int put(int fd, struct view v)
{
	uint32_t len = (uint32_t)v.len;

	return file_write_all(fd, (struct view){ (const char *)&len, sizeof(len) }) == 0 ? file_write_all(fd, v) : -1;
}

/* Appended to out, at most its max. */
static int get(int fd, struct buf *out, uint64_t until)
{
	uint32_t len;
	char *room;

	if (read_all(fd, &len, sizeof(len), until) == -1 || (room = buf_reserve(out, len)) == NULL ||
	    read_all(fd, room, len, until) == -1)
		return -1;
	out->len += len;
	return 0;
}

static void answer(enum report_kind kind, const char *host, struct view message)
{
	struct buf text = BUF_INIT(REPORT_TEXT_MAX);
	struct error e = { "" };
	json_t *report = NULL;
	char *dump, signer[256];

	if (report_extract(kind, message, &text, &e) == 0)
		report = kind == REPORT_DMARC ? report_parse_dmarc(buf_view(&text), &e) : report_parse_tls(buf_view(&text), &e);
	if (report != NULL && host != NULL && report_signer(kind, message, host, signer))
		json_object_set_new(report, "signer", json_string(signer));
	if (report == NULL)
		report = json_string(e.text);
	if (report == NULL)
		report = json_string("it cannot be read");
	dump = json_dumps(report, JSON_COMPACT | JSON_ENCODE_ANY);
	if (dump == NULL || put(ANSWER, view_of(dump)) == -1)
		_exit(1);
	free(dump);
	json_decref(report);
	buf_free(&text);
}

static _Noreturn void serve(enum report_kind kind, const char *host, int question, int answers)
{
	struct sandbox box = { .user = getpwnam(READER_USER) != NULL ? READER_USER : NULL };
	struct error e;

	log_init("reader", LOG_LEVEL_WARN);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	question = fcntl(question, F_DUPFD, 10);
	answers = fcntl(answers, F_DUPFD, 10);
	if (dup2(question, QUESTION) == -1 || dup2(answers, ANSWER) == -1 || close_range(ANSWER + 1, ~0u, 0) == -1)
		fatal("descriptors");
	tzset();
	mime_charsets_preload();
	if (sandbox_enter(&box, &e) == -1)
		fatalx("sandbox: %s", e.text);
	for (;;) {
		struct buf message = BUF_INIT(MESSAGE_MAX);

		if (get(QUESTION, &message, 0) == -1)
			_exit(0);
		answer(kind, host, buf_view(&message));
		buf_free(&message);
	}
}

int report_reader_start(struct report_reader *r, enum report_kind kind, const char *host, struct error *e)
{
	int to[2], from[2];

	if (pipe2(to, O_CLOEXEC) == -1)
		return error_errno(e, "pipe");
	if (pipe2(from, O_CLOEXEC) == -1) {
		close(to[0]);
		close(to[1]);
		return error_errno(e, "pipe");
	}
	r->pid = fork();
	if (r->pid == 0)
		serve(kind, host, to[0], from[1]);
	close(to[0]);
	close(from[1]);
	r->to = to[1];
	r->from = from[0];
	if (r->pid == -1) {
		close(r->to);
		close(r->from);
		return error_errno(e, "fork");
	}
	signal(SIGPIPE, SIG_IGN);
	return 0;
}

int report_reader_read(struct report_reader *r, struct view message, json_t **report, struct error *e)
{
	struct buf text = BUF_INIT(ANSWER_MAX);
	int rc = -1;

	*report = NULL;
	if (message.len < MESSAGE_MAX && put(r->to, message) == 0 && get(r->from, &text, clock_mono_ms() + ANSWER_MS) == 0) {
		*report = json_loadb(text.data, text.len, JSON_DECODE_ANY, NULL);
		rc = json_is_object(*report) ? 0 : json_is_string(*report) ? 1 : -1;
	}
	if (rc == 1) {
		error_set(e, "%s", json_string_value(*report));
		policy_clean(e->text); /* a parser's words quote the report */
	}
	if (rc == -1)
		error_set(e, "the process that reads reports ended");
	if (rc != 0) {
		json_decref(*report);
		*report = NULL;
	}
	buf_free(&text);
	return rc;
}

void report_reader_stop(struct report_reader *r)
{
	if (r->pid <= 0)
		return;
	close(r->to);
	close(r->from);
	kill(r->pid, SIGKILL);
	waitpid(r->pid, NULL, 0);
	r->pid = 0;
}
