/* prepare.h: the two ends of a generation, taken back or made permanent.  Each step may be repeated after a crash
 * anywhere. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "apply/internal.h"
#include "apply/prepare.h"
#include "lib/proc.h"

static int restore_part(const struct apply_dir *d, const struct generation *g, const struct part *p,
    const struct site *site, struct error *e)
{
	char name[64], *path;
	int r;

	snprintf(name, sizeof(name), "captured/%s/", p->name);
	if (site == NULL && (p == &part_zones || p == &part_daemon))
		return error_set(e, "its site cannot be read");
	if (generation_verify(d, g, name, e) < 0)
		return -1;
	path = generation_file(d, g->number, name);
	r = p->restore(site, path, e);
	free(path);
	return r;
}

/* Every touched part, last first.  One that fails does not keep the others from coming back; nor does a site that
 * cannot be read, which firewall, timers and keys do without. */
static int restore_parts(
    const struct apply_dir *d, const struct generation *g, const struct site *site, struct error *e)
{
	size_t count = 0;
	int r = 0;

	while (parts[count] != NULL)
		count++;
	for (size_t i = count; i > 0; i--) {
		const struct part *p = parts[i - 1];
		struct error why = { "" };

		if (!touched_has(d, g, p->name))
			continue;
		apply_step();
		if (restore_part(d, g, p, site, &why) < 0) {
			log_warnx("event=restore generation=%u part=%s reason=\"%s\"", g->number, p->name, why.text);
			if (r == 0)
				error_set(e, "%s cannot be put back: %.440s", p->name, why.text);
			r = -1;
		}
		apply_step();
	}
	return r;
}

/* The held site stays what a start serves, and says why. */
static int keep_serving(const struct apply_dir *d, const struct generation *g, const char *reason, struct error *e)
{
	char *path = generation_file(d, g->number, "previous.conf"), why[400];
	struct buf text = BUF_INIT(SITE_TEXT_MAX);
	int r = 0;

	snprintf(why, sizeof(why), "generation %u of mailadm apply was taken back (%.300s)", g->number, reason);
	why[strcspn(why, "\n")] = '\0';
	if (previous_differs(d, g))
		r = generation_verify(d, g, "previous.conf", e) < 0 || file_read(path, SITE_TEXT_MAX, &text, e) < 0
		        ? -1
		        : serving_write(d, why, buf_view(&text), e);
	buf_free(&text);
	free(path);
	return r;
}

int take_back(struct apply_dir *d, struct generation *g, enum generation_state end, const char *reason, struct error *e)
{
	char *why = xstrdup(reason); /* it may be e's own text */
	struct error problem = { "" };
	struct error none = { "" };
	struct site *site = generation_site(d, g, "site.conf", &problem);
	int r = restore_parts(d, g, site, site != NULL ? &problem : &none);

	if (site == NULL)
		r = -1;
	apply_step();
	if (r == 0)
		reserve_release(d, g);
	if (r == 0)
		r = keep_serving(d, g, why, &problem);
	if (r == 0) {
		g->state = end;
		free(g->reason);
		g->reason = xstrdup(why);
		r = generation_save(d, g, &problem);
	}
	apply_step();
	if (r == 0)
		r = pending_remove(d, &problem);
	apply_step();
	if (r < 0)
		error_set(e, "%.150s; generation %u is not taken back in full: %.240s", why, g->number, problem.text);
	else
		error_set(e, "%.440s; everything is as it was", why);
	site_unref(site);
	free(why);
	return -1;
}

static int copy(const char *from, const char *to, mode_t mode, struct error *e)
{
	struct buf text = BUF_INIT(FIREWALL_TEXT_MAX);
	int r = file_read(from, FIREWALL_TEXT_MAX, &text, e) < 0 ? -1 : file_write_atomic(to, buf_view(&text), mode, e);

	buf_free(&text);
	return r;
}

static int permanent_boot(const struct apply_dir *d, const struct generation *g, struct error *e)
{
	char *path = firewall_boot_path(d->state_dir), *from = generation_file(d, g->number, "boot.nft");
	int r = 0;

	if (g->boot == BOOT_WRITE)
		r = generation_verify(d, g, "boot.nft", e) < 0 ? -1 : copy(from, path, 0600, e);
	else if (g->boot == BOOT_REMOVE && unlink(path) < 0 && errno != ENOENT)
		r = error_errno(e, "%s", path);
	free(path);
	free(from);
	return r;
}

static int permanent_serving(const struct apply_dir *d, const struct generation *g, struct error *e)
{
	char *path = generation_file(d, g->number, "serve.conf"), why[128];
	struct buf text = BUF_INIT(SITE_TEXT_MAX);
	int r = 0;

	if (!generation_has(d, g->number, "serve.conf")) {
		free(path);
		return serving_remove(d, e);
	}
	snprintf(why, sizeof(why), "generation %u, a rollback to generation %u", g->number, g->target);
	r = generation_verify(d, g, "serve.conf", e) < 0 || file_read(path, SITE_TEXT_MAX, &text, e) < 0
	        ? -1
	        : serving_write(d, why, buf_view(&text), e);
	buf_free(&text);
	free(path);
	return r;
}

int make_permanent(struct apply_dir *d, const struct generation *g, struct error *e)
{
	reserve_release(d, g);
	if (permanent_boot(d, g, e) < 0)
		return -1;
	apply_step();
	if (permanent_serving(d, g, e) < 0)
		return -1;
	apply_step();
	if (pending_remove(d, e) < 0)
		return -1;
	apply_step();
	generations_prune(d, g->number);
	return 0;
}
