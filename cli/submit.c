/*
 * Speaks SMTP with the running host over run_dir/submit.sock.  Who may not read the site finds the host where it is by
 * default.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sysexits.h>
#include <unistd.h>

#include "cli/submit.h"

#define DEFAULT_SOCKET "/run/mailadm/submit.sock"
#define REPLY_SECONDS 300

int submit_fail(int status, const char *fmt, ...)
{
	struct buf line = BUF_INIT(2048);
	va_list ap;

	va_start(ap, fmt);
	buf_vprintf(&line, fmt, ap);
	va_end(ap);
	cli_error("sendmail: %s", buf_str(&line));
	buf_free(&line);
	return status;
}

int submit_open(struct cli *cli, struct submit *h)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	const struct timeval tv = { REPLY_SECONDS, 0 };
	struct findings findings = { 0 };
	struct site *site = NULL;
	char *path;
	int status = 0;

	/* Ordinary users may not be allowed to read the site: then the host is where it is by default. */
	if (access(cli->site_path, R_OK) == 0)
		site = site_load(cli->site_path, &findings);
	path = site != NULL ? xasprintf("%s/submit.sock", site->run_dir) : xstrdup(DEFAULT_SOCKET);
	findings_free(&findings);
	site_unref(site);
	*h = (struct submit){ socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), BUF_INIT(65536), 0, BUF_INIT(8192) };
	if (h->fd == -1 || strlen(path) >= sizeof(sun.sun_path)) {
		status = submit_fail(EX_OSERR, "cannot make a socket for %s", path);
	} else {
		memcpy(sun.sun_path, path, strlen(path) + 1);
		setsockopt(h->fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
		setsockopt(h->fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv));
		if (connect(h->fd, (const struct sockaddr *)&sun, sizeof(sun)) == -1)
			status = submit_fail(EX_TEMPFAIL,
			    "the mail host does not answer on %s (%s); start it with `mailadm serve`", path,
			    strerror(errno));
	}
	free(path);
	return status;
}

void submit_close(struct submit *h)
{
	if (h->fd != -1)
		close(h->fd);
	h->fd = -1;
	buf_free(&h->in);
	buf_free(&h->text);
}

int submit_send(struct submit *h, struct view v)
{
	while (v.len > 0) {
		ssize_t n = send(h->fd, v.ptr, v.len, MSG_NOSIGNAL);

		if (n == -1 && errno == EINTR)
			continue;
		if (n <= 0)
			return -1;
		v.ptr += n;
		v.len -= (size_t)n;
	}
	return 0;
}

/* One line of a reply, without its end; false when the host went away. */
static bool reply_line(struct submit *h, struct buf *line)
{
	for (;;) {
		const char *lf = h->in.len > 0 ? memchr(h->in.data, '\n', h->in.len) : NULL;
		char *room;
		ssize_t n;

		if (lf != NULL) {
			size_t len = (size_t)(lf - h->in.data);

			buf_reset(line);
			buf_add(line, h->in.data, len > 0 && h->in.data[len - 1] == '\r' ? len - 1 : len);
			buf_drop(&h->in, len + 1);
			return true;
		}
		room = buf_reserve(&h->in, 4096);
		if (room == NULL)
			return false;
		n = read(h->fd, room, 4096);
		if (n == -1 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		h->in.len += (size_t)n;
	}
}

/* Reads a whole reply; 0, or EX_TEMPFAIL when the host went away. */
int submit_reply(struct submit *h)
{
	struct buf line = BUF_INIT(8192);
	uint64_t code = 0;
	bool more = true;

	while (more) {
		if (!reply_line(h, &line) || line.len < 3 ||
		    view_u64((struct view){ line.data, 3 }, 599, &code) == -1) {
			buf_free(&line);
			return submit_fail(
			    EX_TEMPFAIL, "the mail host closed the connection; nothing is known to be sent");
		}
		more = line.len > 3 && line.data[3] == '-';
	}
	h->code = (int)code;
	buf_reset(&h->text);
	buf_add(&h->text, line.data, line.len);
	buf_free(&line);
	return 0;
}

int submit_ask(struct submit *h, const char *fmt, ...)
{
	struct buf line = BUF_INIT(2048);
	va_list ap;
	int sent;

	va_start(ap, fmt);
	buf_vprintf(&line, fmt, ap);
	va_end(ap);
	buf_puts(&line, "\r\n");
	sent = line.full || memchr(line.data, '\n', line.len) != line.data + line.len - 1
	           ? -1
	           : submit_send(h, buf_view(&line));
	buf_free(&line);
	return sent == -1 ? submit_fail(EX_DATAERR, "an address or name cannot be sent") : submit_reply(h);
}
