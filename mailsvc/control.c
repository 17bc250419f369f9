/* control.h: the blocking side for the command line, and the form of a reply. */
#include "mailsvc/control.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

int control_connect(const struct site *site, struct error *e)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	char *path = xasprintf("%s/" CONTROL_SOCKET, site->run_dir);
	int fd = -1, r;

	if (view_copy(view_of(path), to.sun_path, sizeof(to.sun_path)) < 0) {
		error_set(e, "%s: the path is too long for a socket; set a shorter run_dir", path);
		goto out;
	}
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd >= 0 && connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0)
		goto out;
	r = errno == ENOENT || errno == ECONNREFUSED ? -2 : -1;
	if (r == -2)
		error_set(e, "the host does not run (nobody answers at %s); start it with: mailadm -c %s serve", path,
		    site->path);
	else if (errno == EACCES)
		error_set(e, "%s: only root and the user that serves may do this", path);
	else
		error_errno(e, "%s", path);
	if (fd >= 0)
		close(fd);
	fd = r;
out:
	free(path);
	return fd;
}

/* The text of a reply, which is its memfd. */
static int take_text(struct imsg *m, struct buf *text, struct error *e)
{
	struct view v;

	if (m->fd < 0 || memfd_map_sealed(m->fd, CONTROL_TEXT_MAX, &v) < 0)
		return error_set(e, "monitor sent a malformed reply");
	buf_addv(text, v);
	if (v.len > 0)
		munmap((void *)(uintptr_t)v.ptr, v.len);
	return 0;
}

int control_ask(int fd, enum control_type type, int timeout_ms, struct buf *text, int *channel, struct error *e)
{
	return control_ask_with(fd, type, -1, timeout_ms, text, channel, e);
}

int control_ask_with(
    int fd, enum control_type type, int passfd, int timeout_ms, struct buf *text, int *channel, struct error *e)
{
	struct buf storage = BUF_INIT(IMSG_MAX + 64);
	struct imsg m = { .fd = -1 };
	int r = imsg_send(fd, type, 1, VIEW_NONE, passfd) < 0 ? -1 : imsg_recv(fd, timeout_ms, &m, &storage);

	if (r != 1) {
		r = r < 0 ? error_errno(e, "monitor does not answer")
		          : error_set(e, "monitor closed the connection (is this your host?)");
	} else if (m.type == CONTROL_TEXT || m.type == CONTROL_FAILED) {
		r = take_text(&m, text, e) < 0 ? -1 : m.type == CONTROL_FAILED;
	} else if (m.type == CONTROL_CHANNEL && channel != NULL && m.fd >= 0) {
		*channel = m.fd;
		m.fd = -1;
		r = 0;
	} else {
		r = error_set(e,
		    "monitor sent a reply of type %u, which mailadm does not know; are both of one version?", m.type);
	}
	if (m.fd >= 0)
		close(m.fd);
	buf_free(&storage);
	return r;
}

int control_reply(struct chan *chan, enum control_type type, uint32_t id, struct view text)
{
	int fd;

	if (text.len > CONTROL_TEXT_MAX)
		text.len = CONTROL_TEXT_MAX;
	fd = memfd_sealed("control", text);
	if (fd < 0)
		fatal("event=control reason=\"memfd\"");
	return chan_send(chan, type, id, VIEW_NONE, fd);
}
