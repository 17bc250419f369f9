/* A client's connection for the drivers, plain or TLS, and the clocks they report by. */
#ifndef TESTS_BENCH_LINK_H
#define TESTS_BENCH_LINK_H

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

static inline double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static inline double cpu_used(void)
{
	struct rusage ru;
	getrusage(RUSAGE_SELF, &ru);
	return (double)(ru.ru_utime.tv_sec + ru.ru_stime.tv_sec) + (double)(ru.ru_utime.tv_usec + ru.ru_stime.tv_usec) / 1e6;
}

/* "127.0.0.1:993"; ends the program when it is something else. The text is changed. */
static inline struct sockaddr_in link_address(char *text)
{
	char *colon = strrchr(text, ':');
	if (colon == NULL)
		errx(2, "no port in %s", text);
	*colon = '\0';
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons((uint16_t)strtoul(colon + 1, NULL, 10)) };
	if (inet_pton(AF_INET, text, &to.sin_addr) != 1)
		errx(2, "not an IPv4 address: %s", text);
	return to;
}

static inline int link_trusts(X509_STORE_CTX *chain, void *arg)
{
	(void)chain, (void)arg;
	return 1;
}

/* For a client that looks at no certificate: that would be its own work, which is as much beside a slow server. */
static inline SSL_CTX *link_tls(void)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	if (ctx == NULL)
		errx(2, "no TLS");
	SSL_CTX_set_cert_verify_callback(ctx, link_trusts, NULL);
	return ctx;
}

/* ctx NULL: plain. */
static inline struct link link_open(const struct sockaddr_in *to, SSL_CTX *ctx)
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

static inline void link_close(struct link *l)
{
	SSL_free(l->ssl);
	close(l->fd);
}

static inline size_t link_read(struct link *l, char *to, size_t size)
{
	ssize_t n = l->ssl ? SSL_read(l->ssl, to, (int)size) : read(l->fd, to, size);
	if (n <= 0)
		errx(1, "connection lost");
	return (size_t)n;
}

/* A line of which the beginning is kept, between calls too; by memchr, so that a driver is not slower than its server. */
struct line {
	char start[5];
	size_t len; /* without LF */
	bool over;
};

/* Goes on behind the next LF: true, line is whole. False: all of data is taken. */
static inline bool link_line(struct line *line, const char **data, size_t *len)
{
	const char *lf = memchr(*data, '\n', *len);
	size_t n = lf != NULL ? (size_t)(lf - *data) : *len;

	if (line->over)
		*line = (struct line){ .len = 0 };
	for (size_t i = 0; i < n && line->len + i < sizeof(line->start); i++)
		line->start[line->len + i] = (*data)[i];
	line->len += n;
	line->over = lf != NULL;
	*data += n + line->over;
	*len -= n + line->over;
	return line->over;
}

static inline void link_write(struct link *l, const char *data, size_t len)
{
	ssize_t n = l->ssl ? SSL_write(l->ssl, data, (int)len) : write(l->fd, data, len);
	if (n != (ssize_t)len)
		errx(1, "write failed");
}

#endif
