/*
 * POP3 by one client: RETR of every message of the maildrop.
 *
 *	bench_pop3 [-p] HOST:PORT USER PASSWORD		-p: 100 commands at a time on their way (RFC 2449 PIPELINING)
 *
 * Prints a JSON line.
 */
#include "link.h"

#define WINDOW 100

static char buffer[1 << 20];

/* Counts the replies that have ended: a line "-ERR" ends the program, "." alone ends one. */
static unsigned long count_ends(const char *data, size_t len)
{
	static struct line line;
	unsigned long ends = 0;

	while (link_line(&line, &data, &len)) {
		if (memcmp(line.start, "-ERR", 4) == 0)
			errx(1, "refused: %.*s", (int)len, data);
		ends += line.len == 2 && line.start[0] == '.';
	}
	return ends;
}

/* Sends a line and reads one line of answer. */
static const char *ask(struct link *l, const char *verb, const char *argument)
{
	size_t n = 0;

	if (verb != NULL)
		link_write(l, buffer, (size_t)snprintf(buffer, sizeof(buffer), "%s%s%s\r\n", verb, *argument ? " " : "", argument));
	do
		n += link_read(l, buffer + n, sizeof(buffer) - n - 1);
	while (buffer[n - 1] != '\n');
	buffer[n] = '\0';
	if (memcmp(buffer, "+OK", 3) != 0)
		errx(1, "refused: %s", buffer);
	return buffer;
}

int main(int argc, char **argv)
{
	bool piped = argc > 1 && strcmp(argv[1], "-p") == 0;
	unsigned long count, sent = 0, done = 0, window = piped ? WINDOW : 1;
	size_t bytes = 0;

	argv += piped;
	if (argc - piped != 4)
		errx(2, "usage: bench_pop3 [-p] HOST:PORT USER PASSWORD");
	struct sockaddr_in to = link_address(argv[1]);
	struct link l = link_open(&to, NULL);
	ask(&l, NULL, "");
	ask(&l, "USER", argv[2]);
	ask(&l, "PASS", argv[3]);
	count = strtoul(ask(&l, "STAT", "") + 4, NULL, 10);
	double start = now(), cpu = cpu_used();
	while (done < count) {
		char lines[WINDOW * 16];
		size_t n = 0;

		while (sent < count && sent - done < window)
			n += (size_t)snprintf(lines + n, sizeof(lines) - n, "RETR %lu\r\n", ++sent);
		if (n > 0)
			link_write(&l, lines, n);
		n = link_read(&l, buffer, sizeof(buffer));
		bytes += n;
		done += count_ends(buffer, n);
	}
	printf("{\"count\": %lu, \"seconds\": %.6f, \"bytes\": %zu, \"driver_cpu\": %.6f}\n", count, now() - start, bytes, cpu_used() - cpu);
	ask(&l, "QUIT", "");
	return 0;
}
