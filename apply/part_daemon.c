/*
 * The part `daemon`: the running host serves the site.  It is given the flattened site itself over the control socket,
 * so that what is applied is what was planned, whatever the file says by then.  A host that does not run has nothing to
 * change: it reads the site when it starts (or STATE/apply/serving, see mailsvc/monitor/serving.c).
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "apply/diff.h"
#include "apply/digest.h"
#include "apply/internal.h"
#include "lib/imsg.h"
#include "mailsvc/control.h"

#define CAPTURED "site.conf"

static bool applies(const struct site *site, struct buf *why)
{
	struct error e = { "" };
	int fd = is_gateway(site) ? -2 : control_connect(site, &e);

	if (is_gateway(site))
		buf_puts(why, "the gateway has none");
	else if (fd == -2)
		buf_puts(why, "the host does not run: it reads the site when it starts");
	else if (fd >= 0)
		close(fd);
	return fd != -2; /* -1 is for plan to say */
}

int daemon_site(const struct site *site, struct buf *text, struct error *e)
{
	int fd = control_connect(site, e), r;

	if (fd < 0)
		return fd == -2 ? 0 : -1;
	r = control_ask(fd, CONTROL_SITE, CONTROL_TIMEOUT_MS, text, NULL, e);
	close(fd);
	return r == 1 ? error_set(e, "%.400s", buf_str(text)) : r < 0 ? -1 : 1;
}

static int plan(const struct site *site, struct changes *changes, struct error *e)
{
	struct buf live = BUF_INIT(SITE_TEXT_MAX), want = BUF_INIT(SITE_TEXT_MAX), diff = BUF_INIT(SITE_TEXT_MAX);
	int r = daemon_site(site, &live, e);

	if (r > 0 && site_flatten(site, &want) < 0)
		r = error_set(e, "%s: the site is too large", site->path);
	if (r > 0 && (live.len != want.len || memcmp(live.data, want.data, live.len) != 0)) {
		char has[DIGEST_HEX], gets[DIGEST_HEX];

		digest_hex(buf_view(&live), has);
		digest_hex(buf_view(&want), gets);
		diff_lines(buf_view(&live), buf_view(&want), DIFF_LINES, &diff);
		changes_add(
		    changes, "daemon", buf_view(&diff), "the running host serves site %.12s and not %.12s", has, gets);
	}
	buf_free(&live);
	buf_free(&want);
	buf_free(&diff);
	return r < 0 ? -1 : 0;
}

static int capture(const struct site *site, const char *dir, struct error *e)
{
	struct buf live = BUF_INIT(SITE_TEXT_MAX);
	int r = daemon_site(site, &live, e);

	if (r > 0)
		r = capture_put(dir, CAPTURED, buf_view(&live), e);
	buf_free(&live);
	return r < 0 ? -1 : 0;
}

int daemon_serve(const struct site *site, struct view text, struct error *e)
{
	struct buf answer = BUF_INIT(CONTROL_TEXT_MAX);
	int fd = control_connect(site, e), memory = memfd_sealed("site", text), r;

	if (fd < 0)
		r = fd == -2 ? 0 : -1;
	else if (memory < 0)
		r = error_errno(e, "no memory file");
	else
		r = control_ask_with(fd, CONTROL_RELOAD_SITE, memory, CONTROL_RELOAD_TIMEOUT_MS, &answer, NULL, e);
	if (r == 1)
		r = error_set(e, "the running host refuses the site: %.400s", buf_str(&answer));
	if (fd >= 0)
		close(fd);
	if (memory >= 0)
		close(memory);
	buf_free(&answer);
	return r;
}

static int apply(const struct site *site, struct error *e)
{
	struct buf want = BUF_INIT(SITE_TEXT_MAX);
	int r = site_flatten(site, &want) < 0 ? error_set(e, "%s: the site is too large", site->path)
	                                      : daemon_serve(site, buf_view(&want), e);

	buf_free(&want);
	return r;
}

static int restore(const struct site *site, const char *dir, struct error *e)
{
	struct buf text = BUF_INIT(SITE_TEXT_MAX);
	int r = capture_take(dir, CAPTURED, SITE_TEXT_MAX, &text, e);

	if (r > 0)
		r = daemon_serve(site, buf_view(&text), e);
	buf_free(&text);
	return r;
}

const struct part part_daemon = { "daemon", applies, plan, capture, apply, restore };
