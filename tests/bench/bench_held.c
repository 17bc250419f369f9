/*
 * Holds many SMTP connections after EHLO, and tells how long the server takes to answer meanwhile.
 *
 *	bench_held [-t] HOST:PORT NAME COUNT...		-t: STARTTLS first; NAME is what EHLO says
 *
 * For each COUNT: as many connections are held, one of them after the other is asked NOOP, up to PROBES of them spread
 * over all, and a new one is made and greeted, GREETINGS times; then a JSON line, and a line of standard input is
 *waited for.
 */
#include "link.h"

#define PROBES 1000
#define GREETINGS 50

static char ehlo[300];

/* Reads until the last line of a reply has come; dies if it is none of success. */
static void reply(struct link *l)
{
	char text[4096];
	size_t have = 0, start = 0;
	for (;;) {
		if (have == sizeof(text))
			errx(1, "a reply without an end");
		have += link_read(l, text + have, sizeof(text) - have);
		char *lf;
		while ((lf = memchr(text + start, '\n', have - start)) != NULL) {
			if (text[start] != '2')
				errx(1, "refused: %.*s", (int)(lf - text - (long)start), text + start);
			if (lf - text - (long)start >= 4 && text[start + 3] != '-')
				return;
			start = (size_t)(lf + 1 - text);
		}
	}
}

static void ask(struct link *l, const char *command)
{
	link_write(l, command, strlen(command));
	reply(l);
}

static struct link greet(const struct sockaddr_in *to, SSL_CTX *ctx)
{
	struct link l = link_open(to, NULL);
	reply(&l);
	ask(&l, ehlo);
	if (ctx == NULL)
		return l;
	ask(&l, "STARTTLS\r\n");
	l.ssl = SSL_new(ctx);
	SSL_set_fd(l.ssl, l.fd);
	if (SSL_connect(l.ssl) != 1)
		errx(2, "TLS handshake failed");
	ask(&l, ehlo);
	return l;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

static void measure(struct link *links, unsigned long count, const struct sockaddr_in *to)
{
	static double noop[PROBES], new[GREETINGS];
	unsigned long probes = count < PROBES ? count : PROBES;
	for (unsigned long i = 0; i < probes; i++) {
		double begun = now();
		ask(&links[i * (count / probes)], "NOOP\r\n");
		noop[i] = now() - begun;
	}
	for (unsigned i = 0; i < GREETINGS; i++) {
		double begun = now();
		struct link l = greet(to, NULL);
		new[i] = now() - begun;
		link_close(&l);
	}
	qsort(noop, probes, sizeof(*noop), by_value);
	qsort(new, GREETINGS, sizeof(*new), by_value);
	printf("{\"held\": %lu, \"reply\": %.7f, \"reply_99\": %.7f, \"greeting\": %.7f, \"greeting_99\": %.7f}\n",
	    count, noop[probes / 2], noop[probes * 99 / 100], new[GREETINGS / 2], new[GREETINGS * 99 / 100]);
	fflush(stdout);
}

int main(int argc, char **argv)
{
	bool tls = false;
	int opt;
	while ((opt = getopt(argc, argv, "t")) != -1) {
		if (opt != 't')
			return 2;
		tls = true;
	}
	argv += optind;
	if (argc - optind < 3)
		errx(2, "usage: bench_held [-t] HOST:PORT NAME COUNT...");
	struct rlimit files;
	if (getrlimit(RLIMIT_NOFILE, &files) == -1)
		err(2, "getrlimit");
	files.rlim_cur = files.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &files) == -1)
		err(2, "setrlimit");
	struct sockaddr_in to = link_address(argv[0]);
	snprintf(ehlo, sizeof(ehlo), "EHLO %s\r\n", argv[1]);
	SSL_CTX *ctx = tls ? link_tls() : NULL;
	struct link *links = NULL;
	unsigned long held = 0;
	for (char **stage = argv + 2; *stage != NULL; stage++) {
		unsigned long count = strtoul(*stage, NULL, 10);
		links = realloc(links, (count + 1) * sizeof(*links));
		while (held < count)
			links[held++] = greet(&to, ctx);
		measure(links, held, &to);
		char line[16];
		if (fgets(line, sizeof(line), stdin) == NULL)
			break;
	}
	return 0;
}
