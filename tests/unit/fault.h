/*
 * Faults in the calls that change files: this program's own pwrite, fsync, renameat ... stand in for libc's (also for
 * those of liblmdb), count what happens below one folder, and at the N-th call do what a crash or a bad disk does.
 *
 * FAULT_POWER also takes back what was not synced: each sector that was written since the last sync of its file holds
 * what it held at some moment since then, a file that grew may have its old length, and of the changes to folders
 * that were not synced some first part stays.
 */
#ifndef TESTS_UNIT_FAULT_H
#define TESTS_UNIT_FAULT_H

#include <dlfcn.h>
#include <limits.h>
#include <signal.h>
#include <sys/uio.h>

#include "store_help.h"

enum fault_mode {
	FAULT_NONE,
	FAULT_KILL_BEFORE,
	FAULT_KILL_AFTER,
	FAULT_TORN,        /* half of a write, to the end of a sector, then death */
	FAULT_TORN_SECTOR, /* power lost: half of it, and the last sector of that half holds a flipped bit */
	FAULT_POWER,
	FAULT_SHORT, /* a write that says it wrote half */
	FAULT_ENOSPC,
	FAULT_EIO,
	FAULT_MODES
};
static const char *const fault_names[FAULT_MODES] = { "none", "killed before", "killed after", "torn",
	"torn in a sector", "power lost before", "short", "ENOSPC", "EIO" };

static struct fault {
	char root[PATH_MAX]; /* "": nothing is counted */
	enum fault_mode mode;
	uint64_t at, count;
	unsigned seed;
	char what[200]; /* the call that was hit */
	int report;     /* descriptor that is told what was hit, or -1 */
} fault = { .report = -1 };

#define SECTOR 512u
#define FAULT_REAL(name) ((__typeof__(&name))(uintptr_t)dlsym(RTLD_NEXT, #name))

/* What may be taken back ------------------------------------------------------------------------------------- */

enum undo_kind { UNDO_WRITE, UNDO_CREATE, UNDO_UNLINK, UNDO_RENAME };
static struct undo {
	enum undo_kind kind;
	bool synced;
	ino_t inode;   /* of the file; of the folder, for names */
	uint64_t file; /* of its name: the same in each run */
	int fd;        /* a descriptor of the file, ours */
	uint64_t size; /* of the file before */
	uint64_t offset;
	size_t len;
	char *old;
	char *path, *from, *saved; /* saved: a second link to what path was */
} * undos;
static size_t undo_count, undo_size;

static inline bool fault_recording(void)
{
	return fault.mode == FAULT_POWER;
}

static inline struct undo *undo_add(enum undo_kind kind)
{
	if (undo_count == undo_size) {
		undo_size = undo_size ? undo_size * 2 : 256;
		undos = xreallocarray(undos, undo_size, sizeof *undos);
	}
	undos[undo_count] = (struct undo){ .kind = kind, .fd = -1 };
	return &undos[undo_count++];
}

static inline void undo_write(int fd, const char *path, uint64_t offset, uint64_t len)
{
	struct undo *u;
	struct stat st;
	char self[40];

	if (!fault_recording() || fstat(fd, &st) == -1 || len == 0)
		return;
	/* Whole sectors: a disk knows no others. */
	len += offset % SECTOR;
	offset -= offset % SECTOR;
	len = (len + SECTOR - 1) / SECTOR * SECTOR;
	u = undo_add(UNDO_WRITE);
	u->inode = st.st_ino;
	u->file = 0;
	for (const char *p = path + strlen(fault.root); *p; p++)
		u->file = u->file * 31 + (unsigned char)*p;
	u->size = (uint64_t)st.st_size;
	u->offset = offset;
	u->len = (size_t)len;
	u->old = xcalloc(1, u->len);
	snprintf(self, sizeof self, "/proc/self/fd/%d", fd);
	if ((u->fd = FAULT_REAL(open)(self, O_RDWR | O_CLOEXEC)) == -1 ||
	    pread(u->fd, u->old, u->len, (off_t)offset) == -1)
		abort();
}

static inline void undo_synced(int fd)
{
	struct stat st;

	if (!fault_recording() || fstat(fd, &st) == -1)
		return;
	for (size_t i = 0; i < undo_count; i++)
		if (!undos[i].synced && undos[i].inode == st.st_ino) {
			undos[i].synced = true;
			if (undos[i].fd != -1)
				close(undos[i].fd);
			free(undos[i].old);
			if (undos[i].saved)
				FAULT_REAL(unlinkat)(AT_FDCWD, undos[i].saved, 0);
			undos[i].fd = -1;
			undos[i].old = NULL;
		}
}

static inline unsigned fault_hash(uint64_t a, uint64_t b)
{
	uint64_t h = (a * 0x9e3779b97f4a7c15ull) ^ (b + fault.seed * 0x517cc1b727220a95ull);

	h ^= h >> 29;
	h *= 0xbf58476d1ce4e5b9ull;
	return (unsigned)(h >> 33);
}

/* The sector holds what it held when undos[result] had not been made yet; undo_count: the newest. */
static inline size_t sector_time(uint64_t file, uint64_t sector)
{
	unsigned h = fault_hash(file, sector);

	return h % 3 == 0 ? 0 : h % 3 == 1 ? undo_count : h / 3 % (undo_count + 1);
}

static inline void power_lost(void)
{
	unsigned seed = fault.seed;
	size_t names = 0, keep;

	for (size_t i = 0; i < undo_count; i++)
		names += !undos[i].synced && undos[i].kind != UNDO_WRITE;
	keep = names ? (size_t)rand_r(&seed) % (names + 1) : 0;
	for (size_t i = undo_count; i-- > 0;) {
		struct undo *u = &undos[i];
		if (u->synced)
			continue;
		if (u->kind == UNDO_WRITE) {
			for (size_t at = 0; at < u->len; at += SECTOR)
				if (sector_time(u->file, (u->offset + at) / SECTOR) <= i &&
				    FAULT_REAL(pwrite)(u->fd, u->old + at, SECTOR, (off_t)(u->offset + at)) == -1)
					abort();
			struct stat st;
			if (fault_hash(u->file, 77) % 2 && fstat(u->fd, &st) == 0 && (uint64_t)st.st_size > u->size &&
			    FAULT_REAL(ftruncate)(u->fd, (off_t)u->size) == -1)
				abort();
			continue;
		}
		if (names-- <= keep)
			continue;
		if (u->kind == UNDO_RENAME)
			FAULT_REAL(renameat)(AT_FDCWD, u->path, AT_FDCWD, u->from);
		if (u->kind == UNDO_CREATE)
			FAULT_REAL(unlinkat)(AT_FDCWD, u->path, 0);
		if (u->saved)
			FAULT_REAL(renameat)(AT_FDCWD, u->saved, AT_FDCWD, u->path);
	}
}

/* Counting --------------------------------------------------------------------------------------------------- */

static inline bool fault_path(int fd, char path[PATH_MAX])
{
	char self[40];
	ssize_t n;

	if (!fault.root[0])
		return false;
	snprintf(self, sizeof self, "/proc/self/fd/%d", fd);
	if ((n = readlink(self, path, PATH_MAX - 1)) <= 0)
		return false;
	path[n] = '\0';
	return strncmp(path, fault.root, strlen(fault.root)) == 0;
}

static inline _Noreturn void fault_die(void)
{
	if (fault.report != -1)
		dprintf(fault.report, "%s", fault.what);
	raise(SIGKILL);
	abort();
}

/* The N-th: says whether the call is to fail (errno), having died where that is the fault. */
static inline bool fault_hit(const char *call, const char *path, uint64_t len)
{
	if (fault.at == 0 || ++fault.count != fault.at)
		return false;
	snprintf(
	    fault.what, sizeof fault.what, "%s(%s, %llu)", call, path + strlen(fault.root), (unsigned long long)len);
	if (fault.mode == FAULT_POWER)
		power_lost();
	if (fault.mode == FAULT_KILL_BEFORE || fault.mode == FAULT_POWER)
		fault_die();
	return true;
}

static inline int fault_result(int done)
{
	if (fault.mode == FAULT_KILL_AFTER || fault.mode == FAULT_TORN || fault.mode == FAULT_TORN_SECTOR)
		fault_die();
	return done;
}

static inline bool fault_fails(void)
{
	if (fault.report != -1 && (fault.mode == FAULT_ENOSPC || fault.mode == FAULT_EIO || fault.mode == FAULT_SHORT))
		dprintf(fault.report, "%s", fault.what);
	errno = fault.mode == FAULT_ENOSPC ? ENOSPC : EIO;
	return fault.mode == FAULT_ENOSPC || fault.mode == FAULT_EIO;
}

/* In the last sector, in a byte that was being changed: what is written again as it was cannot tear. */
static inline void flip_bit(int fd, char *data, size_t len, off_t at)
{
	size_t from = len > SECTOR ? len - SECTOR : 0, n = 0, pick;
	char old[SECTOR] = { 0 };

	if (pread(fd, old, len - from, at + (off_t)from) == -1)
		return;
	for (size_t i = from; i < len; i++)
		n += data[i] != old[i - from];
	pick = n ? fault.seed % n : 0;
	for (size_t i = from; n && i < len; i++)
		if (data[i] != old[i - from] && pick-- == 0) {
			data[i] ^= (char)(1 << fault.seed % 8);
			break;
		}
}

static inline ssize_t fault_pwrite(int fd, const char *data, size_t len, off_t at, const char *call, const char *path)
{
	__typeof__(&pwrite) real = FAULT_REAL(pwrite);
	size_t half = len / 2;
	char *copy;

	if (!fault_hit(call, path, len))
		return real(fd, data, len, at);
	if (fault_fails())
		return -1;
	if (fault.mode == FAULT_SHORT)
		return half ? real(fd, data, half, at) : real(fd, data, len, at);
	if (fault.mode == FAULT_KILL_AFTER)
		half = len;
	if (fault.mode == FAULT_TORN)
		half -= ((uint64_t)at + half) % SECTOR < half ? ((uint64_t)at + half) % SECTOR : 0;
	copy = xmalloc(len + 1);
	memcpy(copy, data, len);
	if (fault.mode == FAULT_TORN_SECTOR && half)
		flip_bit(fd, copy, half, at);
	if (half && real(fd, copy, half, at) == -1)
		abort();
	return fault_result((int)len);
}

/* In place of libc's ----------------------------------------------------------------------------------------- */

ssize_t pwrite(int fd, const void *data, size_t len, off_t at)
{
	char path[PATH_MAX];

	if (!fault_path(fd, path))
		return FAULT_REAL(pwrite)(fd, data, len, at);
	undo_write(fd, path, (uint64_t)at, len);
	return fault_pwrite(fd, data, len, at, "pwrite", path);
}

ssize_t pwritev(int fd, const struct iovec *iov, int count, off_t at)
{
	struct buf all = BUF_INIT(1u << 30);
	char path[PATH_MAX];
	ssize_t n;

	if (!fault_path(fd, path))
		return FAULT_REAL(pwritev)(fd, iov, count, at);
	for (int i = 0; i < count; i++)
		buf_add(&all, iov[i].iov_base, iov[i].iov_len);
	undo_write(fd, path, (uint64_t)at, all.len);
	n = fault_pwrite(fd, all.data, all.len, at, "pwritev", path);
	buf_free(&all);
	return n;
}

/* liblmdb's way for pages that lie side by side. */
ssize_t writev(int fd, const struct iovec *iov, int count)
{
	char path[PATH_MAX];
	off_t at;
	ssize_t n;

	if (!fault_path(fd, path))
		return FAULT_REAL(writev)(fd, iov, count);
	at = lseek(fd, 0, SEEK_CUR);
	n = pwritev(fd, iov, count, at);
	if (n > 0)
		lseek(fd, at + n, SEEK_SET);
	return n;
}

static inline int fault_sync(int fd, const char *call, int (*real)(int))
{
	char path[PATH_MAX];
	bool ours = fault_path(fd, path), hit = ours && fault_hit(call, path, 0);
	int rc;

	if (hit && fault_fails())
		return -1;
	rc = real(fd);
	if (ours)
		undo_synced(fd);
	return hit ? fault_result(rc) : rc;
}

int fsync(int fd)
{
	return fault_sync(fd, "fsync", FAULT_REAL(fsync));
}

int fdatasync(int fd)
{
	return fault_sync(fd, "fdatasync", FAULT_REAL(fdatasync));
}

int ftruncate(int fd, off_t len)
{
	char path[PATH_MAX];
	struct stat st;
	bool hit;
	int rc;

	if (!fault_path(fd, path))
		return FAULT_REAL(ftruncate)(fd, len);
	if (fstat(fd, &st) == 0 && st.st_size > len)
		undo_write(fd, path, (uint64_t)len, (uint64_t)(st.st_size - len));
	hit = fault_hit("ftruncate", path, (uint64_t)len);
	if (hit && fault_fails())
		return -1;
	rc = FAULT_REAL(ftruncate)(fd, len);
	return hit ? fault_result(rc) : rc;
}

int fallocate(int fd, int mode, off_t from, off_t len)
{
	char path[PATH_MAX];
	bool hit = fault_path(fd, path) && fault_hit("fallocate", path, (uint64_t)len);
	int rc;

	if (hit && fault_fails())
		return -1;
	rc = FAULT_REAL(fallocate)(fd, mode, from, len);
	return hit ? fault_result(rc) : rc;
}

/* The whole path of a name below the folder; false: not below it. */
static inline bool fault_name(int dir, const char *name, char path[PATH_MAX])
{
	char folder[PATH_MAX], real[PATH_MAX];
	const char *slash = strrchr(name, '/');

	if (!fault.root[0])
		return false;
	if (name[0] == '/') {
		snprintf(folder, sizeof folder, "%.*s", (int)(slash - name), name);
		if (!realpath(folder, real))
			return false;
	} else if (dir == AT_FDCWD || !fault_path(dir, real))
		return false;
	snprintf(path, PATH_MAX, "%.*s/%s", PATH_MAX / 2, real, slash ? slash + 1 : name);
	return strncmp(path, fault.root, strlen(fault.root)) == 0;
}

static inline ino_t fault_folder(const char *path)
{
	char folder[PATH_MAX];
	struct stat st;

	snprintf(folder, sizeof folder, "%.*s", (int)(strrchr(path, '/') - path), path);
	return stat(folder, &st) == 0 ? st.st_ino : 0;
}

static inline void undo_name(enum undo_kind kind, const char *path, const char *from)
{
	struct undo *u;

	if (!fault_recording())
		return;
	u = undo_add(kind);
	u->inode = fault_folder(path);
	u->path = xstrdup(path);
	u->from = from ? xstrdup(from) : NULL;
	if (kind != UNDO_CREATE) {
		u->saved = xasprintf("%s/.saved-%zu", fault.root, undo_count);
		if (link(path, u->saved) == -1) {
			free(u->saved);
			u->saved = NULL;
		}
	}
}

static inline int fault_open(int dir, const char *name, int flags, mode_t mode)
{
	char path[PATH_MAX];
	struct stat st;
	bool hit;
	int fd;

	if (!(flags & O_CREAT) || !fault_name(dir, name, path) || lstat(path, &st) == 0)
		return FAULT_REAL(openat)(dir, name, flags, mode);
	hit = fault_hit("open", path, 0);
	if (hit && fault_fails())
		return -1;
	fd = FAULT_REAL(openat)(dir, name, flags, mode);
	undo_name(UNDO_CREATE, path, NULL);
	return hit ? fault_result(fd) : fd;
}

int openat(int dir, const char *name, int flags, ...)
{
	va_list ap;
	mode_t mode;

	va_start(ap, flags);
	mode = flags & O_CREAT ? va_arg(ap, mode_t) : 0;
	va_end(ap);
	return fault_open(dir, name, flags, mode);
}

int open(const char *name, int flags, ...)
{
	va_list ap;
	mode_t mode;

	va_start(ap, flags);
	mode = flags & O_CREAT ? va_arg(ap, mode_t) : 0;
	va_end(ap);
	return fault_open(AT_FDCWD, name, flags, mode);
}

int renameat(int from_dir, const char *from, int dir, const char *name)
{
	char path[PATH_MAX], from_path[PATH_MAX];
	bool ours = fault_name(dir, name, path) && fault_name(from_dir, from, from_path),
	     hit = ours && fault_hit("rename", path, 0);
	int rc;

	if (hit && fault_fails())
		return -1;
	if (ours && faccessat(AT_FDCWD, from_path, F_OK, 0) == 0)
		undo_name(UNDO_RENAME, path, from_path);
	rc = FAULT_REAL(renameat)(from_dir, from, dir, name);
	return hit ? fault_result(rc) : rc;
}

int unlinkat(int dir, const char *name, int flags)
{
	char path[PATH_MAX];
	bool ours = fault_name(dir, name, path) && faccessat(AT_FDCWD, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0,
	     hit = ours && fault_hit("unlink", path, 0);
	int rc;

	if (hit && fault_fails())
		return -1;
	if (ours)
		undo_name(UNDO_UNLINK, path, NULL);
	rc = FAULT_REAL(unlinkat)(dir, name, flags);
	return hit ? fault_result(rc) : rc;
}

#endif
