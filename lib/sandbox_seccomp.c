/*
 * sandbox.h: the list of system calls.  What a library merely tries (files, sockets) is answered EACCES; everything
 * else that is not on the list traps, and the handler below writes its name and ends the process.
 *
 * libseccomp has no negation and allows one comparison an argument, so the refused values of an argument are listed.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "buf.h"
#include "sandbox_impl.h"

#define EXIT_REFUSED 159 /* 128 + SIGSYS, what a shell would say */
#define NAMES 512        /* system call numbers whose names are looked up beforehand */
#define SOCK_TYPE 0xf
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define SYS(name) SCMP_SYS(name)

static const int always[] = {
	/* descriptors it has */
	SYS(read),
	SYS(write),
	SYS(readv),
	SYS(writev),
	SYS(pread64),
	SYS(preadv),
	SYS(preadv2),
	SYS(lseek),
	SYS(close),
	SYS(close_range),
	SYS(dup),
	SYS(dup2),
	SYS(dup3),
	SYS(fcntl),
	SYS(fstat),
	SYS(sendfile),
	SYS(pipe2),
	SYS(fadvise64),
	SYS(recvmsg),
	SYS(sendmsg),
	SYS(recvfrom),
	SYS(sendto),
	SYS(recvmmsg),
	SYS(sendmmsg),
	SYS(shutdown),
	SYS(getsockopt),
	SYS(setsockopt),
	SYS(getsockname),
	SYS(getpeername),
	/* the loop */
	SYS(epoll_create1),
	SYS(epoll_ctl),
	SYS(epoll_wait),
	SYS(epoll_pwait),
	SYS(epoll_pwait2),
	SYS(poll),
	SYS(ppoll),
	SYS(select),
	SYS(pselect6),
	SYS(eventfd2),
	SYS(timerfd_create),
	SYS(timerfd_settime),
	SYS(timerfd_gettime),
	/* memory, time, chance */
	SYS(munmap),
	SYS(mremap),
	SYS(madvise),
	SYS(msync),
	SYS(brk),
	SYS(futex),
	SYS(membarrier),
	SYS(clock_gettime),
	SYS(clock_getres),
	SYS(clock_nanosleep),
	SYS(nanosleep),
	SYS(gettimeofday),
	SYS(time),
	SYS(times),
	SYS(getrandom),
	/* itself */
	SYS(getpid),
	SYS(gettid),
	SYS(getppid),
	SYS(getuid),
	SYS(geteuid),
	SYS(getgid),
	SYS(getegid),
	SYS(getrusage),
	SYS(getrlimit),
	SYS(uname),
	SYS(sysinfo),
	SYS(sched_yield),
	SYS(sched_getaffinity),
	SYS(getcpu),
	SYS(rseq),
	SYS(set_robust_list),
	SYS(rt_sigaction),
	SYS(rt_sigprocmask),
	SYS(rt_sigreturn),
	SYS(rt_sigpending),
	SYS(rt_sigtimedwait),
	SYS(sigaltstack),
	SYS(restart_syscall),
	SYS(exit),
	SYS(exit_group),
#ifdef SANDBOX_ASAN
	/* A report looks around; mapping code, opening files and starting the symbolizer stay refused. */
	SYS(prctl),
	SYS(prlimit64),
	SYS(pipe),
	SYS(wait4),
#endif
};

static const int reading[] = { SYS(stat), SYS(lstat), SYS(statx), SYS(access), SYS(faccessat), SYS(faccessat2),
	SYS(getdents64), SYS(readlink), SYS(readlinkat), SYS(fstatfs), SYS(statfs) };

static const int writing[] = { SYS(pwrite64), SYS(pwritev), SYS(pwritev2), SYS(ftruncate), SYS(fallocate),
	SYS(fdatasync), SYS(fsync), SYS(sync_file_range), SYS(copy_file_range), SYS(flock), SYS(fchmod) };

static const int naming[] = { SYS(rename), SYS(renameat), SYS(renameat2), SYS(unlink), SYS(unlinkat), SYS(rmdir),
	SYS(link), SYS(linkat), SYS(mkdir), SYS(mkdirat) };

/* Answered EACCES where not allowed. */
static const int probes[] = { SYS(open), SYS(openat2), SYS(creat), SYS(symlink), SYS(symlinkat), SYS(chmod),
	SYS(fchmodat), SYS(chown), SYS(fchownat), SYS(truncate) };

static const char *names[NAMES];

static void on_sigsys(int sig, siginfo_t *info, void *context)
{
	int nr = info->si_syscall;
	const char *name = nr >= 0 && nr < NAMES && names[nr] != NULL ? names[nr] : "?";
	char line[160];

	(void)sig;
	(void)context;
	int n = snprintf(
	    line, sizeof(line), "ERROR %s[%d]: refused system call %s (%d)\n", log_ident(), (int)getpid(), name, nr);
	if (n > 0 && write(STDERR_FILENO, line, (size_t)n) == -1)
		_exit(EXIT_REFUSED);
	_exit(EXIT_REFUSED);
}

static int catch_refusals(struct error *e)
{
	struct sigaction sa = { .sa_sigaction = on_sigsys, .sa_flags = SA_SIGINFO };

	/* The handler cannot allocate: the call may have come from malloc. */
	for (int nr = 0; nr < NAMES; nr++)
		names[nr] = seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, nr);
	sigemptyset(&sa.sa_mask);
	return sigaction(SIGSYS, &sa, NULL) == -1 ? error_errno(e, "SIGSYS") : 0;
}

/* Rules gather with a sticky error. */
struct filter {
	scmp_filter_ctx ctx;
	int error;
};

static void rule(struct filter *f, uint32_t action, int nr, unsigned n, const struct scmp_arg_cmp *args)
{
	int r = f->error != 0 ? 0 : seccomp_rule_add_array(f->ctx, action, nr, n, args);

	if (r != 0 && r != -EDOM)
		f->error = -r;
}

static void allow(struct filter *f, const int *nr, size_t n)
{
	for (size_t i = 0; i < n; i++)
		rule(f, SCMP_ACT_ALLOW, nr[i], 0, NULL);
}

static void refuse(struct filter *f, const int *nr, size_t n)
{
	for (size_t i = 0; i < n; i++)
		rule(f, SCMP_ACT_ERRNO(EACCES), nr[i], 0, NULL);
}

/* Where (argument & mask) is value. */
static void masked(struct filter *f, uint32_t action, int nr, unsigned arg, uint64_t mask, uint64_t value)
{
	struct scmp_arg_cmp cmp = SCMP_CMP(arg, SCMP_CMP_MASKED_EQ, mask, value);

	rule(f, action, nr, 1, &cmp);
}

static void equal(struct filter *f, uint32_t action, int nr, unsigned arg, uint64_t value)
{
	struct scmp_arg_cmp cmp = SCMP_CMP(arg, SCMP_CMP_EQ, value, 0);

	rule(f, action, nr, 1, &cmp);
}

static void basic(struct filter *f)
{
	pid_t self = getpid();
	struct scmp_arg_cmp only_read[] = { SCMP_CMP(0, SCMP_CMP_EQ, 0, 0), SCMP_CMP(2, SCMP_CMP_EQ, 0, 0) };

	allow(f, always, COUNT(always));
	masked(f, SCMP_ACT_ALLOW, SYS(mmap), 2, PROT_EXEC, 0);
	masked(f, SCMP_ACT_ALLOW, SYS(mprotect), 2, PROT_EXEC, 0);
	equal(f, SCMP_ACT_ALLOW, SYS(kill), 0, (uint64_t)self);
	equal(f, SCMP_ACT_ALLOW, SYS(tgkill), 0, (uint64_t)self);
	equal(f, SCMP_ACT_ALLOW, SYS(ioctl), 1, FIONREAD);
	equal(f, SCMP_ACT_ALLOW, SYS(ioctl), 1, FIONBIO);
	equal(f, SCMP_ACT_ERRNO(ENOTTY), SYS(ioctl), 1, TCGETS); /* stdio and isatty ask */
#ifndef SANDBOX_ASAN
	rule(f, SCMP_ACT_ALLOW, SYS(prlimit64), 2, only_read);
	equal(f, SCMP_ACT_ALLOW, SYS(prctl), 0, PR_SET_NAME);
	equal(f, SCMP_ACT_ALLOW, SYS(prctl), 0, PR_SET_VMA);
#else
	(void)only_read;
	static const int symbolizer[] = { SYS(fork), SYS(vfork), SYS(execve) };
	refuse(f, symbolizer, COUNT(symbolizer));
#endif
	rule(f, SCMP_ACT_ERRNO(ENOSYS), SYS(clone3), 0, NULL); /* its flags are out of sight: libc then uses clone */
	refuse(f, probes, COUNT(probes));
}

/* openat for reading alone: each combination of the flags that change something is refused. */
static void open_for_reading(struct filter *f)
{
	const uint64_t changing = O_ACCMODE | O_CREAT | O_TRUNC;

	masked(f, SCMP_ACT_ALLOW, SYS(openat), 2, changing, 0);
	for (uint64_t bits = 1; bits <= changing; bits++) {
		if ((bits & ~changing) == 0)
			masked(f, SCMP_ACT_ERRNO(EACCES), SYS(openat), 2, changing, bits);
	}
}

static void files(struct filter *f, unsigned may)
{
	static const int openat_only[] = { SYS(openat) };

	if (may & SANDBOX_OPEN_WRITE) {
		allow(f, openat_only, 1);
		allow(f, writing, COUNT(writing));
		allow(f, naming, COUNT(naming));
	} else {
		refuse(f, naming, COUNT(naming));
		if (may & SANDBOX_OPEN_READ)
			open_for_reading(f);
		else
			refuse(f, openat_only, 1);
	}
	if (may & (SANDBOX_OPEN_READ | SANDBOX_OPEN_WRITE)) {
		allow(f, reading, COUNT(reading));
		rule(f, SCMP_ACT_ALLOW, SYS(newfstatat), 0, NULL);
		return;
	}
	refuse(f, reading, COUNT(reading));
	masked(f, SCMP_ACT_ALLOW, SYS(newfstatat), 3, AT_EMPTY_PATH, AT_EMPTY_PATH); /* fstat */
	masked(f, SCMP_ACT_ERRNO(EACCES), SYS(newfstatat), 3, AT_EMPTY_PATH, 0);
}

static void sockets(struct filter *f, unsigned may)
{
	static const int connecting[] = { SYS(connect), SYS(bind) };
	static const int accepting[] = { SYS(accept), SYS(accept4) };

	if (may & SANDBOX_ACCEPT)
		allow(f, accepting, COUNT(accepting));
	if (may & SANDBOX_SOCKETPAIR)
		equal(f, SCMP_ACT_ALLOW, SYS(socketpair), 0, AF_UNIX);
	else
		rule(f, SCMP_ACT_ERRNO(EACCES), SYS(socketpair), 0, NULL);
	if (!(may & SANDBOX_CONNECT_INET)) {
		refuse(f, connecting, COUNT(connecting));
		rule(f, SCMP_ACT_ERRNO(EACCES), SYS(socket), 0, NULL);
		return;
	}
	allow(f, connecting, COUNT(connecting));
	for (int family = 0; family < AF_MAX; family++) {
		bool inet = family == AF_INET || family == AF_INET6;
		for (int type = SOCK_STREAM; inet && type <= SOCK_DGRAM; type++) {
			struct scmp_arg_cmp cmp[] = { SCMP_CMP(0, SCMP_CMP_EQ, (uint64_t)family, 0),
				SCMP_CMP(1, SCMP_CMP_MASKED_EQ, SOCK_TYPE, (uint64_t)type) };
			rule(f, SCMP_ACT_ALLOW, SYS(socket), 2, cmp);
		}
		if (!inet)
			equal(f, SCMP_ACT_ERRNO(EACCES), SYS(socket), 0, (uint64_t)family);
	}
}

static void rest(struct filter *f, unsigned may)
{
	static const int memfd[] = { SYS(memfd_create), SYS(ftruncate) };

	if (may & SANDBOX_MEMFD)
		allow(f, memfd, COUNT(memfd));
	if (may & SANDBOX_THREADS)
		masked(f, SCMP_ACT_ALLOW, SYS(clone), 0, CLONE_THREAD, CLONE_THREAD);
#ifdef SANDBOX_ASAN
	masked(f, SCMP_ACT_ERRNO(EACCES), SYS(clone), 0, CLONE_THREAD, 0); /* the symbolizer */
#endif
}

int seccomp_enforce(unsigned may, struct error *e)
{
	struct filter f = { seccomp_init(SCMP_ACT_TRAP), 0 };

	if (f.ctx == NULL)
		return error_set(e, "seccomp: out of memory");
	basic(&f);
	files(&f, may);
	sockets(&f, may);
	rest(&f, may);
	if (f.error == 0)
		f.error = -seccomp_attr_set(f.ctx, SCMP_FLTATR_CTL_TSYNC, 1); /* threads that are there already */
	if (f.error == 0 && catch_refusals(e) == -1) {
		seccomp_release(f.ctx);
		return -1;
	}
	if (f.error == 0)
		f.error = -seccomp_load(f.ctx);
	seccomp_release(f.ctx);
	return f.error == 0 ? 0 : error_set(e, "seccomp: %s", strerror(f.error));
}
