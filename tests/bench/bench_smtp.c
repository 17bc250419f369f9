/*
 * Sends messages over N SMTP connections at once and reports the rate and its own CPU.
 *
 *	bench_smtp [-e NAME] [-f FILE] HOST:PORT CONNECTIONS MESSAGES SIZE SENDER RECIPIENT
 *
 * NAME is what EHLO says.  FILE is sent instead of a message of SIZE bytes: lines with CRLF, none that begins with a dot.
 * One epoll loop; MAIL, RCPT and DATA are pipelined (RFC 2920), the next message of a connection follows the reply to
 * the last.  A message counts when its 250 is read; anything unexpected ends the run with what the server said.
 */
#include <arpa/inet.h>
#include <err.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum state { GREETING, EHLO, ENVELOPE, CONTENT, DONE };

struct client {
	int fd;
	enum state state;
	unsigned awaited; /* replies until the state is complete */
	char in[4096];
	size_t in_len;
	const char *out;
	size_t out_len;
};

static char envelope[1024], greeting[300] = "EHLO bench.example\r\n", *content;
static size_t envelope_len, content_len;
static unsigned long started, finished, total;
static int ep;

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void watch(struct client *c)
{
	struct epoll_event ev = { .events = EPOLLIN | (c->out_len ? EPOLLOUT : 0), .data.ptr = c };
	if (epoll_ctl(ep, EPOLL_CTL_MOD, c->fd, &ev) == -1)
		err(2, "epoll_ctl");
}

static void send_out(struct client *c, const char *data, size_t len)
{
	c->out = data;
	c->out_len = len;
	ssize_t n = write(c->fd, c->out, c->out_len);
	if (n > 0) {
		c->out += n;
		c->out_len -= (size_t)n;
	}
	if (c->out_len)
		watch(c);
}

static void next_message(struct client *c)
{
	if (started == total) {
		c->state = DONE;
		close(c->fd);
		return;
	}
	started++;
	c->state = ENVELOPE;
	c->awaited = 3;
	send_out(c, envelope, envelope_len);
}

static void on_reply(struct client *c, const char *line)
{
	static const char want[] = { [GREETING] = '2', [EHLO] = '2', [ENVELOPE] = '2', [CONTENT] = '2' };
	char expected = c->state == ENVELOPE && c->awaited == 1 ? '3' : want[c->state];
	if (line[0] != expected)
		errx(1, "unexpected reply: %.200s", line);
	if (--c->awaited > 0)
		return;
	switch (c->state) {
	case GREETING:
		c->state = EHLO;
		c->awaited = 1;
		send_out(c, greeting, strlen(greeting));
		break;
	case ENVELOPE:
		c->state = CONTENT;
		c->awaited = 1;
		send_out(c, content, content_len);
		break;
	case CONTENT:
		finished++;
		/* fallthrough */
	case EHLO:
		next_message(c);
		break;
	case DONE:
		break;
	}
}

static void on_input(struct client *c)
{
	ssize_t n = read(c->fd, c->in + c->in_len, sizeof(c->in) - 1 - c->in_len);
	if (n <= 0)
		errx(1, "connection lost after %lu messages", finished);
	c->in_len += (size_t)n;
	char *eol;
	while (c->state != DONE && (eol = memchr(c->in, '\n', c->in_len)) != NULL) {
		*eol = '\0';
		size_t used = (size_t)(eol + 1 - c->in);
		if (used > 4 && c->in[3] != '-')
			on_reply(c, c->in);
		c->in_len -= used;
		memmove(c->in, eol + 1, c->in_len);
	}
}

static void make_envelope(const char *sender, const char *recipient)
{
	envelope_len = (size_t)snprintf(envelope, sizeof(envelope), "MAIL FROM:<%s>\r\nRCPT TO:<%s>\r\nDATA\r\n", sender, recipient);
}

static void end_message(void)
{
	memcpy(content + content_len, ".\r\n", 3);
	content_len += 3;
}

static void read_message(const char *path)
{
	FILE *f = fopen(path, "rb");
	struct stat st;
	if (f == NULL || fstat(fileno(f), &st) == -1)
		err(2, "%s", path);
	content = malloc((size_t)st.st_size + 3);
	content_len = fread(content, 1, (size_t)st.st_size, f);
	fclose(f);
	if (content_len < 2 || memcmp(content + content_len - 2, "\r\n", 2) != 0 || content[0] == '.' || memmem(content, content_len, "\n.", 2) != NULL)
		errx(2, "%s does not end with CRLF, or a line begins with a dot", path);
	end_message();
}

static void make_message(size_t size, const char *sender, const char *recipient)
{
	content = malloc(size + 1024);
	int n = snprintf(content, 1024,
	    "From: <%s>\r\nTo: <%s>\r\nSubject: benchmark\r\nDate: Tue, 24 Nov 2026 06:45:48 +0000\r\n"
	    "Message-ID: <bench@bench.example>\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\n",
	    sender, recipient);
	content_len = (size_t)n;
	while (content_len < size) {
		static const char line[] = "The quick brown fox jumps over the lazy dog and runs away from it.\r\n";
		memcpy(content + content_len, line, sizeof(line) - 1);
		content_len += sizeof(line) - 1;
	}
	end_message();
}

static struct client *connect_to(const struct sockaddr_in *to)
{
	struct client *c = calloc(1, sizeof(*c));
	c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	c->awaited = 1;
	int one = 1;
	if (c->fd == -1 || setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) == -1)
		err(2, "socket");
	connect(c->fd, (const struct sockaddr *)to, sizeof(*to)); /* EINPROGRESS; a failure shows on read */
	struct epoll_event ev = { .events = EPOLLIN, .data.ptr = c };
	if (epoll_ctl(ep, EPOLL_CTL_ADD, c->fd, &ev) == -1)
		err(2, "epoll_ctl");
	return c;
}

int main(int argc, char **argv)
{
	const char *file = NULL;
	int opt;
	while ((opt = getopt(argc, argv, "e:f:")) != -1) {
		if (opt == 'e')
			snprintf(greeting, sizeof(greeting), "EHLO %s\r\n", optarg);
		else if (opt == 'f')
			file = optarg;
		else
			return 2;
	}
	argc -= optind - 1;
	argv += optind - 1;
	if (argc != 7)
		errx(2, "usage: bench_smtp [-e NAME] [-f FILE] HOST:PORT CONNECTIONS MESSAGES SIZE SENDER RECIPIENT");
	char *colon = strrchr(argv[1], ':');
	if (colon == NULL)
		errx(2, "no port in %s", argv[1]);
	*colon = '\0';
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons((uint16_t)strtoul(colon + 1, NULL, 10)) };
	if (inet_pton(AF_INET, argv[1], &to.sin_addr) != 1)
		errx(2, "not an IPv4 address: %s", argv[1]);
	unsigned long connections = strtoul(argv[2], NULL, 10);
	total = strtoul(argv[3], NULL, 10);
	make_envelope(argv[5], argv[6]);
	if (file != NULL)
		read_message(file);
	else
		make_message(strtoul(argv[4], NULL, 10), argv[5], argv[6]);
	ep = epoll_create1(0);
	for (unsigned long i = 0; i < connections; i++)
		connect_to(&to);

	double start = now();
	struct epoll_event events[64];
	while (finished < total) {
		int n = epoll_wait(ep, events, 64, 60000);
		if (n <= 0)
			errx(1, "nothing for 60 s after %lu messages", finished);
		for (int i = 0; i < n; i++) {
			struct client *c = events[i].data.ptr;
			if (c->out_len && (events[i].events & EPOLLOUT)) {
				send_out(c, c->out, c->out_len);
				if (c->out_len == 0)
					watch(c);
			}
			if (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR))
				on_input(c);
		}
	}
	double wall = now() - start;
	struct rusage ru;
	getrusage(RUSAGE_SELF, &ru);
	double cpu = (double)(ru.ru_utime.tv_sec + ru.ru_stime.tv_sec) + (double)(ru.ru_utime.tv_usec + ru.ru_stime.tv_usec) / 1e6;
	printf("{\"messages\": %lu, \"wall\": %.6f, \"rate\": %.1f, \"driver_cpu\": %.6f}\n", finished, wall, (double)finished / wall, cpu);
	return 0;
}
