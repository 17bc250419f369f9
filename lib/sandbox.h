/*
 * Giving up rights: ids first, then Landlock, then seccomp.  Landlock degrades to what the kernel has, with a log line;
 * seccomp and the ids are not optional (the ids only where the process is not root to begin with).
 */
#ifndef LIB_SANDBOX_H
#define LIB_SANDBOX_H

#include <stdbool.h>
#include <stddef.h>

#include "log.h"

enum sandbox_may {                     /* beyond: use descriptors it has, memory, time, signals to itself */
	SANDBOX_ACCEPT = 1 << 0,       /* accept4 on inherited listeners, socket options */
	SANDBOX_CONNECT_INET = 1 << 1, /* socket, bind, connect for AF_INET and AF_INET6 */
	SANDBOX_OPEN_READ = 1 << 2,    /* open for reading below `read_paths` */
	SANDBOX_OPEN_WRITE = 1 << 3,   /* open, create, rename, unlink below `write_paths` */
	SANDBOX_THREADS = 1 << 4,      /* clone for threads */
	SANDBOX_MEMFD = 1 << 5,        /* memfd_create and sealing */
	SANDBOX_SOCKETPAIR = 1 << 6,   /* socketpair(AF_UNIX) */
	SANDBOX_NET_ADMIN = 1 << 7,    /* keeps CAP_NET_ADMIN, if it has it, and no other: for netlink sockets it has */
};

struct sandbox {
	const char *user;                    /* drop to this user when root (it must exist then); NULL: stay */
	const char *group;                   /* one supplementary group, or NULL */
	unsigned may;                        /* sandbox_may bits */
	const char *const *read_paths;       /* NULL-terminated, or NULL */
	const char *const *write_paths;      /* NULL-terminated, or NULL */
	const unsigned short *connect_ports; /* 0-terminated; held by Landlock where the kernel can (ABI 4) */
};

/*
 * Paths may be /proc/self/fd/N; they are resolved before the ids change.  A read path that does not exist is skipped.
 * Looking for files and sockets without the right to is answered EACCES, so that libraries degrade; any other
 * refused system call ends the process (SIGSYS, status 159) with a log line that names it.
 * -1 with a reason when it could not be entered; the caller must exit then.
 */
int sandbox_enter(const struct sandbox *, struct error *);
/* What is in force after sandbox_enter, for `mailadm status`: e.g. "uid landlock-7 seccomp". */
const char *sandbox_describe(void);

#endif
