/* TCP connections as /proc shows them. */
#ifndef APPLY_SOCKETS_H
#define APPLY_SOCKETS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct tcp_socket {
	bool ipv6; /* an IPv4 address mapped into IPv6 is IPv4 */
	unsigned char local[16], remote[16];
	uint16_t local_port, remote_port;
};

/*
 * The established connection with the lowest descriptor of a process (sshd's own: forwarded ones come later).  1, 0
 * when it has none, -1 when its descriptors may not be read.
 */
int socket_established(const char *proc, pid_t, struct tcp_socket *);
/* The value of SSH_CONNECTION: "FROM PORT TO PORT". */
int socket_parse_ssh(const char *, struct tcp_socket *);

#endif
