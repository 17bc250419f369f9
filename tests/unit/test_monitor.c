/* What monitor does when a role asks for a peer's end (KILL_PEER): real processes as children, no site. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "mailsvc/monitor/internal.h"

static struct monitor m;

static void on_message(struct chan *chan, struct imsg *msg, void *arg)
{
	(void)chan, (void)msg, (void)arg;
}

static void add(enum role_id role, unsigned instance)
{
	static const struct chan_ops ops = { on_message, NULL };
	struct child *c = &m.children[m.child_count++];
	int fds[2];

	assert_int_equal(imsg_pair(fds), 0);
	*c = (struct child){ .role = role, .instance = instance, .state = CHILD_UP, .restarts = 3, .monitor = &m };
	c->pid = fork();
	if (c->pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			pause();
	}
	close(fds[1]);
	c->chan = chan_new(m.base, fds[0], &ops, c);
}

static int setup(void **state)
{
	(void)state;
	memset(&m, 0, sizeof(m));
	m.base = event_base_new();
	add(ROLE_STORE, 0);
	add(ROLE_SMTP, 0);
	add(ROLE_SMTP, 1);
	log_set_level(LOG_LEVEL_ERROR);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	for (size_t i = 0; i < m.child_count; i++) {
		struct child *c = &m.children[i];

		chan_free(c->chan);
		kill(c->pid, SIGKILL);
		waitpid(c->pid, NULL, 0);
	}
	event_base_free(m.base);
	return 0;
}

static int ask(struct child *by, uint32_t life, enum role_id role, unsigned instance, const char *why, const char *rest)
{
	struct buf out = BUF_INIT(IMSG_MAX);
	struct imsg msg = { .type = ROLE_MSG_KILL_PEER, .id = life, .fd = -1 };
	int r;

	buf_put_u32(&out, role);
	buf_put_u32(&out, instance);
	buf_put_str(&out, why);
	buf_add(&out, rest, strlen(rest));
	msg.data = buf_view(&out);
	r = child_message(by, &msg);
	buf_free(&out);
	return r;
}

static bool alive(const struct child *c)
{
	siginfo_t info = { .si_pid = 0 };

	return waitid(P_PID, (id_t)c->pid, &info, WEXITED | WNOWAIT | (c->chan != NULL ? WNOHANG : 0)) == 0 &&
	       info.si_pid == 0;
}

static void test_killed(void **state)
{
	struct child *store = &m.children[0], *smtp0 = &m.children[1], *smtp1 = &m.children[2];
	int status;

	(void)state;
	assert_int_equal(ask(store, 2, ROLE_SMTP, 1, "of a former life", ""), 0);
	assert_true(alive(smtp1));
	assert_int_equal(ask(store, 3, ROLE_SMTP, 1, "it lags", ""), 0);
	assert_false(alive(smtp1));
	assert_int_equal(waitpid(smtp1->pid, &status, 0), smtp1->pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	smtp1->pid = fork(); /* nobody is killed twice, even before the end is seen */
	if (smtp1->pid == 0)
		for (;;)
			pause();
	assert_int_equal(ask(store, 3, ROLE_SMTP, 1, "it lags", ""), 0);
	assert_int_equal(waitpid(smtp1->pid, &status, WNOHANG), 0);
	assert_true(alive(smtp0) && alive(store));
}

static void test_refused(void **state)
{
	struct child *store = &m.children[0], *smtp0 = &m.children[1];
	char why[ROLE_WHY_MAX + 1];

	(void)state;
	memset(why, 'x', ROLE_WHY_MAX);
	why[ROLE_WHY_MAX] = '\0';
	assert_int_equal(ask(smtp0, 3, ROLE_STORE, 0, "revenge", ""), -1); /* whom it only asks */
	assert_int_equal(ask(smtp0, 3, ROLE_SMTP, 1, "envy", ""), -1);
	assert_int_equal(ask(store, 3, ROLE_STORE, 0, "weary", ""), -1);
	assert_int_equal(ask(store, 3, ROLE_SMTP, 2, "there is none", ""), -1);
	assert_int_equal(ask(store, 3, ROLE_MONITOR, 0, "no", ""), -1);
	assert_int_equal(ask(store, 3, (enum role_id)1000, 0, "no", ""), -1);
	assert_int_equal(ask(store, 3, ROLE_SMTP, 0, why, ""), -1);
	assert_int_equal(ask(store, 3, ROLE_SMTP, 0, "a\nb", ""), -1);
	assert_int_equal(ask(store, 3, ROLE_SMTP, 0, "ok", "more"), -1);
	for (size_t i = 0; i < m.child_count; i++)
		assert_true(alive(&m.children[i]));
	assert_int_equal(ask(store, 3, ROLE_SMTP, 0, why + 1, ""), 0);
	assert_false(alive(smtp0));
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test_setup_teardown(test_killed, setup, teardown),
		cmocka_unit_test_setup_teardown(test_refused, setup, teardown) };

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
