/*
 * prepare.h: the beginning.  A failure before `pending` is written leaves a folder without meaning, which the next
 * apply removes; a failure behind it is a taking back of no part.
 */
#include "apply/prepare.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "apply/internal.h"
#include "lib/clock.h"
#include "lib/proc.h"

#define TOUCHED_MAX 4096
#define RESERVE 65536
#define APPLY_LIMIT_MS 900000 /* a hung apply with --confirm is ended then, and taken back; 500 RSA keys take minutes  \
	                       */

static int put(
    const struct apply_dir *d, const struct generation *g, const char *name, struct view text, struct error *e)
{
	char *path = generation_file(d, g->number, name);
	int r = file_write_atomic(path, text, 0600, e);

	free(path);
	return r;
}

/* What a start would serve: without its comment line. */
static int serving_text(const struct apply_dir *d, struct buf *text, struct error *e)
{
	char *path = apply_file(d, "serving");
	int r = access(path, F_OK) < 0 ? 0 : file_read(path, text->max, text, e) < 0 ? -1 : 1;

	free(path);
	if (r > 0)
		buf_drop(
		    text, strcspn(buf_str(text), "\n") + 1 < text->len ? strcspn(buf_str(text), "\n") + 1 : text->len);
	return r;
}

/* The site of the newest generation that was kept, when nothing better tells what was served. */
static int confirmed_text(const struct apply_dir *d, unsigned below, struct buf *text, struct error *e)
{
	unsigned *numbers;
	size_t count;
	int r = generations_list(d, &numbers, &count, e);

	for (size_t i = count; r == 0 && i > 0; i--) {
		struct generation g;

		if (numbers[i - 1] >= below || generation_load(d, numbers[i - 1], &g, e) < 0)
			continue;
		if (g.state == GEN_CONFIRMED) {
			const char *name = generation_has(d, g.number, "serve.conf") ? "serve.conf" : "site.conf";
			char *path = generation_file(d, g.number, name);

			r = generation_verify(d, &g, name, e) < 0 || file_read(path, SITE_TEXT_MAX, text, e) < 0 ? -1
			                                                                                         : 1;
			free(path);
		}
		generation_free(&g);
	}
	free(numbers);
	return r;
}

static int put_previous(const struct apply_dir *d, const struct generation *g, const struct site *site, struct error *e)
{
	struct buf text = BUF_INIT(SITE_TEXT_MAX);
	int r = daemon_site(site, &text, e);

	if (r == 0)
		r = serving_text(d, &text, e);
	if (r == 0)
		r = confirmed_text(d, g->number, &text, e);
	if (r > 0)
		r = put(d, g, "previous.conf", buf_view(&text), e);
	buf_free(&text);
	return r;
}

bool previous_differs(const struct apply_dir *d, const struct generation *g)
{
	const json_t *previous = json_object_get(g->files, "previous.conf");

	(void)d;
	return previous != NULL && !json_equal(previous, json_object_get(g->files, "site.conf"));
}

/* What STATE/firewall.nft is to be, once this is confirmed. */
static int put_boot(const struct apply_dir *d, struct generation *g, const struct apply_request *q, struct error *e)
{
	struct buf text = BUF_INIT(FIREWALL_TEXT_MAX);
	char *path;
	int r = 0;

	g->boot = BOOT_KEEP;
	if (!part_applies(&part_firewall, q->site, NULL))
		return 0;
	g->boot = BOOT_WRITE;
	if (q->back == NULL) {
		r = firewall_boot_text(q->site, &text, e);
	} else if (generation_has(d, q->back->number, "captured/firewall/" FIREWALL_CAPTURED_BOOT)) {
		path = generation_file(d, q->back->number, "captured/firewall/" FIREWALL_CAPTURED_BOOT);
		r = file_read(path, FIREWALL_TEXT_MAX, &text, e);
		free(path);
	} else {
		g->boot = generation_has(d, q->back->number, "captured/firewall") ? BOOT_REMOVE : BOOT_KEEP;
	}
	if (r == 0 && g->boot == BOOT_WRITE)
		r = put(d, g, "boot.nft", buf_view(&text), e);
	buf_free(&text);
	return r;
}

static int capture_parts(
    const struct apply_dir *d, const struct generation *g, const struct site *site, struct error *e)
{
	for (size_t i = 0; parts[i] != NULL; i++) {
		char name[64], *path;
		struct error why = { "" };
		int r;

		if (!part_applies(parts[i], site, NULL))
			continue;
		snprintf(name, sizeof(name), "captured/%s", parts[i]->name);
		path = generation_file(d, g->number, name);
		r = file_mkdirs(path, 0700, e);
		if (r == 0 && (r = parts[i]->capture(site, path, &why)) < 0)
			error_set(e, "%s: the present state cannot be kept: %.400s", parts[i]->name, why.text);
		free(path);
		if (r < 0)
			return -1;
		apply_step();
	}
	return 0;
}

static size_t size_of(const struct apply_dir *d, const struct generation *g, const char *name)
{
	char *path = generation_file(d, g->number, name);
	struct stat st;
	size_t size = stat(path, &st) == 0 && st.st_size > 0 ? (size_t)st.st_size : 0;

	free(path);
	return size;
}

/* Room for whatever end this takes: on a disk that is full by then, the way back could not be written down. */
static int reserve(
    const struct apply_dir *d, const struct generation *g, const struct apply_request *q, struct error *e)
{
	char *path = generation_file(d, g->number, "reserve");
	size_t names = json_object_size(g->files) * 256;
	size_t size =
	    RESERVE + 4 * names + 2 * (size_of(d, g, "previous.conf") + size_of(d, g, "boot.nft") + q->flat.len);
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	int r = fd < 0 ? -1 : (errno = posix_fallocate(fd, 0, (off_t)size)) != 0 ? -1 : fsync(fd);

	if (r < 0)
		error_errno(e, "%s: cannot reserve %zu bytes", path, size);
	if (fd >= 0)
		close(fd);
	free(path);
	return r;
}

void reserve_release(const struct apply_dir *d, const struct generation *g)
{
	char *path = generation_file(d, g->number, "reserve");

	unlink(path);
	free(path);
}

static int fill(struct apply_dir *d, const struct apply_request *q, struct generation *g, struct error *e)
{
	char *folder = generation_file(d, g->number, "captured"), *all = apply_file(d, "generations");
	int fd, r = file_mkdirs(folder, 0700, e);

	if (r == 0 && (fd = open(all, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) >= 0) {
		r = fsync(fd) < 0 ? error_errno(e, "%s: cannot sync", all) : 0;
		close(fd);
	}
	free(folder);
	free(all);
	apply_step();
	if (r < 0 || put(d, g, "site.conf", q->flat, e) < 0 || put_previous(d, g, q->site, e) < 0 ||
	    (q->serve.len > 0 && put(d, g, "serve.conf", q->serve, e) < 0) || put_boot(d, g, q, e) < 0 ||
	    (g->boot == BOOT_WRITE && q->back == NULL && kept_put(d, g->number, q->site, e) < 0) ||
	    capture_parts(d, g, q->site, e) < 0 || generation_seal(d, g, e) < 0)
		return -1;
	apply_step();
	if (put(d, g, "watchdog-a", VIEW_NONE, e) < 0 || put(d, g, "watchdog-b", VIEW_NONE, e) < 0 ||
	    reserve(d, g, q, e) < 0)
		return -1;
	return generation_save(d, g, e);
}

static int next_number(const struct apply_dir *d, unsigned *number, struct error *e)
{
	unsigned *numbers;
	size_t count;

	if (generations_list(d, &numbers, &count, e) < 0)
		return -1;
	*number = count > 0 ? numbers[count - 1] + 1 : 1;
	free(numbers);
	return 0;
}

static void describe(struct generation *g, const struct apply_request *q)
{
	g->state = GEN_APPLYING;
	g->rollback = q->rollback;
	g->target = q->target;
	g->site = site_full_path(q->site);
	g->why = xstrdup(q->why);
	g->reason = xstrdup("");
	view_copy(view_of(q->checksum), g->checksum, sizeof(g->checksum));
	g->when = clock_wall();
	g->since = clock_boot_ms();
	g->confirm = q->confirm;
	g->deadline = q->confirm > 0 ? g->since + APPLY_LIMIT_MS + 1000ull * q->confirm : 0;
	generation_boot_id(g->boot_id);
	g->pid = getpid();
	g->pid_start = process_start("/proc", g->pid);
	g->caller = *q->caller;
	g->files = json_object();
}

/* A start of the host serves the previous site from here on, until this is confirmed. */
static int hold_serving(const struct apply_dir *d, const struct generation *g, struct error *e)
{
	char *path = generation_file(d, g->number, "previous.conf"), why[96];
	struct buf text = BUF_INIT(SITE_TEXT_MAX);
	int r = 0;

	snprintf(why, sizeof(why), "generation %u of mailadm apply is not confirmed", g->number);
	if (previous_differs(d, g))
		r = file_read(path, SITE_TEXT_MAX, &text, e) < 0 ? -1 : serving_write(d, why, buf_view(&text), e);
	buf_free(&text);
	free(path);
	return r;
}

int generation_begin(struct apply_dir *d, const struct apply_request *q, struct generation *g, struct error *e)
{
	*g = (struct generation){ .number = 0 };
	generations_prune(d, q->back != NULL ? q->back->number : 0);
	if (next_number(d, &g->number, e) < 0)
		return -1;
	describe(g, q);
	if (fill(d, q, g, e) < 0 || pending_write(d, g->number, e) < 0) {
		char *path = generation_file(d, g->number, "meta");

		pending_remove(d, &(struct error){ "" }); /* its rename may have come through, and its sync not */
		unlink(path);                             /* the folder means nothing without it, and goes with the next prune */
		free(path);
		generations_prune(d, q->back != NULL ? q->back->number : 0);
		return -1;
	}
	apply_step();
	if (hold_serving(d, g, e) < 0)
		return take_back(d, g, GEN_FAILED, e->text, e);
	apply_step();
	if (watchdog_arm(d, g, e) < 0)
		return take_back(d, g, GEN_FAILED, e->text, e);
	apply_step();
	return 0;
}

static int read_touched(const struct apply_dir *d, const struct generation *g, struct buf *text, struct error *e)
{
	char *path = generation_file(d, g->number, "touched");
	int r = access(path, F_OK) < 0 ? 0 : file_read(path, TOUCHED_MAX, text, e);

	free(path);
	return r;
}

int touched_add(const struct apply_dir *d, const struct generation *g, const char *part, struct error *e)
{
	struct buf text = BUF_INIT(TOUCHED_MAX);
	int r = read_touched(d, g, &text, e);

	buf_printf(&text, "%s\n", part);
	if (r == 0)
		r = put(d, g, "touched", buf_view(&text), e);
	buf_free(&text);
	return r;
}

/* When it cannot be read every part counts as touched. */
bool touched_has(const struct apply_dir *d, const struct generation *g, const char *part)
{
	struct buf text = BUF_INIT(TOUCHED_MAX);
	struct error e;
	bool found = read_touched(d, g, &text, &e) < 0;
	char *rest = (char *)(uintptr_t)buf_str(&text), *line;

	while (!found && (line = strsep(&rest, "\n")) != NULL)
		found = strcmp(line, part) == 0;
	buf_free(&text);
	return found;
}
