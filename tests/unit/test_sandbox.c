/*
 * lib/sandbox.h: a child enters a sandbox and tries what it may and may not.  Each probe runs in a child of its own;
 * its exit status is the answer: 0, an errno, or 159 for a system call that ended it.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/buf.h"
#include "lib/sandbox.h"

#define REFUSED 159
#define NOT_ENTERED 200

static char folder[] = "/tmp/lib-sandbox-XXXXXX";
static char other[] = "/tmp/lib-sandbox-other-XXXXXX";
static char said[4096]; /* the child's stderr */

typedef int probe(void);

static int answer(bool good)
{
	return good ? 0 : errno;
}

static int run(const struct sandbox *s, probe *p)
{
	struct error e;
	int fds[2], status;

	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	fflush(stdout);
	pid_t pid = fork();
	if (pid == 0) {
		dup2(fds[1], 2);
		if (sandbox_enter(s, &e) == -1) {
			log_warnx("%s", e.text);
			_exit(NOT_ENTERED);
		}
		_exit(p());
	}
	close(fds[1]);
	size_t len = 0;
	for (ssize_t n; len < sizeof(said) - 1 && (n = read(fds[0], said + len, sizeof(said) - 1 - len)) > 0;)
		len += (size_t)n;
	said[len] = '\0';
	close(fds[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

static void expect(const struct sandbox *s, probe *p, const char *name, int want)
{
	int got = run(s, p);

	if (got != want)
		fail_msg("%s: got %d, wanted %d; it said: %s", name, got, want, said);
}
#define EXPECT(s, p, want) expect(s, p, #p, want)

static int ordinary_work(void)
{
	int p[2];
	struct stat st;
	char *big = malloc(10 << 20);

	if (big == NULL || pipe2(p, O_CLOEXEC) == -1 || write(p[1], "x", 1) != 1 || read(p[0], big, 1) != 1)
		return errno;
	if (fstat(p[0], &st) == -1 || fcntl(p[0], F_SETFL, O_NONBLOCK) == -1 || dup(p[0]) == -1)
		return errno;
	void *m = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (m == MAP_FAILED || mprotect(m, 4096, PROT_READ) == -1)
		return errno;
	free(big);
	struct timespec ts = { 0, 1 };
	nanosleep(&ts, NULL);
	printf("%d\n", (int)getpid());
	return 0;
}

static int read_passwd(void)
{
	return answer(open("/etc/passwd", O_RDONLY) != -1);
}

static int read_inside(void)
{
	char *path = xasprintf("%s/there", folder);

	return answer(open(path, O_RDONLY) != -1);
}

static int list_inside(void)
{
	return answer(open(folder, O_RDONLY | O_DIRECTORY) != -1);
}

static int write_inside(void)
{
	char *path = xasprintf("%s/new", folder);
	char *moved = xasprintf("%s/moved", folder);
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);

	if (fd == -1)
		return errno;
	if (pwrite(fd, "x", 1, 0) != 1 || fdatasync(fd) == -1 || ftruncate(fd, 0) == -1)
		return errno;
	if (rename(path, moved) == -1 || unlink(moved) == -1)
		return errno;
	return 0;
}

static int write_beside(void)
{
	char *path = xasprintf("%s/new", other);

	return answer(open(path, O_RDWR | O_CREAT, 0600) != -1);
}

static int make_inet_socket(void)
{
	return answer(socket(AF_INET, SOCK_STREAM, 0) != -1);
}

static int make_unix_socket(void)
{
	return answer(socket(AF_UNIX, SOCK_STREAM, 0) != -1);
}

static int make_raw_socket(void)
{
	return answer(socket(AF_INET, SOCK_RAW, 1) != -1);
}

static int make_pair(void)
{
	int p[2];

	return answer(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, p) != -1);
}

static int connect_to(uint16_t port)
{
	struct sockaddr_in to = {
		.sin_family = AF_INET, .sin_port = htons(port), .sin_addr = { htonl(INADDR_LOOPBACK) }
	};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	return fd == -1 ? errno : answer(connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0);
}

static int connect_to_1(void)
{
	return connect_to(1);
}

static int connect_to_2(void)
{
	return connect_to(2);
}

static int accept_nothing(void)
{
	return answer(accept4(0, NULL, NULL, 0) != -1);
}

#ifndef __SANITIZE_ADDRESS__
static int run_program(void)
{
	char *argv[] = { "true", NULL };

	execv("/bin/true", argv);
	return errno;
}

static int fork_child(void)
{
	return (int)syscall(SYS_fork) == -1 ? errno : 0;
}
#endif

static void *nothing(void *arg)
{
	return arg;
}

static int make_thread(void)
{
	pthread_t t;

	int r = pthread_create(&t, NULL, nothing, NULL);
	return r != 0 ? r : pthread_join(t, NULL);
}

static int map_code(void)
{
	return answer(mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED);
}

static int trace_parent(void)
{
	return answer(syscall(SYS_ptrace, 16, (long)getppid(), 0, 0) == 0);
}

static int kill_parent(void)
{
	return answer(kill(getppid(), 0) == 0);
}

static int end_itself(void)
{
	struct sigaction dfl = { .sa_handler = SIG_DFL };

	sigaction(SIGABRT, &dfl, NULL);
	abort();
}

static int make_memfd(void)
{
	int fd = memfd_create("x", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	return answer(fd != -1 && fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE) == 0);
}

static int regain_root(void)
{
	return (int)syscall(SYS_setuid, 0) == 0 ? 0 : errno;
}

static int who(void)
{
	return geteuid() == 65534 && getuid() == 65534 ? 0 : 1;
}

static int described(void)
{
	return strncmp(sandbox_describe(), "uid ", 4) == 0 ? 0 : 1;
}

static const char *const read_paths[] = { folder, "/nonexistent/lib-sandbox", NULL };
static const char *const write_paths[] = { folder, NULL };
static const unsigned short ports[] = { 1, 0 };

static void nothing_allowed(void **state)
{
	struct sandbox s = { 0 };

	(void)state;
	EXPECT(&s, ordinary_work, 0);
	EXPECT(&s, read_passwd, EACCES);
	EXPECT(&s, write_beside, EACCES);
	EXPECT(&s, make_inet_socket, EACCES);
	EXPECT(&s, make_unix_socket, EACCES);
	EXPECT(&s, make_pair, EACCES);
	EXPECT(&s, end_itself, 1000 + SIGABRT);
}

static void dies_of_what_nobody_may(void **state)
{
	struct sandbox s = { .may = SANDBOX_OPEN_READ | SANDBOX_CONNECT_INET };

	(void)state;
	EXPECT(&s, trace_parent, REFUSED);
	assert_non_null(strstr(said, "refused system call ptrace (101)\n"));
	EXPECT(&s, kill_parent, REFUSED);
	EXPECT(&s, map_code, REFUSED);
	EXPECT(&s, make_memfd, REFUSED);
	EXPECT(&s, accept_nothing, REFUSED);
	EXPECT(&s, regain_root, REFUSED);
#ifndef __SANITIZE_ADDRESS__
	EXPECT(&s, run_program, REFUSED);
	EXPECT(&s, fork_child, REFUSED);
	EXPECT(&s, make_thread, 1000 + SIGSYS); /* libc blocks signals around clone: no handler, no line */
#endif
}

static bool have_landlock(int abi)
{
	return syscall(SYS_landlock_create_ruleset, NULL, 0, 1) >= abi;
}

static void reading(void **state)
{
	struct sandbox s = { .may = SANDBOX_OPEN_READ, .read_paths = read_paths };

	(void)state;
	EXPECT(&s, read_inside, 0);
	EXPECT(&s, list_inside, 0);
	EXPECT(&s, write_inside, EACCES);
	if (have_landlock(1))
		EXPECT(&s, read_passwd, EACCES);
	else
		print_message("# no Landlock here: paths are not tested\n");
}

static void writing(void **state)
{
	struct sandbox s = { .may = SANDBOX_OPEN_WRITE, .write_paths = write_paths };

	(void)state;
	EXPECT(&s, read_inside, 0);
	EXPECT(&s, write_inside, 0);
	if (have_landlock(1)) {
		EXPECT(&s, write_beside, EACCES);
		EXPECT(&s, read_passwd, EACCES);
	}
	EXPECT(&s, make_inet_socket, EACCES);
}

static void connecting(void **state)
{
	struct sandbox s = { .may = SANDBOX_CONNECT_INET, .connect_ports = ports };

	(void)state;
	EXPECT(&s, make_inet_socket, 0);
	EXPECT(&s, make_unix_socket, EACCES);
	EXPECT(&s, make_raw_socket, REFUSED);
	EXPECT(&s, connect_to_1, ECONNREFUSED);
	EXPECT(&s, connect_to_2, have_landlock(4) ? EACCES : ECONNREFUSED);
	EXPECT(&s, read_passwd, EACCES);
	s.connect_ports = NULL;
	EXPECT(&s, connect_to_2, ECONNREFUSED);
}

static void other_rights(void **state)
{
	struct sandbox s = { .may = SANDBOX_THREADS };

	(void)state;
	EXPECT(&s, make_thread, 0);
	s.may = SANDBOX_MEMFD;
	EXPECT(&s, make_memfd, 0);
	s.may = SANDBOX_SOCKETPAIR;
	EXPECT(&s, make_pair, 0);
	s.may = SANDBOX_ACCEPT;
	EXPECT(&s, accept_nothing, ENOTSOCK);
}

static void ids(void **state)
{
	struct sandbox s = { .user = "nobody", .group = "nogroup" };

	(void)state;
	if (geteuid() != 0) {
		print_message("# not root: ids are not tested\n");
		return;
	}
	EXPECT(&s, who, 0);
	EXPECT(&s, described, 0);
	EXPECT(&s, regain_root, REFUSED);
	s.user = "lib-no-such-user";
	EXPECT(&s, who, NOT_ENTERED);
	assert_non_null(strstr(said, "user lib-no-such-user does not exist"));
}

static int setup(void **state)
{
	(void)state;
	if (mkdtemp(folder) == NULL || mkdtemp(other) == NULL || chmod(folder, 0755) == -1)
		return -1;
	char *path = xasprintf("%s/there", folder);
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	free(path);
	if (fd == -1)
		return -1;
	close(fd);
	fd = open("/dev/null", O_RDONLY); /* 0, for accept_nothing */
	return dup2(fd, 0) == 0 ? 0 : -1;
}

static int teardown(void **state)
{
	char *path = xasprintf("%s/there", folder);

	(void)state;
	unlink(path);
	free(path);
	return rmdir(folder) | rmdir(other);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_allowed),
		cmocka_unit_test(dies_of_what_nobody_may),
		cmocka_unit_test(reading),
		cmocka_unit_test(writing),
		cmocka_unit_test(connecting),
		cmocka_unit_test(other_rights),
		cmocka_unit_test(ids),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, setup, teardown);
}
