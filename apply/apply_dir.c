/* generation.h: the folder STATE/apply, its lock, and the list of generations. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "apply/generation.h"
#include "apply/internal.h"
#include "lib/proc.h"

#define NUMBER_MAX 1000000000u
#define LOCK_STEP_MS 20

char *apply_file(const struct apply_dir *d, const char *name)
{
	return xasprintf("%s/%s", d->path, name);
}

char *generation_file(const struct apply_dir *d, unsigned number, const char *name)
{
	return xasprintf("%s/generations/%u/%s", d->path, number, name);
}

int apply_dir_open(const char *state_dir, bool make, struct apply_dir *d, struct error *e)
{
	struct stat st;
	int r = -1;

	*d = (struct apply_dir){ xasprintf("%s/apply", state_dir), xstrdup(state_dir), -1 };
	if (make) {
		char *below = apply_file(d, "generations");

		r = file_mkdirs(state_dir, 0711, e) < 0 ? -1 : file_mkdirs(below, 0700, e);
		free(below);
		if (r < 0)
			return -1;
	}
	if (lstat(d->path, &st) < 0)
		return error_errno(e, "%s", d->path);
	if (!S_ISDIR(st.st_mode) || st.st_uid != geteuid())
		return error_set(e, "%s: is not a folder of this user; run this as root or as who owns it", d->path);
	return 0;
}

void apply_dir_close(struct apply_dir *d)
{
	apply_dir_unlock(d);
	free(d->path);
	free(d->state_dir);
	*d = (struct apply_dir){ .lock = -1 };
}

static int say_holder(int fd, struct error *e)
{
	char text[32] = "";
	ssize_t n = pread(fd, text, sizeof(text) - 1, 0);

	text[n > 0 ? n : 0] = '\0';
	text[strcspn(text, "\n")] = '\0';
	error_set(e, "process %s applies, confirms or rolls back at this moment; try again when it has ended",
	    text[0] != '\0' ? text : "of another user");
	return 1;
}

int apply_dir_lock(struct apply_dir *d, unsigned wait_ms, struct error *e)
{
	char *path = apply_file(d, "lock"), text[32];
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600), r = 0, len;

	if (fd < 0)
		r = error_errno(e, "%s", path);
	free(path);
	if (r < 0)
		return r;
	for (unsigned waited = 0; flock(fd, LOCK_EX | LOCK_NB) < 0; waited += LOCK_STEP_MS) {
		if (errno != EWOULDBLOCK && errno != EINTR)
			r = error_errno(e, "cannot lock %s", d->path);
		else if (waited >= wait_ms)
			r = say_holder(fd, e);
		if (r != 0) {
			close(fd);
			return r;
		}
		poll(NULL, 0, LOCK_STEP_MS);
	}
	len = snprintf(text, sizeof(text), "%d\n", (int)getpid());
	if (ftruncate(fd, 0) < 0 || pwrite(fd, text, (size_t)len, 0) != len)
		log_debug("event=apply reason=\"the lock file has no number\""); /* only for say_holder */
	d->lock = fd;
	return 0;
}

void apply_dir_unlock(struct apply_dir *d)
{
	if (d->lock >= 0)
		close(d->lock);
	d->lock = -1;
}

int pending_read(const struct apply_dir *d, unsigned *number, struct error *e)
{
	char *path = apply_file(d, "pending");
	struct buf text = BUF_INIT(32);
	uint64_t n = 0;
	int r = access(path, F_OK) < 0 ? 0 : file_read(path, 31, &text, e) < 0 ? -1 : 1;

	if (r == 1 &&
	    (view_u64((struct view){ text.data, strcspn(buf_str(&text), "\n") }, NUMBER_MAX, &n) < 0 || n == 0))
		r = error_set(e, "%s: is damaged; look at generations/ beside it, and remove it", path);
	*number = (unsigned)n;
	buf_free(&text);
	free(path);
	return r;
}

int pending_write(const struct apply_dir *d, unsigned number, struct error *e)
{
	char *path = apply_file(d, "pending"), text[32];
	int r;

	snprintf(text, sizeof(text), "%u\n", number);
	r = file_write_atomic(path, view_of(text), 0600, e);
	free(path);
	return r;
}

static int remove_synced(const struct apply_dir *d, const char *name, struct error *e)
{
	char *path = apply_file(d, name);
	int r = unlink(path) < 0 && errno != ENOENT ? error_errno(e, "cannot remove %s", path) : 0, fd;

	if (r == 0 && (fd = open(d->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) >= 0) {
		fsync(fd);
		close(fd);
	}
	free(path);
	return r;
}

int pending_remove(const struct apply_dir *d, struct error *e)
{
	return remove_synced(d, "pending", e);
}

int serving_remove(const struct apply_dir *d, struct error *e)
{
	return remove_synced(d, "serving", e);
}

int serving_write(const struct apply_dir *d, const char *why, struct view text, struct error *e)
{
	struct buf out = BUF_INIT(SITE_TEXT_MAX + 4096);
	char *path = apply_file(d, "serving");
	int r;

	buf_printf(&out, "# %s\n", why);
	buf_addv(&out, text);
	r = out.full ? error_set(e, "%s: too large", path) : file_write_atomic(path, buf_view(&out), 0600, e);
	buf_free(&out);
	free(path);
	return r;
}

static int by_number(const void *a, const void *b)
{
	const unsigned *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

int generations_list(const struct apply_dir *d, unsigned **numbers, size_t *count, struct error *e)
{
	char *path = apply_file(d, "generations");
	DIR *dir = opendir(path);

	*numbers = NULL;
	*count = 0;
	if (dir == NULL) {
		int r = errno == ENOENT ? 0 : error_errno(e, "%s", path);

		free(path);
		return r;
	}
	free(path);
	for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
		uint64_t n;

		if (view_u64(view_of(entry->d_name), NUMBER_MAX, &n) < 0 || n == 0)
			continue;
		*numbers = xreallocarray(*numbers, *count + 1, sizeof(**numbers));
		(*numbers)[(*count)++] = (unsigned)n;
	}
	closedir(dir);
	if (*count > 1)
		qsort(*numbers, *count, sizeof(**numbers), by_number);
	return 0;
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

void generations_prune(const struct apply_dir *d, unsigned keep)
{
	unsigned *numbers;
	size_t count;
	struct error e;

	if (generations_list(d, &numbers, &count, &e) < 0)
		return;
	for (size_t i = 0; i < count; i++) {
		char *path = generation_file(d, numbers[i], "");
		bool old = i + GENERATIONS_KEPT < count;

		if (numbers[i] != keep && (old || !generation_has(d, numbers[i], "meta")) &&
		    nftw(path, remove_entry, 16, FTW_PHYS | FTW_DEPTH) != 0)
			log_warn("event=apply reason=\"cannot remove generation %u\"", numbers[i]);
		free(path);
	}
	free(numbers);
}
