/*
 * mailadm sendmail: what cron and scripts call as /usr/sbin/sendmail.  Makes a message of stdin and hands it over by
 * SMTP on the host's submission socket; the host says who we are by our uid, completes bare names, and signs.  Exit
 * codes are those of sysexits.h.  All recipients are taken or none, so that the exit code says the whole truth.
 */
#include <errno.h>
#include <poll.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sysexits.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/submit.h"
#include "lib/text.h"
#include "mailsvc/mime/mime.h"
#include "site/address.h"

#define MESSAGE_MAX (1ull << 30)
#define HEADER_MAX (1 << 20)

struct options {
	bool headers, keep_dots;   /* -t, -i */
	const char *sender, *name; /* -f, -F */
	enum { MODE_SEND, MODE_QUEUE, MODE_SMTP, MODE_NOTHING } mode;
};

struct names {
	char **at;
	size_t count;
};

static void add_name(struct names *names, struct view address)
{
	names->at = xreallocarray(names->at, names->count + 1, sizeof(*names->at));
	names->at[names->count++] = view_dup(address);
}

static void note_mailbox(void *arg, const struct mime_mailbox *m)
{
	struct buf b = BUF_INIT(ADDRESS_MAX);

	if (m->group_start || m->group_end || m->local.len == 0)
		return;
	buf_addv(&b, m->local);
	if (m->domain.len > 0) {
		buf_addc(&b, '@');
		buf_addv(&b, m->domain);
	}
	if (!b.full)
		add_name(arg, buf_view(&b));
	buf_free(&b);
}

/* Options ------------------------------------------------------------------------------------------------- */

/* sendmail's own options, which stand alone, with a value attached, or with a value behind. */
static int read_option(struct options *o, int argc, char **argv, int *i)
{
	const char *arg = argv[*i] + 1, *value = arg[0] != '\0' ? arg + 1 : "";

	if (strchr("frFoOBNRVXLhCpq", arg[0]) == NULL || arg[0] == '\0')
		value = "";
	else if (*value == '\0' && strchr("frFoOBNRVXLhC", arg[0]) != NULL) {
		if (*i + 1 >= argc)
			return submit_fail(EX_USAGE, "option -%c needs a value", arg[0]);
		value = argv[++*i];
	}
	switch (arg[0]) {
	case 't':
	case 'i':
		if (arg[strspn(arg, "tiUnv")] != '\0') /* flags may stand together: -ti */
			return submit_fail(EX_USAGE, "option %s is not known; see `mailadm sendmail --help`", argv[*i]);
		o->headers |= strchr(arg, 't') != NULL;
		o->keep_dots |= strchr(arg, 'i') != NULL;
		return 0;
	case 'f':
	case 'r':
		o->sender = value;
		return 0;
	case 'F':
		o->name = value;
		return 0;
	case 'o':
		o->keep_dots |= strcmp(value, "i") == 0;
		return 0;
	case 'b':
		o->mode = arg[1] == 'p'   ? MODE_QUEUE
		          : arg[1] == 's' ? MODE_SMTP
		          : arg[1] == 'i' ? MODE_NOTHING
		                          : MODE_SEND;
		return arg[1] != '\0' && strchr("mpsi", arg[1]) != NULL
		           ? 0
		           : submit_fail(EX_USAGE, "mode -b%s is not known; there are -bm, -bp, -bs and -bi", arg + 1);
	case 'q': /* the queue runs by itself */
		o->mode = MODE_NOTHING;
		return 0;
	default:
		if (arg[0] != '\0' && strchr("OBNRVXLhCGUmnpsvxd", arg[0]) != NULL)
			return 0; /* taken for compatibility, without effect */
		return submit_fail(EX_USAGE, "option %s is not known; see `mailadm sendmail --help`", argv[*i]);
	}
}

static int read_options(struct options *o, struct names *to, int argc, char **argv)
{
	int i;

	for (i = 1; i < argc && argv[i][0] == '-' && argv[i][1] != '\0'; i++) {
		int status;

		if (strcmp(argv[i], "--") == 0) {
			i++;
			break;
		}
		status = read_option(o, argc, argv, &i);
		if (status != 0)
			return status;
	}
	for (; i < argc; i++) {
		size_t before = to->count;

		mime_addresses(view_of(argv[i]), note_mailbox, to);
		if (to->count == before)
			return submit_fail(EX_NOUSER, "\"%s\" is no address", argv[i]);
	}
	return 0;
}

/* The message --------------------------------------------------------------------------------------------- */

/*
 * Reads one line and gives it without its end.  LF and CR LF end a line; so does a lone CR, which is what progress bars
 * leave in the output of cron jobs.  NUL bytes are dropped: no message may hold one.
 */
static bool read_line(FILE *in, struct buf *line)
{
	int c;

	buf_reset(line);
	while ((c = getc(in)) != EOF) {
		if (c == '\r') {
			c = getc(in);
			if (c != '\n' && c != EOF)
				ungetc(c, in);
			return true;
		}
		if (c == '\n')
			return true;
		if (c != '\0')
			buf_addc(line, (char)c);
	}
	return line->len > 0;
}

static bool is_field(struct view line)
{
	size_t n = 0;

	while (n < line.len && line.ptr[n] > 32 && line.ptr[n] < 127 && line.ptr[n] != ':')
		n++;
	return n > 0 && n < line.len && line.ptr[n] == ':';
}

/*
 * The whole of stdin as CRLF text.  A text that does not begin like a header gets an empty one, and the "From " line of
 * a mailbox file is dropped.
 */
static int read_message(const struct options *o, struct buf *header, struct buf *body)
{
	struct buf line = BUF_INIT(MESSAGE_MAX);
	bool in_header = true, first = true;

	while (read_line(stdin, &line)) {
		struct view v = buf_view(&line);

		if (!o->keep_dots && view_eq(v, "."))
			break;
		if (first && v.len > 5 && memcmp(v.ptr, "From ", 5) == 0)
			continue;
		if (in_header && v.len == 0) {
			in_header = first = false;
			continue;
		}
		if (in_header && !is_field(v) && (first || (v.ptr[0] != ' ' && v.ptr[0] != '\t')))
			in_header = false;
		first = false;
		buf_addv(in_header ? header : body, v);
		buf_puts(in_header ? header : body, "\r\n");
	}
	if (ferror(stdin))
		return submit_fail(EX_IOERR, "cannot read stdin: %s", strerror(errno));
	if (header->full || body->full || line.full)
		return submit_fail(EX_DATAERR, "the message is too large");
	buf_free(&line);
	return 0;
}

/* -t: recipients stand in the header; Bcc is taken out of it. */
static void take_recipients(struct buf *header, struct names *to)
{
	struct buf kept = BUF_INIT(HEADER_MAX);
	struct mime_header field;
	size_t pos = 0;

	while (mime_header_next(buf_view(header), &pos, &field)) {
		bool bcc = view_caseeq(field.name, "Bcc");

		if (bcc || view_caseeq(field.name, "To") || view_caseeq(field.name, "Cc"))
			mime_addresses(field.value, note_mailbox, to);
		if (!bcc)
			buf_addv(&kept, field.field);
	}
	buf_free(header);
	*header = kept;
}

static bool has_high_bytes(struct view v)
{
	for (size_t i = 0; i < v.len; i++)
		if ((unsigned char)v.ptr[i] > 127)
			return true;
	return false;
}

/*
 * A name as encoded words (RFC 2047): an accent in /etc/passwd must not make mail undeliverable where the next host has
 * no SMTPUTF8.
 */
static void put_encoded(struct buf *out, const char *name)
{
	struct view left = view_of(name);

	while (left.len > 0) {
		size_t n = left.len < 45 ? left.len : 45;

		while (n < left.len && n > 1 && ((unsigned char)left.ptr[n] & 0xc0) == 0x80)
			n--; /* no character in two words */
		buf_puts(out, "=?utf-8?B?");
		text_base64_encode(out, (struct view){ left.ptr, n });
		left = (struct view){ left.ptr + n, left.len - n };
		buf_puts(out, left.len > 0 ? "?=\r\n " : "?=");
	}
}

static void put_phrase(struct buf *out, const char *name)
{
	const char *quote = strpbrk(name, "()<>@,;:\\\".[]") != NULL ? "\"" : "";

	buf_puts(out, quote);
	for (; *name != '\0'; name++) {
		if ((unsigned char)*name < ' ')
			continue; /* a name is one line */
		if (*name == '"' || *name == '\\')
			buf_addc(out, '\\');
		buf_addc(out, *name);
	}
	buf_puts(out, quote);
}

/* Who the mail is from, when its author did not say. */
static void add_from(struct buf *header, const char *name, const char *sender)
{
	struct buf whole = BUF_INIT(2 * HEADER_MAX);

	buf_puts(&whole, "From: ");
	if (has_high_bytes(view_of(name)))
		put_encoded(&whole, name);
	else if (name[0] != '\0')
		put_phrase(&whole, name);
	buf_printf(&whole, "%s<%s>\r\n", name[0] != '\0' ? " " : "", sender);
	buf_addv(&whole, buf_view(header));
	buf_free(header);
	*header = whole;
}

/* The dialogue -------------------------------------------------------------------------------------------- */

/* The exit code for a reply that is no success, with the host's words. */
static int refused(struct submit *h, int permanent, const char *what)
{
	if (h->code / 100 == 2 || h->code == 354)
		return 0;
	return submit_fail(h->code / 100 == 4 ? EX_TEMPFAIL : permanent, "%s: %s", what, buf_str(&h->text));
}

static int envelope(struct submit *h, const char *sender, const struct names *to, bool utf8)
{
	int status = submit_ask(h, "MAIL FROM:<%s>%s", sender, utf8 ? " SMTPUTF8" : "");

	if (status == 0)
		status = refused(h, EX_NOPERM, sender);
	for (size_t i = 0; i < to->count && status == 0; i++) {
		status = submit_ask(h, "RCPT TO:<%s>", to->at[i]);
		if (status == 0)
			status = refused(h, h->code == 550 ? EX_NOUSER : EX_UNAVAILABLE, to->at[i]);
	}
	return status;
}

/* Header, blank line and body, with dots doubled. */
static int send_content(struct submit *h, struct view header, struct view body)
{
	struct buf out = BUF_INIT(2 * MESSAGE_MAX);
	struct view parts[] = { header, VIEW_LIT("\r\n"), body };
	bool line_start = true;
	int sent;

	for (size_t p = 0; p < 3; p++)
		for (size_t i = 0; i < parts[p].len; i++) {
			char c = parts[p].ptr[i];

			if (line_start && c == '.')
				buf_addc(&out, '.');
			buf_addc(&out, c);
			line_start = c == '\n';
		}
	buf_puts(&out, ".\r\n");
	sent = submit_send(h, buf_view(&out));
	buf_free(&out);
	return sent == -1 ? submit_fail(EX_TEMPFAIL, "the mail host closed the connection") : submit_reply(h);
}

/* The first word of the greeting is the host's name. */
static char *greeting_name(struct submit *h)
{
	const char *name = buf_str(&h->text);

	name = strlen(name) > 4 ? name + 4 : "localhost";
	return view_dup((struct view){ name, strcspn(name, " ") });
}

/* user@host for a sender that is missing or bare; "" stays: -f '<>' is the null sender. */
static char *complete_sender(const struct options *o, const struct passwd *pw, const char *host_name)
{
	struct view given = view_of(o->sender);

	if (o->sender != NULL && given.len > 1 && given.ptr[0] == '<' && given.ptr[given.len - 1] == '>')
		given = (struct view){ given.ptr + 1, given.len - 2 };
	if (o->sender != NULL && given.len == 0)
		return xstrdup("");
	if (given.len == 0)
		given = view_of(pw != NULL ? pw->pw_name : "nobody");
	if (memchr(given.ptr, '@', given.len) != NULL)
		return view_dup(given);
	return xasprintf("%.*s@%s", (int)given.len, given.ptr, host_name);
}

static char *full_name(const struct options *o, const struct passwd *pw)
{
	if (o->name != NULL)
		return xstrdup(o->name);
	if (pw == NULL)
		return xstrdup("");
	return view_dup((struct view){ pw->pw_gecos, strcspn(pw->pw_gecos, ",") });
}

static int converse(
    struct submit *h, const struct options *o, struct buf *header, struct view body, const struct names *to)
{
	const struct passwd *pw = getpwuid(getuid());
	char *host_name = NULL, *sender = NULL, *name = full_name(o, pw);
	bool utf8;
	int status = submit_reply(h);

	if (status == 0)
		status = refused(h, EX_UNAVAILABLE, "mail host");
	if (status != 0)
		goto out;
	host_name = greeting_name(h);
	sender = complete_sender(o, pw, host_name);
	if (mime_header_find(buf_view(header), "From").ptr == NULL) {
		char *author = sender[0] != '\0' ? xstrdup(sender) : xasprintf("postmaster@%s", host_name);

		add_from(header, name, author);
		free(author);
	}
	utf8 = has_high_bytes(buf_view(header)) || has_high_bytes(view_of(sender));
	for (size_t i = 0; i < to->count; i++)
		utf8 |= has_high_bytes(view_of(to->at[i]));
	if ((status = submit_ask(h, "EHLO localhost")) != 0 ||
	    (status = refused(h, EX_UNAVAILABLE, "mail host")) != 0 || (status = envelope(h, sender, to, utf8)) != 0)
		goto out;
	if ((status = submit_ask(h, "DATA")) != 0 || (status = refused(h, EX_UNAVAILABLE, "message")) != 0)
		goto out;
	if ((status = send_content(h, buf_view(header), body)) != 0)
		goto out;
	status =
	    refused(h, h->code == 552 || h->code == 550 || h->code == 554 ? EX_DATAERR : EX_UNAVAILABLE, "message");
out:
	free(host_name);
	free(sender);
	free(name);
	return status;
}

static int send_message(struct cli *cli, const struct options *o, struct names *to)
{
	struct buf header = BUF_INIT(HEADER_MAX), body = BUF_INIT(MESSAGE_MAX);
	struct submit h = { .fd = -1 };
	int status = read_message(o, &header, &body);

	if (status == 0 && o->headers)
		take_recipients(&header, to);
	if (status == 0 && to->count == 0)
		status = submit_fail(EX_USAGE, "no recipient: name one, or give -t and a To field");
	if (status == 0)
		status = submit_open(cli, &h);
	if (status == 0)
		status = converse(&h, o, &header, buf_view(&body), to);
	submit_close(&h);
	buf_free(&header);
	buf_free(&body);
	return status;
}

/* -bs: stdin and stdout are an SMTP session with the host. */
static int pipe_smtp(struct cli *cli)
{
	struct submit h = { .fd = -1 };
	int status = submit_open(cli, &h);
	struct pollfd fds[2] = { { .fd = 0, .events = POLLIN }, { .fd = h.fd, .events = POLLIN } };
	char block[16384];

	while (status == 0) {
		ssize_t n = 0;

		if (poll(fds, 2, -1) == -1) {
			if (errno == EINTR)
				continue;
			status = submit_fail(EX_OSERR, "poll: %s", strerror(errno));
			break;
		}
		if (fds[0].revents != 0) {
			n = read(0, block, sizeof(block));
			if (n <= 0) {
				fds[0].fd = -1;
				shutdown(h.fd, SHUT_WR);
			} else if (submit_send(&h, (struct view){ block, (size_t)n }) == -1) {
				break;
			}
		}
		if (fds[1].revents != 0) {
			n = read(h.fd, block, sizeof(block));
			if (n <= 0)
				break;
			if (write(1, block, (size_t)n) != n)
				return submit_fail(EX_IOERR, "cannot write to stdout");
		}
	}
	submit_close(&h);
	return status;
}

static int run(struct cli *cli, int argc, char **argv)
{
	struct options o = { 0 };
	struct names to = { 0 };
	int status;

	if (argc > 1 && strcmp(argv[1], "--help") == 0) { /* -h has a meaning of its own here */
		cli_wants_help(cli, &cmd_sendmail, argc, argv);
		return EX_OK;
	}
	status = read_options(&o, &to, argc, argv);
	if (status == 0)
		switch (o.mode) {
		case MODE_QUEUE:
			status = cmd_mailq.run(cli, 1, (char *[]){ (char[]){ "mailq" }, NULL });
			break;
		case MODE_SMTP:
			status = pipe_smtp(cli);
			break;
		case MODE_NOTHING:
			break;
		case MODE_SEND:
			status = send_message(cli, &o, &to);
			break;
		}
	for (size_t i = 0; i < to.count; i++)
		free(to.at[i]);
	free(to.at);
	return status;
}

const struct command cmd_sendmail = {
	.name = "sendmail",
	.synopsis = "[-t] [-i] [-f SENDER] [-F NAME] [RECIPIENT ...] | -bp | -bs",
	.summary = "send the message on stdin, as /usr/sbin/sendmail does",
	.help =
	    "  -t         recipients are in To, Cc and Bcc; Bcc is taken out\n"
	    "  -i, -oi    a line with a single dot does not end the message\n"
	    "  -f SENDER  envelope sender (-r too); '<>' is the null sender\n"
	    "  -F NAME    full name for a From field that is missing\n"
	    "  -bp        show the queue (mailq); -bs: SMTP on stdin and stdout; -bi, -q: nothing to do\n"
	    "Other options of sendmail are taken and ignored.  Exit codes are those of sysexits(3): 0 sent, 64 usage,\n"
	    "65 bad message, 67 unknown recipient, 69 refused, 75 try again later (the host does not run), 77 not your "
	    "sender.\n"
	    "\n"
	    "Example: printf 'Subject: hi\\n\\nhello\\n' | mailadm sendmail root\n",
	.run = run,
};
