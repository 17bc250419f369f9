/* The disk's own rate: appends SIZE bytes and calls fdatasync, COUNT times.  bench_fsync FILE SIZE COUNT */
#include <err.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	if (argc != 4)
		errx(2, "usage: bench_fsync FILE SIZE COUNT");
	size_t size = strtoul(argv[2], NULL, 10);
	unsigned long count = strtoul(argv[3], NULL, 10);
	int fd = open(argv[1], O_CREAT | O_TRUNC | O_WRONLY, 0600);
	char *data = malloc(size);
	if (fd == -1 || data == NULL)
		err(2, "%s", argv[1]);
	memset(data, 'x', size);
	struct timespec a, b;
	clock_gettime(CLOCK_MONOTONIC, &a);
	for (unsigned long i = 0; i < count; i++)
		if (write(fd, data, size) != (ssize_t)size || fdatasync(fd) == -1)
			err(2, "%s", argv[1]);
	clock_gettime(CLOCK_MONOTONIC, &b);
	unlink(argv[1]);
	double wall = (double)(b.tv_sec - a.tv_sec) + (double)(b.tv_nsec - a.tv_nsec) / 1e9;
	printf("{\"rate\": %.1f}\n", (double)count / wall);
	return 0;
}
