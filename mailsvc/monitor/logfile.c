/*
 * Where fd 2 of everybody leads: stderr as monitor was started with, or log.destination, opened for appending and
 * opened anew on SIGUSR1 (logrotate), `mailadm` reopen and reload.  And systemd's notifications, which are one
 * datagram.
 */
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "mailsvc/monitor/internal.h"

static int open_file(struct monitor *m, struct error *e)
{
	const char *path = m->site->log.destination;
	int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, 0640), r = 0;

	if (fd < 0 || dup2(fd, STDERR_FILENO) < 0)
		r = error_errno(e, "log.destination: %s", path);
	if (fd >= 0)
		close(fd);
	return r;
}

int logfile_open(struct monitor *m, struct error *e)
{
	if (strcmp(m->site->log.destination, "stderr") != 0) {
		if (open_file(m, e) < 0)
			return -1;
	} else if (dup2(m->original_stderr, STDERR_FILENO) < 0) {
		return error_errno(e, "stderr");
	}
	log_init(log_ident(), LOG_LEVEL_INFO); /* it looks at what 2 is now */
	role_log_level(m->site);
	return 0;
}

void logfile_reopen(struct monitor *m)
{
	struct error e;

	if (logfile_open(m, &e) < 0) {
		log_warnx("event=log reason=\"%s\"", e.text);
		return;
	}
	for (size_t i = 0; i < m->child_count; i++) {
		int fd = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);

		if (fd >= 0)
			child_tell(&m->children[i], ROLE_MSG_LOG, 0, VIEW_NONE, fd);
	}
}

void notify_systemd(const char *state)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	const char *path = getenv("NOTIFY_SOCKET");
	size_t len = path != NULL ? strlen(path) : 0;
	int fd;

	if (len == 0 || len >= sizeof(to.sun_path) || (path[0] != '/' && path[0] != '@'))
		return;
	memcpy(to.sun_path, path, len);
	if (path[0] == '@')
		to.sun_path[0] = '\0'; /* an abstract name */
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return;
	if (sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&to,
		(socklen_t)(offsetof(struct sockaddr_un, sun_path) + len)) < 0)
		log_warn("event=notify");
	close(fd);
}
