/* proc.h, the file part: whole files in and out, and folders. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "buf.h"
#include "proc.h"

#define CHUNK 65536

int file_write_all(int fd, struct view data)
{
	while (data.len > 0) {
		ssize_t n = write(fd, data.ptr, data.len);
		if (n == -1 && errno == EINTR)
			continue;
		if (n == -1)
			return -1;
		data.ptr += n;
		data.len -= (size_t)n;
	}
	return 0;
}

static int sync_folder_of(const char *path)
{
	const char *slash = strrchr(path, '/');
	size_t len = slash == NULL ? 0 : slash == path ? 1 : (size_t)(slash - path);
	char *folder = len > 0 ? view_dup((struct view){ path, len }) : xstrdup(".");
	int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int r = fd == -1 ? -1 : fsync(fd);

	free(folder);
	if (fd != -1)
		close(fd);
	return r;
}

int file_write_atomic(const char *path, struct view data, mode_t mode, struct error *e)
{
	char *temporary = xasprintf("%s.XXXXXX", path);
	int fd = mkostemp(temporary, O_CLOEXEC);
	int r = -1;

	if (fd == -1) {
		error_errno(e, "%s: cannot create a file beside it", path);
		goto out;
	}
	if (file_write_all(fd, data) == -1 || fchmod(fd, mode) == -1 || fsync(fd) == -1) {
		error_errno(e, "%s: cannot write", path);
		goto out;
	}
	if (rename(temporary, path) == -1) {
		error_errno(e, "%s: cannot replace", path);
		goto out;
	}
	r = sync_folder_of(path);
	if (r == -1)
		error_errno(e, "%s: cannot sync its folder", path);
out:
	if (fd != -1) {
		close(fd);
		if (r == -1)
			unlink(temporary); /* harmless after the rename: the name is gone */
	}
	free(temporary);
	return r;
}

int file_read(const char *path, size_t max, struct buf *out, struct error *e)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	size_t total = 0;
	int r = -1;

	if (fd == -1)
		return error_errno(e, "%s: cannot open", path);
	for (;;) {
		size_t want = max - total < CHUNK ? max - total + 1 : CHUNK; /* one more tells too long */
		char chunk[CHUNK];
		ssize_t n = read(fd, chunk, want < CHUNK ? want : CHUNK);
		if (n == -1 && errno == EINTR)
			continue;
		if (n == -1) {
			error_errno(e, "%s: cannot read", path);
			break;
		}
		if (n == 0) {
			r = 0;
			break;
		}
		if ((size_t)n > max - total || buf_add(out, chunk, (size_t)n) == -1) {
			error_set(e, "%s: larger than %zu bytes", path, max < out->max ? max : out->max);
			break;
		}
		total += (size_t)n;
	}
	close(fd);
	return r;
}

int file_read_there(const char *path, size_t max, struct buf *out, struct error *e)
{
	struct stat st;

	if (lstat(path, &st) == -1 && errno == ENOENT)
		return 0;
	if (stat(path, &st) == 0 && !S_ISREG(st.st_mode)) /* a pipe would have us wait */
		return error_set(e, "%s: is not a file; move it away", path);
	return file_read(path, max, out, e) == -1 ? -1 : 1;
}

int file_mkdirs(const char *path, mode_t mode, struct error *e)
{
	char *copy = xstrdup(path);
	size_t len = strlen(copy);
	int r = 0;

	for (size_t i = 1; i <= len && r == 0; i++) {
		if (copy[i] != '/' && copy[i] != '\0')
			continue;
		char kept = copy[i];
		copy[i] = '\0';
		struct stat st;
		if (mkdir(copy, mode) == -1 && errno != EEXIST)
			r = error_errno(e, "%s: cannot make folder", copy);
		else if (stat(copy, &st) == -1)
			r = error_errno(e, "%s", copy);
		else if (!S_ISDIR(st.st_mode))
			r = error_set(e, "%s: is not a folder", copy);
		copy[i] = kept;
	}
	free(copy);
	return r;
}
