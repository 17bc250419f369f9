/* The staged copy of a host and its way back: drop-ins, includes, certificates, segments, and where the state is
 * afterwards. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "backup/backup.h"
#include "backup/stage.h"
#include "lib/proc.h"

static char root[64];

static char *at(const char *name)
{
	return xasprintf("%s/%s", root, name);
}

static void put(const char *name, const char *text)
{
	struct error e = { "" };
	char *path = at(name), *slash = strrchr(path, '/');
	*slash = '\0';
	assert_int_equal(file_mkdirs(path, 0755, &e), 0);
	*slash = '/';
	if (file_write_atomic(path, view_of(text), 0640, &e) < 0)
		fail_msg("%s", e.text);
	free(path);
}

static void assert_file(const char *name, const char *want)
{
	struct buf text = BUF_INIT(1 << 20);
	struct error e = { "" };
	char *path = at(name);
	if (file_read(path, text.max, &text, &e) < 0)
		fail_msg("%s", e.text);
	assert_string_equal(buf_str(&text), want);
	buf_free(&text);
	free(path);
}

static bool there(const char *name)
{
	struct stat st;
	char *path = at(name);
	bool is = lstat(path, &st) == 0;
	free(path);
	return is;
}

static int setup(void **state)
{
	(void)state;
	snprintf(root, sizeof(root), "/tmp/mailadm-unit-XXXXXX");
	return mkdtemp(root) ? 0 : -1;
}

static int teardown(void **state)
{
	struct error e;
	(void)state;
	return stage_remove(root, &e);
}

static struct site *load(const char *name)
{
	struct findings f = { 0 };
	char *path = at(name);
	struct site *site = site_load(path, &f);
	for (size_t i = 0; !site && i < f.count; i++)
		printf("# %s\n", f.at[i].text);
	findings_free(&f);
	free(path);
	assert_non_null(site);
	return site;
}

#define HEAD                                                                                                           \
	"host = { name = \"mail.example.org\"; ipv4 = \"192.0.2.10\"; }; domains = ( { name = \"example.org\"; } );\n" \
	"state_dir = \"var\";\n"

/* A host with all that a site may have beside itself, under another name than site.conf. */
static struct site *make_host(void)
{
	put("etc/mx1.conf", HEAD "@include \"people/accounts.inc\"\n");
	put("etc/people/accounts.inc", "run_dir = \"sockets\"; accounts = ( { address = \"alice@example.org\"; } );\n");
	put("etc/mx1.d/10-more.conf", "accounts = ( { address = \"bob@example.org\"; } );\n");
	put("etc/dkim/example.org.mail.pub", "public\n");
	put("etc/var/keys/example.org.mail.key", "private\n");
	put("etc/var/credentials", "alice@example.org:!\n");
	put("etc/var/tls/cert.pem", "certificate\n");
	put("etc/var/store/log/00000001.seg", "one");
	put("etc/var/store/log/00000002.seg", "two");
	return load("etc/mx1.conf");
}

static void there_and_back(void **state)
{
	struct error e = { "" };
	struct site *site = make_host(), *restored;
	char *stage = at("work/somewhere/else/backup/nightly"), *work = at("work"), *dir = at("restored"),
	     *state_dir = at("restored/state");
	(void)state;
	if (stage_make(site, stage, (char *[]){ "00000001.seg", NULL }, &e) < 0)
		fail_msg("%s", e.text);
	assert_file("work/somewhere/else/backup/nightly/state/store/log/00000001.seg", "one");
	assert_int_equal(file_mkdirs(dir, 0755, &e), 0);
	if (stage_unpack(work, dir, &e) < 0)
		fail_msg("%s", e.text);
	site_unref(site);
	assert_file("restored/state/store/log/00000001.seg", "one");
	assert_false(there("restored/state/store/log/00000002.seg"));
	assert_file("restored/state/credentials", "alice@example.org:!\n");
	assert_file("restored/state/keys/example.org.mail.key", "private\n");
	assert_file("restored/state/tls/cert.pem", "certificate\n");
	assert_file("restored/dkim/example.org.mail.pub", "public\n");
	site = load("restored/site.conf");
	assert_int_equal(site->account_count, 2); /* the include and the drop-in are there */
	assert_string_equal(site->state_dir, state_dir);
	restored = site;
	assert_int_equal(strncmp(restored->run_dir, state_dir, strlen(state_dir)), 0);
	site_unref(site);
	free(stage);
	free(work);
	free(dir);
	free(state_dir);
}

static void numbers_of_another_machine(void **state)
{
	struct error e = { "" };
	struct site *site = make_host();
	char *stage = at("work/backup/nightly"), *work = at("work"), *dir = at("restored"),
	     *segment = at("etc/var/store/log/00000001.seg"), *log = at("restored/state/store/log"),
	     *restored = at("restored/state/store/log/00000001.seg");
	struct stat st;
	(void)state;
	if (geteuid() == 0) {
		assert_int_equal(chown(segment, 54321, 54321), 0);
		assert_int_equal(stage_make(site, stage, (char *[]){ "00000001.seg", NULL }, &e), 0);
		assert_int_equal(file_mkdirs(dir, 0755, &e), 0);
		assert_int_equal(stage_unpack(work, dir, &e), 0);
		assert_int_equal(stat(restored, &st), 0);
		assert_int_equal(st.st_uid, 0);
		assert_int_equal(stat(log, &st), 0);
		assert_int_equal(st.st_uid, 0);
	}
	site_unref(site);
	free(stage);
	free(work);
	free(dir);
	free(segment);
	free(log);
	free(restored);
}

static void certificate_beside_the_site(void **state)
{
	struct error e = { "" };
	(void)state;
	put("etc/site.conf", HEAD "accounts = ( { address = \"alice@example.org\"; } );\n"
				  "tls = { certificate = \"own/cert.pem\"; key = \"own/key.pem\"; };\n");
	struct site *site = load("etc/site.conf");
	put("etc/own/cert.pem", "certificate\n");
	put("etc/own/key.pem", "key\n");
	char *stage = at("stage");
	assert_int_equal(stage_make(site, stage, (char *[]){ NULL }, &e), 0);
	assert_file("stage/site/own/cert.pem", "certificate\n");
	assert_file("stage/site/own/key.pem", "key\n");
	site_unref(site);
	free(stage);
}

static void include_from_outside(void **state)
{
	struct error e = { "" };
	(void)state;
	put("etc/site.conf", HEAD "@include \"../common.inc\"\n");
	put("common.inc", "accounts = ( { address = \"alice@example.org\"; } );\n");
	struct site *site = load("etc/site.conf");
	char *stage = at("stage");
	assert_int_equal(stage_make(site, stage, (char *[]){ NULL }, &e), -1);
	assert_non_null(strstr(e.text, "common.inc is outside the folder"));
	assert_int_equal(stage_make(site, stage, (char *[]){ "../credentials", NULL }, &e), -1);
	site_unref(site);
	free(stage);
}

static void no_host_in_it(void **state)
{
	struct error e = { "" };
	char *work = at("work"), *dir = at("restored");
	(void)state;
	put("work/some/file", "");
	assert_int_equal(stage_unpack(work, dir, &e), -1);
	assert_string_equal(e.text, "the snapshot holds no mail host");
	free(work);
	free(dir);
}

static void two_at_once(void **state)
{
	struct error e = { "" };
	struct buf summary = BUF_INIT(4096);
	(void)state;
	put("etc/site.conf", HEAD "accounts = ( { address = \"alice@example.org\"; } );\n"
				  "backup = ( { name = \"nightly\"; repository = \"../repo\"; } );\n");
	put("etc/var/backup/nightly.lock", "");
	struct site *site = load("etc/site.conf");
	char *lock = at("etc/var/backup/nightly.lock"), *marker = at("etc/var/backup/nightly/state");
	char *argv[] = { "flock", lock, "sh", "-c", "echo locked; read x", NULL };
	int in[2], out[2];
	char line[8];
	assert_int_equal(pipe(in), 0);
	assert_int_equal(pipe(out), 0);
	pid_t pid = fork();
	if (pid == 0) {
		dup2(in[0], 0);
		dup2(out[1], 1);
		close(in[1]);
		execvp(argv[0], argv);
		_exit(1);
	}
	close(out[1]);
	assert_true(read(out[0], line, sizeof(line)) > 0);
	put("etc/var/backup/nightly/state/first", "of the other run");
	assert_int_equal(backup_run(site, &site->backups[0], -1, &summary, &e), -1);
	assert_non_null(strstr(e.text, "made already"));
	assert_int_equal(access(marker, F_OK), 0);
	close(in[1]);
	close(in[0]);
	close(out[0]);
	site_unref(site);
	free(lock);
	free(marker);
	buf_free(&summary);
}

static void removes(const char *text, const char *want, size_t count)
{
	struct buf out = BUF_INIT(4096);
	assert_int_equal(repoint_remove(view_of(text), &out), count);
	assert_string_equal(buf_str(&out), want);
	buf_free(&out);
}

static void where_the_state_was(void **state)
{
	(void)state;
	removes("", "", 0);
	removes("a = 1;\nstate_dir = \"/x\";\nb = 2;\n", "a = 1;\n\nb = 2;\n", 1);
	removes("a = 1; state_dir=\"/x\"; run_dir : \"/y\" b = 2;", "a = 1;   b = 2;", 2);
	removes("state_dir =\n\t\"/var\"\n\t\"/lib\"\n;\nb = 1;", "\nb = 1;", 1);
	removes("state_dir /* = \"no\"; */ = # here\n\"/x\";b = 1;", "b = 1;", 1);
	removes("# state_dir = \"a\";\n// run_dir = \"b\";\n/* state_dir = \"c\"; */",
	    "# state_dir = \"a\";\n// run_dir = \"b\";\n/* state_dir = \"c\"; */", 0);
	removes("accounts = ( { name = \"state_dir = \\\"x\\\";\"; } );",
	    "accounts = ( { name = \"state_dir = \\\"x\\\";\"; } );", 0);
	removes("g = { state_dir = \"x\"; }; state_dir = \"y\"", "g = { state_dir = \"x\"; }; ", 1);
	removes("state_directory = \"x\"; my_state_dir = \"y\";", "state_directory = \"x\"; my_state_dir = \"y\";", 0);
	removes("state_dir = \"x", "", 1);
	removes("state_dir", "state_dir", 0);
	removes("state_dir = 1;", "state_dir = 1;", 0);
	removes("} state_dir = \"x\\\"y\"; /* no end", "}  /* no end", 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(there_and_back, setup, teardown),
		cmocka_unit_test_setup_teardown(numbers_of_another_machine, setup, teardown),
		cmocka_unit_test_setup_teardown(certificate_beside_the_site, setup, teardown),
		cmocka_unit_test_setup_teardown(include_from_outside, setup, teardown),
		cmocka_unit_test_setup_teardown(no_host_in_it, setup, teardown),
		cmocka_unit_test_setup_teardown(two_at_once, setup, teardown),
		cmocka_unit_test(where_the_state_was),
	};
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
