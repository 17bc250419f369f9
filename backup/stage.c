/*
 * The staged copy.  Layout: site/ holds site.conf, site.d and dkim; state/ holds store/log, keys, tls, credentials
 * and secrets.  After a restore both become one folder with the site beside its state.
 */
#include <dirent.h>
#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backup/stage.h"
#include "lib/proc.h"

#define SMALL_FILE_MAX (64u << 20)

static int copy_file(const char *from, const char *to, struct error *e)
{
	struct stat st;
	if (stat(from, &st) == -1)
		return errno == ENOENT ? 0 : error_errno(e, "%s", from);
	struct buf data = BUF_INIT(SMALL_FILE_MAX);
	int result = file_read(from, SMALL_FILE_MAX, &data, e);
	if (result == 0)
		result = file_write_atomic(to, buf_view(&data), st.st_mode & 0777, e);
	buf_free(&data);
	return result;
}

/* Regular files of one folder; a folder that is not there is empty. */
static int copy_folder(const char *from, const char *to, mode_t mode, struct error *e)
{
	DIR *dir = opendir(from);
	if (dir == NULL)
		return errno == ENOENT ? 0 : error_errno(e, "%s", from);
	int result = file_mkdirs(to, mode, e);
	struct dirent *entry;
	while (result == 0 && (entry = readdir(dir)) != NULL) {
		struct stat st;
		if (entry->d_name[0] == '.' || fstatat(dirfd(dir), entry->d_name, &st, 0) == -1 || !S_ISREG(st.st_mode))
			continue;
		char *source = xasprintf("%s/%s", from, entry->d_name), *target = xasprintf("%s/%s", to, entry->d_name);
		result = copy_file(source, target, e);
		free(source);
		free(target);
	}
	closedir(dir);
	return result;
}

/* One of the site's own folders or files below both roots. */
static int copy_below(const char *from_root, const char *to_root, const char *name, bool folder, struct error *e)
{
	char *from = xasprintf("%s/%s", from_root, name), *to = xasprintf("%s/%s", to_root, name);
	int result = folder ? copy_folder(from, to, 0700, e) : copy_file(from, to, e);
	free(from);
	free(to);
	return result;
}

static int link_segments(const struct site *site, const char *stage, char *const *segments, struct error *e)
{
	char *to_dir = xasprintf("%s/state/store/log", stage);
	int result = file_mkdirs(to_dir, 0750, e); /* the readers of the store have the group */
	for (size_t i = 0; result == 0 && segments[i] != NULL; i++) {
		char *from = xasprintf("%s/store/log/%s", site->state_dir, segments[i]), *to = xasprintf("%s/%s", to_dir, segments[i]);
		if (strchr(segments[i], '/') != NULL)
			result = error_set(e, "store named a segment %s", segments[i]);
		else if (link(from, to) == -1)
			result = error_errno(e, "cannot link %s to %s", from, to);
		free(from);
		free(to);
	}
	free(to_dir);
	return result;
}

int stage_make(const struct site *site, const char *stage, char *const *segments, struct error *e)
{
	char *site_to = xasprintf("%s/site", stage), *state_to = xasprintf("%s/state", stage), *conf = xasprintf("%s/site.conf", site_to);
	int result = stage_remove(stage, e);
	if (result == 0)
		result = file_mkdirs(site_to, 0700, e);
	if (result == 0)
		result = file_mkdirs(state_to, 0700, e);
	if (result == 0)
		result = copy_file(site->path, conf, e);
	static const char *const site_folders[] = { "site.d", "dkim" }, *const state_folders[] = { "keys", "tls" },
				 *const state_files[] = { "credentials", "secrets" };
	for (size_t i = 0; result == 0 && i < 2; i++)
		result = copy_below(site->dir, site_to, site_folders[i], true, e);
	for (size_t i = 0; result == 0 && i < 2; i++)
		result = copy_below(site->state_dir, state_to, state_folders[i], true, e);
	for (size_t i = 0; result == 0 && i < 2; i++)
		result = copy_below(site->state_dir, state_to, state_files[i], false, e);
	if (result == 0)
		result = link_segments(site, stage, segments, e);
	free(site_to);
	free(state_to);
	free(conf);
	return result;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st, (void)type, (void)ftw;
	return remove(path);
}

int stage_remove(const char *stage, struct error *e)
{
	if (nftw(stage, remove_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT) == -1 && errno != ENOENT)
		return error_errno(e, "cannot remove %s", stage);
	return 0;
}

static bool names_state_dir(const char *line)
{
	line += strspn(line, " \t");
	return strncmp(line, "state_dir", 9) == 0 || strncmp(line, "run_dir", 7) == 0;
}

/* The site file as it was, but for where its state is. */
static int repoint(const char *path, struct error *e)
{
	struct buf in = BUF_INIT(SMALL_FILE_MAX), out = BUF_INIT(SMALL_FILE_MAX + 256);
	if (file_read(path, SMALL_FILE_MAX, &in, e) == -1)
		return -1;
	char *rest = in.len ? in.data : NULL, *line;
	buf_str(&in);
	while (rest != NULL && (line = strsep(&rest, "\n")) != NULL) {
		if (names_state_dir(line))
			buf_printf(&out, "# %s\n", line);
		else if (rest != NULL || *line != '\0')
			buf_printf(&out, "%s\n", line);
	}
	buf_puts(&out, "\n# Restored from a backup: the state stands beside this file.\nstate_dir = \"state\";\n");
	int result = file_write_atomic(path, buf_view(&out), 0644, e);
	buf_free(&in);
	buf_free(&out);
	return result;
}

int stage_unpack(const char *stage, const char *dir, struct error *e)
{
	DIR *d;
	char *site = xasprintf("%s/site", stage), *conf = xasprintf("%s/site.conf", dir), *state = xasprintf("%s/state", stage),
	     *state_to = xasprintf("%s/state", dir);
	int result = 0;
	struct dirent *entry;
	if ((d = opendir(site)) == NULL)
		result = error_errno(e, "the snapshot holds no site (%s)", site);
	while (result == 0 && (entry = readdir(d)) != NULL) {
		if (entry->d_name[0] == '.')
			continue;
		char *from = xasprintf("%s/%s", site, entry->d_name), *to = xasprintf("%s/%s", dir, entry->d_name);
		if (rename(from, to) == -1)
			result = error_errno(e, "cannot move %s to %s", from, to);
		free(from);
		free(to);
	}
	if (d != NULL)
		closedir(d);
	if (result == 0 && rename(state, state_to) == -1)
		result = error_errno(e, "cannot move %s to %s", state, state_to);
	if (result == 0)
		result = repoint(conf, e);
	free(site);
	free(conf);
	free(state);
	free(state_to);
	return result;
}
