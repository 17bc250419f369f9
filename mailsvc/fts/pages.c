/*
 * Only the main file is checked: the write-ahead log has checksums of SQLite's own.  The first read of a file is of its
 * header alone and cannot be checked; the page that holds it is, when it is read whole.
 */
#include "pages.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "lib/buf.h"
#include "lib/crc32c.h"

#define RESERVE 8 /* bytes of a page; the last four are the CRC */
#define PAGE_MIN 512
#define PAGE_MAX 65536

struct pages_file {
	sqlite3_file base;
	sqlite3_file *real; /* behind this struct */
};

static sqlite3_vfs *system_vfs;
static sqlite3_vfs pages_vfs;

static sqlite3_file *real_of(sqlite3_file *f)
{
	return ((struct pages_file *)(void *)f)->real;
}

static uint32_t page_crc(const char *page, size_t size)
{
	return crc32c(0, page, size - 4);
}

/* A whole page of a database, rather than its header. */
static bool is_page(int amount, sqlite3_int64 offset)
{
	return amount >= PAGE_MIN && amount <= PAGE_MAX && (amount & (amount - 1)) == 0 && offset % amount == 0;
}

static int file_read(sqlite3_file *f, void *dst, int amount, sqlite3_int64 offset)
{
	int rc = real_of(f)->pMethods->xRead(real_of(f), dst, amount, offset);
	const char *page = dst;
	uint32_t kept;

	if (rc != SQLITE_OK || !is_page(amount, offset))
		return rc;
	memcpy(&kept, page + amount - 4, sizeof(kept));
	return kept == page_crc(page, (size_t)amount) ? SQLITE_OK : SQLITE_IOERR_DATA;
}

static int file_write(sqlite3_file *f, const void *src, int amount, sqlite3_int64 offset)
{
	char *page;
	uint32_t crc;
	int rc;

	if (!is_page(amount, offset))
		return real_of(f)->pMethods->xWrite(real_of(f), src, amount, offset);
	page = xmalloc((size_t)amount);
	memcpy(page, src, (size_t)amount);
	crc = page_crc(page, (size_t)amount);
	memcpy(page + amount - 4, &crc, sizeof(crc));
	rc = real_of(f)->pMethods->xWrite(real_of(f), page, amount, offset);
	free(page);
	return rc;
}

static int file_close(sqlite3_file *f)
{
	return real_of(f)->pMethods->xClose(real_of(f));
}

static int file_truncate(sqlite3_file *f, sqlite3_int64 size)
{
	return real_of(f)->pMethods->xTruncate(real_of(f), size);
}

static int file_sync(sqlite3_file *f, int flags)
{
	return real_of(f)->pMethods->xSync(real_of(f), flags);
}

static int file_size(sqlite3_file *f, sqlite3_int64 *size)
{
	return real_of(f)->pMethods->xFileSize(real_of(f), size);
}

static int file_lock(sqlite3_file *f, int lock)
{
	return real_of(f)->pMethods->xLock(real_of(f), lock);
}

static int file_unlock(sqlite3_file *f, int lock)
{
	return real_of(f)->pMethods->xUnlock(real_of(f), lock);
}

static int file_reserved(sqlite3_file *f, int *out)
{
	return real_of(f)->pMethods->xCheckReservedLock(real_of(f), out);
}

static int file_control(sqlite3_file *f, int op, void *arg)
{
	return real_of(f)->pMethods->xFileControl(real_of(f), op, arg);
}

static int file_sector(sqlite3_file *f)
{
	return real_of(f)->pMethods->xSectorSize(real_of(f));
}

static int file_traits(sqlite3_file *f)
{
	return real_of(f)->pMethods->xDeviceCharacteristics(real_of(f));
}

/* Version 2 is what WAL asks for; with one user no shared memory is ever mapped. */
static int shm_map(sqlite3_file *f, int page, int size, int extend, void volatile **out)
{
	(void)f, (void)page, (void)size, (void)extend, (void)out;
	return SQLITE_IOERR_SHMMAP;
}

static int shm_lock(sqlite3_file *f, int offset, int n, int flags)
{
	(void)f, (void)offset, (void)n, (void)flags;
	return SQLITE_IOERR_SHMLOCK;
}

static void shm_barrier(sqlite3_file *f)
{
	(void)f;
}

static int shm_unmap(sqlite3_file *f, int delete)
{
	(void)f, (void)delete;
	return SQLITE_OK;
}

static const sqlite3_io_methods methods = {
	.iVersion = 2,
	.xClose = file_close,
	.xRead = file_read,
	.xWrite = file_write,
	.xTruncate = file_truncate,
	.xSync = file_sync,
	.xFileSize = file_size,
	.xLock = file_lock,
	.xUnlock = file_unlock,
	.xCheckReservedLock = file_reserved,
	.xFileControl = file_control,
	.xSectorSize = file_sector,
	.xDeviceCharacteristics = file_traits,
	.xShmMap = shm_map,
	.xShmLock = shm_lock,
	.xShmBarrier = shm_barrier,
	.xShmUnmap = shm_unmap,
};

static int vfs_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *f, int flags, int *out_flags)
{
	struct pages_file *p = (struct pages_file *)(void *)f;
	int rc;

	(void)vfs;
	if (!(flags & SQLITE_OPEN_MAIN_DB)) /* the log, and whatever else */
		return system_vfs->xOpen(system_vfs, name, f, flags, out_flags);
	memset(p, 0, sizeof(*p));
	p->real = (sqlite3_file *)(void *)(p + 1);
	rc = system_vfs->xOpen(system_vfs, name, p->real, flags, out_flags);
	if (rc == SQLITE_OK)
		p->base.pMethods = &methods;
	return rc;
}

/* As it is given: our paths begin with /proc/self/fd, and what that leads to may not be walked to. */
static int full_name(sqlite3_vfs *vfs, const char *name, int size, char *out)
{
	size_t len = strlen(name);

	(void)vfs;
	if (len >= (size_t)size)
		return SQLITE_CANTOPEN;
	memcpy(out, name, len + 1);
	return SQLITE_OK;
}

int fts_pages_register(void)
{
	if (system_vfs != NULL)
		return 0;
	system_vfs = sqlite3_vfs_find("unix-none");
	if (system_vfs == NULL)
		return -1;
	pages_vfs = *system_vfs;
	pages_vfs.pNext = NULL;
	pages_vfs.zName = FTS_PAGES_VFS;
	pages_vfs.szOsFile = system_vfs->szOsFile + (int)sizeof(struct pages_file);
	pages_vfs.xOpen = vfs_open;
	pages_vfs.xFullPathname = full_name;
	return sqlite3_vfs_register(&pages_vfs, 0) == SQLITE_OK ? 0 : -1;
}

int fts_pages_reserve(sqlite3 *db)
{
	int reserve = RESERVE;

	return sqlite3_file_control(db, "main", SQLITE_FCNTL_RESERVE_BYTES, &reserve) == SQLITE_OK ? 0 : -1;
}
