/*
 * doctor.h: the table of checks and what runs them.  A check is forked into a process group of its own and sends its
 * rows through a pipe when it is done; at the end of its time the group is killed, with the programs it started.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "doctor/doctor.h"
#include "lib/clock.h"
#include "mailsvc/control.h"

#define ROWS_MAX 2000
#define ROW_TEXT_MAX 4096
#define ANSWER_MAX (16u << 20)

const struct doctor_check doctor_checks[] = {
	{ "smtp_out", "connections to port 25 of others", true, doctor_smtp_out },
	{ "interface", "this machine's addresses against the site: NAT, private, dynamic", false, doctor_interface },
	{ "names", "host.name and its addresses in the DNS, there and back, and block lists", true, doctor_names },
	{ "registration", "when the domains' registrations end (RDAP)", true, doctor_registration },
	{ "certificate", "the certificate's dates, names, chain and key", false, doctor_certificate },
	{ "served", "the certificate that the running host shows", false, doctor_served },
	{ "disk", "space, inodes, the reserve, read-only mounts", false, doctor_disk },
	{ "latency", "how long the disk takes to keep a write", false, doctor_latency },
	{ "clock", "whether the clock is synchronised", false, doctor_clock },
	{ "queue", "age and size of the queue", false, doctor_queue },
	{ "backup", "age of the last snapshot of each backup", true, doctor_backup },
	{ "files", "how many files may be open", false, doctor_files },
	{ "users", "the users of the roles", false, doctor_users },
	{ "ports", "other programs on the host's ports", false, doctor_ports },
	{ "memory", "memory and swap", false, doctor_memory },
	{ "kernel", "what the kernel has for the sandboxes", false, doctor_kernel },
	{ "reboot", "updates that wait for a restart", false, doctor_reboot },
	{ 0 },
};

bool doctor_has(const char *name)
{
	for (const struct doctor_check *c = doctor_checks; c->name; c++)
		if (strcmp(c->name, name) == 0)
			return true;
	return false;
}

void doctor_age(int64_t seconds, char out[32])
{
	if (seconds >= 2 * 86400)
		snprintf(out, 32, "%lld days", (long long)(seconds / 86400));
	else if (seconds >= 2 * 3600)
		snprintf(out, 32, "%lld hours", (long long)(seconds / 3600));
	else if (seconds >= 120)
		snprintf(out, 32, "%lld minutes", (long long)(seconds / 60));
	else
		snprintf(out, 32, "%lld seconds", (long long)seconds);
}

uint64_t doctor_left_ms(const struct doctor *d)
{
	uint64_t now = clock_mono_ms();
	return now + DOCTOR_MARGIN_MS < d->end ? d->end - DOCTOR_MARGIN_MS - now : 0;
}

json_t *doctor_host_status(const struct site *site, struct error *e)
{
	struct buf text = BUF_INIT(CONTROL_TEXT_MAX);
	json_t *top = NULL;
	int fd = control_connect(site, e);
	if (fd < 0)
		return NULL;
	int r = control_ask(fd, CONTROL_STATUS, CONTROL_TIMEOUT_MS, &text, NULL, e);
	if (r == 1)
		error_set(e, "%s", buf_str(&text));
	else if (r == 0 && !(top = json_loadb(text.data ? text.data : "", text.len, JSON_REJECT_DUPLICATES, NULL)))
		error_set(e, "monitor sent a malformed reply");
	buf_free(&text);
	close(fd);
	return top;
}

/* ---- processes */

struct job {
	const struct doctor_check *check;
	pid_t pid; /* 0: not begun; -1: done */
	int fd;
	uint64_t end; /* clock_mono_ms */
	struct buf answer;
	struct check_results rows;
};

_Noreturn static void child(const struct doctor *d, const struct doctor_check *check, int fd, pid_t parent)
{
	struct check_results rows = { 0 };
	struct buf out = BUF_INIT(ANSWER_MAX);
	setpgid(0, 0);
	signal(SIGPIPE, SIG_IGN);
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) == -1 || getppid() != parent)
		_exit(1);
	struct doctor own = *d;
	own.end = clock_mono_ms() + d->limit_ms;
	check->run(&own, &rows);
	for (size_t i = 0; i < rows.count; i++) {
		const struct check_result *r = &rows.at[i];
		buf_put_u32(&out, (uint32_t)r->state);
		for (size_t j = 0; j < 4; j++) {
			const char *text = (const char *const[]){ r->check, r->subject, r->remedy, r->seen }[j];
			buf_put_blob(&out, (struct view){ text, strnlen(text, ROW_TEXT_MAX - 1) });
		}
	}
	for (size_t done = 0; done < out.len;) {
		ssize_t n = write(fd, out.data + done, out.len - done);
		if (n == -1 && errno == EINTR)
			continue;
		if (n <= 0)
			_exit(1);
		done += (size_t)n;
	}
	_exit(out.full);
}

static int begin(const struct doctor *d, struct job *job, struct error *e)
{
	int p[2];
	pid_t parent = getpid();
	if (pipe2(p, O_CLOEXEC) == -1)
		return error_errno(e, "pipe");
	pid_t pid = fork();
	if (pid == 0)
		child(d, job->check, p[1], parent);
	close(p[1]);
	if (pid == -1) {
		close(p[0]);
		return error_errno(e, "fork");
	}
	setpgid(pid, pid);
	job->pid = pid;
	job->fd = p[0];
	job->end = clock_mono_ms() + d->limit_ms;
	return 0;
}

/* The rows that came whole; false when something is missing behind them. */
static bool unpack(struct job *job)
{
	struct cursor in = cursor_of(job->answer.data, job->answer.len);
	char text[4][ROW_TEXT_MAX];
	for (size_t i = 0; in.left > 0 && !in.bad && i < ROWS_MAX; i++) {
		uint32_t state = cursor_u32(&in);
		for (size_t j = 0; j < 4; j++)
			cursor_str(&in, text[j], sizeof(text[j]));
		if (!in.bad && state <= CHECK_UNKNOWN)
			check_results_add(&job->rows, (int)state, text[0], text[1], text[2], "%s", text[3]);
	}
	return in.left == 0 && !in.bad;
}

static void end(struct job *job, bool late, unsigned limit_ms)
{
	int status = 0;
	kill(-job->pid, SIGKILL);
	while (waitpid(job->pid, &status, 0) == -1 && errno == EINTR)
		continue;
	close(job->fd);
	job->pid = -1;
	bool whole = !late && unpack(job) && WIFEXITED(status) && WEXITSTATUS(status) == 0;
	if (late)
		check_results_add(&job->rows, CHECK_UNKNOWN, job->check->name, "",
		    "try again, or give it more with --timeout", "no answer within %u s", limit_ms / 1000);
	else if (!whole)
		check_results_add(&job->rows, CHECK_UNKNOWN, job->check->name, "",
		    "try again; when it stays so, report it as a bug of mailadm", "the check ended early (%s %d)",
		    WIFSIGNALED(status) ? "signal" : "status",
		    WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
	buf_free(&job->answer);
}

/* What came; true at its end. */
static bool receive(struct job *job)
{
	char *room = buf_reserve(&job->answer, 65536);
	ssize_t n = room ? read(job->fd, room, 65536) : 0;
	if (n > 0)
		job->answer.len += (size_t)n;
	return n == 0 || (n == -1 && errno != EINTR && errno != EAGAIN);
}

static void wait_for(struct job *jobs, size_t count, unsigned limit_ms)
{
	struct pollfd p[DOCTOR_AT_ONCE];
	struct job *of[DOCTOR_AT_ONCE];
	nfds_t n = 0;
	uint64_t now = clock_mono_ms(), next = now + limit_ms;
	for (size_t i = 0; i < count && n < DOCTOR_AT_ONCE; i++) {
		if (jobs[i].pid <= 0)
			continue;
		p[n] = (struct pollfd){ .fd = jobs[i].fd, .events = POLLIN };
		of[n++] = &jobs[i];
		next = jobs[i].end < next ? jobs[i].end : next;
	}
	if (n == 0)
		return;
	if (poll(p, n, next > now ? (int)(next - now) : 0) == -1)
		return;
	now = clock_mono_ms();
	for (nfds_t i = 0; i < n; i++) {
		bool done = p[i].revents != 0 && receive(of[i]);
		if (done || now >= of[i]->end)
			end(of[i], !done, limit_ms);
	}
}

static bool wanted(const struct doctor *d, const struct strings *only, const struct doctor_check *c)
{
	for (size_t i = 0; i < only->count; i++)
		if (strcmp(only->at[i], c->name) == 0)
			return true;
	return only->count == 0 && !(d->offline && c->online);
}

static void take_rows(struct check_results *out, struct check_results *from)
{
	for (size_t i = 0; i < from->count; i++) {
		const struct check_result *r = &from->at[i];
		check_results_add(out, (int)r->state, r->check, r->subject, r->remedy, "%s", r->seen);
	}
	check_results_free(from);
}

int doctor_run(const struct doctor *d, const struct strings *only, struct check_results *out, struct error *e)
{
	struct job jobs[sizeof(doctor_checks) / sizeof(doctor_checks[0])] = { 0 };
	size_t count = 0, begun = 0, running;
	int result = 0;
	for (const struct doctor_check *c = doctor_checks; c->name; c++)
		if (wanted(d, only, c))
			jobs[count++] = (struct job){ .check = c, .answer = BUF_INIT(ANSWER_MAX) };
	do {
		running = 0;
		for (size_t i = 0; i < begun; i++)
			running += jobs[i].pid > 0;
		for (; result == 0 && running < DOCTOR_AT_ONCE && begun < count; running++)
			if ((result = begin(d, &jobs[begun], e)) == 0)
				begun++;
		wait_for(jobs, begun, d->limit_ms);
	} while (running > 0 || (result == 0 && begun < count));
	for (size_t i = 0; i < count; i++)
		take_rows(out, &jobs[i].rows);
	return result;
}
