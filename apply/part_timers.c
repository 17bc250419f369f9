/*
 * The part `timers`: what runs by the clock.  With systemd the timers of share/systemd that the site needs are enabled,
 * the backups' with the site's schedule; without it the file /etc/cron.d/mailadm is written whole.  Only for the
 * installed site, since units and cron serve that one.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "apply/diff.h"
#include "apply/internal.h"
#include "apply/timers.h"
#include "lib/proc.h"

#define CRON_DIR "/etc/cron.d"
#define CRON_FILE CRON_DIR "/mailadm"
#define CRON_MAX (1u << 20)
#define CAPTURED_CRON "cron"
#define CAPTURED_UNITS "units"

static bool has_systemd(void)
{
	return access("/run/systemd/system", F_OK) == 0;
}

static bool applies(const struct site *site, struct buf *why)
{
	if (!machine_is_ours(site, why))
		return false;
	if (strcmp(site->path, SITE_DEFAULT) != 0)
		buf_puts(why, "units and cron serve " SITE_DEFAULT " only");
	else if (!has_systemd() && access(CRON_DIR, F_OK) < 0)
		buf_puts(
		    why, "neither systemd nor cron (" CRON_DIR ") is here; run mailadm status and backup run yourself");
	else
		return true;
	return false;
}

/*
 * Each minute: an apply that waits or was cut off, and whose watchdogs were both ended (with systemd they are started
 * again).  The site is read only when there is one; what came of it is told by apply_tell, what fails by mailadm status.
 */
static void put_third_net(const struct site *site, const char *mailadm, struct buf *out)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-";
	const char *dir = site->state_dir;

	buf_puts(out, "* * * * *\troot\t");
	if (dir[strspn(dir, plain)] == '\0') /* neither the shell nor cron sees more in it */
		buf_printf(out, "[ ! -e %s/apply/pending ] || ", dir);
	buf_printf(out, "%s apply --recover >/dev/null 2>&1\n", mailadm);
}

int timers_cron(const struct site *site, const char *mailadm, struct buf *out, struct error *e)
{
	buf_puts(out, "# Written by mailadm apply from the site, which replaces it.\n"
		      "SHELL=/bin/sh\nPATH=/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin\n");
	buf_printf(out, "@reboot\troot\t%s apply --recover --boot; /usr/share/mailadm/load-firewall\n", mailadm);
	put_third_net(site, mailadm, out);
	buf_printf(out, "*/15 * * * *\troot\t%s status --alert\n", mailadm);
	if (is_gateway(site))
		return 0;
	buf_printf(out, "40 6 * * *\troot\t%s doctor --alert --timeout 60\n", mailadm);
	buf_printf(out, "23 4 * * *\troot\t%s dns rollover >/dev/null\n", mailadm);
	for (size_t i = 0; i < site->backup_count; i++) {
		const struct site_backup *b = &site->backups[i];
		char fields[64];

		if (timers_cron_fields(b->schedule, fields) < 0)
			return error_set(e,
			    "%s:%u: backup %s: cron cannot say schedule \"%s\"; write it like \"*-*-* 03:30:00\", or "
			    "\"Sun "
			    "*-*-* 03:30:00\"",
			    b->origin.file, b->origin.line, b->name, b->schedule);
		buf_printf(out, "%s\troot\t%s backup run %s >/dev/null\n", fields, mailadm, b->name);
	}
	return out->full ? error_set(e, CRON_FILE " would be larger than %zu bytes", out->max) : 0;
}

/* 1 with its text, 0 when there is none, -1. */
static int read_cron(struct buf *text, struct error *e)
{
	if (access(CRON_FILE, F_OK) < 0)
		return 0;
	return file_read(CRON_FILE, CRON_MAX, text, e) < 0 ? -1 : 1;
}

static int plan_cron(const struct site *site, struct changes *changes, struct error *e)
{
	struct buf has = BUF_INIT(CRON_MAX), want = BUF_INIT(CRON_MAX), diff = BUF_INIT(2 * CRON_MAX);
	int r = read_cron(&has, e);

	if (r >= 0 && timers_cron(site, "mailadm", &want, e) < 0)
		r = -1;
	if (r >= 0 && (has.len != want.len || memcmp(has.data, want.data, has.len) != 0)) {
		diff_lines(buf_view(&has), buf_view(&want), DIFF_LINES, &diff);
		changes_add(changes, "timers", buf_view(&diff), CRON_FILE " %s", r > 0 ? "differs" : "is not there");
	}
	buf_free(&has);
	buf_free(&want);
	buf_free(&diff);
	return r < 0 ? -1 : 0;
}

static int plan_systemd(const struct site *site, struct changes *changes, struct error *e)
{
	struct timers has = { NULL, 0 }, wants = { NULL, 0 };
	struct buf diff = BUF_INIT(CRON_MAX);
	int r = timers_systemd_read(&has, e);

	timers_wanted(site, &wants);
	if (r == 0 && timers_differ(&has, &wants, &diff))
		changes_add(changes, "timers", buf_view(&diff), "the enabled timers differ");
	timers_free(&has);
	timers_free(&wants);
	buf_free(&diff);
	return r;
}

static int plan(const struct site *site, struct changes *changes, struct error *e)
{
	return has_systemd() ? plan_systemd(site, changes, e) : plan_cron(site, changes, e);
}

static int capture(const struct site *site, const char *dir, struct error *e)
{
	struct timers has = { NULL, 0 };
	struct buf text = BUF_INIT(CRON_MAX);
	int r;

	(void)site;
	if (has_systemd()) {
		r = timers_systemd_read(&has, e);
		timers_text(&has, &text);
		if (r == 0)
			r = capture_put(dir, CAPTURED_UNITS, buf_view(&text), e);
	} else {
		r = read_cron(&text, e);
		if (r >= 0) /* an empty file stands for none */
			r = capture_put(dir, CAPTURED_CRON, buf_view(&text), e);
	}
	timers_free(&has);
	buf_free(&text);
	return r < 0 ? -1 : 0;
}

static int set_systemd(const struct timers *wants, struct error *e)
{
	struct timers has = { NULL, 0 };
	int r = timers_systemd_read(&has, e) < 0 ? -1 : timers_systemd_set(&has, wants, e);

	timers_free(&has);
	return r;
}

static int apply(const struct site *site, struct error *e)
{
	struct timers wants = { NULL, 0 };
	struct buf text = BUF_INIT(CRON_MAX);
	int r;

	if (has_systemd()) {
		timers_wanted(site, &wants);
		r = set_systemd(&wants, e);
	} else {
		r = timers_cron(site, "mailadm", &text, e);
		if (r == 0)
			r = file_write_atomic(CRON_FILE, buf_view(&text), 0644, e);
	}
	timers_free(&wants);
	buf_free(&text);
	return r;
}

static int restore_cron(struct view text, struct error *e)
{
	if (text.len > 0)
		return file_write_atomic(CRON_FILE, text, 0644, e);
	return unlink(CRON_FILE) < 0 && errno != ENOENT ? error_errno(e, CRON_FILE) : 0;
}

static int restore(const struct site *site, const char *dir, struct error *e)
{
	struct timers wants = { NULL, 0 };
	struct buf text = BUF_INIT(CRON_MAX);
	int r = capture_take(dir, CAPTURED_CRON, CRON_MAX, &text, e);

	(void)site;
	if (r > 0) {
		r = restore_cron(buf_view(&text), e);
	} else if (r == 0 && (r = capture_take(dir, CAPTURED_UNITS, CRON_MAX, &text, e)) > 0) {
		r = timers_parse(buf_view(&text), &wants, e);
		if (r == 0)
			r = set_systemd(&wants, e);
	}
	timers_free(&wants);
	buf_free(&text);
	return r < 0 ? -1 : 0;
}

const struct part part_timers = { "timers", applies, plan, capture, apply, restore };
