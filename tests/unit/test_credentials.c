/* The credentials file: what is accepted, what is refused and how, and that changes keep the rest of the file. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/proc.h"
#include "mailsvc/auth/credentials.h"

#define HASH5                                                                                                          \
	"$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5" /* sha256crypt of "Hello world!", made by openssl  \
	                                                               passwd -5 */

static void refuse(const char *text, const char *why)
{
	struct credentials c;
	struct error e = { "" };

	assert_int_equal(credentials_parse(view_of(text), &c, &e), -1);
	assert_string_equal(e.text, why);
	assert_int_equal(c.count, 0);
}

static void test_parse(void **state)
{
	struct credentials c;
	struct error e = { "" };
	const char *text = "# a comment\n\nbob@example.org:" HASH5
			   "\nalice@example.org:!locked\n\"a:b\"@example.org:*\nlast@example.org:" HASH5;

	(void)state;
	assert_int_equal(credentials_parse(view_of(text), &c, &e), 0);
	assert_int_equal(c.count, 4);
	assert_string_equal(credentials_find(&c, "bob@example.org"), HASH5);
	assert_string_equal(credentials_find(&c, "alice@example.org"), "!locked");
	assert_string_equal(credentials_find(&c, "\"a:b\"@example.org"), "*");
	assert_string_equal(credentials_find(&c, "last@example.org"), HASH5);
	assert_null(credentials_find(&c, "carol@example.org"));
	credentials_free(&c);
	assert_int_equal(credentials_parse(VIEW_NONE, &c, &e), 0);
	assert_null(credentials_find(&c, "bob@example.org"));
	credentials_free(&c);
}

static void test_refused(void **state)
{
	(void)state;
	refuse("bob@example.org\n", "line 1 is not `address:hash`");
	refuse("# x\nbob:" HASH5 "\n", "line 2 is not `address:hash`");
	refuse("Bob@Example.org:" HASH5 "\n", "line 1 does not begin with a normalised address");
	refuse(" bob@example.org:" HASH5 "\n", "line 1 does not begin with a normalised address");
	refuse("bob@example.org:plaintext\n",
	    "line 1 holds a hash that crypt(5) does not know; set the password anew with mailadm account passwd");
	refuse("bob@example.org:\n",
	    "line 1 holds a hash that crypt(5) does not know; set the password anew with mailadm account passwd");
	refuse("bob@example.org:" HASH5 "\r\n",
	    "line 1 holds a hash that crypt(5) does not know; set the password anew with mailadm account passwd");
	refuse("bob@example.org:" HASH5 ":SCRAM-SHA-256$4096:x\n",
	    "line 1 holds SCRAM keys of another form; set the password anew with mailadm account passwd");
	refuse("bob@example.org:" HASH5 "\nbob@example.org:!\n", "bob@example.org has two lines; remove one");
}

static void test_long_hash(void **state)
{
	struct buf text = BUF_INIT(4096);
	struct credentials c;
	struct error e;

	(void)state;
	buf_puts(&text, "bob@example.org:!");
	while (text.len < 1000)
		buf_addc(&text, 'x');
	assert_int_equal(credentials_parse(buf_view(&text), &c, &e), -1);
	buf_free(&text);
}

static char *folder(void)
{
	static char path[40];

	view_copy(view_of("/tmp/mon-test-credentials.XXXXXX"), path, sizeof(path));
	assert_non_null(mkdtemp(path));
	return path;
}

static void expect_file(const char *path, const char *want)
{
	struct buf got = BUF_INIT(65536);
	struct error e;
	struct stat st;

	assert_int_equal(file_read(path, 65536, &got, &e), 0);
	assert_string_equal(buf_str(&got), want);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	buf_free(&got);
}

static void test_change(void **state)
{
	char *dir = folder(), *path = xasprintf("%s/credentials", dir);
	struct credentials c;
	struct error e = { "" };

	(void)state;
	assert_int_equal(credentials_load(path, &c, &e), 0); /* none yet */
	assert_int_equal(c.count, 0);
	assert_int_equal(credentials_set(path, "bob@example.org", HASH5, &e), 0);
	expect_file(path, "bob@example.org:" HASH5 "\n");
	assert_int_equal(file_write_atomic(path, view_of("# mine\nbob@example.org:!\neve@example.org:*"), 0600, &e), 0);
	assert_int_equal(credentials_set(path, "bob@example.org", HASH5, &e), 0);
	expect_file(path, "# mine\neve@example.org:*\nbob@example.org:" HASH5 "\n");
	assert_int_equal(credentials_remove(path, "eve@example.org", &e), 0);
	assert_int_equal(credentials_remove(path, "eve@example.org", &e), 1);
	expect_file(path, "# mine\nbob@example.org:" HASH5 "\n");
	assert_int_equal(credentials_set(path, "Bad Address", HASH5, &e), -1);
	assert_int_equal(credentials_set(path, "bob@example.org", "two\nlines", &e), -1);
	expect_file(path, "# mine\nbob@example.org:" HASH5 "\n");
	assert_int_equal(credentials_load(path, &c, &e), 0);
	assert_int_equal(c.count, 1);
	credentials_free(&c);
	unlink(path);
	rmdir(dir);
	free(path);
}

/* SCRAM keys: set with a password, learned later, gone with a hash that was set alone. */
static void test_keys(void **state)
{
	char *dir = folder(), *path = xasprintf("%s/credentials", dir);
	struct credentials_better better = { .address = "bob@example.org", .old_hash = HASH5, .hash = "plaintext" };
	uint8_t secret[CREDENTIALS_SECRET_LEN] = { 7 }, salt[SCRAM_SALT_LEN];
	struct scram_keys keys;
	struct credentials c;
	struct error e = { "" };

	(void)state;
	assert_int_equal(credentials_set_password(path, "alice@example.org", view_of("secret"), &e), 0);
	assert_int_equal(credentials_set(path, "bob@example.org", HASH5, &e), 0);
	assert_int_equal(credentials_load(path, &c, &e), 0);
	assert_true(c.has_secret && c.at[0].has_keys && !c.at[1].has_keys);
	assert_true(password_verify(view_of("secret"), c.at[0].hash));
	credentials_salt(c.secret, "alice@example.org", salt);
	scram_keys_make(view_of("secret"), salt, SCRAM_ITERATIONS, &keys);
	assert_memory_equal(&keys, &c.at[0].keys, sizeof(keys));
	credentials_free(&c);
	better.keys = keys;
	assert_int_equal(credentials_improve(path, &better, 1, secret, &e), -1); /* auth would refuse that hash */
	better.hash = HASH5;
	assert_int_equal(credentials_improve(path, &better, 1, secret, &e), 0);
	assert_int_equal(credentials_load(path, &c, &e), 0);
	assert_int_equal(c.count, 2);
	assert_memory_not_equal(c.secret, secret, sizeof(secret)); /* the file had one */
	assert_true(c.at[1].has_keys);
	assert_memory_equal(&keys, &c.at[1].keys, sizeof(keys));
	credentials_free(&c);
	assert_int_equal(credentials_set(path, "bob@example.org", "!", &e), 0);
	assert_int_equal(credentials_improve(path, &better, 1, secret, &e), 0); /* another hash by now */
	assert_int_equal(credentials_load(path, &c, &e), 0);
	assert_string_equal(credentials_find(&c, "bob@example.org"), "!");
	assert_false(c.at[1].has_keys);
	credentials_free(&c);
	unlink(path);
	rmdir(dir);
	free(path);
}

/* Two secrets, as two files put together have them: the one that salts are made of is the one that is read. */
static void test_two_secrets(void **state)
{
	static const char text[] = "#scram-secret AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=\n"
				   "#scram-secret AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=\n";
	char *dir = folder(), *path = xasprintf("%s/credentials", dir);
	uint8_t salt[SCRAM_SALT_LEN];
	struct credentials c;
	struct error e = { "" };

	(void)state;
	assert_int_equal(file_write_atomic(path, view_of(text), 0600, &e), 0);
	assert_int_equal(credentials_set_password(path, "bob@example.org", view_of("secret"), &e), 0);
	assert_int_equal(credentials_load(path, &c, &e), 0);
	assert_true(c.has_secret);
	credentials_salt(c.secret, "bob@example.org", salt);
	assert_memory_equal(c.at[0].keys.salt, salt, sizeof(salt));
	credentials_free(&c);
	unlink(path);
	rmdir(dir);
	free(path);
}

static void test_passwords(void **state)
{
	char hash[CREDENTIALS_HASH_MAX], long_one[600];
	struct error e = { "" };

	(void)state;
	assert_int_equal(password_hash(view_of("secret"), hash, &e), 0);
	assert_memory_equal(hash, "$y$", 3);
	assert_true(password_verify(view_of("secret"), hash));
	assert_false(password_verify(view_of("Secret"), hash));
	assert_false(password_verify(view_of(""), hash));
	assert_false(password_verify((struct view){ "secret\0x", 8 }, hash));
	assert_true(password_verify(view_of("Hello world!"), HASH5));
	assert_false(password_verify(view_of("x"), "!locked"));
	assert_false(password_verify(view_of("*0"), "*0"));
	assert_false(password_verify(view_of(""), ""));
	memset(long_one, 'x', sizeof(long_one));
	assert_false(password_verify((struct view){ long_one, sizeof(long_one) }, hash));
	assert_int_equal(password_hash((struct view){ long_one, sizeof(long_one) }, hash, &e), -1);
	assert_int_equal(password_hash(VIEW_NONE, hash, &e), -1);
	assert_int_equal(password_hash((struct view){ "a\0b", 3 }, hash, &e), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_parse), cmocka_unit_test(test_refused),
		cmocka_unit_test(test_long_hash), cmocka_unit_test(test_change), cmocka_unit_test(test_keys),
		cmocka_unit_test(test_two_secrets), cmocka_unit_test(test_passwords) };

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
