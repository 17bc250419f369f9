/*
 * Makes one system call inside a running process, with that process's rights, and prints what the kernel answered:
 *
 *	syscall_in PID NUMBER [ARGUMENT]...	an argument is a number, or =TEXT for the address of a string
 *
 * Prints the result (negative: -errno), or `trapped` when seccomp answered with SIGSYS (which is then not delivered).
 * The process goes on afterwards as if nothing had happened.  x86-64 only; it needs the right to trace the process.
 */
#include <err.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#define RED_ZONE 128
#define ROOM 1024 /* below it, for strings */
#define TRIES 1000

static void poke(pid_t pid, uint64_t at, const char *data, size_t len)
{
	for (size_t i = 0; i < len; i += sizeof(long)) {
		long word = 0;
		memcpy(&word, data + i, len - i < sizeof(long) ? len - i : sizeof(long));
		if (ptrace(PTRACE_POKEDATA, pid, at + i, word) == -1)
			err(2, "cannot write its memory");
	}
}

static int wait_stop(pid_t pid)
{
	int status;
	if (waitpid(pid, &status, __WALL) == -1 || !WIFSTOPPED(status))
		errx(2, "process %d ended", (int)pid);
	return WSTOPSIG(status);
}

/* A system call instruction that is mapped in the process: the one it is waiting in, or just came from; 0: none is near. */
static uint64_t find_instruction(pid_t pid, uint64_t rip)
{
	for (uint64_t at = rip - 2; at < rip + 64; at++) {
		long word = ptrace(PTRACE_PEEKTEXT, pid, at, 0);
		if ((word & 0xffff) == 0x050f)
			return at;
	}
	return 0;
}

/* Stops it where an instruction is near: a process that was met at work is let go on for a moment. */
static uint64_t stop(pid_t pid, struct user_regs_struct *saved)
{
	for (int i = 0; i < TRIES; i++) {
		if (ptrace(PTRACE_INTERRUPT, pid, 0, 0) == -1)
			err(2, "cannot stop %d", (int)pid);
		wait_stop(pid);
		if (ptrace(PTRACE_GETREGS, pid, 0, saved) == -1)
			err(2, "registers");
		uint64_t at = find_instruction(pid, saved->rip);
		if (at != 0)
			return at;
		if (ptrace(PTRACE_CONT, pid, 0, 0) == -1)
			err(2, "cannot continue %d", (int)pid);
		usleep(1000);
	}
	errx(2, "no system call instruction near %#llx", (unsigned long long)saved->rip);
}

static void set_arguments(pid_t pid, struct user_regs_struct *r, int argc, char **argv)
{
	unsigned long long *registers[] = { &r->rdi, &r->rsi, &r->rdx, &r->r10, &r->r8, &r->r9 };
	uint64_t room = (r->rsp - RED_ZONE - ROOM) & ~15ull;
	for (int i = 0; i < 6; i++)
		*registers[i] = 0;
	for (int i = 0; i < argc && i < 6; i++) {
		if (argv[i][0] != '=') {
			*registers[i] = (unsigned long long)strtoll(argv[i], NULL, 0);
			continue;
		}
		size_t len = strlen(argv[i]); /* without '=', with the NUL */
		if (len > ROOM / 2)
			errx(2, "string too long");
		poke(pid, room, argv[i] + 1, len);
		*registers[i] = room;
		room += (len + 15) & ~15ull;
	}
}

int main(int argc, char **argv)
{
	if (argc < 3)
		errx(2, "usage: syscall_in PID NUMBER [ARGUMENT]...");
	pid_t pid = (pid_t)strtol(argv[1], NULL, 10);
	struct user_regs_struct saved, r;
	if (ptrace(PTRACE_SEIZE, pid, 0, 0) == -1)
		err(2, "cannot trace %d", (int)pid);
	uint64_t at = stop(pid, &saved);
	r = saved;
	r.rip = at;
	r.rax = (unsigned long long)strtoll(argv[2], NULL, 0);
	r.orig_rax = (unsigned long long)-1; /* nothing to restart */
	set_arguments(pid, &r, argc - 3, argv + 3);
	if (ptrace(PTRACE_SETREGS, pid, 0, &r) == -1 || ptrace(PTRACE_SINGLESTEP, pid, 0, 0) == -1)
		err(2, "cannot step");
	int sig = wait_stop(pid);
	if (sig == SIGSYS)
		puts("trapped");
	else if (sig == SIGTRAP && ptrace(PTRACE_GETREGS, pid, 0, &r) == 0)
		printf("%lld\n", (long long)r.rax);
	else
		warnx("stopped by signal %d", sig);
	if (ptrace(PTRACE_SETREGS, pid, 0, &saved) == -1 || ptrace(PTRACE_DETACH, pid, 0, 0) == -1)
		err(2, "cannot let go");
	return 0;
}
