/* The administrator's command: what it is given, what it may, and that its time is limited. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/clock.h"
#include "lib/proc.h"
#include "lib/shell.h"

static char out_path[] = "/tmp/mailadm-shell-XXXXXX";

/* Runs it; what it printed is in *out. */
static int run(const char *line, const char *input, unsigned limit_s, struct buf *out, struct error *e)
{
	struct error ignored;
	int fd = open(out_path, O_WRONLY | O_TRUNC | O_CLOEXEC);

	assert_int_not_equal(fd, -1);
	int r = shell_run_for(line, view_of(input), fd, limit_s, e);
	close(fd);
	buf_reset(out);
	assert_int_equal(file_read(out_path, 65536, out, &ignored), 0);
	return r;
}

static void test_input(void **state)
{
	struct buf out = BUF_INIT(65536);
	struct error e = { "" };

	(void)state;
	assert_int_equal(run("cat; pwd", "text\nof lines\n", 10, &out, &e), 0);
	assert_string_equal(buf_str(&out), "text\nof lines\n/\n");
	assert_int_equal(run("true", "nobody reads this", 10, &out, &e), 0);
	assert_int_equal(run("exit 3", "", 10, &out, &e), -1);
	assert_non_null(strstr(e.text, "status 3"));
	assert_int_equal(run("kill -9 $$", "", 10, &out, &e), -1);
	assert_non_null(strstr(e.text, "signal 9"));
	buf_free(&out);
}

static void test_rights(void **state)
{
	struct buf out = BUF_INIT(65536);
	struct error e = { "" };

	(void)state;
	setenv("SECRET", "x", 1);
	assert_int_equal(run("echo ${SECRET-none}; ls /proc/self/fd | wc -l; grep NoNewPrivs /proc/self/status; id "
	                     "-un; id -G | wc -w",
			     "", 10, &out, &e),
	    0);
	unsetenv("SECRET");
	/* 0, 1, 2 and the folder that ls reads */
	const char *want =
	    geteuid() == 0 ? "none\n4\nNoNewPrivs:\t1\n" SHELL_USER "\n1\n" : "none\n4\nNoNewPrivs:\t1\n";
	assert_int_equal(strncmp(buf_str(&out), want, strlen(want)), 0);
	buf_free(&out);
}

static void test_limit(void **state)
{
	struct buf out = BUF_INIT(65536);
	struct error e = { "" };
	uint64_t start = clock_mono_ms();

	(void)state;
	assert_int_equal(run("sleep 61 & sleep 62", "", 1, &out, &e), -1);
	assert_non_null(strstr(e.text, "within 1 seconds"));
	assert_true(clock_mono_ms() - start < 10000);
	/* What it leaves behind ends with it. */
	assert_int_equal(run("sleep 63 & echo $!", "", 10, &out, &e), 0);
	pid_t left = (pid_t)strtol(buf_str(&out), NULL, 10);
	assert_true(left > 1);
	char *path = xasprintf("/proc/%d/cmdline", (int)left);
	for (start = clock_mono_ms(); clock_mono_ms() - start < 5000;) {
		buf_reset(&out);
		if (file_read(path, 4096, &out, &e) == -1 || out.len == 0)
			break;
	}
	assert_true(access(path, F_OK) == -1 || out.len == 0);
	free(path);
	buf_free(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_input), cmocka_unit_test(test_rights),
		cmocka_unit_test(test_limit) };
	int fd = mkstemp(out_path), r;

	if (fd == -1)
		return 1;
	close(fd);
	cmocka_set_message_output(CM_OUTPUT_TAP);
	r = cmocka_run_group_tests(tests, NULL, NULL);
	unlink(out_path);
	return r;
}
