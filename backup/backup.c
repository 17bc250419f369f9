/*
 * Snapshots with restic.  What runs is the restic of the system, without a shell; its repository and password file come
 * from the site, and the password file is made (random, 0600) when it is the default one and missing.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <openssl/rand.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backup/backup.h"
#include "backup/stage.h"
#include "lib/proc.h"
#include "lib/text.h"
#include "mailsvc/store/client.h"

#define OUTPUT_MAX (64u << 20)
#define ARGS_MAX 32

const struct site_backup *backup_find(const struct site *site, const char *name)
{
	for (size_t i = 0; i < site->backup_count; i++)
		if (strcmp(site->backups[i].name, name) == 0)
			return &site->backups[i];
	return NULL;
}

/* The default one, which is made when it is missing; any other is the administrator's. */
static bool password_is_default(const struct site *site, const struct site_backup *b)
{
	char *name = xasprintf("backup-%s.password", b->name), *path = site_state(site, name);
	bool is = strcmp(path, b->password_file) == 0;
	free(name);
	free(path);
	return is;
}

/* A folder in the site is relative to it; "sftp:..." and the like are restic's own. */
static char *repository_of(const struct site *site, const struct site_backup *b)
{
	return strchr(b->repository, ':') != NULL ? xstrdup(b->repository) : site_path(site, b->repository);
}

/* Runs restic with the repository's options before args (NULL-terminated). Its exit status, or -1. */
static int restic(
    const struct site *site, const struct site_backup *b, const char *const *args, struct buf *out, struct error *e)
{
	char *password = site_path(site, b->password_file), *repository = repository_of(site, b),
	     *cache = site_state(site, "backup/cache");
	char *argv[ARGS_MAX] = { "restic", "--quiet", "--json", "--repo", repository, "--password-file", password,
		"--cache-dir", cache };
	size_t n = 9;
	while (*args != NULL && n < ARGS_MAX - 1)
		argv[n++] = (char *)(uintptr_t)*args++;
	struct buf err = BUF_INIT(65536);
	int status = proc_run_unlimited(argv, VIEW_NONE, out, &err, e);
	if (status == 127)
		error_set(e, "restic was not found; install the package restic");
	else if (status > 0)
		error_set(e, "restic %s: %s", args[-1] ? argv[9] : "", buf_str(&err));
	buf_free(&err);
	free(password);
	free(repository);
	free(cache);
	return status;
}

static int make_password(const struct site *site, const struct site_backup *b, struct error *e)
{
	char *path = site_path(site, b->password_file);
	int result = 0;
	if (access(path, F_OK) == -1 && !password_is_default(site, b)) {
		result =
		    error_set(e, "the password file %s of backup %s is missing; write one, mode 0600", path, b->name);
	} else if (access(path, F_OK) == -1) {
		unsigned char secret[24];
		struct buf text = BUF_INIT(64);
		if (RAND_bytes(secret, sizeof(secret)) != 1)
			result = error_set(e, "no random bytes");
		text_base64_encode(&text, (struct view){ (const char *)secret, sizeof(secret) });
		buf_addc(&text, '\n');
		if (result == 0)
			result = file_write_atomic(path, buf_view(&text), 0600, e);
		buf_free(&text);
	}
	free(path);
	return result;
}

static int make_repository(const struct site *site, const struct site_backup *b, struct error *e)
{
	struct buf out = BUF_INIT(OUTPUT_MAX);
	const char *probe[] = { "cat", "config", NULL }, *init[] = { "init", NULL };
	int result = make_password(site, b, e);
	/* Only where there is none: a wrong password must not end as "there is one already". */
	if (result == 0 && restic(site, b, probe, &out, e) != 0)
		result =
		    strstr(e->text, "Is there a repository") != NULL && restic(site, b, init, &out, e) == 0 ? 0 : -1;
	buf_free(&out);
	return result;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* A stopped host: every segment there is. */
static char **segments_on_disk(const struct site *site, struct error *e)
{
	char *path = site_state(site, "store/log");
	DIR *dir = opendir(path);
	char **names = xcalloc(1, sizeof(*names));
	size_t count = 0;
	struct dirent *entry;
	if (dir == NULL && errno != ENOENT) {
		error_errno(e, "%s", path);
		free(names);
		names = NULL;
	}
	while (dir != NULL && (entry = readdir(dir)) != NULL) {
		if (entry->d_name[0] == '.')
			continue;
		names = xreallocarray(names, count + 2, sizeof(*names));
		names[count++] = xstrdup(entry->d_name);
		names[count] = NULL;
	}
	if (dir != NULL)
		closedir(dir);
	if (count > 0)
		qsort(names, count, sizeof(*names), by_name);
	free(path);
	return names;
}

/* A running host: what store says will never change again. */
static char **segments_of_store(int store, struct error *e)
{
	struct buf text = BUF_INIT(OUTPUT_MAX);
	json_t *answer = NULL;
	char **names = NULL;
	if (store_admin_snapshot(store, &text, e) != 0)
		goto out;
	answer = json_loadb(text.data, text.len, 0, NULL);
	json_t *list = json_object_get(answer, "segments");
	if (!json_is_array(list)) {
		error_set(e, "store gave no list of segments");
		goto out;
	}
	names = xcalloc(json_array_size(list) + 1, sizeof(*names));
	for (size_t i = 0; i < json_array_size(list); i++) {
		const char *name = json_string_value(json_array_get(list, i));
		names[i] = xstrdup(name ? name : "?");
	}
out:
	json_decref(answer);
	buf_free(&text);
	return names;
}

static void free_names(char **names)
{
	for (size_t i = 0; names != NULL && names[i] != NULL; i++)
		free(names[i]);
	free(names);
}

static int forget(const struct site *site, const struct site_backup *b, struct error *e)
{
	char daily[16], weekly[16], monthly[16];
	snprintf(daily, sizeof(daily), "%d", b->keep_daily);
	snprintf(weekly, sizeof(weekly), "%d", b->keep_weekly);
	snprintf(monthly, sizeof(monthly), "%d", b->keep_monthly);
	const char *args[] = { "forget", "--prune", "--tag", b->name, "--host", site->host.name, "--keep-daily", daily,
		"--keep-weekly", weekly, "--keep-monthly", monthly, NULL };
	struct buf out = BUF_INIT(OUTPUT_MAX);
	int status = restic(site, b, args, &out, e);
	buf_free(&out);
	return status == 0 ? 0 : -1;
}

/* Two runs at once would take each other's staged copy away. The fd that holds the lock, or -1. */
static int take_lock(const struct site *site, const struct site_backup *b, struct error *e)
{
	char *name = xasprintf("backup/%s.lock", b->name), *path = site_state(site, name);
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd == -1)
		error_errno(e, "%s", path);
	else if (flock(fd, LOCK_EX | LOCK_NB) == -1) {
		error_set(e, "it is being made already (%s is locked); wait until that is done", path);
		close(fd);
		fd = -1;
	}
	free(path);
	free(name);
	return fd;
}

static int run_locked(
    const struct site *site, const struct site_backup *b, int store, struct buf *summary, struct error *e)
{
	char *name = xasprintf("backup/%s", b->name), *stage = site_state(site, name);
	char **segments = store == -1 ? segments_on_disk(site, e) : segments_of_store(store, e);
	/* A link changes the ctime of what it leads to, and nothing of its content. */
	const char *args[] = { "backup", "--ignore-ctime", "--tag", b->name, "--host", site->host.name, stage, NULL };
	struct buf out = BUF_INIT(OUTPUT_MAX);
	struct error ignored;
	int result = -1;
	if (segments == NULL || make_repository(site, b, e) == -1 || stage_make(site, stage, segments, e) == -1)
		goto out;
	if (restic(site, b, args, &out, e) == 0) {
		/* The last line is the summary; the lines before are progress. */
		const char *text = buf_str(&out);
		size_t end = out.len;
		while (end > 0 && text[end - 1] == '\n')
			end--;
		const char *line = end > 0 ? memrchr(text, '\n', end) : NULL;
		line = line ? line + 1 : text;
		buf_add(summary, line, (size_t)(text + end - line));
		result = b->keep_daily + b->keep_weekly + b->keep_monthly > 0 ? forget(site, b, e) : 0;
	}
out:
	stage_remove(stage, &ignored);
	free_names(segments);
	buf_free(&out);
	free(name);
	free(stage);
	return result;
}

int backup_run(const struct site *site, const struct site_backup *b, int store, struct buf *summary, struct error *e)
{
	char *parent = site_state(site, "backup");
	int lock = file_mkdirs(parent, 0700, e) == -1 ? -1 : take_lock(site, b, e);
	int result = lock == -1 ? -1 : run_locked(site, b, store, summary, e);
	if (lock != -1)
		close(lock);
	free(parent);
	return result;
}

int backup_list(const struct site *site, const struct site_backup *b, struct buf *json, struct error *e)
{
	/* Only reading: a lock would stay, and stop what prunes, when doctor ends a listing that takes too long. */
	const char *args[] = { "snapshots", "--no-lock", "--tag", b->name, NULL };
	return restic(site, b, args, json, e) == 0 ? 0 : -1;
}

static bool empty_or_missing(const char *dir)
{
	DIR *d = opendir(dir);
	size_t count = 0;
	if (d == NULL)
		return errno == ENOENT;
	while (readdir(d) != NULL)
		count++;
	closedir(d);
	return count <= 2; /* . and .. */
}

int backup_restore(
    const struct site *site, const struct site_backup *b, const char *snapshot, const char *dir, struct error *e)
{
	if (!empty_or_missing(dir))
		return error_set(e, "%s is there already and not empty; name a folder that does not exist", dir);
	char *work = xasprintf("%s/.restoring", dir); /* inside: dir may be a file system of its own */
	const char *args[] = { "restore", snapshot, "--tag", b->name, "--host", site->host.name, "--target", work,
		NULL };
	struct buf out = BUF_INIT(OUTPUT_MAX);
	struct error ignored;
	int result = -1;
	if (file_mkdirs(dir, 0755, e) == 0 && file_mkdirs(work, 0700, e) == 0 && restic(site, b, args, &out, e) == 0)
		result = stage_unpack(work, dir, e);
	stage_remove(work, &ignored);
	if (result == -1)
		rmdir(dir); /* if nothing came into it */
	buf_free(&out);
	free(work);
	return result;
}
