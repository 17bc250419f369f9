/*
 * The staged copy.  Layout: site/ holds site.conf, what it includes, its drop-ins as site.d, dkim, and a certificate
 * and key that the site names beside itself; state/ holds store/log, keys, tls, credentials and secrets.  After a
 * restore both become one folder with the site beside its state.
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
		char *from = xasprintf("%s/store/log/%s", site->state_dir, segments[i]),
		     *to = xasprintf("%s/%s", to_dir, segments[i]);
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

/* One file that the site names relative to its folder; it keeps its place. */
static int copy_beside(const struct site *site, const char *site_to, const char *name, struct error *e)
{
	char *padded = xasprintf("/%s/", name), *from = site_path(site, name), *to = xasprintf("%s/%s", site_to, name),
	     *slash;
	int result = 0;
	if (strstr(padded, "/../") != NULL || name[0] == '/' || strcmp(name, "site.conf") == 0)
		result = error_set(e,
		    "%s is outside the folder of the site file, and would be missing after a restore; move it into %s",
		    name, site->dir);
	slash = strrchr(to, '/');
	*slash = '\0';
	if (result == 0)
		result = file_mkdirs(to, 0700, e);
	*slash = '/';
	if (result == 0)
		result = copy_file(from, to, e);
	free(padded);
	free(from);
	free(to);
	return result;
}

/* site->files are paths as they were opened: the site's own, below the same folder the includes, and the drop-ins. */
static int copy_includes(const struct site *site, const char *drop_ins, const char *site_to, struct error *e)
{
	const char *slash = strrchr(site->path, '/');
	size_t folder = slash ? (size_t)(slash - site->path) + 1 : 0, len = strlen(drop_ins);
	int result = 0;
	for (size_t i = 0; result == 0 && i < site->files.count; i++) {
		const char *file = site->files.at[i];
		if (strcmp(file, site->path) == 0 ||
		    (strncmp(file, drop_ins, len) == 0 && (file[len] == '/' || file[len] == '\0')))
			continue;
		result = copy_beside(site, site_to, strncmp(file, site->path, folder) == 0 ? file + folder : file, e);
	}
	return result;
}

static int copy_site(const struct site *site, const char *to, struct error *e)
{
	char *conf = xasprintf("%s/site.conf", to), *drop_ins = site_drop_in_dir(site->path),
	     *drop_ins_to = xasprintf("%s/site.d", to);
	const char *beside[] = { site->tls.certificate, site->tls.key };
	const struct strings *rules[] = { &site->firewall.include, &site->firewall.block_lists };
	int result = file_mkdirs(to, 0700, e);
	if (result == 0)
		result = copy_file(site->path, conf, e);
	if (result == 0)
		result = copy_folder(drop_ins, drop_ins_to, 0755, e);
	if (result == 0)
		result = copy_includes(site, drop_ins, to, e);
	for (size_t i = 0; result == 0 && i < 2; i++)
		if (beside[i][0] != '\0' && beside[i][0] != '/')
			result = copy_beside(site, to, beside[i], e);
	for (size_t i = 0; result == 0 && i < 2; i++)
		for (size_t n = 0; result == 0 && n < rules[i]->count; n++)
			if (rules[i]->at[n][0] != '/')
				result = copy_beside(site, to, rules[i]->at[n], e);
	if (result == 0)
		result = copy_below(site->dir, to, "dkim", true, e);
	free(conf);
	free(drop_ins);
	free(drop_ins_to);
	return result;
}

int stage_make(const struct site *site, const char *stage, char *const *segments, struct error *e)
{
	static const char *const folders[] = { "keys", "tls" },
				 *const files[] = { "credentials", "secrets", "rollover", "serials" };
	char *site_to = xasprintf("%s/site", stage), *state_to = xasprintf("%s/state", stage);
	int result = stage_remove(stage, e);
	if (result == 0)
		result = copy_site(site, site_to, e);
	if (result == 0)
		result = file_mkdirs(state_to, 0700, e);
	for (size_t i = 0; result == 0 && i < 2; i++)
		result = copy_below(site->state_dir, state_to, folders[i], true, e);
	for (size_t i = 0; result == 0 && i < sizeof(files) / sizeof(files[0]); i++)
		result = copy_below(site->state_dir, state_to, files[i], false, e);
	if (result == 0)
		result = link_segments(site, stage, segments, e);
	free(site_to);
	free(state_to);
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

/* A site file or include as it was, but for where its state is; the site file itself is told. */
static int repoint(const char *path, bool tell, struct error *e)
{
	struct buf in = BUF_INIT(SMALL_FILE_MAX), out = BUF_INIT(SMALL_FILE_MAX + 256);
	struct stat st;
	int result = stat(path, &st) == -1 ? error_errno(e, "%s", path) : file_read(path, SMALL_FILE_MAX, &in, e);
	if (result == 0 && (repoint_remove(buf_view(&in), &out) > 0 || tell)) {
		if (tell)
			buf_puts(&out,
			    "\n# Restored from a backup: the state stands beside this file.\nstate_dir = \"state\";\n");
		result = file_write_atomic(path, buf_view(&out), st.st_mode & 0777, e);
	}
	buf_free(&in);
	buf_free(&out);
	return result;
}

static struct error *walk_error; /* nftw hands nothing on */

static int repoint_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)ftw;
	return type == FTW_F && S_ISREG(st->st_mode) ? repoint(path, false, walk_error) : 0;
}

static int own_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)type, (void)ftw;
	if ((st->st_uid != 0 || st->st_gid != 0) && lchown(path, 0, 0) == -1)
		return error_errno(walk_error, "cannot change the owner of %s", path);
	return 0;
}

static int walk(const char *path, __nftw_func_t each, struct error *e)
{
	walk_error = e;
	e->text[0] = '\0';
	if (nftw(path, each, 16, FTW_PHYS) == 0)
		return 0;
	return e->text[0] != '\0' ? -1 : error_errno(e, "%s", path);
}

/* Moves what is in one folder to another. */
static int move_all(const char *from_dir, const char *to_dir, struct error *e)
{
	DIR *d = opendir(from_dir);
	struct dirent *entry;
	int result = d == NULL ? error_errno(e, "%s", from_dir) : 0;
	while (result == 0 && (entry = readdir(d)) != NULL) {
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		char *from = xasprintf("%s/%s", from_dir, entry->d_name),
		     *to = xasprintf("%s/%s", to_dir, entry->d_name);
		if (rename(from, to) == -1)
			result = error_errno(e, "cannot move %s to %s", from, to);
		free(from);
		free(to);
	}
	if (d != NULL)
		closedir(d);
	return result;
}

static bool is_folder(const char *dir, const char *name)
{
	char *path = xasprintf("%s/%s", dir, name);
	struct stat st;
	bool is = lstat(path, &st) == 0 && S_ISDIR(st.st_mode);
	free(path);
	return is;
}

/* The only folder in dir, malloc'd; NULL when there is none or anything else. */
static char *only_folder(const char *dir)
{
	DIR *d = opendir(dir);
	char *only = NULL;
	size_t count = 0;
	for (struct dirent *entry; d != NULL && (entry = readdir(d)) != NULL;) {
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		count++;
		free(only);
		only = xasprintf("%s/%s", dir, entry->d_name);
	}
	if (d != NULL)
		closedir(d);
	if (count != 1) {
		free(only);
		only = NULL;
	}
	return only;
}

/* restic lays files out by their full path, which had the state_dir of the host that was backed up. */
static char *find_stage(const char *work)
{
	char *at = xstrdup(work), *next;
	while (at != NULL && !(is_folder(at, "site") && is_folder(at, "state"))) {
		next = only_folder(at);
		free(at);
		at = next;
	}
	return at;
}

int stage_unpack(const char *work, const char *dir, struct error *e)
{
	char *stage = find_stage(work);
	if (stage == NULL)
		return error_set(e, "the snapshot holds no mail host");
	char *conf = xasprintf("%s/site.conf", dir), *state_to = xasprintf("%s/state", dir),
	     *site = xasprintf("%s/site", stage), *state = xasprintf("%s/state", stage);
	int result = geteuid() == 0 ? walk(stage, own_one, e) : 0;
	if (result == 0)
		result = walk(site, repoint_one, e);
	if (result == 0)
		result = move_all(site, dir, e);
	if (result == 0 && rename(state, state_to) == -1)
		result = error_errno(e, "cannot move %s to %s", state, state_to);
	if (result == 0)
		result = repoint(conf, true, e);
	free(stage);
	free(conf);
	free(state_to);
	free(site);
	free(state);
	return result;
}
