/*
 * lib/proc.h: running programs, starting ourselves, files.  Started with the argument `role` this program is the child
 * of the tests: it reports what it was given over its channel.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/imsg.h"
#include "lib/proc.h"
#include "lib/sandbox.h"

static struct error e;

static int run(char *const argv[], struct view input, struct buf *out, struct buf *err)
{
	buf_reset(out);
	buf_reset(err);
	e.text[0] = '\0';
	return proc_run(argv, input, out, err, &e);
}

static void runs_programs(void **state)
{
	struct buf out = BUF_INIT(8 << 20), err = BUF_INIT(1000);
	char *cat[] = { "cat", NULL };
	char *sh[] = { "sh", "-c", "echo out; echo err >&2; exit 7", NULL };
	char *none[] = { "lib-no-such-program", NULL };
	char *killed[] = { "sh", "-c", "kill -9 $$", NULL };
	char *deaf[] = { "true", NULL };
	size_t len = 3 << 20;
	char *big = xcalloc(1, len);

	(void)state;
	assert_int_equal(run(cat, VIEW_LIT("through"), &out, &err), 0);
	assert_string_equal(buf_str(&out), "through");
	assert_int_equal(run(sh, VIEW_NONE, &out, &err), 7);
	assert_string_equal(buf_str(&out), "out\n");
	assert_string_equal(buf_str(&err), "err\n");
	assert_int_equal(run(cat, (struct view){ big, len }, &out, &err), 0);
	assert_int_equal(out.len, len);
	assert_int_equal(run(deaf, (struct view){ big, len }, &out, &err), 0); /* reads nothing: no SIGPIPE here */
	assert_int_equal(run(none, VIEW_NONE, &out, &err), -1);
	assert_string_equal(e.text, "cannot run lib-no-such-program: No such file or directory");
	assert_int_equal(run(killed, VIEW_NONE, &out, &err), -1);
	assert_non_null(strstr(e.text, "signal 9"));
	out.max = 1000;
	buf_free(&out);
	assert_int_equal(run(cat, (struct view){ big, len }, &out, &err), -1);
	assert_string_equal(e.text, "cat wrote more than 1000 bytes");
	assert_int_equal(proc_run(cat, VIEW_LIT("x"), NULL, NULL, &e), 0);
	free(big);
	buf_free(&out);
	buf_free(&err);
}

/* A program that does not end is killed with what it has started, and what outlives it keeps nobody waiting. */
static void limits(void **state)
{
	static const char *const hangs[] = { "echo $$; sleep 600", "echo $$; sleep 600 & wait",
		"echo $$; trap '' TERM PIPE; while :; do echo x >&2; done", "echo $$; exec >&- 2>&-; exec sleep 600",
		"echo $$; exec yes >&2" };
	struct buf out = BUF_INIT(1000), err = BUF_INIT(1000);
	char *big = xcalloc(1, 3 << 20);
	char *leaves[] = { "sh", "-c", "sleep 600 & echo $$", NULL };
	char *slow[] = { "sh", "-c", "sleep 1.2; echo done", NULL };

	(void)state;
	setenv("MAILADM_TEST_TOOL_LIMIT", "1", 1);
	for (size_t i = 0; i < sizeof(hangs) / sizeof(hangs[0]); i++) {
		char *sh[] = { "sh", "-c", (char *)(uintptr_t)hangs[i], NULL };
		assert_int_equal(run(sh, (struct view){ big, 3 << 20 }, &out, &err), -1);
		assert_string_equal(e.text, "sh did not end within 1 seconds and was killed");
		pid_t group = (pid_t)strtol(buf_str(&out), NULL, 10);
		assert_true(group > 1);
		for (int n = 0; n < 500 && kill(-group, 0) == 0; n++) /* until init has reaped what was killed */
			poll(NULL, 0, 10);
		assert_int_equal(kill(-group, 0), -1);
	}
	assert_int_equal(run(leaves, VIEW_NONE, &out, &err), 0);
	assert_int_equal(proc_run_unlimited(slow, VIEW_NONE, &out, NULL, &e), 0);
	assert_non_null(strstr(buf_str(&out), "done"));
	setenv("MAILADM_TEST_TOOL_LIMIT", "0", 1);
	assert_int_equal(proc_limit(), PROC_LIMIT_S);
	unsetenv("MAILADM_TEST_TOOL_LIMIT");
	assert_int_equal(proc_limit(), PROC_LIMIT_S);
	free(big);
	buf_free(&out);
	buf_free(&err);
}

static void gives_programs_nothing_else(void **state)
{
	struct buf out = BUF_INIT(1000), err = BUF_INIT(1000);
	char *ls[] = { "ls", "/proc/self/fd", NULL }; /* 3 is its own, on that folder */
	char *mask[] = { "grep", "SigBlk", "/proc/self/status", NULL };
	int leaky = open("/dev/null", O_RDONLY);
	sigset_t some, old;

	(void)state;
	sigemptyset(&some);
	sigaddset(&some, SIGTERM);
	sigprocmask(SIG_BLOCK, &some, &old);
	assert_int_equal(run(ls, VIEW_NONE, &out, &err), 0);
	assert_string_equal(buf_str(&out), "0\n1\n2\n3\n");
	assert_int_equal(run(mask, VIEW_NONE, &out, &err), 0);
	assert_string_equal(buf_str(&out), "SigBlk:\t0000000000000000\n");
	sigprocmask(SIG_SETMASK, &old, NULL);
	close(leaky);
	buf_free(&out);
	buf_free(&err);
}

/* The child: what it sees, over the channel. */
static int role(int argc, char **argv)
{
	struct buf b = BUF_INIT(4096);
	DIR *d = opendir("/proc/self/fd");
	char link[200];

	for (struct dirent *f; (f = readdir(d)) != NULL;) {
		int fd = (int)strtol(f->d_name, NULL, 10);
		if (f->d_name[0] != '.' && fd != dirfd(d))
			buf_printf(&b, "%d ", fd);
	}
	ssize_t n = readlink("/proc/self/fd/0", link, sizeof(link));
	buf_printf(&b, "| %.*s | %d %s |", (int)(n > 0 ? n : 0), link, argc, argv[1]);
	for (char **v = environ; *v != NULL; v++)
		buf_printf(&b, " %.3s", *v);
	closedir(d);
	fprintf(stderr, "to the log\n");
	int sent = imsg_send(PROC_CHANNEL_FD, 1, 0, buf_view(&b), -1);
	buf_free(&b);
	if (sent == -1)
		return 1;
	struct imsg m;
	struct buf storage = BUF_INIT(IMSG_MAX);
	if (argc > 2 && strcmp(argv[2], "sandbox") == 0) {
		struct sandbox s = { .user = "nobody" };
		if (sandbox_enter(&s, &e) == -1)
			return 2;
		imsg_send(PROC_CHANNEL_FD, 2, 0, VIEW_NONE, -1);
	}
	int r = imsg_recv(PROC_CHANNEL_FD, -1, &m, &storage);
	buf_free(&storage);
	return r == 0 ? 42 : 3;
}

static void starts_itself(void **state)
{
	char *argv[] = { "lib-role", "role", NULL };
	struct buf storage = BUF_INIT(IMSG_MAX);
	struct imsg m;
	int channel[2], log[2], status;
	char text[20] = "";

	(void)state;
	setenv("TZ", "UTC", 1);
	setenv("LIB_SECRET", "x", 1);
	unsetenv("LANG");
	unsetenv("JOURNAL_STREAM");
	unsetenv("ASAN_OPTIONS");
	unsetenv("UBSAN_OPTIONS");
	unsetenv("LSAN_OPTIONS");
	assert_int_equal(imsg_pair(channel), 0);
	assert_int_equal(pipe2(log, O_CLOEXEC), 0);
	pid_t pid = proc_spawn_self(argv, channel[1], log[1], &e);
	assert_true(pid > 0);
	close(channel[1]);
	close(log[1]);
	assert_int_equal(imsg_recv(channel[0], 10000, &m, &storage), 1);
	char *saw = view_dup(m.data);
	assert_string_equal(saw, "0 1 2 3 | /dev/null | 2 role | PAT TZ=");
	free(saw);
	assert_int_equal(read(log[0], text, 11), 11);
	assert_string_equal(text, "to the log\n");
	close(channel[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 42);
	close(log[0]);
	buf_free(&storage);
}

/* A middle process starts the role and is killed; the role's end closes the channel, of which we hold the other end. */
static void dies_with(const char *how)
{
	char *argv[] = { "lib-role", "role", (char *)(uintptr_t)how, NULL };
	struct buf storage = BUF_INIT(IMSG_MAX);
	struct imsg m;
	int channel[2];

	assert_int_equal(imsg_pair(channel), 0);
	pid_t middle = fork();
	if (middle == 0) {
		close(channel[0]);
		int log = open("/dev/null", O_WRONLY | O_CLOEXEC);
		if (proc_spawn_self(argv, channel[1], log, &e) == -1)
			_exit(1);
		close(channel[1]);
		for (;;)
			pause();
	}
	close(channel[1]);
	assert_int_equal(imsg_recv(channel[0], 10000, &m, &storage), 1);
	if (how != NULL) {
		assert_int_equal(imsg_recv(channel[0], 10000, &m, &storage), 1);
		assert_int_equal(m.type, 2);
	}
	kill(middle, SIGKILL);
	assert_int_equal(waitpid(middle, NULL, 0), middle);
	assert_int_equal(imsg_recv(channel[0], 10000, &m, &storage), 0);
	close(channel[0]);
	buf_free(&storage);
}

static void children_die_with_their_parent(void **state)
{
	(void)state;
	dies_with(NULL);
	dies_with("sandbox"); /* also after a change of ids, which clears PR_SET_PDEATHSIG */
}

static void files(void **state)
{
	char folder[] = "/tmp/lib-proc-XXXXXX";
	struct buf b = BUF_INIT(100);
	struct stat st;

	(void)state;
	assert_non_null(mkdtemp(folder));
	char *deep = xasprintf("%s/a/b/c", folder);
	char *path = xasprintf("%s/file", deep);
	assert_int_equal(file_mkdirs(deep, 0700, &e), 0);
	assert_int_equal(file_mkdirs(deep, 0700, &e), 0);
	assert_int_equal(file_write_atomic(path, VIEW_LIT("first"), 0640, &e), 0);
	assert_int_equal(file_write_atomic(path, VIEW_LIT("second"), 0604, &e), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0604);
	assert_int_equal(file_read(path, 6, &b, &e), 0);
	assert_string_equal(buf_str(&b), "second");
	buf_reset(&b);
	assert_int_equal(file_read(path, 5, &b, &e), -1);
	assert_non_null(strstr(e.text, "larger than 5 bytes"));
	assert_int_equal(file_mkdirs(path, 0700, &e), -1);
	assert_non_null(strstr(e.text, "is not a folder"));
	unlink(path);
	assert_int_equal(file_read(path, 5, &b, &e), -1);
	assert_non_null(strstr(e.text, "No such file"));
	assert_int_equal(file_write_atomic("/nonexistent/x", VIEW_NONE, 0600, &e), -1);
	char *rm[] = { "rm", "-r", folder, NULL };
	assert_int_equal(proc_run(rm, VIEW_NONE, NULL, NULL, &e), 0); /* only what we made was there */
	free(deep);
	free(path);
	buf_free(&b);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(runs_programs),
		cmocka_unit_test(limits),
		cmocka_unit_test(gives_programs_nothing_else),
		cmocka_unit_test(starts_itself),
		cmocka_unit_test(children_die_with_their_parent),
		cmocka_unit_test(files),
	};

	if (argc > 1 && strcmp(argv[1], "role") == 0)
		return role(argc, argv);
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
