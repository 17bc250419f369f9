/*
 * apply.h: the plan.  Its checksum covers the site and every change; since a change's text holds what the live host
 * has, a host that moved on gives another one.
 */
#include <stdlib.h>
#include <string.h>

#include "apply/apply.h"
#include "apply/internal.h"
#include "lib/proc.h"

#define PLAN_VERSION 1
#define PLAN_FILE_MAX (256u << 20)
#define SUMMED_MAX (256u << 20)

void plan_free(struct plan *p)
{
	changes_free(&p->changes);
	json_decref(p->skipped);
	buf_free(&p->flat);
	*p = (struct plan){ .skipped = NULL };
}

static int sum(struct plan *p, struct error *e)
{
	struct buf all = BUF_INIT(SUMMED_MAX);
	int r;

	buf_put_u32(&all, PLAN_VERSION);
	buf_put_str(&all, p->digest);
	for (size_t i = 0; i < p->changes.count; i++) {
		buf_put_str(&all, p->changes.at[i].part);
		buf_put_str(&all, p->changes.at[i].what);
		buf_put_str(&all, p->changes.at[i].diff);
	}
	r = all.full ? error_set(e, "the plan is larger than %u bytes", SUMMED_MAX) : 0;
	digest_hex(buf_view(&all), p->checksum);
	buf_free(&all);
	return r;
}

int plan_make(const struct site *site, struct plan *p, struct error *e)
{
	*p = (struct plan){ .flat = BUF_INIT(SITE_TEXT_MAX), .skipped = json_array() };
	if (site_flatten(site, &p->flat) < 0 || p->flat.full) {
		error_set(e, "%s: the site is too large", site->path);
		plan_free(p);
		return -1;
	}
	digest_hex(buf_view(&p->flat), p->digest);
	for (size_t i = 0; parts[i] != NULL; i++) {
		char *why;

		if (!part_applies(parts[i], site, &why))
			json_array_append_new(p->skipped, json_pack("{s:s, s:o}", "part", parts[i]->name, "why", json_text(why)));
		free(why);
	}
	if (parts_plan(site, &p->changes, e) < 0 || sum(p, e) < 0) {
		plan_free(p);
		return -1;
	}
	return 0;
}

json_t *plan_json(const struct plan *p, const struct site *site)
{
	json_t *changes = json_array(), *top;
	char *path = site_full_path(site);

	for (size_t i = 0; i < p->changes.count; i++) {
		const struct change *c = &p->changes.at[i];

		json_array_append_new(
		    changes, json_pack("{s:s, s:o, s:o}", "part", c->part, "what", json_text(c->what), "diff",
				 json_text(c->diff)));
	}
	top = json_pack("{s:i, s:o, s:s, s:s, s:o, s:O}", "version", PLAN_VERSION, "site", json_text(path), "digest", p->digest,
	    "checksum", p->checksum, "changes", changes, "skipped", p->skipped);
	free(path);
	return top;
}

static void add_indented(struct buf *out, const char *text)
{
	while (text[0] != '\0') {
		size_t len = strcspn(text, "\n");

		buf_printf(out, "    %.*s\n", (int)len, text);
		text += len + (text[len] == '\n');
	}
}

void plan_text(const struct plan *p, struct buf *out)
{
	size_t i;
	json_t *s;

	for (i = 0; i < p->changes.count; i++) {
		buf_printf(out, "%s: %s\n", p->changes.at[i].part, p->changes.at[i].what);
		add_indented(out, p->changes.at[i].diff);
	}
	json_array_foreach(p->skipped, i, s)
	{
		buf_printf(out, "%s: left out: %s\n", json_string_value(json_object_get(s, "part")),
		    json_string_value(json_object_get(s, "why")));
	}
	if (p->changes.count == 0)
		buf_puts(out, "no change\n");
	buf_printf(out, "plan %s\n", p->checksum);
}

int plan_file_read(const char *path, const struct site *site, char checksum[DIGEST_HEX], struct error *e)
{
	struct buf text = BUF_INIT(PLAN_FILE_MAX);
	json_t *top = NULL;
	char *full = site_full_path(site);
	const char *of, *sum_text;
	int version, r = -1;

	if (file_read(path, PLAN_FILE_MAX, &text, e) < 0)
		goto out;
	top = json_loadb(text.data != NULL ? text.data : "", text.len, JSON_REJECT_DUPLICATES, NULL);
	if (top == NULL ||
	    json_unpack(top, "{s:i, s:s, s:s}", "version", &version, "site", &of, "checksum", &sum_text) < 0 ||
	    version != PLAN_VERSION || view_copy(view_of(sum_text), checksum, DIGEST_HEX) < 0)
		error_set(e, "%s: is no plan; make one with: mailadm plan --out %s", path, path);
	else if (strcmp(of, full) != 0)
		error_set(e, "%s: is a plan for %s and not for %s", path, of, full);
	else
		r = 0;
out:
	json_decref(top);
	buf_free(&text);
	free(full);
	return r;
}
