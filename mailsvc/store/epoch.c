/* Making and watching the epoch pages (epoch.h): memfds whose size is sealed, so that a reader cannot make store fault.
 */
#include "epoch.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/log.h"
#include "segment.h"

#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x0010
#endif

static void *page_new(const char *name, int seals, int *fd)
{
	void *page = MAP_FAILED;

	*fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (*fd == -1)
		return NULL;
	if (ftruncate(*fd, EPOCH_PAGE) == 0)
		page = mmap(NULL, EPOCH_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, *fd, 0);
	if (page != MAP_FAILED && fcntl(*fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL | seals) == 0)
		return page;
	if (page != MAP_FAILED)
		munmap(page, EPOCH_PAGE);
	close(*fd);
	*fd = -1;
	return NULL;
}

struct epoch_shared *epoch_shared_new(int *fd)
{
	struct epoch_shared *s = page_new("epoch", F_SEAL_FUTURE_WRITE, fd);

	if (s)
		atomic_store(&s->epoch, 1);
	return s;
}

static int lock(int fd, short type)
{
	struct flock l = { .l_type = type, .l_whence = SEEK_SET };

	return fcntl(fd, F_OFD_SETLK, &l);
}

int epoch_claim(int index_dir, struct epoch_shared *shared, uint64_t wait_ms)
{
	int fd = openat(index_dir, "readers", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0640), rc = -1;
	uint64_t until = clock_mono_ms() + wait_ms, number;

	if (fd == -1)
		return -1;
	adopt(index_dir, fd);
	while (lock(fd, F_WRLCK) == -1) {
		if (clock_mono_ms() >= until) {
			log_warnx(
			    "event=store.readers error=\"a reader holds a snapshot of the store before this one\"");
			break;
		}
		nanosleep(&(struct timespec){ 0, 2000000 }, NULL);
	}
	if (getrandom(&number, sizeof number, 0) == (ssize_t)sizeof number &&
	    pwrite(fd, &number, sizeof number, 0) == (ssize_t)sizeof number) {
		atomic_store(&shared->store, number);
		rc = 0;
	}
	close(fd);
	return rc;
}

bool epoch_hold(int fd, const struct epoch_shared *shared)
{
	uint64_t number;

	if (lock(fd, F_RDLCK) == -1)
		return false;
	if (pread(fd, &number, sizeof number, 0) == (ssize_t)sizeof number && number == atomic_load(&shared->store))
		return true;
	epoch_release(fd);
	return false;
}

void epoch_release(int fd)
{
	lock(fd, F_UNLCK);
}

int readers_add(struct readers *r, int *fd)
{
	struct epoch_reader *page = page_new("epoch-reader", 0, fd);
	int slot = -1;

	if (!page)
		return -1;
	pthread_mutex_lock(&r->lock);
	for (int i = 0; i < READERS_MAX && slot == -1; i++)
		if (!r->at[i].page) {
			r->at[i].page = page;
			slot = i;
		}
	pthread_mutex_unlock(&r->lock);
	if (slot == -1) {
		munmap(page, EPOCH_PAGE);
		close(*fd);
		*fd = -1;
		errno = EMFILE;
	}
	return slot;
}

void readers_remove(struct readers *r, int slot)
{
	pthread_mutex_lock(&r->lock);
	munmap(r->at[slot].page, EPOCH_PAGE);
	r->at[slot].page = NULL;
	pthread_mutex_unlock(&r->lock);
}

bool readers_any(struct readers *r)
{
	bool any = false;

	pthread_mutex_lock(&r->lock);
	for (int i = 0; i < READERS_MAX; i++)
		any |= r->at[i].page != NULL;
	pthread_mutex_unlock(&r->lock);
	return any;
}

uint64_t readers_oldest(struct readers *r)
{
	uint64_t oldest = UINT64_MAX;

	pthread_mutex_lock(&r->lock);
	for (int i = 0; i < READERS_MAX; i++) {
		uint64_t e = r->at[i].page ? atomic_load(&r->at[i].page->epoch) : 0;
		if (e != 0 && e < oldest)
			oldest = e;
	}
	pthread_mutex_unlock(&r->lock);
	return oldest;
}

void readers_epoch_begins(struct readers *r, uint64_t epoch, uint64_t now_ms)
{
	pthread_mutex_lock(&r->lock);
	r->begun[epoch % EPOCHS_KEPT] = now_ms;
	pthread_mutex_unlock(&r->lock);
}

int readers_laggard(struct readers *r, uint64_t current, uint64_t now_ms, uint64_t ms)
{
	int found = -1;

	pthread_mutex_lock(&r->lock);
	for (int i = 0; i < READERS_MAX; i++) {
		uint64_t e = r->at[i].page ? atomic_load(&r->at[i].page->epoch) : 0;
		if (e == 0 || e >= current)
			continue;
		if (current - e >= EPOCHS_KEPT || now_ms - r->begun[(e + 1) % EPOCHS_KEPT] > ms)
			found = i;
	}
	pthread_mutex_unlock(&r->lock);
	return found;
}
