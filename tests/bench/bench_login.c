/*
 * IMAP logins: N clients at once connect, log in and log out, again and again.
 *
 *	bench_login [-t] [-c CLIENTS] HOST:PORT SECONDS PASSWORD USER...	-t TLS, a handshake each; clients take the users in turn
 *
 * Each client is a process; prints a JSON line with how many logins all of them made.
 */
#include <sys/mman.h>
#include <sys/wait.h>

#include "link.h"

static char buffer[65536];

static void until(struct link *l, const char *line)
{
	size_t n = 0, len = strlen(line);

	for (;;) {
		n += link_read(l, buffer + n, sizeof(buffer) - n - 1);
		buffer[n] = '\0';
		for (const char *p = buffer; p != NULL; p = strchr(p, '\n')) {
			p += *p == '\n';
			if (strncmp(p, line, len) == 0 && strchr(p, '\n') != NULL)
				return;
			if (strncmp(p, "L NO", 4) == 0 || strncmp(p, "L BAD", 5) == 0)
				errx(1, "refused: %s", p);
		}
	}
}

static void log_in(const struct sockaddr_in *to, SSL_CTX *ctx, const char *user, const char *password)
{
	char line[512];
	struct link l = link_open(to, ctx);

	until(&l, "* OK");
	link_write(&l, line, (size_t)snprintf(line, sizeof(line), "L LOGIN %s %s\r\n", user, password));
	until(&l, "L OK");
	link_write(&l, "Q LOGOUT\r\n", 10);
	until(&l, "Q OK");
	link_close(&l);
}

int main(int argc, char **argv)
{
	unsigned long clients = 20, total = 0;
	bool tls = false;
	int opt;

	while ((opt = getopt(argc, argv, "tc:")) != -1) {
		if (opt == 't')
			tls = true;
		else if (opt == 'c')
			clients = strtoul(optarg, NULL, 10);
		else
			return 2;
	}
	argv += optind;
	argc -= optind;
	if (argc < 4 || clients == 0)
		errx(2, "usage: bench_login [-t] [-c CLIENTS] HOST:PORT SECONDS PASSWORD USER...");
	struct sockaddr_in to = link_address(argv[0]);
	double seconds = strtod(argv[1], NULL), start = now();
	unsigned long *made = mmap(NULL, clients * sizeof(*made), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (made == MAP_FAILED)
		err(2, "mmap");
	for (unsigned long i = 0; i < clients; i++) {
		pid_t pid = fork();
		if (pid == -1)
			err(2, "fork");
		if (pid == 0) {
			SSL_CTX *ctx = tls ? link_tls() : NULL;
			while (now() - start < seconds) {
				log_in(&to, ctx, argv[3 + i % (unsigned long)(argc - 3)], argv[2]);
				made[i]++;
			}
			_exit(0);
		}
	}
	for (unsigned long i = 0; i < clients; i++) {
		int status;
		if (wait(&status) == -1 || status != 0)
			errx(1, "a client failed");
	}
	double took = now() - start;
	for (unsigned long i = 0; i < clients; i++)
		total += made[i];
	printf("{\"logins\": %lu, \"seconds\": %.6f, \"rate\": %.2f}\n", total, took, (double)total / took);
	return 0;
}
