/* lib/log.h: the form of lines on a file and for the journal, levels, one line a write, errors. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
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

#include "lib/buf.h"
#include "lib/log.h"

static int saved_stderr, pipe_fd[2];

/* fd 2 becomes a pipe; the journal's variable names it when asked. */
static void redirect(bool journal)
{
	char name[64];
	struct stat st;

	assert_int_equal(pipe2(pipe_fd, O_CLOEXEC | O_NONBLOCK), 0);
	saved_stderr = fcntl(2, F_DUPFD_CLOEXEC, 10);
	dup2(pipe_fd[1], 2);
	fstat(2, &st);
	snprintf(name, sizeof(name), "%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
	setenv("JOURNAL_STREAM", journal ? name : "1:2", 1);
}

/* What one write brought, fd 2 being itself again. */
static const char *restore(void)
{
	static char text[16384];
	ssize_t n = read(pipe_fd[0], text, sizeof(text) - 1);

	text[n > 0 ? n : 0] = '\0';
	dup2(saved_stderr, 2);
	close(saved_stderr);
	close(pipe_fd[0]);
	close(pipe_fd[1]);
	unsetenv("JOURNAL_STREAM");
	return text;
}

static void on_a_file(void **state)
{
	char want[80];

	(void)state;
	setenv("TZ", "UTC", 1);
	redirect(false);
	log_init("smtp", LOG_LEVEL_INFO);
	errno = ENOENT;
	log_warn("session=%d", 7);
	const char *line = restore();
	snprintf(want, sizeof(want), "+00:00 WARN smtp[%d]: session=7: No such file or directory\n", (int)getpid());
	if (strlen(line) < 19 || line[10] != 'T' || strcmp(line + 19, want) != 0)
		fail_msg("got '%s', wanted a time and '%s'", line, want);
}

static void for_the_journal(void **state)
{
	(void)state;
	redirect(true);
	log_init("imap", LOG_LEVEL_INFO);
	log_info("a=%s", "b\nc");
	assert_string_equal(restore(), "<6>imap: a=b c\n");
	redirect(true);
	log_init("imap", LOG_LEVEL_INFO);
	log_warnx("x");
	assert_string_equal(restore(), "<4>imap: x\n");
}

static void levels(void **state)
{
	(void)state;
	redirect(true);
	log_init("x", LOG_LEVEL_INFO);
	log_debug("no");
	log_set_level(LOG_LEVEL_DEBUG);
	log_debug("yes");
	assert_string_equal(restore(), "<7>x: yes\n");
	redirect(true);
	log_init("x", LOG_LEVEL_ERROR);
	log_warnx("no");
	assert_string_equal(restore(), "");
}

static void long_lines_are_cut(void **state)
{
	static char big[10000];

	(void)state;
	memset(big, 'a', sizeof(big) - 1);
	redirect(true);
	log_init("x", LOG_LEVEL_INFO);
	errno = ENOENT;
	log_warn("%s", big);
	const char *line = restore();
	assert_true(strlen(line) <= 4096);
	assert_int_equal(line[strlen(line) - 1], '\n');
}

static void fatal_ends(void **state)
{
	int status;

	(void)state;
	redirect(true);
	log_init("x", LOG_LEVEL_INFO);
	pid_t pid = fork();
	if (pid == 0)
		fatalx("the end");
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_string_equal(restore(), "<3>x: the end\n");
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 1);
}

static void errors(void **state)
{
	struct error e;
	static char big[1000];

	(void)state;
	assert_int_equal(error_set(&e, "%s: bad", "x"), -1);
	assert_string_equal(e.text, "x: bad");
	errno = EACCES;
	assert_int_equal(error_errno(&e, "%s", "open"), -1);
	assert_string_equal(e.text, "open: Permission denied");
	memset(big, 'a', sizeof(big) - 1);
	error_errno(&e, "%s", big);
	assert_int_equal(strlen(e.text), sizeof(e.text) - 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(on_a_file),
		cmocka_unit_test(for_the_journal),
		cmocka_unit_test(levels),
		cmocka_unit_test(long_lines_are_cut),
		cmocka_unit_test(fatal_ends),
		cmocka_unit_test(errors),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
