/*
 * log_source.h.  Files are read through zlib, which passes over what is not compressed: FILE.2.gz, FILE.1, FILE, in the
 * order of their last change.  The journal is read by journalctl's JSON, one object a line.  A file that is followed is
 * looked at again four times a second; when its name leads elsewhere, or it became shorter, it is opened anew.
 */
#include "cli/log_source.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zlib.h>

#define ROTATED_MAX 1000
#define LINE_MAX_BYTES 65536 /* longer ones of the journal are passed over */
#define LOOK_MS 250

volatile sig_atomic_t log_source_stopped;
static volatile sig_atomic_t journalctl; /* its process, 0 none */

/* A read of its output that is about to begin, or has, ends with it. */
void log_source_stop(void)
{
	log_source_stopped = 1;
	if (journalctl > 0)
		kill(journalctl, SIGTERM);
}

struct file {
	char *path;
	time_t changed;
};

struct log_source {
	struct file files[ROTATED_MAX];
	size_t count, at; /* at: the one that is read */
	gzFile gz;
	ino_t inode;
	off_t read; /* bytes of an uncompressed file, to see that it was cut */
	FILE *journal;
	pid_t child;
	struct buf line, message; /* message: what the journal's line held */
	char ident[64];
	bool follow;
	bool part; /* line holds the beginning of one that is not whole yet */
};

static int by_change(const void *a, const void *b)
{
	const struct file *x = a, *y = b;

	if (x->changed != y->changed)
		return x->changed < y->changed ? -1 : 1;
	return -strcmp(x->path, y->path); /* FILE.2 before FILE.1 before FILE */
}

static void add_file(struct log_source *s, const char *path, int64_t since, bool always)
{
	struct stat st;

	if (s->count == ROTATED_MAX || stat(path, &st) == -1 || !S_ISREG(st.st_mode) || (!always && st.st_mtime < since))
		return;
	s->files[s->count++] = (struct file){ xstrdup(path), st.st_mtime };
}

/* FILE, and FILE.1, FILE-20261124, FILE.2.gz ... beside it. */
static int find_files(struct log_source *s, const char *path, int64_t since, struct error *e)
{
	char *dir = xstrdup(path), *slash = strrchr(dir, '/');
	const char *name = slash != NULL ? path + (slash - dir) + 1 : path;
	struct dirent *entry;
	DIR *d;

	if (slash != NULL)
		slash[slash == dir ? 1 : 0] = '\0';
	d = opendir(slash != NULL ? dir : ".");
	while (d != NULL && (entry = readdir(d)) != NULL) {
		size_t n = strlen(name);

		if (strncmp(entry->d_name, name, n) == 0 && (entry->d_name[n] == '.' || entry->d_name[n] == '-')) {
			char *whole = xasprintf("%.*s%s", (int)(name - path), path, entry->d_name);

			add_file(s, whole, since, false);
			free(whole);
		}
	}
	if (d != NULL)
		closedir(d);
	free(dir);
	qsort(s->files, s->count, sizeof(s->files[0]), by_change);
	if (access(path, R_OK) == -1 && errno != ENOENT)
		return error_errno(e, "%s", path);
	add_file(s, path, since, true);
	return s->count > 0 ? 0 : error_set(e, "%s: there is no log yet; has the host run?", path);
}

static int open_file(struct log_source *s, struct error *e)
{
	const char *path = s->files[s->at].path;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;

	if (fd == -1 || fstat(fd, &st) == -1 || (s->gz = gzdopen(fd, "rb")) == NULL) {
		if (fd != -1)
			close(fd);
		return error_errno(e, "%s", path);
	}
	s->inode = st.st_ino;
	s->read = 0;
	s->part = false;
	buf_reset(&s->line);
	return 0;
}

/* Its output is read to its end, which with --follow does not come. */
static int open_journal(struct log_source *s, int64_t since, struct error *e)
{
	char when[32];
	int out[2];

	snprintf(when, sizeof(when), "@%lld", (long long)since);
	if (pipe2(out, O_CLOEXEC) == -1)
		return error_errno(e, "pipe");
	s->child = fork();
	if (s->child == 0) {
		if (dup2(out[1], STDOUT_FILENO) == -1)
			_exit(127);
		execlp("journalctl", "journalctl", "--quiet", "--no-pager", "--unit=mailadm.service", "--output=json",
		    "--output-fields=MESSAGE,PRIORITY", "--since", when, s->follow ? "--follow" : (char *)NULL, "--no-tail",
		    (char *)NULL);
		_exit(127);
	}
	journalctl = s->child;
	close(out[1]);
	s->journal = s->child > 0 ? fdopen(out[0], "r") : NULL;
	if (s->journal == NULL) {
		close(out[0]);
		return error_errno(e, "journalctl");
	}
	return 0;
}

struct log_source *log_source_open(struct cli *cli, const char *file, int64_t since, bool follow, struct error *e)
{
	struct log_source *s = xcalloc(1, sizeof(*s));
	int rc;

	s->follow = follow;
	s->line = s->message = BUF_INIT(LINE_MAX_BYTES);
	if (file != NULL && strcmp(file, "-") == 0) {
		s->gz = gzdopen(dup(STDIN_FILENO), "rb");
		rc = s->gz != NULL ? 0 : error_errno(e, "stdin");
	} else if (file != NULL) {
		add_file(s, file, since, true);
		rc = s->count > 0 ? open_file(s, e) : error_set(e, "%s: there is no such file", file);
	} else if (strcmp(cli->site->log.destination, "stderr") != 0) {
		rc = find_files(s, cli->site->log.destination, since, e);
		rc = rc == 0 ? open_file(s, e) : rc;
	} else if (access("/run/systemd/system", F_OK) == 0) {
		rc = open_journal(s, since, e);
	} else {
		rc = error_set(e, "the host logs to stderr (log.destination) and there is no systemd journal here; name the file it "
		                  "leads to with --file, or set log.destination");
	}
	if (rc == 0)
		return s;
	log_source_close(s);
	return NULL;
}

void log_source_close(struct log_source *s)
{
	if (s == NULL)
		return;
	if (s->gz != NULL)
		gzclose(s->gz);
	if (s->journal != NULL)
		fclose(s->journal);
	journalctl = 0;
	if (s->child > 0) {
		kill(s->child, SIGTERM);
		waitpid(s->child, NULL, 0);
	}
	for (size_t i = 0; i < s->count; i++)
		free(s->files[i].path);
	buf_free(&s->line);
	buf_free(&s->message);
	free(s);
}

/* A whole line into s->line, without its newline: 1; 0: no whole one now. */
static int read_line(struct log_source *s)
{
	char piece[4096];

	if (!s->part)
		buf_reset(&s->line);
	while (gzgets(s->gz, piece, sizeof(piece)) != NULL) {
		size_t n = strlen(piece);
		bool whole = n > 0 && piece[n - 1] == '\n';

		s->read += (off_t)n;
		buf_add(&s->line, piece, whole ? n - 1 : n);
		s->part = !whole;
		if (whole)
			return 1;
	}
	return 0;
}

/* The name leads to another file by now, or the file was cut: opened anew. 1: it was. */
static int reopen_rotated(struct log_source *s, struct error *e)
{
	struct stat st;

	if (s->count == 0 || stat(s->files[s->at].path, &st) == -1 || (st.st_ino == s->inode && st.st_size >= s->read))
		return 0;
	gzclose(s->gz);
	s->gz = NULL;
	return open_file(s, e) == 0 ? 1 : -1;
}

/* At the end of what can be read of a compressed file: is that its end? */
static void tell_damage(struct log_source *s)
{
	int code;

	gzerror(s->gz, &code);
	if ((code == Z_DATA_ERROR || code == Z_BUF_ERROR) && (s->at + 1 < s->count || !s->follow))
		fprintf(stderr, "mailadm: %s: it is damaged; the rest of it is not shown\n",
		    s->count > 0 ? s->files[s->at].path : "standard input");
	gzclearerr(s->gz);
}

static int next_in_files(struct log_source *s, struct log_line *out, struct error *e)
{
	for (;;) {
		while (read_line(s) == 1)
			if (log_line_parse(buf_view(&s->line), out) == 0)
				return 1;
		tell_damage(s);
		if (s->at + 1 < s->count) {
			gzclose(s->gz);
			s->gz = NULL;
			s->at++;
			if (open_file(s, e) == -1)
				return -1;
			continue;
		}
		if (!s->follow || log_source_stopped)
			return 0;
		int rc = reopen_rotated(s, e);

		if (rc == -1)
			return -1;
		if (rc == 0)
			poll(NULL, 0, LOOK_MS);
	}
}

/* {"MESSAGE":"smtp: id=...","PRIORITY":"6","__REALTIME_TIMESTAMP":"..."} */
static int parse_journal(struct log_source *s, const char *line, struct log_line *out)
{
	static const enum log_level of_priority[] = { LOG_LEVEL_ERROR, LOG_LEVEL_ERROR, LOG_LEVEL_ERROR, LOG_LEVEL_ERROR,
		LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };
	json_error_t err;
	json_t *o = json_loads(line, 0, &err);
	const char *message = json_string_value(json_object_get(o, "MESSAGE"));
	const char *priority = json_string_value(json_object_get(o, "PRIORITY"));
	const char *when = json_string_value(json_object_get(o, "__REALTIME_TIMESTAMP"));
	const char *colon = message != NULL ? strstr(message, ": ") : NULL;
	int rc = -1;

	buf_reset(&s->message);
	if (colon != NULL && when != NULL && colon > message && (size_t)(colon - message) < sizeof(s->ident) &&
	    buf_puts(&s->message, colon + 2) == 0) {
		view_copy((struct view){ message, (size_t)(colon - message) }, s->ident, sizeof(s->ident));
		*out = (struct log_line){ strtoll(when, NULL, 10) / 1000000,
			priority != NULL && priority[0] >= '0' && priority[0] <= '7' ? of_priority[priority[0] - '0'] : LOG_LEVEL_INFO,
			view_of(s->ident), buf_view(&s->message) };
		rc = 0;
	}
	json_decref(o);
	return rc;
}

static int next_in_journal(struct log_source *s, struct log_line *out, struct error *e)
{
	char *line = NULL;
	size_t size = 0;
	ssize_t n;
	int rc = 0;

	while (rc == 0) {
		n = getline(&line, &size, s->journal);
		if (n <= 0 && log_source_stopped)
			break; /* journalctl may go on: log_source_close ends it */
		if (n <= 0) {
			int status = 0;

			journalctl = 0;
			waitpid(s->child, &status, 0);
			s->child = 0;
			if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
				rc = error_set(e, "journalctl failed; is systemd-journald there? else name the file with --file");
			break;
		}
		if (parse_journal(s, line, out) == 0)
			rc = 1;
	}
	free(line);
	return rc;
}

void log_pairs_json(struct view text, json_t *o)
{
	struct buf value = BUF_INIT(LINE_MAX_BYTES);
	struct view key;
	size_t pos = 0;

	while (log_pair_next(text, &pos, &key, &value)) {
		char *name = view_dup(key);

		if (json_object_get(o, name) == NULL) {
			json_t *s = json_stringn(buf_str(&value), value.len);

			json_object_set_new(o, name, s != NULL ? s : cli_json_text(buf_str(&value)));
		}
		free(name);
	}
	buf_free(&value);
}

int log_source_next(struct log_source *s, struct log_line *out, struct error *e)
{
	return s->journal != NULL ? next_in_journal(s, out, e) : next_in_files(s, out, e);
}
