/*
 * internal.h: what an apply has started outlives its kill -9, and would go on changing what the way back has just
 * restored (an `nft -f` that is still reading).  Whatever it starts carries a mark in its environment, by which it is
 * found and ended first.
 */
#include <dirent.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "apply/internal.h"
#include "lib/proc.h"

#define MARK "MAILADM_APPLYING"
#define ENVIRON_MAX (4u << 20)
#define END_MS 5000 /* for one that the kernel holds */

void orphans_mark(const struct apply_dir *d, unsigned number)
{
	char *value = xasprintf("%s %u", d->path, number);

	setenv(MARK, value, 1);
	free(value);
}

void orphans_unmark(void)
{
	unsetenv(MARK);
}

static bool is_marked(const char *pid, const char *mark)
{
	char *path = xasprintf("/proc/%s/environ", pid);
	struct buf text = BUF_INIT(ENVIRON_MAX);
	struct error e;
	bool found = false;

	if (file_read(path, ENVIRON_MAX, &text, &e) == 0) {
		const char *s = buf_str(&text), *end = s + text.len;

		for (; s < end && !found; s += strlen(s) + 1)
			found = strcmp(s, mark) == 0;
	}
	buf_free(&text);
	free(path);
	return found;
}

static void end_marked(const char *name, const char *mark)
{
	uint64_t pid;
	int fd;

	if (view_u64(view_of(name), INT32_MAX, &pid) < 0 || pid == 0 || (pid_t)pid == getpid())
		return;
	fd = (int)syscall(SYS_pidfd_open, (pid_t)pid, 0); /* before the look: another one may get its number */
	if (fd < 0)
		return;
	if (is_marked(name, mark)) {
		struct pollfd gone = { .fd = fd, .events = POLLIN };

		log_warnx("event=apply reason=\"ends process %s, which an apply that was cut off had started\"", name);
		syscall(SYS_pidfd_send_signal, fd, SIGKILL, NULL, 0);
		poll(&gone, 1, END_MS);
	}
	close(fd);
}

void orphans_end(const struct apply_dir *d, unsigned number)
{
	char *mark = xasprintf(MARK "=%s %u", d->path, number);
	DIR *proc = opendir("/proc");

	for (struct dirent *entry; proc != NULL && (entry = readdir(proc)) != NULL;)
		end_marked(entry->d_name, mark);
	if (proc != NULL)
		closedir(proc);
	free(mark);
}
