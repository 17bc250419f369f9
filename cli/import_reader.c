/*
 * Starts the reader (migrate.h): the source is opened with our rights, then a child gives up what it can.  A single
 * file or a connection is read by a user of its own without any path; a folder is read by the folder's owner and below
 * that folder only.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <netdb.h>
#include <pwd.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "import.h"
#include "lib/conn.h"
#include "lib/imsg.h"
#include "lib/sandbox.h"
#include "mailsvc/mime/mime.h"

#define READER_USER "mailadm-imap" /* as exposed to strangers' mail as the imap role */
#define CHANNEL 3
#define SOURCE 4
#define CONNECT_S 30

static int connect_to(const char *host, const char *port)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM }, *all, *a;
	struct timeval limit = { CONNECT_S, 0 };
	int fd = -1, rc = getaddrinfo(host, port, &hints, &all), error = 0;

	if (rc != 0) {
		cli_error("%s: %s", host, gai_strerror(rc));
		return -1;
	}
	for (a = all; a != NULL && fd == -1; a = a->ai_next) {
		if ((fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0)) == -1)
			continue;
		setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)); /* bounds connect too */
		if (connect(fd, a->ai_addr, a->ai_addrlen) == 0)
			break;
		error = errno;
		close(fd);
		fd = -1;
	}
	freeaddrinfo(all);
	if (fd == -1)
		cli_error("%s port %s: %s", host, port, strerror(error));
	return fd;
}

/* Its descriptor; *folder tells what it is. -1: said. */
static int open_source(struct import *i, bool *folder)
{
	struct stat st;
	struct error e;
	int fd;

	*folder = false;
	if (i->kind == IMPORT_IMAP) {
		if (!i->server.plain_allowed && (i->server.tls = tls_client_ctx(i->server.verify, &e)) == NULL) {
			cli_error("%s", e.text);
			return -1;
		}
		return connect_to(i->server.host, i->port);
	}
	fd = open(i->from, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd == -1 || fstat(fd, &st) == -1) {
		cli_error("%s: %s", i->from, strerror(errno));
		return -1;
	}
	*folder = S_ISDIR(st.st_mode);
	if (!*folder && (i->kind == IMPORT_MAILDIR || !S_ISREG(st.st_mode))) {
		cli_error("%s: is no %s", i->from, i->kind == IMPORT_MAILDIR ? "folder" : "file");
		close(fd);
		return -1;
	}
	return fd;
}

/* As root: the owner of the folder that is read, when it has another one. */
static int become_owner(struct error *e)
{
	struct stat st;

	if (geteuid() != 0 || fstat(SOURCE, &st) == -1 || st.st_uid == 0)
		return 0;
	if (setgroups(0, NULL) == -1 || setresgid(st.st_gid, st.st_gid, st.st_gid) == -1 ||
	    setresuid(st.st_uid, st.st_uid, st.st_uid) == -1)
		return error_errno(e, "cannot become the owner of the folder");
	prctl(PR_SET_DUMPABLE, 1); /* /proc/self/fd is ours again until the sandbox takes it away */
	return 0;
}

static int give_up_rights(bool folder, struct error *e)
{
	static const char *const paths[] = { "/proc/self/fd/4", NULL };
	struct sandbox box = { .may = SANDBOX_MEMFD };

	if (folder) {
		box.may |= SANDBOX_OPEN_READ;
		box.read_paths = paths;
		if (become_owner(e) == -1)
			return -1;
	} else if (getpwnam(READER_USER) != NULL)
		box.user = READER_USER;
	return sandbox_enter(&box, e);
}

static _Noreturn void read_source(struct import *i, int channel, int fd, bool folder)
{
	struct migrate_source *source;
	uint8_t key[IMPORT_KEY_LEN];
	struct error e = { "" };

	log_init("reader", LOG_LEVEL_WARN);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	signal(SIGPIPE, SIG_IGN);
	/* Nothing but the two: not the way to store either. */
	fd = fcntl(fd, F_DUPFD, 10);
	if (dup2(channel, CHANNEL) == -1 || dup2(fd, SOURCE) == -1 || close_range(SOURCE + 1, ~0u, 0) == -1)
		fatal("descriptors");
	/* What would be opened later. */
	tzset();
	mime_charsets_preload();
	migrate_key(key, "", "", VIEW_NONE, VIEW_NONE);
	if (give_up_rights(folder, &e) == -1)
		fatalx("sandbox: %s", e.text);
	i->server.fd = SOURCE;
	source = i->kind == IMPORT_MAILDIR ? migrate_maildir(SOURCE, i->label)
	         : i->kind == IMPORT_MBOX  ? migrate_mbox(SOURCE, folder ? NULL : i->mailbox, i->label)
	                                   : migrate_imap(&i->server);
	_exit(reader_run(source, CHANNEL, &i->options));
}

pid_t import_start_reader(struct import *i, int *channel)
{
	bool folder;
	int fds[2], fd = open_source(i, &folder);
	pid_t pid;

	if (fd == -1)
		return -1;
	if (imsg_pair(fds) == -1 || (fflush(NULL), pid = fork()) == -1) {
		cli_error("cannot start the reader: %s", strerror(errno));
		close(fd);
		return -1;
	}
	if (pid == 0)
		read_source(i, fds[1], fd, folder);
	close(fds[1]);
	close(fd);
	*channel = fds[0];
	return pid;
}
