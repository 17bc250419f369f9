/* Where the host keeps its things: room, inodes, read-only mounts, and how long a write takes to be safe. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "doctor/doctor.h"
#include "lib/clock.h"
#include "lib/text.h"

#define WRITES 9
#define WRITE_SIZE 4096
#define SLOW_MS 100 /* each delivery waits for one such write */

static void check_room(const struct doctor *d, const char *path, bool state, struct check_results *out)
{
	struct statvfs v;
	char left[16], reserve[16];
	if (statvfs(path, &v) == -1) {
		check_results_add(out, errno == ENOENT ? CHECK_WARNING : CHECK_UNKNOWN, "disk", path,
		    errno == ENOENT ? "start the host once: mailadm serve makes it" : "", "%s", strerror(errno));
		return;
	}
	uint64_t block = v.f_frsize, avail = (uint64_t)v.f_bavail * block, total = (uint64_t)v.f_blocks * block;
	uint64_t keep = state ? d->site->limits.disk_reserve : 0;
	text_format_size(avail, left);
	text_format_size(keep, reserve);
	if (v.f_flag & ST_RDONLY)
		check_results_add(out, CHECK_WRONG, "disk", path,
		    "look why in the kernel's log (dmesg), repair the file system, and mount it read-write",
		    "mounted read-only");
	else if (state && avail < keep)
		check_results_add(out, CHECK_WRONG, "disk", path,
		    "make room or enlarge the disk: new mail gets 452 until then",
		    "%s left, less than limits.disk_reserve (%s)", left, reserve);
	else if (avail < 2 * keep || avail < total / 20)
		check_results_add(out, CHECK_WARNING, "disk", path, "make room or enlarge the disk soon",
		    "%s left of %s", left, (text_format_size(total, reserve), reserve));
	else
		check_results_add(out, CHECK_OK, "disk", path, "", "%s left", left);
	/* Some file systems have no fixed number of inodes. */
	if (v.f_files > 0 && v.f_favail < v.f_files / 20)
		check_results_add(out, v.f_favail < 100 ? CHECK_WRONG : CHECK_WARNING, "inodes", path,
		    "remove small files, or make the file system anew with more inodes", "%llu of %llu inodes left",
		    (unsigned long long)v.f_favail, (unsigned long long)v.f_files);
}

void doctor_disk(const struct doctor *d, struct check_results *out)
{
	const char *paths[] = { d->site->state_dir, d->site->run_dir, d->site->dns.zone_dir };
	dev_t seen[3];
	size_t count = 0;
	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		struct stat st;
		bool again = false;
		if (!paths[i] || !paths[i][0] || (stat(paths[i], &st) == -1 && i > 0))
			continue; /* a zone_dir is there only where zones are served */
		bool there = stat(paths[i], &st) == 0;
		for (size_t j = 0; there && j < count; j++)
			again = again || seen[j] == st.st_dev;
		if (there)
			seen[count++] = st.st_dev;
		if (!again)
			check_room(d, paths[i], i == 0, out);
	}
}

static int by_time(const void *a, const void *b)
{
	const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
	return x < y ? -1 : x > y;
}

/* The median of a few writes that are synced, in milliseconds; -1: refused, errno says why. */
static int median_write(const char *dir)
{
	char data[WRITE_SIZE];
	uint64_t took[WRITES];
	int result = 0, fd = open(dir, O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600);
	if (fd == -1)
		return -1;
	memset(data, 'x', sizeof(data));
	for (size_t i = 0; i < WRITES && result == 0; i++) {
		uint64_t start = clock_mono_ms();
		if (write(fd, data, sizeof(data)) != (ssize_t)sizeof(data) || fdatasync(fd) == -1)
			result = -1;
		took[i] = clock_mono_ms() - start;
	}
	close(fd);
	if (result == 0) {
		qsort(took, WRITES, sizeof(took[0]), by_time);
		result = (int)took[WRITES / 2];
	}
	return result;
}

void doctor_latency(const struct doctor *d, struct check_results *out)
{
	const char *dir = d->site->state_dir;
	int ms = median_write(dir);
	if (ms == -1 && (errno == ENOSPC || errno == EROFS || errno == EIO))
		check_results_add(
		    out, CHECK_WRONG, "latency", dir, "see the row of the disk", "a write failed: %s", strerror(errno));
	else if (ms == -1)
		check_results_add(out, CHECK_UNKNOWN, "latency", dir, "run it as root", "%s", strerror(errno));
	else if (ms > SLOW_MS)
		check_results_add(out, CHECK_WARNING, "latency", dir,
		    "look what else uses the disk (iostat), or move the state to a faster one",
		    "a write takes %d ms until it is safe; each delivery waits for one", ms);
	else
		check_results_add(out, CHECK_OK, "latency", dir, "", "a write is safe after %d ms", ms);
}
