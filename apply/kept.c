/*
 * generation.h: the files that a site's firewall is made of besides the site, as they were.  A copy that the generation
 * before has already is linked, so that large block lists cost their room once.  Certificates and keys are not kept: a
 * way back must not bring an expired one.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "apply/generation.h"
#include "apply/internal.h"
#include "lib/proc.h"

struct kept {
	struct strings *paths; /* as the site names them */
	const char *name;
};
#define KINDS 2

static void kinds_of(struct site *site, struct kept out[KINDS])
{
	out[0] = (struct kept){ &site->firewall.include, "include" };
	out[1] = (struct kept){ &site->firewall.block_lists, "block-list" };
}

/* Another generation's copy with this checksum, as one of this one. */
static bool link_copy(const struct apply_dir *d, unsigned number, const char *name, const char *sum)
{
	struct error e;
	char has[DIGEST_HEX], *from = generation_file(d, number - 1, name), *to = generation_file(d, number, name);
	bool done = number > 1 && access(from, F_OK) == 0 && digest_file(from, has, &e) == 0 && strcmp(has, sum) == 0 &&
	            link(from, to) == 0;

	free(from);
	free(to);
	return done;
}

static int keep(const struct apply_dir *d, unsigned number, const char *name, const char *path, struct error *e)
{
	struct buf text = BUF_INIT(FIREWALL_TEXT_MAX);
	char *to = generation_file(d, number, name), sum[DIGEST_HEX];
	int r = file_read(path, FIREWALL_TEXT_MAX, &text, e);

	if (r == 0) {
		digest_hex(buf_view(&text), sum);
		if (!link_copy(d, number, name, sum))
			r = file_write_atomic(to, buf_view(&text), 0600, e);
	}
	buf_free(&text);
	free(to);
	return r;
}

int kept_put(const struct apply_dir *d, unsigned number, const struct site *site, struct error *e)
{
	struct kept kinds[KINDS];
	char *folder = generation_file(d, number, "files");
	int r = 0;

	kinds_of((struct site *)(uintptr_t)site, kinds);
	if (kinds[0].paths->count + kinds[1].paths->count > 0)
		r = file_mkdirs(folder, 0700, e);
	for (size_t k = 0; k < KINDS; k++) {
		for (size_t i = 0; r == 0 && i < kinds[k].paths->count; i++) {
			char *path = site_path(site, kinds[k].paths->at[i]);
			char *name = xasprintf("files/%s-%zu", kinds[k].name, i);

			r = keep(d, number, name, path, e);
			free(name);
			free(path);
		}
	}
	free(folder);
	return r;
}

/* The site names the copy instead, when the file is another one by now. */
static int use(const struct apply_dir *d, const struct generation *g, const char *name, const struct site *site,
    char **path, struct error *e)
{
	char *now = site_path(site, *path), sum[DIGEST_HEX];
	const char *kept = json_string_value(json_object_get(g->files, name));
	struct error none;
	int r = 0;

	if (kept != NULL && (digest_file(now, sum, &none) < 0 || strcmp(sum, kept) != 0)) {
		r = generation_verify(d, g, name, e);
		if (r == 0) {
			free(*path);
			*path = generation_file(d, g->number, name);
		}
	}
	free(now);
	return r;
}

int kept_use(const struct apply_dir *d, const struct generation *g, struct site *site, struct error *e)
{
	struct kept kinds[KINDS];
	int r = 0;

	kinds_of(site, kinds);
	for (size_t k = 0; k < KINDS; k++) {
		for (size_t i = 0; r == 0 && i < kinds[k].paths->count; i++) {
			char *name = xasprintf("files/%s-%zu", kinds[k].name, i);

			r = use(d, g, name, site, &kinds[k].paths->at[i], e);
			free(name);
		}
	}
	return r;
}
