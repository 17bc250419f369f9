/* apply.h: an apply from its first change to its end, the confirmation, and what happens to one that was left behind.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "apply/internal.h"
#include "apply/prepare.h"
#include "lib/proc.h"
#include "lib/shell.h"

#define TEXT_MAX 8192

void apply_step(void)
{
	static unsigned long at, count;
	static bool asked;

	if (!asked) {
		const char *text = getenv(APPLY_KILL_ENV);

		asked = true;
		at = text != NULL ? strtoul(text, NULL, 10) : 0;
	}
	if (at != 0 && ++count == at)
		kill(getpid(), SIGKILL);
}

/* ---- the changes */

static int change_part(const struct apply_dir *d, const struct generation *g, const struct part *p,
    const struct site *site, struct error *e)
{
	struct changes changes = { NULL, 0 };
	int r = p->plan(site, &changes, e);
	size_t count = changes.count;

	changes_free(&changes);
	if (r < 0 || count == 0) /* planned anew, since an earlier part may have changed it: keys and zones */
		return r;
	if (touched_add(d, g, p->name, e) < 0)
		return -1;
	apply_step();
	r = p->apply(site, e);
	apply_step();
	return r;
}

static int change_all(const struct apply_dir *d, const struct generation *g, const struct site *site, struct error *e)
{
	for (size_t i = 0; parts[i] != NULL; i++) {
		struct error why = { "" };

		if (part_applies(parts[i], site, NULL) && change_part(d, g, parts[i], site, &why) < 0)
			return error_set(e, "%s: %.400s", parts[i]->name, why.text);
	}
	return 0;
}

/* To before a generation: what it captured of the parts it touched, last part first. */
static int change_back(
    const struct apply_dir *d, const struct generation *g, const struct apply_request *q, struct error *e)
{
	size_t count = 0;

	while (parts[count] != NULL)
		count++;
	for (size_t i = count; i > 0; i--) {
		const struct part *p = parts[i - 1];
		struct error why = { "" };
		char name[64], *path;
		int r;

		snprintf(name, sizeof(name), "captured/%s/", p->name);
		if (!generation_has(d, q->back->number, name) || !part_applies(p, q->site, NULL))
			continue;
		path = generation_file(d, q->back->number, name);
		r = generation_verify(d, q->back, name, &why) < 0 || touched_add(d, g, p->name, &why) < 0 ? -1 : 0;
		apply_step();
		if (r == 0)
			r = p->restore(q->site, path, &why);
		apply_step();
		free(path);
		if (r < 0)
			return error_set(e, "%s: %.400s", p->name, why.text);
	}
	return 0;
}

static int settle_state(struct apply_dir *d, struct generation *g, struct error *e)
{
	g->since = clock_boot_ms();
	g->deadline = g->confirm > 0 ? g->since + 1000ull * g->confirm : 0;
	g->state = g->confirm > 0 ? GEN_PENDING : GEN_CONFIRMED;
	return generation_save(d, g, e);
}

int apply_run(struct apply_dir *d, const struct apply_request *q, struct generation *g, struct error *e)
{
	int r;

	if (generation_begin(d, q, g, e) < 0)
		return -1;
	orphans_mark(d, g->number);
	r = q->back != NULL ? change_back(d, g, q, e) : change_all(d, g, q->site, e);
	orphans_unmark();
	if (r < 0 || settle_state(d, g, e) < 0)
		return take_back(d, g, GEN_FAILED, e->text, e);
	apply_step();
	if (g->state != GEN_CONFIRMED)
		return 0;
	r = make_permanent(d, g, e);
	if (r < 0) {
		char *why = xstrdup(e->text);

		error_set(e,
		    "%.300s; everything is changed, but not all of it would outlive a restart: mailadm apply "
		    "--recover tries again",
		    why);
		free(why);
	}
	return r;
}

/* ---- confirm, and what was left behind */

static bool time_over(const struct generation *g)
{
	char boot_id[40];

	generation_boot_id(boot_id);
	return strcmp(boot_id, g->boot_id) != 0 || (g->deadline != 0 && clock_boot_ms() >= g->deadline);
}

int apply_confirm(struct apply_dir *d, const struct caller *caller, bool console, struct generation *g, struct error *e)
{
	unsigned number;
	int r = pending_read(d, &number, e);

	*g = (struct generation){ .number = 0 };
	if (r == 0)
		error_set(
		    e, "nothing waits for a confirmation; mailadm rollback --list shows what became of the last one");
	if (r != 1)
		return r < 0 ? -1 : 1;
	if (generation_load(d, number, g, e) < 0)
		return -1;
	if (g->state == GEN_PENDING && !time_over(g)) {
		if (caller_may_confirm(&g->caller, g->since, caller, console, e) < 0)
			return 1;
		g->state = GEN_CONFIRMED;
		apply_step();
		if (generation_save(d, g, e) < 0)
			return -1;
		apply_step();
	}
	if (g->state == GEN_CONFIRMED)
		return make_permanent(d, g, e);
	if (g->state == GEN_APPLYING)
		orphans_end(d, number);
	take_back(d, g, GEN_ROLLED_BACK,
	    g->state == GEN_PENDING ? "it was not confirmed in time" : "its apply was cut off", e);
	return 1;
}

enum settle apply_settle(struct apply_dir *d, bool now, const char *reason, struct generation *g, struct error *e)
{
	unsigned number;
	int r = pending_read(d, &number, e);

	*g = (struct generation){ .number = 0 };
	if (r <= 0)
		return r < 0 ? SETTLE_FAILED : SETTLE_NOTHING;
	if (generation_load(d, number, g, e) < 0) {
		char *why = xstrdup(e->text);

		error_set(e, "%.300s; put the host right by hand, then remove %s/pending", why, d->path);
		free(why);
		return SETTLE_FAILED;
	}
	if (g->state == GEN_CONFIRMED)
		return make_permanent(d, g, e) < 0 ? SETTLE_FAILED : SETTLE_FINISHED;
	if (g->state == GEN_PENDING && !now && !time_over(g))
		return SETTLE_WAITS;
	if (g->state == GEN_APPLYING)
		orphans_end(d, number);
	if (g->state == GEN_PENDING || g->state == GEN_APPLYING) /* who applied it is gone: the lock is ours */
		take_back(d, g, GEN_ROLLED_BACK,
		    now                        ? reason
		    : g->state == GEN_APPLYING ? "its apply was cut off"
					       : "it was not confirmed in time",
		    e);
	else if (pending_remove(d, e) < 0)
		return SETTLE_FAILED;
	return pending_read(d, &number, &(struct error){ "" }) == 0 ? SETTLE_TAKEN_BACK : SETTLE_FAILED;
}

void apply_settle_due(const char *state_dir)
{
	struct apply_dir d = { .lock = -1 };
	struct generation g = { .number = 0 };
	struct error e = { "" };
	char *pending = xasprintf("%s/apply/pending", state_dir);
	bool there = access(pending, W_OK) == 0;
	enum settle s;

	free(pending);
	if (!there)
		return;
	if (apply_dir_open(state_dir, false, &d, &e) == 0 && apply_dir_lock(&d, 0, &e) == 0) {
		s = apply_settle(&d, false, "", &g, &e);
		apply_dir_unlock(&d);
		if (s == SETTLE_TAKEN_BACK || s == SETTLE_FAILED)
			fprintf(stderr, "mailadm: generation %u: %s\n", g.number, e.text);
		if (s == SETTLE_TAKEN_BACK) /* a failure is told by the watchdogs and mailadm status, not by each command */
			apply_tell(&d, &g, e.text);
	}
	generation_free(&g);
	apply_dir_close(&d);
}

/* ---- telling */

static void send_mail(const struct site *site, const char *text, struct error *e)
{
	char self[4096];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	char *argv[] = { self, "-c", site->path, "sendmail", "-i", site->admin.contact, NULL };
	struct buf message = BUF_INIT(TEXT_MAX);

	self[n > 0 ? n : 0] = '\0';
	buf_printf(&message, "To: %s\nSubject: [%s] an apply was taken back\n\n%s", site->admin.contact,
	    site->host.name, text);
	if (n <= 0 || proc_run(argv, buf_view(&message), NULL, NULL, e) != 0)
		log_info("event=tell reason=\"no mail could be sent\"");
	buf_free(&message);
}

void apply_tell(const struct apply_dir *d, const struct generation *g, const char *text)
{
	struct buf out = BUF_INIT(TEXT_MAX);
	struct site *site;
	struct error e = { "" };
	char who[256];

	if (g->number == 0 || g->site == NULL || (site = generation_site(d, g, "site.conf", &e)) == NULL)
		return;
	caller_text(&g->caller, who, sizeof(who));
	buf_printf(&out,
	    "mailadm apply on %s, generation %u by %s:\n%s\n\nmailadm plan shows what differs from the site file.\n",
	    site->host.name, g->number, who, text);
	if (site->admin.command[0] != '\0' && shell_run(site->admin.command, buf_view(&out), -1, &e) < 0)
		log_warnx("event=tell reason=\"%s\"", e.text);
	send_mail(site, buf_str(&out), &e);
	site_unref(site);
	buf_free(&out);
}
