/*
 * rig.h.  A part is a fork that keeps its own descriptors only, is set up as role.c sets a role up, enters the role's
 * sandbox as the role's user, and serves until the command has ended, which it sees by a pipe that nobody else holds
 * open.
 */
#include "cli/rig.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "lib/clock.h"

#define FIRST_FD 3
#define PARKED_FD 100

int rig_open(struct rig *r, struct error *e)
{
	*r = (struct rig){ .count = 0 };
	return pipe2(r->alive, O_CLOEXEC) == -1 ? error_errno(e, "pipe") : 0;
}

/* Moves what is to stay to the lowest numbers, and closes all others. */
static void keep_only(int *const *fds, size_t count)
{
	int next = FIRST_FD;

	for (size_t i = 0; i < count; i++)
		if (*fds[i] != -1 && (*fds[i] = fcntl(*fds[i], F_DUPFD_CLOEXEC, PARKED_FD)) == -1)
			fatal("descriptors");
	for (size_t i = 0; i < count; i++)
		if (*fds[i] != -1)
			*fds[i] = dup3(*fds[i], next++, O_CLOEXEC);
	if (close_range((unsigned)next, ~0u, 0) == -1)
		fatal("descriptors");
}

static void on_alive(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what;
	event_base_loopexit(arg, NULL);
}

static void enter(struct role_ctx *ctx, const struct rig_part *part)
{
	struct sandbox box = { .user = part->role->user };
	struct error e;

	if (getpwnam(box.user) == NULL)
		box.user = NULL;
	if (part->role->init(ctx, &e) == -1)
		fatalx("%s", e.text);
	for (size_t i = 0; i < part->channel_count; i++)
		part->role->peer(ctx, part->channels[i].peer, 0, part->channels[i].fd);
	if (part->before != NULL)
		part->before(ctx, part->arg);
	if (part->role->sandbox != NULL)
		part->role->sandbox(ctx, &box);
	if (sandbox_enter(&box, &e) == -1)
		fatalx("sandbox: %s", e.text);
	if (part->role->start != NULL)
		part->role->start(ctx);
}

static _Noreturn void be(struct rig_part part, int alive)
{
	struct role_ctx ctx = { .role = part.role, .instances = 1, .site = part.site };
	int *fds[RIG_CHANNELS_MAX + 5] = { &alive, &part.srs, &part.secrets, &part.out, &part.log };
	size_t count = 5;
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	struct event *ended;

	/* What strangers wrote gets no way to the terminal but what the command makes of it. */
	if (null == -1 || dup2(null, STDIN_FILENO) == -1 || dup2(null, STDOUT_FILENO) == -1)
		fatal("/dev/null");

	for (size_t i = 0; i < part.channel_count; i++)
		fds[count++] = &part.channels[i].fd;
	keep_only(fds, count);
	if (part.log != -1 && dup2(part.log, STDERR_FILENO) == -1)
		fatal("descriptors");
	log_init(part.role->name, part.log != -1 ? LOG_LEVEL_INFO : LOG_LEVEL_ERROR);
	tzset();
	ctx.base = event_base_new();
	for (int i = 0; i < ROLE_FD_COUNT; i++)
		ctx.fds[i] = -1;
	ctx.fds[ROLE_FD_SRS] = part.srs;
	ctx.fds[ROLE_FD_SECRETS] = part.secrets;
	for (int i = 0; i < ROLE_COUNT; i++)
		ctx.peers[i] = 1;
	ended = ctx.base != NULL ? event_new(ctx.base, alive, EV_READ, on_alive, ctx.base) : NULL;
	if (ended == NULL)
		fatalx("cannot make an event loop");
	event_add(ended, NULL);
	enter(&ctx, &part);
	if (part.run != NULL)
		part.run(&ctx, part.out, part.log, part.arg);
	event_base_dispatch(ctx.base);
	_exit(0);
}

static void drop(int fd)
{
	if (fd != -1)
		close(fd);
}

int rig_start(struct rig *r, const struct rig_part *part, struct error *e)
{
	pid_t pid = r->count < RIG_PARTS_MAX ? fork() : -1;

	if (pid == 0)
		be(*part, r->alive[0]);
	if (pid == -1)
		error_errno(e, "fork");
	else
		r->parts[r->count++] = pid;
	for (size_t i = 0; i < part->channel_count; i++)
		close(part->channels[i].fd);
	drop(part->srs);
	drop(part->secrets);
	drop(part->out);
	drop(part->log);
	return pid == -1 ? -1 : 0;
}

void rig_close(struct rig *r)
{
	close(r->alive[0]);
	close(r->alive[1]);
	for (size_t i = 0; i < r->count; i++) {
		kill(r->parts[i], SIGKILL);
		waitpid(r->parts[i], NULL, 0);
	}
	r->count = 0;
}

int rig_resolver(struct rig *r, struct site *site, const enum role_id *askers, int *fds, size_t count, struct error *e)
{
	struct rig_part part = { .role = &role_resolver, .site = site, .srs = -1, .secrets = -1, .out = -1, .log = -1 };
	int rc = 0;

	for (size_t i = 0; i < count && rc == 0; i++) {
		int pair[2];

		if (imsg_pair(pair) == -1) {
			rc = error_errno(e, "socketpair");
			break;
		}
		fds[i] = pair[0];
		part.channels[part.channel_count++] = (struct rig_channel){ askers[i], pair[1] };
	}
	if (rc == 0)
		rc = rig_start(r, &part, e);
	else
		for (size_t i = 0; i < part.channel_count; i++)
			close(part.channels[i].fd);
	for (size_t i = 0; i < part.channel_count && rc == -1; i++)
		close(fds[i]);
	return rc;
}

int rig_state_file(const struct site *site, const char *name)
{
	char *path = xasprintf("%s/%s", site->state_dir, name);
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

	free(path);
	return fd;
}

int rig_read(int fd, struct buf *out, int ms)
{
	uint64_t end = clock_mono_ms() + (uint64_t)ms, now;

	while ((now = clock_mono_ms()) < end) {
		struct pollfd ready = { fd, POLLIN, 0 };
		int rc = poll(&ready, 1, (int)(end - now));
		char *room = buf_reserve(out, 65536);
		ssize_t n = room != NULL && rc > 0 ? read(fd, room, 65536) : -1;

		if (n == 0)
			return 0;
		if (n > 0)
			out->len += (size_t)n;
		else if (room == NULL || errno != EINTR)
			return -1;
	}
	return -1;
}
