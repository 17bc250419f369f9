/*
 * alert.h.  Mail goes through `mailadm sendmail`, so through the running host; admin.command is run by lib/shell.h, as
 * the user that has no rights.  It is told when one of the two took it.
 */
#include "cli/alert.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "doctor/alert_state.h"
#include "lib/clock.h"
#include "lib/proc.h"
#include "lib/shell.h"
#include "lib/text.h"

#define MESSAGE_MAX (4u << 20)
#define REMIND_S (24 * 3600)
#define MAIL_LIMIT_S "60"
#define LINE_LONG 900

/* UTF-8 or not, it must fit JSON and mail: what is no ASCII becomes '?' when the whole is no UTF-8.  Cut to max bytes,
 * between characters. */
static char *plain_text(const char *text, size_t max)
{
	size_t len = strnlen(text, max);
	while (len > 0 && ((unsigned char)text[len] & 0xc0) == 0x80)
		len--;
	char *copy = view_dup((struct view){ text, len });
	json_t *valid = json_string(copy);
	for (char *p = copy; *p; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f || (!valid && (unsigned char)*p > 0x7e))
			*p = '?';
	json_decref(valid);
	return copy;
}

/* What tells a row from others, for people too. */
static char *key_of(const struct check_result *r)
{
	char *raw = xasprintf("%s%s%s", r->check, r->subject[0] ? " " : "", r->subject),
	     *key = plain_text(raw, ALERT_KEY_MAX);
	free(raw);
	return key;
}

/*
 * Told before, and not wrong now: may it be so all the same?  A row of its own decides; without one, whether something
 * that could have made that row was not looked at: a row of its check, or a check as a whole (which has no subject).
 */
static bool is_unanswered(const struct alert_kind *kind, const struct check_results *rows, const char *key)
{
	bool unknown = false, looked = false, own_row = false, own_unknown = false;
	for (size_t i = 0; i < rows->count; i++) {
		const struct check_result *r = &rows->at[i];
		size_t len = strlen(r->check);
		bool of_check = strncmp(key, r->check, len) == 0 && (key[len] == ' ' || key[len] == '\0');
		char *own = of_check ? key_of(r) : NULL;
		if (own && strcmp(own, key) == 0) { /* perhaps one of several: block lists of an address */
			own_row = true;
			own_unknown = own_unknown || r->state == CHECK_UNKNOWN;
		}
		free(own);
		looked = looked || of_check;
		unknown = unknown || (r->state == CHECK_UNKNOWN && (of_check || !r->subject[0]));
	}
	return own_row ? own_unknown : unknown || (kind->partial && !looked);
}

static void collect(const struct alert_kind *kind, const struct check_results *rows, const struct alert_state *old,
    struct alert_state *out)
{
	for (size_t i = 0; i < rows->count; i++) {
		const struct check_result *r = &rows->at[i];
		if (r->state == CHECK_OK || (kind->wrong_only && r->state != CHECK_WRONG))
			continue;
		char *key = key_of(r),
		     *raw = xasprintf("%s: %s%s%s", key, r->seen, r->remedy[0] ? "; " : "", r->remedy);
		char *text = plain_text(raw, ALERT_TEXT_MAX);
		free(raw);
		const struct alert_item *before = alert_state_find(old, key);
		if (!alert_state_find(out, key))
			alert_state_add(out, key, text, before ? before->since : clock_wall());
		free(text);
		free(key);
	}
	for (size_t i = 0; kind->wrong_only && i < old->count; i++)
		if (!alert_state_find(out, old->at[i].key) && is_unanswered(kind, rows, old->at[i].key))
			alert_state_add(out, old->at[i].key, old->at[i].text, old->at[i].since);
}

/* One row, over several lines where it is long: a line of mail has at most 998 bytes (RFC 5322 2.1.1). */
static void put_item(struct buf *out, const char *text)
{
	while (strlen(text) > LINE_LONG) {
		size_t n = LINE_LONG;
		while (n > LINE_LONG / 2 && text[n] != ' ')
			n--;
		if (text[n] != ' ') /* no blank there: between characters */
			for (n = LINE_LONG; ((unsigned char)text[n] & 0xc0) == 0x80;)
				n--;
		buf_printf(out, "  %.*s\n  ", (int)n, text);
		text += n + (text[n] == ' ');
	}
	buf_printf(out, "  %s", text);
}

/* Those in a that are in b (or are not), under a heading. How many. */
static size_t put_items(
    struct buf *out, const char *heading, const struct alert_state *a, const struct alert_state *b, bool in_b)
{
	size_t count = 0;
	for (size_t i = 0; i < a->count; i++) {
		char since[40];
		if ((alert_state_find(b, a->at[i].key) != NULL) != in_b)
			continue;
		if (count++ == 0)
			buf_printf(out, "%s\n", heading);
		text_rfc5322_date(a->at[i].since, since);
		put_item(out, a->at[i].text);
		buf_printf(out, " (since %s)\n", since);
	}
	if (count > 0)
		buf_addc(out, '\n');
	return count;
}

/* What to say, its first line the subject; false: nothing. */
static bool compose(const struct alert_state *old, const struct alert_state *now, const struct alert_kind *kind,
    const char *host, struct buf *subject, struct buf *body)
{
	int64_t passed = clock_wall() - old->told;
	size_t new = put_items(body, "New:", now, old, false), still = put_items(body, "Still so:", now, old, true),
	       gone = put_items(body, "Well again:", old, now, false);
	if (new == 0 && gone == 0 && (still == 0 || (passed >= 0 && passed < REMIND_S)))
		return false;
	if (now->count == 0)
		buf_printf(subject, "[%s] all is well again", host);
	else
		buf_printf(subject, "[%s] %zu %s%s", host, now->count,
		    now->count == 1 ? "thing is wrong" : "things are wrong",
		    new == 0 && gone == 0 ? " (reminder)" : "");
	buf_printf(body, "%s on %s shows what is so now.\n", kind->command, host);
	return true;
}

static int send_mail(struct cli *cli, const char *subject, const char *body)
{
	const struct site *site = cli->site;
	char self[4096], date[40];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	struct buf message = BUF_INIT(MESSAGE_MAX), err = BUF_INIT(4096);
	struct error e = { "" };
	if (n <= 0 || !site->admin.contact || !site->admin.contact[0])
		return -1;
	self[n] = '\0';
	text_rfc5322_date(clock_wall(), date);
	buf_printf(&message, "From: mailadm <postmaster@%s>\nTo: <%s>\nDate: %s\nSubject: %s\n", site->host.name,
	    site->admin.contact, date, subject);
	buf_puts(
	    &message, "Auto-Submitted: auto-generated\nMIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\n");
	buf_printf(&message, "Content-Transfer-Encoding: 8bit\n\n%s", body);
	char *argv[] = { "timeout", MAIL_LIMIT_S, self, "-c", (char *)(uintptr_t)cli->site_path, "sendmail", "-i", "-f",
		"<>", "--", (char *)(uintptr_t)site->admin.contact, NULL };
	int status = proc_run(argv, buf_view(&message), NULL, &err, &e);
	if (status != 0)
		cli_error("the mail to %s was not taken: %s", site->admin.contact,
		    status < 0 ? e.text
		    : err.len  ? buf_str(&err)
			       : "no answer in time");
	buf_free(&message);
	buf_free(&err);
	return status == 0 ? 0 : -1;
}

static int run_command(const struct site *site, const char *subject, const char *body)
{
	struct buf text = BUF_INIT(MESSAGE_MAX);
	struct error e = { "" };
	if (!site->admin.command[0])
		return -1;
	buf_printf(&text, "%s\n\n%s", subject, body);
	int r = shell_run(site->admin.command, buf_view(&text), STDERR_FILENO, &e);
	if (r < 0)
		cli_error("admin.command \"%s\": %s", site->admin.command, e.text);
	buf_free(&text);
	return r;
}

/* What cannot be read is put aside, and the administrator hears of it. */
static void read_state(const char *path, struct alert_state *old, struct alert_state *now)
{
	struct error e = { "" };
	if (alert_state_read(path, old, &e) == 0)
		return;
	char *aside = xasprintf("%s.refused", path),
	     *text = xasprintf("%s; it is %s now, and everything is told anew", e.text, aside);
	cli_error("%s", text);
	if (rename(path, aside) < 0)
		cli_error("cannot rename %s: %s", path, strerror(errno));
	alert_state_add(now, "alerts", text, clock_wall());
	free(text);
	free(aside);
}

static int tell(struct cli *cli, const struct alert_kind *kind, const char *path, const struct check_results *rows)
{
	struct alert_state old = { 0 }, now = { 0 };
	struct buf subject = BUF_INIT(1024), body = BUF_INIT(MESSAGE_MAX);
	struct error e = { "" };
	int result = 0;
	read_state(path, &old, &now);
	collect(kind, rows, &old, &now);
	if (compose(&old, &now, kind, cli->site->host.name, &subject, &body)) {
		int mailed = send_mail(cli, buf_str(&subject), buf_str(&body));
		int commanded = run_command(cli->site, buf_str(&subject), buf_str(&body));
		now.told = clock_wall();
		result = mailed == 0 || commanded == 0 ? alert_state_write(path, &now, &e) : -1;
		if (result < 0)
			cli_error("%s; the next run tells it again", e.text[0] ? e.text : "nobody could be told");
	}
	alert_state_free(&old);
	alert_state_free(&now);
	buf_free(&subject);
	buf_free(&body);
	return result;
}

int alert_tell(struct cli *cli, const struct alert_kind *kind, const struct check_results *rows)
{
	char *path = site_state(cli->site, kind->file), *lock_path = xasprintf("%s.lock", path);
	int result = -1, lock = open(lock_path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (lock < 0)
		cli_error("%s: %s; run it as root", lock_path, strerror(errno));
	else if (flock(lock, LOCK_EX | LOCK_NB) < 0)
		cli_error("%s is locked: another run is telling already", lock_path);
	else
		result = tell(cli, kind, path, rows);
	if (lock >= 0)
		close(lock);
	free(lock_path);
	free(path);
	return result;
}
