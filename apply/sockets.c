/* sockets.h: /proc/PID/fd names inodes, /proc/PID/net/tcp and tcp6 (of the process's own namespace) say what they are.
 */
#include "apply/sockets.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/buf.h"

#define TABLE_LINES_MAX 200000
#define DESCRIPTORS_MAX 4096
#define ESTABLISHED 1

/* The kernel prints each 32-bit word of an address as a number in its own byte order. */
static int parse_address(const char *hex, bool ipv6, unsigned char out[16])
{
	size_t words = ipv6 ? 4 : 1;

	memset(out, 0, 16);
	if (strlen(hex) != 8 * words)
		return -1;
	for (size_t i = 0; i < words; i++) {
		char word[9];
		uint32_t n;

		memcpy(word, hex + 8 * i, 8);
		word[8] = '\0';
		if (sscanf(word, "%8" SCNx32, &n) != 1)
			return -1;
		memcpy(out + 4 * i, &n, 4);
	}
	return 0;
}

static bool unmap(unsigned char a[16])
{
	static const unsigned char prefix[12] = { [10] = 0xff, [11] = 0xff };

	if (memcmp(a, prefix, sizeof(prefix)) != 0)
		return false;
	memmove(a, a + 12, 4);
	memset(a + 4, 0, 12);
	return true;
}

static bool parse_line(const char *line, bool ipv6, uint64_t inode, struct tcp_socket *s)
{
	char local[40], remote[40];
	unsigned local_port, remote_port, state;
	uint64_t n;

	if (sscanf(line, " %*d: %32[0-9A-Fa-f]:%4x %32[0-9A-Fa-f]:%4x %2x %*s %*s %*s %*u %*u %" SCNu64, local,
		&local_port, remote, &remote_port, &state, &n) != 6 ||
	    n != inode || state != ESTABLISHED)
		return false;
	*s = (struct tcp_socket){
		.ipv6 = ipv6, .local_port = (uint16_t)local_port, .remote_port = (uint16_t)remote_port
	};
	if (parse_address(local, ipv6, s->local) < 0 || parse_address(remote, ipv6, s->remote) < 0)
		return false;
	if (ipv6 && unmap(s->local) && unmap(s->remote))
		s->ipv6 = false;
	return true;
}

static bool find_inode(const char *proc, pid_t pid, uint64_t inode, struct tcp_socket *s)
{
	bool found = false;

	for (int v6 = 0; v6 < 2 && !found; v6++) {
		char *path = xasprintf("%s/%d/net/%s", proc, (int)pid, v6 ? "tcp6" : "tcp");
		FILE *f = fopen(path, "re");
		char line[512];

		for (int i = 0; f != NULL && !found && i < TABLE_LINES_MAX && fgets(line, sizeof(line), f) != NULL; i++)
			found = parse_line(line, v6, inode, s);
		if (f != NULL)
			fclose(f);
		free(path);
	}
	return found;
}

static uint64_t socket_inode(const char *proc, pid_t pid, int fd)
{
	char *path = xasprintf("%s/%d/fd/%d", proc, (int)pid, fd), to[64];
	ssize_t n = readlink(path, to, sizeof(to) - 1);
	uint64_t inode = 0;

	free(path);
	to[n > 0 ? n : 0] = '\0';
	return sscanf(to, "socket:[%" SCNu64 "]", &inode) == 1 ? inode : 0;
}

static int by_number(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

int socket_established(const char *proc, pid_t pid, struct tcp_socket *s)
{
	char *path = xasprintf("%s/%d/fd", proc, (int)pid);
	DIR *dir = opendir(path);
	int fds[DESCRIPTORS_MAX], found = 0;
	size_t count = 0;

	free(path);
	if (dir == NULL)
		return -1;
	for (struct dirent *d; (d = readdir(dir)) != NULL && count < DESCRIPTORS_MAX;) {
		uint64_t n;

		if (view_u64(view_of(d->d_name), INT32_MAX, &n) == 0)
			fds[count++] = (int)n;
	}
	closedir(dir);
	qsort(fds, count, sizeof(fds[0]), by_number);
	for (size_t i = 0; i < count && !found; i++) {
		uint64_t inode = socket_inode(proc, pid, fds[i]);

		found = inode != 0 && find_inode(proc, pid, inode, s);
	}
	return found;
}

static int parse_text_address(const char *text, bool *ipv6, unsigned char out[16])
{
	memset(out, 0, 16);
	*ipv6 = strchr(text, ':') != NULL;
	return inet_pton(*ipv6 ? AF_INET6 : AF_INET, text, out) == 1 ? 0 : -1;
}

int socket_parse_ssh(const char *value, struct tcp_socket *s)
{
	char from[48], to[48];
	unsigned from_port, to_port;
	bool from6, to6;

	if (sscanf(value, "%47s %5u %47s %5u", from, &from_port, to, &to_port) != 4 || from_port > 65535 ||
	    to_port > 65535)
		return -1;
	from[strcspn(from, "%")] = to[strcspn(to, "%")] = '\0'; /* the zone of a link-local address */
	*s = (struct tcp_socket){ .local_port = (uint16_t)to_port, .remote_port = (uint16_t)from_port };
	if (parse_text_address(from, &from6, s->remote) < 0 || parse_text_address(to, &to6, s->local) < 0 ||
	    from6 != to6)
		return -1;
	s->ipv6 = from6;
	if (from6 && unmap(s->local) && unmap(s->remote))
		s->ipv6 = false;
	return 0;
}
