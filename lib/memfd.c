/* imsg.h: sealed memory files, the form in which more than a message's worth passes between processes. */
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "imsg.h"

#define SEALS (F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW)
#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 8U /* Linux 6.3 */
#endif

static int create(const char *name)
{
	int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL);

	if (fd == -1 && errno == EINVAL)
		fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
	return fd;
}

int memfd_sealed(const char *name, struct view v)
{
	int fd = create(name);

	if (fd == -1)
		return -1;
	for (size_t done = 0; done < v.len;) {
		ssize_t n = write(fd, v.ptr + done, v.len - done);
		if (n == -1 && errno == EINTR)
			continue;
		if (n <= 0)
			goto fail;
		done += (size_t)n;
	}
	if (lseek(fd, 0, SEEK_SET) == 0 && memfd_seal(fd) == 0)
		return fd;
fail:
	close(fd);
	return -1;
}

int memfd_seal(int fd)
{
	return fcntl(fd, F_ADD_SEALS, SEALS | F_SEAL_SEAL);
}

int memfd_map_sealed(int fd, size_t max, struct view *out)
{
	int seals = fcntl(fd, F_GET_SEALS);
	struct stat st;

	*out = VIEW_NONE;
	if (seals == -1 || (seals & SEALS) != SEALS) {
		errno = EPERM;
		return -1;
	}
	if (fstat(fd, &st) == -1)
		return -1;
	if (st.st_size < 0 || (uintmax_t)st.st_size > max) {
		errno = EFBIG;
		return -1;
	}
	if (st.st_size == 0)
		return 0;
	/* Private, because kernels before 6.7 refuse even read-only shared maps of a sealed file. */
	void *p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (p == MAP_FAILED)
		return -1;
	*out = (struct view){ p, (size_t)st.st_size };
	return 0;
}
