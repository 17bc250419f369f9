/*
 * sandbox.h: Landlock by raw system calls.  The constants are ours because Debian 12's headers know ABI 2 and kernels
 * know more; what the kernel does not know is left out of the ruleset.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sandbox_impl.h"

enum {
	FS_EXECUTE = 1 << 0,
	FS_WRITE_FILE = 1 << 1,
	FS_READ_FILE = 1 << 2,
	FS_READ_DIR = 1 << 3,
	FS_REMOVE_DIR = 1 << 4,
	FS_REMOVE_FILE = 1 << 5,
	FS_MAKE_DIR = 1 << 7,
	FS_MAKE_REG = 1 << 8,
	FS_REFER = 1 << 13,    /* ABI 2 */
	FS_TRUNCATE = 1 << 14, /* ABI 3 */
};
#define FS_ALL_ABI1 ((1u << 13) - 1)
#define FS_ALL_ABI2 ((1u << 14) - 1)
#define FS_ALL_ABI3 ((1u << 15) - 1)
#define FS_ALL_ABI5 ((1u << 16) - 1) /* device ioctls */
#define FS_OF_FILES (FS_EXECUTE | FS_WRITE_FILE | FS_READ_FILE | FS_TRUNCATE)
#define FS_READ (FS_READ_FILE | FS_READ_DIR)
#define FS_WRITE                                                                                                       \
	(FS_READ | FS_WRITE_FILE | FS_TRUNCATE | FS_REMOVE_DIR | FS_REMOVE_FILE | FS_MAKE_DIR | FS_MAKE_REG | FS_REFER)

enum { NET_BIND_TCP = 1 << 0, NET_CONNECT_TCP = 1 << 1 };     /* ABI 4 */
enum { SCOPE_ABSTRACT_UNIX = 1 << 0, SCOPE_SIGNAL = 1 << 1 }; /* ABI 6 */
enum { RULE_PATH = 1, RULE_PORT = 2 };
#define CREATE_VERSION 1

struct ruleset {
	uint64_t fs, net, scoped;
};

struct path_rule {
	uint64_t allowed;
	int32_t fd;
} __attribute__((packed));

struct port_rule {
	uint64_t allowed, port;
};

static uint64_t fs_known(int abi)
{
	return abi >= 5 ? FS_ALL_ABI5 : abi >= 3 ? FS_ALL_ABI3 : abi >= 2 ? FS_ALL_ABI2 : FS_ALL_ABI1;
}

static int add_path(int ruleset, const char *path, uint64_t allowed, bool required, struct error *e)
{
	struct path_rule rule = { allowed, open(path, O_PATH | O_CLOEXEC) };
	struct stat st;

	if (rule.fd == -1)
		return errno == ENOENT && !required ? 0 : error_errno(e, "landlock: %s", path);
	if (fstat(rule.fd, &st) == 0 && !S_ISDIR(st.st_mode))
		rule.allowed &= FS_OF_FILES;
	int r = (int)syscall(SYS_landlock_add_rule, ruleset, RULE_PATH, &rule, 0);
	if (r == -1)
		error_errno(e, "landlock: %s", path);
	close(rule.fd);
	return r;
}

static int add_port(int ruleset, uint64_t allowed, unsigned short port, struct error *e)
{
	struct port_rule rule = { allowed, port };

	if (syscall(SYS_landlock_add_rule, ruleset, RULE_PORT, &rule, 0) == -1)
		return error_errno(e, "landlock: port %u", port);
	return 0;
}

static int add_rules(const struct sandbox *s, int ruleset, const struct ruleset *set, struct error *e)
{
	for (size_t i = 0; (s->may & SANDBOX_OPEN_READ) && s->read_paths != NULL && s->read_paths[i] != NULL; i++) {
		if (add_path(ruleset, s->read_paths[i], set->fs & FS_READ, false, e) == -1)
			return -1;
	}
	for (size_t i = 0; (s->may & SANDBOX_OPEN_WRITE) && s->write_paths != NULL && s->write_paths[i] != NULL; i++) {
		if (add_path(ruleset, s->write_paths[i], set->fs & FS_WRITE, true, e) == -1)
			return -1;
	}
	if (!(s->may & SANDBOX_CONNECT_INET) || set->net == 0)
		return 0;
	if (add_port(ruleset, NET_BIND_TCP, 0, e) == -1) /* a source address with any port */
		return -1;
	for (size_t i = 0; (set->net & NET_CONNECT_TCP) && s->connect_ports[i] != 0; i++) {
		if (add_port(ruleset, NET_CONNECT_TCP, s->connect_ports[i], e) == -1)
			return -1;
	}
	return 0;
}

int landlock_prepare(const struct sandbox *s, int *abi, struct error *e)
{
	struct ruleset set = { 0 };

	*abi = (int)syscall(SYS_landlock_create_ruleset, NULL, 0, CREATE_VERSION);
	if (*abi < 1) {
		*abi = 0;
		return -1;
	}
	set.fs = fs_known(*abi);
	if (*abi >= 4) {
		set.net = NET_BIND_TCP | NET_CONNECT_TCP;
		if ((s->may & SANDBOX_CONNECT_INET) && s->connect_ports == NULL)
			set.net = NET_BIND_TCP;
	}
	if (*abi >= 6)
		set.scoped = SCOPE_ABSTRACT_UNIX | SCOPE_SIGNAL;
	size_t size = *abi >= 6   ? sizeof(set)
	              : *abi >= 4 ? offsetof(struct ruleset, scoped)
	                          : offsetof(struct ruleset, net);
	int ruleset = (int)syscall(SYS_landlock_create_ruleset, &set, size, 0);
	if (ruleset == -1) {
		error_errno(e, "landlock ruleset");
		return -2;
	}
	if (add_rules(s, ruleset, &set, e) == -1) {
		close(ruleset);
		return -2;
	}
	return ruleset;
}

int landlock_enforce(int ruleset, struct error *e)
{
	int r = (int)syscall(SYS_landlock_restrict_self, ruleset, 0);

	if (r == -1)
		error_errno(e, "landlock");
	close(ruleset);
	return r;
}
