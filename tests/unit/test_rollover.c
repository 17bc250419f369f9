/* The rollover machine with a fake clock, fake servers and a fake thing that is rolled; its state on disk; DKIM's
 * active file. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dnsgen/check_result.h"
#include "dnsgen/rollover.h"
#include "dnsgen/txttags.h"
#include "lib/proc.h"
#include "mailsvc/monitor/dkimkeys.h"

static char dir[] = "/tmp/dnslive-test-rollover.XXXXXX";
static char *path;

static const char *const names[] = { "dkim", "dkim-two", NULL };

/* What the fake thing has seen. */
struct fake {
	struct buf log; /* "published:example.org " ... */
	int visible;
	int fail_enter, fail_commit; /* so many times */
	bool after;                  /* the effect is there all the same, as when the process was killed behind it */
	unsigned commits;
};

static int fake_enter(void *arg, const struct rollover_item *i, struct error *e)
{
	struct fake *f = arg;
	bool fails = f->fail_enter > 0;
	if (fails)
		f->fail_enter--;
	if (!fails || f->after)
		buf_printf(&f->log, "%s:%s:%s ", rollover_stage_name(i->stage), i->subject, i->next);
	return fails ? error_set(e, "it refused") : 0;
}

static int fake_commit(void *arg, struct error *e)
{
	struct fake *f = arg;
	f->commits++;
	return f->fail_commit > 0 ? (f->fail_commit--, error_set(e, "named refused")) : 0;
}

static int fake_visible(void *arg, const struct rollover_item *i, struct buf *why)
{
	struct fake *f = arg;
	if (f->visible != 1)
		buf_printf(why, "ns2 has no %s", i->next);
	return f->visible;
}

struct told {
	struct buf text;
};

static void tell(void *arg, const struct rollover_item *i, enum rollover_result result, const char *why)
{
	struct told *t = arg;
	buf_printf(&t->text, "%s %s %s|", rollover_stage_name(i->stage),
	    result == ROLLOVER_WENT     ? "went"
	    : result == ROLLOVER_FAILED ? "failed"
					: "waits",
	    why);
}

/* One run from disk to disk, as a call of the command is. start: begin example.org with this name. Answers what was
 * told. */
static char *run(struct fake *f, int64_t now, const char *start, int want)
{
	struct rollover_kind kind = { names, f, fake_enter, fake_commit, fake_visible, 60, 1000, 500 };
	struct rollover table;
	struct error e = { "" };
	struct told told = { BUF_INIT(65536) };
	assert_int_equal(rollover_load(path, &table, &e), 0);
	if (rollover_find(&table, "dkim", "example.org") == NULL)
		rollover_add(&table, "dkim", "example.org", "mail", 1);
	if (start)
		rollover_start(rollover_find(&table, "dkim", "example.org"), start);
	assert_int_equal(rollover_run(&kind, &table, path, now, tell, &told, &e), want);
	rollover_free(&table);
	char *text = xstrdup(buf_str(&told.text));
	buf_free(&told.text);
	return text;
}

static void expect(char *told, const char *want)
{
	assert_string_equal(told, want);
	free(told);
}

static void test_stages(void **state)
{
	struct fake f = { .log = BUF_INIT(65536) };
	(void)state;
	unlink(path);
	expect(run(&f, 100, NULL, 0), "");
	expect(run(&f, 100, "new", 0), "published went |published waits ns2 has no new|");
	f.visible = -1;
	expect(run(&f, 5000, NULL, 0), "published waits ns2 has no new|");
	f.visible = 1;
	expect(run(&f, 6000, NULL, 0), "visible went |visible waits until caches have it: another 60s|");
	expect(run(&f, 6059, NULL, 0), "visible waits until caches have it: another 1s|");
	f.visible = 0; /* a server lost it: the TTL counts anew */
	expect(run(&f, 6060, NULL, 0), "published went ns2 has no new|published waits ns2 has no new|");
	f.visible = 1;
	expect(run(&f, 6100, NULL, 0), "visible went |visible waits until caches have it: another 60s|");
	expect(run(&f, 50, NULL, 0), "visible waits until caches have it: another 60s|"); /* the clock runs backwards */
	f.visible = -1; /* they cannot be asked: no switch, but no way back either */
	expect(run(&f, 6200, NULL, 0), "visible waits ns2 has no new|");
	f.visible = 1;
	expect(
	    run(&f, 6200, NULL, 0), "active went |active waits until mail with the old key has arrived: another 17m|");
	f.visible = 0; /* nobody is asked any more */
	expect(run(&f, 7199, NULL, 0), "active waits until mail with the old key has arrived: another 1s|");
	expect(run(&f, 7200, NULL, 0), "revoked went |revoked waits the old key stays revoked: another 9m|");
	expect(run(&f, 7700, NULL, 0), "idle went |");
	expect(run(&f, 7700, NULL, 0), "");
	assert_string_equal(buf_str(&f.log), "published:example.org:new active:example.org:new revoked:example.org:new "
					     "removed:example.org:new ");
	buf_free(&f.log);
}

/* The first one there is: published, seen, used, and that is all; a failure on the way is repeated. */
static void test_first(void **state)
{
	struct fake f = { .log = BUF_INIT(65536) };
	struct rollover_kind kind = { names, &f, fake_enter, fake_commit, fake_visible, 60, 1000, 500 };
	static const char *const want[] = { "published went |published waits ns2 has no a|",
		"visible went |visible waits until caches have it: another 60s|", "active failed named refused|",
		"idle went |" };
	(void)state;
	unlink(path);
	for (int i = 0; i < 4; i++) {
		struct rollover table;
		struct error e = { "" };
		struct told told = { BUF_INIT(65536) };
		assert_int_equal(rollover_load(path, &table, &e), 0);
		if (i == 0)
			rollover_start(rollover_add(&table, "dkim-two", "example.org", "", 0), "a");
		f.visible = i > 0;
		f.fail_commit = i == 2;
		rollover_run(&kind, &table, path, i < 2 ? 100 : 160, tell, &told, &e);
		assert_string_equal(buf_str(&told.text), want[i]);
		buf_free(&told.text);
		if (i == 3) {
			assert_string_equal(table.at[0].current, "a");
			assert_string_equal(table.at[0].next, "");
			assert_true(table.at[0].done);
		}
		rollover_free(&table);
	}
	assert_string_equal(
	    buf_str(&f.log), "published:example.org:a active:example.org:a active:example.org:a ");
	buf_free(&f.log);
}

/* A failure, or the end of the process before or behind the effect, at each stage: the next run does it again. */
static void test_interrupted(void **state)
{
	static const int64_t times[] = { 100, 200, 2000, 3000 };
	static const char *const stages[] = { "published", "active", "revoked", "removed" };
	(void)state;
	for (int how = 0; how < 3; how++) {
		struct fake f = { .log = BUF_INIT(65536), .visible = 1, .after = how == 1 };
		unlink(path);
		for (int i = 0; i < 4; i++) {
			f.fail_enter = how < 2;
			f.fail_commit = how == 2;
			char *told = run(&f, times[i], i == 0 ? "new" : NULL, 1);
			assert_non_null(strstr(told, how == 2 ? "failed named refused|" : "failed it refused|"));
			assert_non_null(strstr(told, stages[i]));
			free(told);
			free(run(&f, times[i], NULL, 0));
		}
		struct rollover table;
		struct error e = { "" };
		assert_int_equal(rollover_load(path, &table, &e), 0);
		assert_int_equal(table.count, 1);
		assert_string_equal(table.at[0].current, "new");
		assert_string_equal(table.at[0].next, "");
		assert_int_equal(table.at[0].stage, ROLLOVER_IDLE);
		assert_int_equal(table.at[0].since, 3000);
		rollover_free(&table);
		buf_free(&f.log);
	}
}

/* Many at once are committed together; a table of another kind is left alone. */
static void test_many(void **state)
{
	struct fake f = { .log = BUF_INIT(1 << 20), .visible = 1 };
	struct rollover_kind kind = { names, &f, fake_enter, fake_commit, fake_visible, 60, 1000, 500 };
	struct rollover table = { 0 };
	struct told told = { BUF_INIT(1 << 20) };
	struct error e = { "" };
	(void)state;
	for (int i = 0; i < 500; i++) {
		char *name = xasprintf("d%d.example", i);
		rollover_start(rollover_add(&table, "dkim", name, "mail", 1), "new");
		free(name);
	}
	rollover_start(rollover_add(&table, "tlsa", "d1.example", "a", 1), "b");
	assert_int_equal(rollover_run(&kind, &table, path, 100, tell, &told, &e), 0);
	assert_int_equal(f.commits, 1);
	assert_int_equal(rollover_find(&table, "dkim", "d499.example")->stage, ROLLOVER_VISIBLE);
	assert_int_equal(rollover_find(&table, "tlsa", "d1.example")->done, false);
	rollover_drop(&table, rollover_find(&table, "dkim", "d7.example"));
	assert_null(rollover_find(&table, "dkim", "d7.example"));
	assert_int_equal(table.count, 500);
	assert_int_equal(rollover_run(&kind, &table, "/nonexistent/rollover", 200, tell, &told, &e), -1);
	assert_non_null(strstr(e.text, "/nonexistent/rollover"));
	rollover_free(&table);
	buf_free(&told.text);
	buf_free(&f.log);
}

#define ITEM(kind, subject, current, next, stage, done, since)                                                         \
	"{\"kind\":\"" kind "\",\"subject\":\"" subject "\",\"current\":\"" current "\",\"next\":\"" next              \
	"\",\"stage\":\"" stage "\",\"done\":" done ",\"since\":" since "}"
#define FILE_OF(items) "{\"version\":1,\"items\":[" items "]}"

static void test_state(void **state)
{
	static const struct {
		const char *text, *why;
	} bad[] = {
		{ "", "is no JSON" },
		{ "[]", "has not exactly" },
		{ "{\"version\":1}", "has not exactly" },
		{ "{\"version\":2,\"items\":[]}", "newer mailadm" },
		{ "{\"version\":0,\"items\":[]}", "has not exactly" },
		{ "{\"version\":1,\"items\":{}}", "has not exactly" },
		{ "{\"version\":1,\"items\":[],\"x\":1}", "has not exactly" },
		{ "{\"version\":1,\"version\":1,\"items\":[]}", "is no JSON" },
		{ FILE_OF("1"), "item 1 has not exactly" },
		{ FILE_OF("{}"), "item 1 has not exactly" },
		{ FILE_OF(ITEM("dkim", "../x", "a", "", "idle", "true", "1")), "no right kind and subject" },
		{ FILE_OF(ITEM("dkim", "a/b", "a", "", "idle", "true", "1")), "no right kind and subject" },
		{ FILE_OF(ITEM("dkim", "a..b", "a", "", "idle", "true", "1")), "no right kind and subject" },
		{ FILE_OF(ITEM("", "a", "a", "", "idle", "true", "1")), "no right kind and subject" },
		{ FILE_OF(ITEM("dkim", "a", "../a", "", "idle", "true", "1")), "no selector" },
		{ FILE_OF(ITEM("dkim", "a", "a.b", "", "idle", "true", "1")), "no selector" },
		{ FILE_OF(ITEM("dkim", "a", "-a", "", "idle", "true", "1")), "no selector" },
		{ FILE_OF(ITEM("dkim", "a", "a", "b c", "active", "true", "1")), "no selector" },
		{ FILE_OF(ITEM("dkim", "a", "a", "b", "sleeping", "true", "1")), "unknown stage" },
		{ FILE_OF(ITEM("dkim", "a", "a", "b", "idle", "true", "1")), "does not go with" },
		{ FILE_OF(ITEM("dkim", "a", "a", "", "active", "true", "1")), "does not go with" },
		{ FILE_OF(ITEM("dkim", "a", "", "", "idle", "true", "1")), "does not go with" },
		{ FILE_OF(ITEM("dkim", "a", "", "b", "active", "true", "1")), "does not go with" },
		{ FILE_OF(ITEM("dkim", "a", "", "b", "revoked", "false", "1")), "does not go with" },
		{ FILE_OF(ITEM("dkim", "a", "a", "a", "active", "true", "1")), "does not go with" },
		{ FILE_OF(ITEM("dkim", "a", "a", "b", "visible", "false", "1")), "does not go with" },
		{ FILE_OF(ITEM("dkim", "a", "a", "", "idle", "true", "-1")), "time out of range" },
		{ FILE_OF(ITEM("dkim", "a", "a", "", "idle", "true", "9999999999999")), "time out of range" },
		{ FILE_OF(ITEM("dkim", "a", "a", "", "idle", "true", "1.5")), "has not exactly" },
		{ FILE_OF(ITEM("dkim", "a", "a", "", "idle", "true", "1") "," ITEM(
		      "dkim", "a", "a", "", "idle", "true", "1")),
		    "item 2 stands twice" },
	};
	struct rollover table;
	struct error e;
	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		e.text[0] = '\0';
		assert_int_equal(rollover_parse(view_of(bad[i].text), "STATE/rollover", &table, &e), -1);
		if (strstr(e.text, bad[i].why) == NULL)
			fail_msg("%s: %s", bad[i].text, e.text);
		assert_non_null(strstr(e.text, "STATE/rollover:"));
	}
	assert_int_equal(rollover_parse(view_of(FILE_OF(ITEM("dkim", "b.a", "a", "c", "active", "false", "0") "," ITEM(
					    "dkim", "a", "a", "", "idle", "true", "5"))),
			     "x", &table, &e),
	    0);
	assert_int_equal(table.count, 2);
	assert_int_equal(rollover_find(&table, "dkim", "a")->since, 5);
	assert_string_equal(rollover_find(&table, "dkim", "b.a")->next, "c");
	rollover_free(&table);
}

static void test_active(void **state)
{
	static const char *const bad[] = { "a b c\n", "a b c d e\n", "a b c d", "a b ../c -\n", "a b C -\n",
		"../a b c -\n", " a b c -\n", "a b c -\na b c -\n", "b b c -\na b c -\n", "a b  -\n", "\n",
		"a. b c -\n", "a b-ed - -\na b c -\n", "a - b -\n" };
	struct dkim_active t;
	struct error e;
	char name[] = "a", selector[] = "b", other[] = "x", second[] = "b-ed";
	struct site_domain d = { .name = name, .dkim_selector = selector, .dkim_ed25519 = second };
	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(dkim_active_parse(view_of(bad[i]), "F", &t, &e), -1);
		assert_non_null(strstr(e.text, "F:"));
		assert_int_equal(t.count, 0);
	}
	assert_int_equal(dkim_active_parse(VIEW_NONE, "F", &t, &e), 0);
	assert_null(dkim_active_find(&t, &d, DKIM_RSA));
	assert_int_equal(dkim_active_parse(view_of("a b b-2 -\nc.d s s-1 s\n"), "F", &t, &e), 0);
	assert_string_equal(dkim_active_find(&t, &d, DKIM_RSA)->active, "b-2");
	assert_string_equal(dkim_active_find(&t, &d, DKIM_RSA)->other, "");
	assert_string_equal(dkim_active_selector(&t, &d, DKIM_RSA), "b-2");
	assert_string_equal(dkim_active_selector(&t, &d, DKIM_ED25519), "");
	dkim_active_free(&t);
	assert_int_equal(dkim_active_parse(view_of("a b b-2 -\na b-ed - b-ed\na c d e\n"), "F", &t, &e), 0);
	assert_string_equal(dkim_active_find(&t, &d, DKIM_ED25519)->other, "b-ed");
	assert_string_equal(dkim_active_selector(&t, &d, DKIM_ED25519), "");
	dkim_active_free(&t);
	assert_int_equal(dkim_active_parse(view_of("a b b-2 -\na b-ed b-ed-2 b-ed\n"), "F", &t, &e), 0);
	assert_string_equal(dkim_active_selector(&t, &d, DKIM_ED25519), "b-ed-2");
	d.dkim_selector = other; /* the site names another one since */
	assert_null(dkim_active_find(&t, &d, DKIM_RSA));
	dkim_active_free(&t);
}

static void test_tags(void **state)
{
	struct buf out = BUF_INIT(4096);
	char *lots = xmalloc(301);
	(void)state;
	assert_true(txt_same_key(VIEW_LIT("v=DKIM1; k = rsa ;p=Q U\tJD"), VIEW_LIT("p=QUJD")));
	assert_true(txt_same_key(VIEW_LIT("v=DKIM1; k=ed25519; p=QUJD"), VIEW_LIT("p=QUJD;k=ed25519")));
	assert_true(txt_same_key(VIEW_LIT("p="), VIEW_LIT("v=DKIM1; p= ")));
	assert_true(txt_same_key(VIEW_LIT("ours alone"), VIEW_LIT("ours alone")));
	assert_false(txt_same_key(VIEW_LIT("k=ed25519; p=QUJD"), VIEW_LIT("p=QUJD")));
	assert_false(txt_same_key(VIEW_LIT("p="), VIEW_LIT("p=QUJD")));
	assert_false(txt_same_key(VIEW_LIT(""), VIEW_LIT("p=QUJD")));
	assert_false(txt_same_key(VIEW_LIT("v=DKIM1;sp=QUJD"), VIEW_LIT("p=QUJD")));
	/* What receivers take for no key at all. */
	assert_false(txt_same_key(VIEW_LIT("v=DKIM1; p=QUJD; p=QUJE"), VIEW_LIT("v=DKIM1; p=QUJD")));
	assert_false(txt_same_key(VIEW_LIT("v=DKIM1; p=QUJD; more"), VIEW_LIT("v=DKIM1; p=QUJD")));
	memset(lots, 'a', 300);
	lots[300] = '\0';
	buf_reset(&out);
	txt_quoted(view_of(lots), &out);
	assert_int_equal(out.len, 300 + 5);
	assert_string_equal(buf_str(&out) + 256, "\" \"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"");
	buf_reset(&out);
	txt_quoted(VIEW_LIT("a\"\\\x01\xff"), &out);
	assert_string_equal(buf_str(&out), "\"a\\\"\\\\\\001\\255\"");
	free(lots);
	buf_free(&out);
}

static void test_results(void **state)
{
	struct check_results r = { 0 };
	char *lots = xmalloc(30001);
	(void)state;
	assert_false(check_results_wrong(&r));
	check_results_add(&r, CHECK_OK, "mx", "example.org", NULL, "10 %s", "mail\x1b[31m");
	assert_string_equal(r.at[0].seen, "10 mail?[31m");
	assert_string_equal(r.at[0].remedy, "");
	memset(lots, 'a', 30000);
	lots[30000] = '\0';
	check_results_add(&r, CHECK_UNKNOWN, "mx", "x", "y", "%.2000s", lots);
	assert_int_equal(strlen(r.at[1].seen), 1024 + 4);
	assert_false(check_results_wrong(&r));
	check_results_add(&r, CHECK_WRONG, "mx", "x", "y", "%s", lots);
	assert_true(check_results_wrong(&r));
	assert_string_equal(check_state_name(CHECK_UNKNOWN), "unknown");
	check_results_free(&r);
	free(lots);
}

static int setup(void **state)
{
	(void)state;
	if (mkdtemp(dir) == NULL)
		return -1;
	path = xasprintf("%s/rollover", dir);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	unlink(path);
	free(path);
	return rmdir(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_stages), cmocka_unit_test(test_first), cmocka_unit_test(test_interrupted),
		cmocka_unit_test(test_many), cmocka_unit_test(test_state), cmocka_unit_test(test_active),
		cmocka_unit_test(test_tags), cmocka_unit_test(test_results) };

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, setup, teardown);
}
