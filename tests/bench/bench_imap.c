/*
 * IMAP by one client, or many idle ones.
 *
 *	bench_imap HOST:PORT USER PASSWORD COMMAND...		runs the commands one after another, a JSON line each
 *	bench_imap -i N [-t] [-l] HOST:PORT USER PASSWORD	holds N idle connections (-t TLS, -l logged in with INBOX selected and
 *								IDLE), prints `ready`, and ends when its standard input does
 */
#include <arpa/inet.h>
#include <err.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

struct link {
	int fd;
	SSL *ssl;
};

static char buffer[1 << 20];

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double cpu_used(void)
{
	struct rusage ru;
	getrusage(RUSAGE_SELF, &ru);
	return (double)(ru.ru_utime.tv_sec + ru.ru_stime.tv_sec) + (double)(ru.ru_utime.tv_usec + ru.ru_stime.tv_usec) / 1e6;
}

static struct link link_open(const struct sockaddr_in *to, SSL_CTX *ctx)
{
	struct link l = { socket(AF_INET, SOCK_STREAM, 0), NULL };
	int one = 1;
	if (l.fd == -1 || connect(l.fd, (const struct sockaddr *)to, sizeof(*to)) == -1 ||
	    setsockopt(l.fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) == -1)
		err(2, "connect");
	if (ctx != NULL) {
		l.ssl = SSL_new(ctx);
		SSL_set_fd(l.ssl, l.fd);
		if (SSL_connect(l.ssl) != 1)
			errx(2, "TLS handshake failed");
	}
	return l;
}

static size_t link_read(struct link *l, char *to, size_t size)
{
	ssize_t n = l->ssl ? SSL_read(l->ssl, to, (int)size) : read(l->fd, to, size);
	if (n <= 0)
		errx(1, "connection lost");
	return (size_t)n;
}

static void link_write(struct link *l, const char *data, size_t len)
{
	ssize_t n = l->ssl ? SSL_write(l->ssl, data, (int)len) : write(l->fd, data, len);
	if (n != (ssize_t)len)
		errx(1, "write failed");
}

/* Reads until a line that starts with `tag `; returns the bytes read. Dies if it is not OK. */
static size_t link_until(struct link *l, const char *tag)
{
	char tail[4096] = "\n"; /* the end of what came before, so that a line start is always behind a newline */
	size_t tail_len = 1, bytes = 0;
	char needle[32];
	size_t needle_len = (size_t)snprintf(needle, sizeof(needle), "\n%s ", tag);
	for (;;) {
		size_t n = link_read(l, buffer, sizeof(buffer));
		bytes += n;
		char window[sizeof(tail) * 2];
		size_t use = n < sizeof(tail) ? n : sizeof(tail);
		memcpy(window, tail, tail_len);
		memcpy(window + tail_len, buffer + n - use, use);
		size_t len = tail_len + use;
		char *hit = buffer[n - 1] == '\n' ? memmem(window, len, needle, needle_len) : NULL;
		if (hit != NULL) {
			if (memcmp(hit + needle_len, "OK", 2) != 0)
				errx(1, "refused: %.*s", (int)(window + len - hit), hit);
			return bytes;
		}
		size_t keep = len < sizeof(tail) ? len : sizeof(tail);
		memcpy(tail, window + len - keep, keep);
		tail_len = keep;
	}
}

static void login(struct link *l, const char *user, const char *password)
{
	char line[512];
	link_until(l, "*");
	int n = snprintf(line, sizeof(line), "L LOGIN %s %s\r\n", user, password);
	link_write(l, line, (size_t)n);
	link_until(l, "L");
}

static void run_commands(struct link *l, char **commands)
{
	for (int i = 0; commands[i] != NULL; i++) {
		char line[4096], tag[16];
		snprintf(tag, sizeof(tag), "T%d", i);
		int n = snprintf(line, sizeof(line), "%s %s\r\n", tag, commands[i]);
		double start = now(), cpu = cpu_used();
		link_write(l, line, (size_t)n);
		size_t bytes = link_until(l, tag);
		printf("{\"command\": %d, \"seconds\": %.6f, \"bytes\": %zu, \"driver_cpu\": %.6f}\n", i, now() - start, bytes, cpu_used() - cpu);
	}
}

static void hold(unsigned long count, bool tls, bool in, const struct sockaddr_in *to, char **credentials)
{
	SSL_CTX *ctx = tls ? SSL_CTX_new(TLS_client_method()) : NULL;
	struct link *links = calloc(count, sizeof(*links));
	for (unsigned long i = 0; i < count; i++) {
		links[i] = link_open(to, ctx);
		if (!in) {
			link_until(&links[i], "*");
			continue;
		}
		login(&links[i], credentials[0], credentials[1]);
		link_write(&links[i], "S SELECT INBOX\r\n", 16);
		link_until(&links[i], "S");
		link_write(&links[i], "I IDLE\r\n", 8);
		link_read(&links[i], buffer, sizeof(buffer));
	}
	printf("ready\n");
	fflush(stdout);
	while (read(0, buffer, sizeof(buffer)) > 0)
		;
}

int main(int argc, char **argv)
{
	unsigned long idle = 0;
	bool tls = false, in = false;
	int opt;
	while ((opt = getopt(argc, argv, "i:tl")) != -1) {
		if (opt == 'i')
			idle = strtoul(optarg, NULL, 10);
		else if (opt == 't')
			tls = true;
		else if (opt == 'l')
			in = true;
		else
			return 2;
	}
	argv += optind;
	if (argc - optind < 3)
		errx(2, "usage: bench_imap [-i N] [-t] [-l] HOST:PORT USER PASSWORD [COMMAND...]");
	char *colon = strrchr(argv[0], ':');
	if (colon == NULL)
		errx(2, "no port in %s", argv[0]);
	*colon = '\0';
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons((uint16_t)strtoul(colon + 1, NULL, 10)) };
	if (inet_pton(AF_INET, argv[0], &to.sin_addr) != 1)
		errx(2, "not an IPv4 address: %s", argv[0]);
	if (idle > 0) {
		hold(idle, tls, in, &to, argv + 1);
		return 0;
	}
	struct link l = link_open(&to, tls ? SSL_CTX_new(TLS_client_method()) : NULL);
	login(&l, argv[1], argv[2]);
	run_commands(&l, argv + 3);
	return 0;
}
