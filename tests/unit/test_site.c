/* Loading: defaults, computed defaults, flatten and back, secrets, drop-ins that are being edited.  Messages have their
 * own test, site.t. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "site/schema.h"
#include "site/secrets.h"
#include "site/value.h"

#define THREE_LINES                                                                                                    \
	"host = { name = \"mail.example.org\"; ipv4 = \"192.0.2.10\"; };\n"                                            \
	"domains = ( { name = \"example.org\"; } );\n"                                                                 \
	"accounts = ( { address = \"alice@example.org\"; } );\n"

static struct site *load(const char *text, struct findings *f)
{
	*f = (struct findings){ 0 };
	return site_load_memory(view_of(text), "/srv/test/site.conf", f);
}

static struct site *load_good(const char *text)
{
	struct findings f;
	struct site *site = load(text, &f);
	for (size_t i = 0; !site && i < f.count; i++)
		printf("# %s\n", f.at[i].text);
	findings_free(&f);
	assert_non_null(site);
	return site;
}

static void defaults(void **state)
{
	(void)state;
	struct site *s = load_good(THREE_LINES);
	assert_string_equal(s->host.name, "mail.example.org");
	assert_string_equal(s->host.ipv6, "");
	assert_string_equal(s->host.public_ipv4, "192.0.2.10");
	assert_string_equal(s->host.public_ipv6, "");
	assert_string_equal(s->admin.contact, "alice@example.org");
	assert_string_equal(s->state_dir, "/var/lib/mailadm");
	assert_string_equal(s->run_dir, "/run/mailadm");
	for (int i = 0; i < SERVICE_COUNT; i++) {
		assert_true(s->listen.on[i]);
		assert_int_equal(site_port(s, (enum service)i), services[i].port);
	}
	assert_false(s->listen.loopback);
	assert_int_equal(s->limits.message_size, 50 << 20);
	assert_int_equal(s->limits.recipients, 100);
	assert_int_equal(s->limits.idle, 300);
	assert_int_equal(s->limits.undelete, 14 * 86400);
	assert_string_equal(s->limits.over_quota, "defer");
	assert_string_equal(s->limits.quota_warnings, "80 95");
	assert_int_equal(s->accounts[0].quota_messages, 0);
	assert_int_equal(s->domains[0].quota, 0);
	assert_int_equal(s->relay.expire, 5 * 86400);
	assert_int_equal(s->relay.port_out, 25);
	assert_int_equal(s->firewall.ssh_port, 22);
	assert_string_equal(s->domains[0].dkim_selector, "mail");
	assert_string_equal(s->domains[0].dmarc, "quarantine");
	assert_true(s->domains[0].dns);
	assert_null(s->domains[0].catch_all);
	assert_int_equal(s->accounts[0].protocols, PROTOCOL_IMAP | PROTOCOL_POP3 | PROTOCOL_SUBMISSION);
	assert_int_equal(s->accounts[0].quota, 0);
	assert_int_equal(s->accounts[0].origin.line, 3);
	site_unref(s);
}

static void computed(void **state)
{
	(void)state;
	struct site *s =
	    load_good(THREE_LINES "state_dir = \"state/\"; port_offset = 20000;\n"
				  "lists = ( { address = \"team@example.org\"; members = \"alice@example.org\"; } );\n"
				  "backup = ( { name = \"n\"; repository = \"sftp:x@y:/z\"; } );\n");
	char *state_dir = site_path(s, "state");
	assert_string_equal(s->state_dir, state_dir);
	char *run = site_state(s, "run");
	assert_string_equal(s->run_dir, run);
	assert_int_equal(site_port(s, SERVICE_IMAPS), 20993);
	assert_string_equal(s->aliases[0].owner, "alice@example.org");
	assert_true(s->aliases[0].list);
	char *password = site_state(s, "backup-n.password");
	assert_string_equal(s->backups[0].password_file, password);
	free(state_dir);
	free(run);
	free(password);
	site_unref(s);
}

static void counted(void **state)
{
	(void)state;
	struct site *s = load_good(THREE_LINES);
	assert_ptr_equal(site_ref(s), s);
	site_unref(s);
	assert_string_equal(s->host.name, "mail.example.org");
	site_unref(s);
	site_unref(NULL);
}

static void flatten(void **state)
{
	(void)state;
	struct site *s =
	    load_good(THREE_LINES "lists = ( { address = \"team@example.org\"; members = \"info@example.org\"; } );\n"
				  "aliases = ( { address = \"info@example.org\"; to = \"alice@example.org\"; } );\n"
				  "dns = { forward = \"192.0.2.53@5353\"; };\n"
				  "limits = { message_size = \"1500k\"; idle = 61; };\n"
				  "log = { destination = \"/var/log/a \\\"b\\\" \\\\c\"; };\n");
	struct buf a = BUF_INIT(1u << 20), b = BUF_INIT(1u << 20), small = BUF_INIT(100);
	assert_int_equal(site_flatten(s, &a), 0);
	struct site *again = load_good(buf_str(&a));
	assert_int_equal(site_flatten(again, &b), 0);
	assert_string_equal(buf_str(&b), buf_str(&a));
	assert_int_equal(again->limits.message_size, 1500 * 1024);
	assert_int_equal(again->limits.idle, 61);
	assert_string_equal(again->log.destination, "/var/log/a \"b\" \\c");
	assert_int_equal(site_flatten(s, &small), -1); /* too large for its buffer is said */
	buf_free(&a);
	buf_free(&b);
	buf_free(&small);
	site_unref(s);
	site_unref(again);
}

static void no_files(void **state)
{
	(void)state;
	struct findings f;
	assert_null(load(THREE_LINES "@include \"/etc/passwd\"\n", &f));
	assert_int_equal(f.count, 1);
	assert_string_equal(
	    f.at[0].text, "/srv/test/site.conf:4: @include has no place here; write the settings themselves");
	findings_free(&f);
	f = (struct findings){ 0 };
	assert_null(site_load_memory((struct view){ "host\0", 5 }, "x", &f));
	findings_free(&f);
	assert_null(load("", &f));
	assert_true(f.errors >= 3);
	findings_free(&f);
}

static void edited_drop_in(void **state)
{
	(void)state;
	char dir[] = "/tmp/site-test-XXXXXX";
	assert_non_null(mkdtemp(dir));
	char *path = xasprintf("%s/site.conf", dir), *drop_in = xasprintf("%s/site.d/90-x.conf", dir);
	FILE *file = fopen(path, "w");
	assert_non_null(file);
	fputs(THREE_LINES, file);
	fclose(file);
	struct findings f = { 0 };
	struct site *s =
	    site_load_with(path, drop_in, VIEW_LIT("accounts = ( { address = \"bob@example.org\"; } );"), &f);
	assert_non_null(s); /* as if it were there, though the folder is not */
	assert_int_equal(s->account_count, 2);
	assert_string_equal(s->accounts[1].origin.file, drop_in);
	assert_int_equal(s->files.count, 2);
	site_unref(s);
	findings_free(&f);
	s = site_load_with(path, drop_in, VIEW_LIT("accounts = ( { address = \"alice@example.org\"; } );"), &f);
	assert_null(s);
	char *wanted = xasprintf(
	    "%s:1: account alice@example.org is already the account of %s:3; remove one of the two", drop_in, path);
	assert_string_equal(f.at[0].text, wanted);
	findings_free(&f);
	free(wanted);
	unlink(path);
	rmdir(dir);
	free(path);
	free(drop_in);
}

static void drop_in_folder(void **state)
{
	(void)state;
	static const char *const pairs[][2] = { { "/etc/mailadm/site.conf", "/etc/mailadm/site.d" },
		{ "site.conf", "site.d" }, { "a/b.conf", "a/b.d" }, { "plain", "plain.d" } };
	for (size_t i = 0; i < 4; i++) {
		char *dir = site_drop_in_dir(pairs[i][0]);
		assert_string_equal(dir, pairs[i][1]);
		free(dir);
	}
}

/* The table itself: rows of a group stand behind it, every default is a value, every row is explained. */
static void schema_rows(void **state)
{
	(void)state;
	assert_true(schema_count < SCHEMA_MAX);
	for (size_t i = 0; i < schema_count; i++) {
		const struct schema_row *r = &schema[i];
		assert_true(r->doc && r->doc[0]);
		for (size_t j = 0; j < i; j++)
			assert_string_not_equal(schema[j].path, r->path);
		if (r->type == TYPE_GROUPS)
			assert_true(r->what && r->element_size);
		if (r->required)
			assert_null(r->fallback);
	}
	int limits = schema_find(-1, "limits");
	assert_true(limits >= 0);
	assert_string_equal(schema[schema_find(limits, "errors")].path, "limits.errors");
	assert_int_equal(schema_find(-1, "errors"), -1);
	int extra = schema_find(schema_find(-1, "firewall"), "extra");
	assert_string_equal(schema[schema_find(extra, "port")].path, "firewall.extra[].port");
	assert_string_equal(schema_nearest(-1, "acounts"), "accounts");
	assert_string_equal(schema_nearest(-1, "listne"), "listen");
	assert_null(schema_nearest(-1, "webmail"));
	assert_null(schema_nearest(schema_find(-1, "accounts"), "passwort")); /* secrets are not suggested */
}

static void prefixes(void **state)
{
	(void)state;
	char out[64];
	static const char *const good[][2] = { { "192.0.2.1", "192.0.2.1" }, { "192.0.2.0/24", "192.0.2.0/24" },
		{ "0.0.0.0/0", "0.0.0.0/0" }, { "2001:DB8:0::/32", "2001:db8::/32" }, { "::1/128", "::1/128" } };
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		assert_int_equal(prefix_normalise(good[i][0], out, sizeof(out)), 0);
		assert_string_equal(out, good[i][1]);
	}
	static const char *const bad[] = { "", "/", "192.0.2.1/24", "192.0.2.0/33", "192.0.2.0/-1", "192.0.2.0/",
		"192.0.2/24", "2001:db8::1/64", "::/129", "x/8", "192.0.2.0/24/24" };
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (prefix_normalise(bad[i], out, sizeof(out)) == 0)
			fail_msg("accepted: %s", bad[i]);
}

static int secrets_of(const char *text, struct secrets *out, struct error *e)
{
	int fd = memfd_create("secrets", MFD_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	int result = secrets_load(fd, out, e);
	close(fd);
	return result;
}

static void secrets(void **state)
{
	(void)state;
	struct secrets s;
	struct error e;
	assert_int_equal(secrets_of("# comment\n\nrelay.password = \"a \\\"b\\\" \\\\ # c\";\n", &s, &e), 0);
	assert_string_equal(s.relay_password, "a \"b\" \\ # c");
	secrets_free(&s);
	assert_int_equal(secrets_of("  relay.password=plain \r\n", &s, &e), 0);
	assert_string_equal(s.relay_password, "plain");
	secrets_free(&s);
	assert_int_equal(secrets_of("", &s, &e), 0);
	assert_string_equal(s.relay_password, "");
	secrets_free(&s);
	assert_int_equal(secrets_of("route.a.password = x\nroute.b-c.password = \"y\"\nroute.a.password = z\n", &s, &e), 0);
	assert_string_equal(secrets_route(&s, "a"), "z");
	assert_string_equal(secrets_route(&s, "b-c"), "y");
	assert_string_equal(secrets_route(&s, "d"), "");
	assert_string_equal(secrets_route(&s, "relay"), "");
	secrets_free(&s);
	static const char *const bad[] = { "route..password = x\n", "route.password = x\n", "route.a.pass = x\n", "relay.password\n", "relay.password =\n", "relay.pasword = x\n",
		"relay.password = \"hunter2\n", "relay.password = \"hunter2\" x\n" };
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(secrets_of(bad[i], &s, &e), -1);
		assert_null(strstr(e.text, "hunter2")); /* a message never shows a value */
		assert_non_null(strstr(e.text, "secrets:1: "));
		assert_null(s.relay_password);
	}
}

int main(void)
{
	cmocka_set_message_output(CM_OUTPUT_TAP);
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(defaults),
		cmocka_unit_test(computed),
		cmocka_unit_test(counted),
		cmocka_unit_test(flatten),
		cmocka_unit_test(no_files),
		cmocka_unit_test(edited_drop_in),
		cmocka_unit_test(drop_in_folder),
		cmocka_unit_test(schema_rows),
		cmocka_unit_test(prefixes),
		cmocka_unit_test(secrets),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
