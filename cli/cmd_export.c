/*
 * mailadm export: mailboxes as files, of a running host or of one that stands still.
 *
 * Messages are read in slices: the rows of a slice in one snapshot, their bodies behind it.  A mailbox that changes
 * meanwhile is exported as it is slice by slice.  The target must be new or empty.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dropin.h"
#include "export.h"
#include "lib/clock.h"
#include "lib/proc.h"
#include "lib/text.h"
#include "mailsvc/imap/utf7.h"
#include "mailsvc/migrate/export.h"
#include "session.h"
#include "site/route.h"

#define SLICE 200
#define SLICE_BYTES (32u << 20)
#define SHOW_MS 100

struct mailbox {
	struct mailbox_row row; /* keywords point into names */
	char *names[KEYWORDS_MAX];
};
struct job {
	struct cli *cli;
	struct cli_session *session;
	bool mbox, bar;
	const char *address;
	int dir; /* of this account */
	struct mailbox **mailboxes;
	size_t count;
	uint64_t messages, bytes, total, problems; /* of all accounts so far */
	uint64_t shown;
	json_t *reports, *told;
};
struct message {
	struct message_row row;
	char *prefix;
	struct body_ref ref;
	bool there;
};
struct slice {
	struct job *job;
	struct message at[SLICE];
	size_t count;
	uint64_t bytes;
};

static void problem(struct job *j, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void problem(struct job *j, const char *fmt, ...)
{
	char text[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	j->problems++;
	json_array_append_new(j->told, json_string(text));
	if (j->bar)
		fputs("\r\033[K", stderr);
	cli_error("%s", text);
}

static void show(struct job *j, const char *mailbox)
{
	uint64_t now = clock_mono_ms();
	char size[16];

	if (!j->bar || (j->shown && now - j->shown < SHOW_MS))
		return;
	j->shown = now;
	text_format_size(j->bytes, size);
	fprintf(stderr, "\r\033[K%s %s: %llu of %llu messages, %s", j->address, mailbox,
	    (unsigned long long)j->messages, (unsigned long long)j->total, size);
	fflush(stderr);
}

/* What there is ------------------------------------------------------------------------------------------------------
 */

static bool keep_mailbox(void *arg, const struct mailbox_row *row)
{
	struct job *j = arg;
	struct mailbox *m = xcalloc(1, sizeof(*m));

	m->row = *row;
	for (unsigned i = 0; i < row->keyword_count; i++)
		if (row->keywords[i].ptr != NULL) {
			m->names[i] = view_dup(row->keywords[i]);
			m->row.keywords[i] = view_of(m->names[i]);
		}
	j->mailboxes = xreallocarray(j->mailboxes, j->count + 1, sizeof(struct mailbox *));
	j->mailboxes[j->count++] = m;
	j->total += row->messages;
	return true;
}

static void forget_mailboxes(struct job *j)
{
	for (size_t i = 0; i < j->count; i++) {
		for (unsigned k = 0; k < KEYWORDS_MAX; k++)
			free(j->mailboxes[i]->names[k]);
		free(j->mailboxes[i]);
	}
	free(j->mailboxes);
	j->mailboxes = NULL;
	j->count = 0;
}

/* Answers waiting on the channel are heard: pages of a store that was started again. */
static int begin(struct job *j)
{
	event_base_loop(j->session->base, EVLOOP_NONBLOCK);
	return view_begin(j->session->view);
}

static bool keep_message(void *arg, const struct message_row *row)
{
	struct slice *s = arg;
	struct message *m = &s->at[s->count++];

	m->row = *row;
	m->prefix = view_dup(row->prefix);
	m->row.prefix.ptr = m->prefix;
	m->there = view_body(s->job->session->view, row->body, &m->ref) == 1;
	s->bytes += row->size;
	return s->count < SLICE && s->bytes < SLICE_BYTES;
}

static void forget_slice(struct slice *s)
{
	for (size_t i = 0; i < s->count; i++)
		free(s->at[i].prefix);
	s->count = 0;
	s->bytes = 0;
}

/* 0, -1: said. */
static int read_message(struct job *j, const struct mailbox *m, const struct message *message, struct buf *out)
{
	char *room;

	buf_reset(out);
	buf_addv(out, message->row.prefix);
	room = message->there ? buf_reserve(out, message->ref.length + 1) : NULL;
	if (room != NULL && view_body_read(j->session->view, &message->ref, 0, room, message->ref.length) == 0) {
		out->len += message->ref.length;
		return 0;
	}
	problem(
	    j, "%s: %s: UID %u cannot be read; see mailadm store verify", j->address, m->row.name, message->row.uid);
	return -1;
}

/* Writing
 * --------------------------------------------------------------------------------------------------------------- */

static int put_file(int dir, const char *name, struct view content, const int64_t *date)
{
	int fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600), rc = -1;
	struct timespec times[2];

	if (fd == -1)
		return -1;
	if (date != NULL) {
		times[0] = times[1] = (struct timespec){ .tv_sec = (time_t)*date };
		rc = file_write_all(fd, content) | futimens(fd, times);
	} else
		rc = file_write_all(fd, content);
	return close(fd) == -1 ? -1 : rc;
}

struct target {       /* one mailbox */
	int dir, cur; /* maildir */
	int file;     /* mbox */
	struct buf uidlist;
};

static int open_folder(int dir, const char *name)
{
	if (mkdirat(dir, name, 0700) == -1 && errno != EEXIST)
		return -1;
	return openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

static int open_maildir(struct job *j, const struct mailbox *m, struct target *t)
{
	struct buf path = BUF_INIT(8192), words = BUF_INIT(65536);
	int rc = -1;

	export_maildir_path(m->row.name, &path);
	t->dir = path.len == 0 ? fcntl(j->dir, F_DUPFD_CLOEXEC, 3) : open_folder(j->dir, buf_str(&path));
	buf_free(&path);
	if (t->dir == -1 || (mkdirat(t->dir, "new", 0700) | mkdirat(t->dir, "tmp", 0700)) == -1 ||
	    (t->cur = open_folder(t->dir, "cur")) == -1)
		return -1;
	for (unsigned i = 0; i < m->row.keyword_count && i < EXPORT_LETTERS; i++)
		if (m->names[i] != NULL)
			buf_printf(&words, "%u %s\n", i, m->names[i]);
	if (m->row.keyword_count > EXPORT_LETTERS)
		problem(j, "%s: %s: a Maildir has letters for %d keywords; the others are lost there", j->address,
		    m->row.name, EXPORT_LETTERS);
	rc = words.len == 0 ? 0 : put_file(t->dir, "dovecot-keywords", buf_view(&words), NULL);
	buf_free(&words);
	if (strcmp(m->row.name, "INBOX") != 0) /* Maildir++: it is a folder of another */
		rc |= put_file(t->dir, "maildirfolder", VIEW_NONE, NULL);
	t->uidlist = BUF_INIT(1ull << 32);
	buf_printf(&t->uidlist, "3 V%u N%u\n", m->row.uid_validity, m->row.uid_next);
	return rc;
}

static int open_mbox(struct job *j, const struct mailbox *m, struct target *t)
{
	struct buf path = BUF_INIT(8192);
	int dir = fcntl(j->dir, F_DUPFD_CLOEXEC, 3);
	char *rest, *slash;

	export_mbox_path(m->row.name, &path);
	buf_addc(&path, '\0');
	for (rest = path.data; dir != -1 && (slash = strchr(rest, '/')) != NULL; rest = slash + 1) {
		*slash = '\0';
		int below = open_folder(dir, rest);
		close(dir);
		dir = below;
	}
	t->file = dir == -1 ? -1 : openat(dir, rest, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (dir != -1)
		close(dir);
	buf_free(&path);
	return t->file == -1 ? -1 : 0;
}

static int put_message(
    struct job *j, const struct mailbox *m, struct target *t, const struct message *message, struct view content)
{
	struct buf plain = BUF_INIT(3 * STORE_BODY_MAX), name = BUF_INIT(512);
	int rc;

	if (j->mbox) {
		export_mbox_entry(&m->row, &message->row, content, &plain);
		rc = file_write_all(t->file, buf_view(&plain));
	} else {
		export_lines(content, &plain);
		export_file_name(&message->row, m->row.uid_validity, plain.len, &name);
		buf_printf(&t->uidlist, "%u :%s\n", message->row.uid, buf_str(&name));
		export_file_flags(&message->row, &name);
		rc = put_file(t->cur, buf_str(&name), buf_view(&plain), &message->row.internal_date);
	}
	buf_free(&plain);
	buf_free(&name);
	return rc;
}

static int close_target(struct job *j, struct target *t)
{
	int rc = 0;

	if (!j->mbox && t->uidlist.data != NULL)
		rc = put_file(t->dir, "dovecot-uidlist", buf_view(&t->uidlist), NULL);
	if (t->file != -1)
		rc |= close(t->file);
	if (t->cur != -1)
		close(t->cur);
	if (t->dir != -1)
		close(t->dir);
	buf_free(&t->uidlist);
	return rc;
}

/* One mailbox, one account
 * --------------------------------------------------------------------------------------------- */

/* The rows from uid on. 0: there are none left; -1: the store is away. */
static int next_slice(struct job *j, const struct mailbox *m, uint32_t uid, struct slice *s)
{
	forget_slice(s);
	if (begin(j) == -1)
		return -1;
	view_messages(j->session->view, m->row.id, uid, UINT32_MAX, keep_message, s);
	return view_end(j->session->view) == -1 ? -1 : s->count > 0;
}

static int export_messages(struct job *j, const struct mailbox *m, struct target *t)
{
	struct slice *s = xcalloc(1, sizeof(*s));
	struct buf content = BUF_INIT(STORE_BODY_MAX + 65536);
	uint32_t uid = 1;
	int rc = 0, more = 0;

	s->job = j;
	while (rc == 0 && (more = next_slice(j, m, uid, s)) == 1) {
		for (size_t i = 0; i < s->count && rc == 0; i++) {
			if (read_message(j, m, &s->at[i], &content) == -1)
				continue;
			rc = put_message(j, m, t, &s->at[i], buf_view(&content));
			j->messages++;
			j->bytes += content.len;
			show(j, m->row.name);
		}
		uid = s->at[s->count - 1].row.uid + 1;
	}
	forget_slice(s);
	free(s);
	buf_free(&content);
	if (more == -1)
		cli_error("the store is away");
	return more == -1 ? -2 : rc;
}

static int export_mailbox(struct job *j, const struct mailbox *m)
{
	struct target t = { .dir = -1, .cur = -1, .file = -1 };
	int rc = j->mbox ? open_mbox(j, m, &t) : open_maildir(j, m, &t);

	if (rc == -1 && errno == ENAMETOOLONG) {
		problem(j, "%s: %s: its name is too long for a file; it is left out", j->address, m->row.name);
		return close_target(j, &t);
	}
	if (rc == 0)
		rc = export_messages(j, m, &t);
	if (rc == -1)
		cli_error("%s: %s: %s", j->address, m->row.name, strerror(errno));
	if (close_target(j, &t) != 0 && rc == 0)
		rc = cli_error("%s: %s: %s", j->address, m->row.name, strerror(errno));
	return rc;
}

static bool add_subscription(void *arg, const char *name)
{
	struct buf *b = arg;
	struct buf encoded = BUF_INIT(8192);

	utf7_encode(view_of(name), &encoded);
	for (size_t i = 0; i < encoded.len; i++)
		buf_addc(b, encoded.data[i] == '/' ? '\t' : encoded.data[i]);
	buf_addc(b, '\n');
	buf_free(&encoded);
	return true;
}

/* A folder that is new or empty. */
static int open_target(const char *path)
{
	int fd, copy;
	const struct dirent *entry;
	bool empty = true;
	DIR *d;

	if (mkdir(path, 0700) == -1 && errno != EEXIST) {
		cli_error("%s: %s", path, strerror(errno));
		return -1;
	}
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	copy = fd == -1 ? -1 : openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (copy == -1 || (d = fdopendir(copy)) == NULL) {
		cli_error("%s: %s", path, strerror(errno));
		return -1;
	}
	while ((entry = readdir(d)) != NULL)
		empty = empty && (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0);
	closedir(d);
	if (empty)
		return fd;
	close(fd);
	cli_error("%s: is not empty; give a folder that is new or empty", path);
	return -1;
}

static int export_account(struct job *j, const char *address, const char *path)
{
	struct buf subscriptions = BUF_INIT(16u << 20);
	struct account_row account;
	uint64_t messages = j->messages, bytes = j->bytes;
	int rc = 0, found;

	j->address = address;
	if (begin(j) == -1)
		return cli_error("the store is away");
	buf_puts(&subscriptions, "V\t2\n\n");
	if ((found = view_account(j->session->view, address, &account)) == 1) {
		view_mailboxes(j->session->view, account.id, keep_mailbox, j);
		view_subscriptions(j->session->view, account.id, add_subscription, &subscriptions);
	}
	j->dir = -1;
	if (view_end(j->session->view) == -1)
		rc = cli_error("the store is away");
	else if ((j->dir = open_target(path)) == -1)
		rc = -1;
	for (size_t i = 0; i < j->count && rc == 0; i++)
		rc = export_mailbox(j, j->mailboxes[i]);
	if (rc == 0 && !j->mbox && found == 1 && put_file(j->dir, "subscriptions", buf_view(&subscriptions), NULL) != 0)
		rc = cli_error("%s/subscriptions: %s", path, strerror(errno));
	if (rc == 0 && syncfs(j->dir) == -1)
		rc = cli_error("%s: %s", path, strerror(errno));
	if (rc == 0)
		json_array_append_new(
		    j->reports, json_pack("{s:s,s:s,s:I,s:I,s:I}", "address", address, "path", path, "mailboxes",
				    (json_int_t)j->count, "messages", (json_int_t)(j->messages - messages), "bytes",
				    (json_int_t)(j->bytes - bytes)));
	if (j->dir != -1)
		close(j->dir);
	forget_mailboxes(j);
	buf_free(&subscriptions);
	return rc == 0 ? EXIT_YES : EXIT_USAGE;
}

static void report(struct job *j)
{
	size_t i;
	json_t *r;

	if (j->bar)
		fputs("\r\033[K", stderr);
	if (j->cli->json) {
		cli_json_print(
		    json_pack("{s:O,s:I,s:I,s:I,s:O}", "accounts", j->reports, "messages", (json_int_t)j->messages,
			"bytes", (json_int_t)j->bytes, "problem_count", (json_int_t)j->problems, "problems", j->told));
		return;
	}
	json_array_foreach(j->reports, i, r)
	{
		char size[16];
		text_format_size((uint64_t)json_integer_value(json_object_get(r, "bytes")), size);
		printf("%s: %lld mailboxes, %lld messages, %s in %s\n",
		    json_string_value(json_object_get(r, "address")),
		    (long long)json_integer_value(json_object_get(r, "mailboxes")),
		    (long long)json_integer_value(json_object_get(r, "messages")), size,
		    json_string_value(json_object_get(r, "path")));
	}
}

static int export_all(struct cli *cli, struct job *j, const char *dir)
{
	int rc = EXIT_YES;

	if (mkdir(dir, 0700) == -1 && errno != EEXIST)
		return cli_error("%s: %s", dir, strerror(errno));
	for (size_t i = 0; i < cli->site->account_count && rc == EXIT_YES; i++) {
		char *path = xasprintf("%s/%s", dir, cli->site->accounts[i].address);
		rc = export_account(j, cli->site->accounts[i].address, path);
		free(path);
	}
	return rc;
}

int export_command(struct cli *cli, int argc, char **argv, const struct command *usage)
{
	struct cli_session session;
	struct job j = { .cli = cli, .session = &session, .bar = !cli->json && isatty(2), .dir = -1 };
	char address[ADDRESS_MAX];
	struct error e = { "" };
	struct account_row account;
	bool all;
	int rc;

	if (argc != 4 || (strcmp(argv[1], "maildir") != 0 && strcmp(argv[1], "mbox") != 0))
		return cli_usage(usage);
	all = strcmp(argv[2], "--all") == 0;
	j.mbox = strcmp(argv[1], "mbox") == 0;
	if ((!all && cli_address(argv[2], address, sizeof(address)) < 0) || !cli_site(cli))
		return EXIT_USAGE;
	if (cli_session_open(cli, true, &session, &e) == -1)
		return cli_error("%s", e.text);
	j.reports = json_array();
	j.told = json_array();
	rc = all ? 1 : cli_session_account(&session, address, &account);
	if (rc == 0 && !site_find_account(cli->site, address)) {
		cli_error("there is no account %s", address);
		rc = EXIT_NO;
	} else
		rc = rc == -1 ? EXIT_USAGE : all ? export_all(cli, &j, argv[3]) : export_account(&j, address, argv[3]);
	if (rc == EXIT_YES) {
		report(&j);
		rc = j.problems ? EXIT_NO : EXIT_YES;
	}
	cli_session_close(&session);
	json_decref(j.reports);
	json_decref(j.told);
	return rc;
}

static int run(struct cli *cli, int argc, char **argv)
{
	return cli_wants_help(cli, &cmd_export, argc, argv) ? EXIT_YES : export_command(cli, argc, argv, &cmd_export);
}

const struct command cmd_export = {
	.name = "export",
	.synopsis = "maildir | mbox  ADDRESS | --all  DIR",
	.summary = "write mailboxes as Maildirs or mbox files",
	.help =
	    "maildir  DIR is a Maildir++ as Dovecot has it, with dovecot-uidlist, dovecot-keywords and subscriptions\n"
	    "mbox     DIR has a file for each mailbox (mboxrd); what is below mailbox A is in the folder A.sbd\n"
	    "--all    every account of the site, each in DIR/ADDRESS\n\n"
	    "Flags, keywords, dates and UIDs come along, and mailadm import takes them back.  The host may run or "
	    "stand\n"
	    "still.  DIR must be new or empty.  Also: mailadm store export, mailadm account export.\n\n"
	    "Example: mailadm export maildir bob@example.org /root/bob\n",
	.run = run,
};
