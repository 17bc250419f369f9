/*
 * session.h.  The running host's store is reached through monitor.  Of one that stands still the store is opened by a
 * child, with the ids of the store's owner, that speaks the same protocol (store/offline.h).
 */
#include "session.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "mailsvc/store/offline.h"

#define PAGES_WAIT_S 10

/* Store's files must stay its own. */
static int become_owner(int dir, struct error *e)
{
	struct stat st;

	if (geteuid() != 0)
		return 0;
	if (fstat(dir, &st) == -1)
		return error_errno(e, "the store's folder");
	if (st.st_uid == 0)
		return 0;
	if (setgroups(0, NULL) == -1 || setresgid(st.st_gid, st.st_gid, st.st_gid) == -1 ||
	    setresuid(st.st_uid, st.st_uid, st.st_uid) == -1)
		return error_errno(e, "cannot become the store's owner");
	return 0;
}

static _Noreturn void keep(const struct site *site, int dir, int channel, int ready)
{
	struct error e = { "" };

	prctl(PR_SET_PDEATHSIG, 0); /* it ends when its channel does, and closes the store in order */
	signal(SIGINT, SIG_IGN);
	if (become_owner(dir, &e) == -1 || store_offline(dir, site, channel, ready, &e) == -1) {
		cli_error("the store: %s", e.text);
		_exit(1);
	}
	_exit(0);
}

static int start_keeper(struct cli *cli, struct cli_session *s, int dir, struct error *e)
{
	int fds[2], ready[2];
	char byte;

	if (imsg_pair(fds) == -1)
		return error_errno(e, "socketpair");
	if (pipe2(ready, O_CLOEXEC) == -1)
		return error_errno(e, "pipe");
	fflush(NULL);
	if ((s->keeper = fork()) == 0) {
		close(fds[0]);
		close(ready[0]);
		keep(cli->site, dir, fds[1], ready[1]);
	}
	close(fds[1]);
	close(ready[1]);
	ssize_t n = s->keeper == -1 ? -1 : read(ready[0], &byte, 1);
	close(ready[0]);
	if (n == 1)
		return fds[0];
	close(fds[0]);
	return error_set(e, "the store cannot be opened");
}

int cli_host_lock(struct cli *cli, int how, struct error *e)
{
	char *path = site_state(cli->site, "lock");
	int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW), error = errno;

	if (fd == -1)
		error_errno(e, "%s (has the host been started once?)", path);
	free(path);
	errno = error;
	if (fd == -1)
		return -2;
	if (flock(fd, how | LOCK_NB) == 0)
		return fd;
	close(fd);
	return -1;
}

static int wait_for_pages(struct cli_session *s, struct error *e)
{
	struct timeval limit = { PAGES_WAIT_S, 0 };

	event_base_loopexit(s->base, &limit);
	while (!store_view_ready(s->view) && !event_base_got_exit(s->base))
		if (event_base_loop(s->base, EVLOOP_ONCE) != 0)
			break;
	return store_view_ready(s->view) ? 0 : error_set(e, "store does not answer");
}

int cli_session_open(struct cli *cli, bool view, struct cli_session *s, struct error *e)
{
	int dir = -1, channel = -1;

	*s = (struct cli_session){ .lock = -1 };
	if (!cli_site(cli))
		return error_set(e, "the site has errors");
	char *path = site_state(cli->site, "store");
	if ((s->lock = cli_host_lock(cli, LOCK_EX, e)) != -2 && (dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) == -1)
		error_errno(e, "%s (has the host been started once?)", path);
	free(path);
	s->running = s->lock == -1;
	if (dir != -1)
		channel = s->running ? cli_store(cli, e) : start_keeper(cli, s, dir, e);
	if (channel != -1) {
		s->base = event_base_new();
		s->client = store_client_new(s->base);
		if (view && (s->view = store_view_open(dir, e)) != NULL)
			store_view_follow(s->view, s->client);
		store_client_attach(s->client, channel);
		if (s->view != NULL) {
			store_client_read_too(s->client);
			if (wait_for_pages(s, e) == -1)
				channel = -1;
		} else if (view)
			channel = -1;
	}
	if (dir != -1)
		close(dir);
	if (channel == -1)
		cli_session_close(s);
	return channel == -1 ? -1 : 0;
}

void cli_session_close(struct cli_session *s)
{
	if (s->view != NULL)
		store_view_close(s->view);
	if (s->client != NULL) {
		store_client_free(s->client);
		event_base_free(s->base);
	}
	if (s->keeper > 0)
		waitpid(s->keeper, NULL, 0);
	if (s->lock >= 0)
		close(s->lock);
	*s = (struct cli_session){ .lock = -1 };
}

void cli_session_done(void *arg, const struct store_result *result)
{
	struct cli_session *s = arg;

	s->result = *result;
	s->first_uid = result->destination_count > 0 ? result->destination[0].first : 0;
	s->result.source = s->result.destination = NULL;
	s->result.modseqs = NULL;
	s->done = true;
}

enum store_status cli_session_wait(struct cli_session *s)
{
	s->done = false;
	while (!s->done)
		if (event_base_loop(s->base, EVLOOP_ONCE) != 0)
			return STORE_UNAVAILABLE;
	return s->result.status;
}

const char *cli_store_text(enum store_status status)
{
	switch (status) {
	case STORE_OK:
		return "done";
	case STORE_UNAVAILABLE:
		return "the store is away";
	case STORE_FULL:
		return "the disk is full";
	case STORE_OVER_QUOTA:
		return "over quota";
	case STORE_NO_MAILBOX:
		return "there is no such mailbox";
	case STORE_EXISTS:
		return "it is there already";
	case STORE_INVALID:
		return "store refuses it";
	case STORE_NO_ACCOUNT:
		return "there is no such account in the store";
	case STORE_IO:
		return "the disk refuses; see the log";
	}
	return "unknown";
}

int cli_session_account(struct cli_session *s, const char *address, struct account_row *row)
{
	int found;

	if (view_begin(s->view) == -1) {
		cli_error("the store is away");
		return -1;
	}
	found = view_account(s->view, address, row);
	if (view_end(s->view) == -1) {
		cli_error("the store is away");
		return -1;
	}
	return found;
}
