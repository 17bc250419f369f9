/*
 * The folders of a host and their owners, the lock that makes a monitor the only one of its state_dir, and the users of
 * its roles.  Without root everything belongs to the caller.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/proc.h"
#include "mailsvc/monitor/internal.h"

#define STORE_USER "mailadm-store"
#define GUARD_USER "mailadm-guard"
#define FTS_USER "mailadm-fts"

static int make(const char *path, mode_t mode, const char *user, struct error *e)
{
	struct passwd *pw = NULL;

	if (file_mkdirs(path, mode, e) < 0)
		return -1;
	if (geteuid() == 0) {
		if (user != NULL && (pw = getpwnam(user)) == NULL)
			return error_set(e, "there is no user %s", user);
		if (chown(path, pw != NULL ? pw->pw_uid : 0, pw != NULL ? pw->pw_gid : 0) < 0)
			return error_errno(e, "cannot change the owner of %s", path);
	}
	if (chmod(path, mode) < 0)
		return error_errno(e, "cannot change the mode of %s", path);
	return 0;
}

int folders_make(const struct site *site, struct error *e)
{
	static const struct {
		const char *name;
		mode_t mode;
		const char *user;
	} below[] = { { "store", 0750, STORE_USER }, { "tls", 0700, NULL }, { "keys", 0700, NULL },
		{ "bans", 0700, GUARD_USER }, { "fts", 0700, FTS_USER } };
	char *path = site_state(site, "credentials");
	int r = 0, fd;

	if (make(site->state_dir, 0711, NULL, e) < 0 || make(site->run_dir, 0755, NULL, e) < 0) {
		free(path);
		return -1;
	}
	fd = open(path, O_RDONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		r = error_errno(e, "%s", path);
	else
		close(fd);
	free(path);
	for (size_t i = 0; r == 0 && i < sizeof(below) / sizeof(below[0]); i++) {
		path = site_state(site, below[i].name);
		r = make(path, below[i].mode, below[i].user, e);
		free(path);
	}
	return r;
}

/* Gives store what is root's in the folder fd, which it closes. */
static int give_folder(int fd, const struct passwd *pw)
{
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct stat st;
	int r = 0;

	if (dir == NULL)
		return -1;
	if (fstat(fd, &st) < 0 || (st.st_uid == 0 && fchown(fd, pw->pw_uid, pw->pw_gid) < 0))
		r = -1;
	for (struct dirent *d; r == 0 && (d = readdir(dir)) != NULL;) {
		/* Only plain files of root with one name: nothing that store's user could have planted. */
		if (fstatat(fd, d->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode) && st.st_uid == 0 &&
		    st.st_nlink == 1)
			r = fchownat(fd, d->d_name, pw->pw_uid, pw->pw_gid, AT_SYMLINK_NOFOLLOW);
	}
	closedir(dir);
	return r;
}

int folders_store_owner(const struct site *site, struct error *e)
{
	static const int flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW;
	char *path = site_state(site, "store");
	struct passwd *pw = getpwnam(STORE_USER);
	int fd, log, r = 0;

	if (geteuid() != 0 || pw == NULL)
		goto out;
	fd = open(path, flags);
	log = fd < 0 ? -1 : openat(fd, "log", flags);
	if (log >= 0)
		r = give_folder(log, pw);
	if (give_folder(fd, pw) < 0 || r < 0)
		r = error_errno(e, "cannot change the owner of what is in %s", path);
out:
	free(path);
	return r;
}

int folders_lock(const struct site *site, struct error *e)
{
	char *path = site_state(site, "lock"), text[32];
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	ssize_t n;

	if (fd < 0) {
		error_errno(e, "%s", path);
	} else if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		n = read(fd, text, sizeof(text) - 1);
		text[n > 0 ? n : 0] = '\0';
		text[strcspn(text, "\n")] = '\0';
		error_set(e,
		    "%s: process %s already serves this state_dir; stop it first (mailadm reload makes it read a "
		    "changed site)",
		    path, text[0] != '\0' ? text : "unknown");
		close(fd);
		fd = -1;
	} else {
		int len = snprintf(text, sizeof(text), "%d\n", (int)getpid());

		if (ftruncate(fd, 0) < 0 || pwrite(fd, text, (size_t)len, 0) != len) {
			error_errno(e, "%s", path);
			close(fd);
			fd = -1;
		}
	}
	free(path);
	return fd;
}

int folders_users(struct error *e)
{
	for (int id = ROLE_MONITOR + 1; id < ROLE_COUNT; id++) {
		const struct role *role = role_by_id((enum role_id)id);

		if (geteuid() == 0 && role != NULL && role->user != NULL && getpwnam(role->user) == NULL)
			return error_set(e,
			    "user %s does not exist; `make install` makes all of them, or: useradd --system "
			    "--user-group "
			    "--no-create-home --shell /usr/sbin/nologin %s",
			    role->user, role->user);
	}
	return 0;
}
