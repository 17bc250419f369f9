/* generation.h: one generation's meta, checksums and sites. */
#include "apply/generation.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "apply/internal.h"
#include "lib/proc.h"

#define META_MAX (16u << 20)
#define VERSION 1

static const char *const states[] = { "applying", "pending", "confirmed", "rolled-back", "failed" };

const char *generation_state_name(enum generation_state s)
{
	return states[s];
}

void generation_boot_id(char out[40])
{
	struct buf text = BUF_INIT(64);
	struct error e;

	out[0] = '\0';
	if (file_read("/proc/sys/kernel/random/boot_id", 63, &text, &e) == 0)
		view_copy((struct view){ text.data, strcspn(buf_str(&text), "\n") }, out, 40);
	buf_free(&text);
}

void generation_free(struct generation *g)
{
	free(g->site);
	free(g->why);
	free(g->reason);
	json_decref(g->files);
	*g = (struct generation){ .files = NULL };
}

json_t *generation_json(const struct generation *g)
{
	return json_pack("{s:i, s:i, s:s, s:s, s:i, s:o, s:o, s:o, s:s, s:I, s:i, s:o}", "version", VERSION, "number",
	    (int)g->number, "state", states[g->state], "kind", g->rollback ? "rollback" : "apply", "target",
	    (int)g->target, "site", json_text(g->site), "why", json_text(g->why), "reason", json_text(g->reason),
	    "checksum", g->checksum, "when", (json_int_t)g->when, "confirm", (int)g->confirm, "who",
	    caller_json(&g->caller));
}

static json_t *to_json(const struct generation *g)
{
	json_t *j = generation_json(g);

	json_object_set_new(j, "since", json_integer((json_int_t)g->since));
	json_object_set_new(j, "deadline", json_integer((json_int_t)g->deadline));
	json_object_set_new(j, "boot_id", json_string(g->boot_id));
	json_object_set_new(j, "boot", json_integer((json_int_t)g->boot));
	json_object_set_new(j, "pid", json_integer((json_int_t)g->pid));
	json_object_set_new(j, "pid_start", json_integer((json_int_t)g->pid_start));
	json_object_set(j, "files", g->files);
	return j;
}

static void sum_of(const json_t *meta, char out[DIGEST_HEX])
{
	char *text = json_dumps(meta, JSON_COMPACT | JSON_SORT_KEYS);

	digest_hex(view_of(text), out);
	free(text);
}

int generation_save(const struct apply_dir *d, const struct generation *g, struct error *e)
{
	json_t *meta = to_json(g), *top = NULL;
	char sum[DIGEST_HEX], *text = NULL, *path = generation_file(d, g->number, "meta");
	int r = -1;

	if (!text_is_json(g->site)) {
		error_set(e, "%s: the path of the site has to be UTF-8", g->site);
		json_decref(meta);
	} else {
		sum_of(meta, sum);
		top = json_pack("{s:s, s:o}", "sha256", sum, "meta", meta);
		text = json_dumps(top, JSON_INDENT(1) | JSON_SORT_KEYS);
		if (text == NULL)
			error_set(e, "%s: cannot be written as JSON", path);
		else
			r = file_write_atomic(path, view_of(text), 0600, e);
	}
	free(text);
	free(path);
	json_decref(top);
	return r;
}

static int state_of(const char *name, enum generation_state *out)
{
	for (int i = 0; i <= GEN_FAILED; i++) {
		if (strcmp(states[i], name) == 0) {
			*out = (enum generation_state)i;
			return 0;
		}
	}
	return -1;
}

static int from_json(json_t *meta, struct generation *g)
{
	const char *state, *kind, *site, *why, *reason, *checksum, *boot_id;
	int version, number, target, confirm, boot;
	json_int_t when, since, deadline, pid, pid_start;
	json_t *who, *files;

	if (json_unpack(meta,
		"{s:i, s:i, s:s, s:s, s:i, s:s, s:s, s:s, s:s, s:I, s:i, s:o, s:I, s:I, s:s, s:i, s:I, s:I, s:o}",
		"version", &version, "number", &number, "state", &state, "kind", &kind, "target", &target, "site",
		&site, "why", &why, "reason", &reason, "checksum", &checksum, "when", &when, "confirm", &confirm, "who",
		&who, "since", &since, "deadline", &deadline, "boot_id", &boot_id, "boot", &boot, "pid", &pid,
		"pid_start", &pid_start, "files", &files) < 0 ||
	    version != VERSION || number != (int)g->number || state_of(state, &g->state) < 0 ||
	    view_copy(view_of(checksum), g->checksum, sizeof(g->checksum)) < 0 ||
	    view_copy(view_of(boot_id), g->boot_id, sizeof(g->boot_id)) < 0 || caller_from_json(who, &g->caller) < 0 ||
	    !json_is_object(files) || json_object_size(files) > GENERATION_FILES_MAX || confirm < 0 || target < 0 ||
	    boot < BOOT_KEEP || boot > BOOT_REMOVE)
		return -1;
	g->rollback = strcmp(kind, "rollback") == 0;
	g->target = (unsigned)target;
	g->site = xstrdup(site);
	g->why = xstrdup(why);
	g->reason = xstrdup(reason);
	g->when = when;
	g->since = (uint64_t)since;
	g->deadline = (uint64_t)deadline;
	g->confirm = (unsigned)confirm;
	g->boot = (enum generation_boot)boot;
	g->pid = (pid_t)pid;
	g->pid_start = (uint64_t)pid_start;
	g->files = json_incref(files);
	return 0;
}

int generation_load(const struct apply_dir *d, unsigned number, struct generation *g, struct error *e)
{
	char *path = generation_file(d, number, "meta"), sum[DIGEST_HEX];
	struct buf text = BUF_INIT(META_MAX);
	json_t *top = NULL, *meta;
	int r = -1;

	*g = (struct generation){ .number = number };
	if (file_read(path, META_MAX, &text, e) < 0)
		goto out;
	top = json_loadb(text.data != NULL ? text.data : "", text.len, JSON_REJECT_DUPLICATES, NULL);
	meta = json_object_get(top, "meta");
	if (!json_is_object(meta)) {
		error_set(e, "%s: is damaged", path);
		goto out;
	}
	sum_of(meta, sum);
	if (json_string_value(json_object_get(top, "sha256")) == NULL ||
	    strcmp(sum, json_string_value(json_object_get(top, "sha256"))) != 0)
		error_set(e, "%s: was changed by another hand (its checksum differs)", path);
	else if (from_json(meta, g) < 0)
		error_set(e, "%s: is not of this version of mailadm", path);
	else
		r = 0;
out:
	if (r < 0)
		generation_free(g);
	json_decref(top);
	buf_free(&text);
	free(path);
	return r;
}

/* ---- files: nftw has no argument */

static struct {
	json_t *files;
	size_t skip; /* the length of the folder's own path and its slash */
	struct error *e;
} walk;

static int sync_path(const char *path, int flags)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | flags), r;

	if (fd < 0)
		return -1;
	r = fsync(fd);
	close(fd);
	return r;
}

static int add_file(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	char sum[DIGEST_HEX];

	(void)ftw;
	if (type == FTW_DP)
		return sync_path(path, O_DIRECTORY) < 0 ? error_errno(walk.e, "%s: cannot sync", path) : 0;
	if (type != FTW_F || !S_ISREG(st->st_mode))
		return error_set(walk.e, "%s: is not a plain file", path);
	if (json_object_size(walk.files) >= GENERATION_FILES_MAX)
		return error_set(walk.e, "%s: too many files", path);
	if (sync_path(path, 0) < 0)
		return error_errno(walk.e, "%s: cannot sync", path);
	if (digest_file(path, sum, walk.e) < 0)
		return -1;
	json_object_set_new(walk.files, path + walk.skip, json_string(sum));
	return 0;
}

static int sum_folder(const struct apply_dir *d, unsigned number, const char *name, json_t *files, struct error *e)
{
	char *root = generation_file(d, number, ""), *path = generation_file(d, number, name);
	size_t len = strlen(path);
	int r;

	if (len > 0 && path[len - 1] == '/')
		path[len - 1] = '\0';
	walk.files = files;
	walk.skip = strlen(root);
	walk.e = e;
	error_set(e, "%s: cannot be read", path);
	r = nftw(path, add_file, 16, FTW_PHYS | FTW_DEPTH);
	free(root);
	free(path);
	return r == 0 ? 0 : -1;
}

int generation_seal(const struct apply_dir *d, struct generation *g, struct error *e)
{
	json_decref(g->files);
	g->files = json_object();
	return sum_folder(d, g->number, "", g->files, e);
}

/* What was sealed below name and is not in `now` as it was, and the other way. */
static int compare_sums(const struct generation *g, const char *name, json_t *now, struct error *e)
{
	const char *file;
	json_t *sum;

	json_object_foreach(g->files, file, sum)
	{
		if (strncmp(file, name, strlen(name)) != 0)
			continue;
		if (json_object_get(now, file) == NULL)
			return error_set(e, "generation %u: %s is missing", g->number, file);
		if (!json_equal(sum, json_object_get(now, file)))
			return error_set(
			    e, "generation %u: %s was changed by another hand (its checksum differs)", g->number, file);
	}
	json_object_foreach(now, file, sum)
	{
		if (json_object_get(g->files, file) == NULL)
			return error_set(e, "generation %u: %s was added by another hand", g->number, file);
	}
	return 0;
}

int generation_verify(const struct apply_dir *d, const struct generation *g, const char *name, struct error *e)
{
	json_t *now = json_object();
	int r = sum_folder(d, g->number, name, now, e) < 0 ? -1 : compare_sums(g, name, now, e);

	json_decref(now);
	return r;
}

bool generation_has(const struct apply_dir *d, unsigned number, const char *name)
{
	char *path = generation_file(d, number, name);
	bool there = access(path, F_OK) == 0;

	free(path);
	return there;
}

static const char *first_error(const struct findings *f)
{
	for (size_t i = 0; i < f->count; i++)
		if (!f->at[i].warning)
			return f->at[i].text;
	return "cannot be loaded";
}

struct site *generation_site(const struct apply_dir *d, const struct generation *g, const char *name, struct error *e)
{
	char *path = generation_file(d, g->number, name);
	struct buf text = BUF_INIT(SITE_TEXT_MAX);
	struct findings f = { 0 };
	struct site *site = NULL;

	if (generation_verify(d, g, name, e) == 0 && file_read(path, SITE_TEXT_MAX, &text, e) == 0) {
		site = site_load_memory(buf_view(&text), g->site, &f);
		if (site == NULL)
			error_set(e, "%s: %.300s", path, first_error(&f));
	}
	findings_free(&f);
	buf_free(&text);
	free(path);
	return site;
}
