/*
 * IMAP by one client, or many idle ones.
 *
 *	bench_imap HOST:PORT USER PASSWORD COMMAND...		runs the commands one after another, a JSON line each.  "*N COMMAND" is
 *								N commands, each after the reply to the one before; "+N COMMAND" the same
 *								pipelined; "%u" in it becomes 1, 2 ... N
 *	bench_imap -i N [-t] [-l] HOST:PORT USER PASSWORD	holds N idle connections (-t TLS, -l logged in with INBOX selected and
 *								IDLE), prints `ready`, and ends when its standard input does
 */
#include <poll.h>

#include "link.h"

static char buffer[1 << 20];

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
		if (use < n) /* what came before does not touch it */
			tail_len = 0;
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

/* Appends "TAG command" with the number in place of %u. */
static char *put_command(char *at, const char *tag, const char *command, unsigned long number)
{
	const char *hole = strstr(command, "%u");

	at = stpcpy(stpcpy(at, tag), " ");
	if (hole == NULL)
		return stpcpy(stpcpy(at, command), "\r\n");
	memcpy(at, command, (size_t)(hole - command));
	at += hole - command;
	at += snprintf(at, 21, "%lu", number);
	return stpcpy(stpcpy(at, hole + 2), "\r\n");
}

/* Counts the lines "T OK"; dies of any other that starts with "T ". */
static unsigned long count_done(const char *data, size_t len)
{
	static struct line line;
	unsigned long done = 0;

	while (link_line(&line, &data, &len)) {
		if (memcmp(line.start, "T OK", 4) == 0)
			done++;
		else if (memcmp(line.start, "T ", 2) == 0)
			errx(1, "refused: T %.*s", (int)len, data);
	}
	return done;
}

/* Writes all of it while it reads, until count commands are done; returns the bytes read. */
static size_t pump(struct link *l, const char *data, size_t len, unsigned long count)
{
	size_t bytes = 0;

	while (count > 0) {
		struct pollfd p = { l->fd, (short)(POLLIN | (len > 0 ? POLLOUT : 0)), 0 };
		if (poll(&p, 1, -1) == -1)
			err(1, "poll");
		if (p.revents & POLLOUT) {
			ssize_t n = send(l->fd, data, len, MSG_DONTWAIT);
			if (n > 0) {
				data += n;
				len -= (size_t)n;
			}
		}
		if (p.revents & (POLLIN | POLLHUP)) {
			size_t n = link_read(l, buffer, sizeof(buffer));
			bytes += n;
			count -= count_done(buffer, n);
		}
	}
	return bytes;
}

static size_t run_many(struct link *l, char how, unsigned long count, const char *command)
{
	size_t room = strlen(command) + 32, bytes = 0;
	char *all = malloc(how == '+' ? room * count : room), *end = all;

	for (unsigned long i = 1; i <= count; i++) {
		end = put_command(how == '+' ? end : all, "T", command, i);
		if (how == '*') {
			link_write(l, all, (size_t)(end - all));
			bytes += link_until(l, "T");
		}
	}
	if (how == '+')
		bytes = pump(l, all, (size_t)(end - all), count);
	free(all);
	return bytes;
}

static void run_commands(struct link *l, char **commands)
{
	for (int i = 0; commands[i] != NULL; i++) {
		double start = now(), cpu = cpu_used();
		char *command = commands[i];
		size_t bytes;

		if (command[0] == '*' || command[0] == '+') {
			unsigned long count = strtoul(command + 1, &command, 10);
			bytes = run_many(l, commands[i][0], count, command + 1);
		} else {
			bytes = run_many(l, '*', 1, command);
		}
		printf("{\"command\": %d, \"seconds\": %.6f, \"bytes\": %zu, \"driver_cpu\": %.6f}\n", i, now() - start, bytes, cpu_used() - cpu);
	}
}

static void hold(unsigned long count, bool tls, bool in, const struct sockaddr_in *to, char **credentials)
{
	SSL_CTX *ctx = tls ? link_tls() : NULL;
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
	struct sockaddr_in to = link_address(argv[0]);
	if (idle > 0) {
		hold(idle, tls, in, &to, argv + 1);
		return 0;
	}
	struct link l = link_open(&to, tls ? link_tls() : NULL);
	login(&l, argv[1], argv[2]);
	run_commands(&l, argv + 3);
	return 0;
}
