/*
 * The firewall's model as text and JSON, and the files that a site names.  Real nft reads the text in generators.t.
 */
#include "fwgen_help.h"

static void text(void **state)
{
	struct buf out = BUF_INIT(1 << 20), small = BUF_INIT(200);
	struct fw_model *m = model_of("firewall = { extra = ( { name = \"web-1\"; port = 443; } ); };");

	(void)state;
	assert_int_equal(fw_model_text(m, &out), 0);
	assert_int_equal(fw_model_text(m, &small), -1);
	static const char *const parts[] = { "\nflush table inet mailadm\n",
		"set bans4 { type ipv4_addr; size 131072; flags timeout; }", "policy drop;",
		"ct state established,related accept", "tcp dport 443 accept comment \"firewall.extra web-1" };
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
		if (strstr(buf_str(&out), parts[i]) == NULL)
			fail_msg("no '%s' in:\n%s", parts[i], buf_str(&out));
	json_t *json = fw_model_json(m);
	assert_int_equal(json_array_size(json_object_get(json, "sets")), m->set_count);
	assert_int_equal(json_array_size(json_object_get(json, "chains")), m->chain_count);
	json_decref(json);
	fw_model_free(m);
	buf_free(&out);
	buf_free(&small);
}

static void files(void **state)
{
	struct error e = { "" };
	struct site *s = site_of("firewall = { block_lists = ( \"/nowhere/list\" ); };");

	(void)state;
	assert_null(fw_model_of(s, &e));
	assert_non_null(strstr(e.text, "/nowhere/list"));
	site_unref(s);
	s = site_of("firewall = { include = ( \"/nowhere/rules\" ); };");
	assert_null(fw_model_of(s, &e));
	assert_non_null(strstr(e.text, "/nowhere/rules"));
	site_unref(s);
}

static void refuses(const char *row, const char *content, const char *want)
{
	char path[] = "/tmp/test-fwgen-XXXXXX", *rows, *full;
	int fd = mkstemp(path);
	struct error e = { "" };
	struct site *s;

	assert_int_equal(write(fd, content, strlen(content)), strlen(content));
	close(fd);
	rows = xasprintf("firewall = { %s = ( \"%s\" ); };", row, path);
	full = xasprintf("%s%s", path, want);
	s = site_of(rows);
	assert_null(fw_model_of(s, &e));
	if (strstr(e.text, full) == NULL)
		fail_msg("saw '%s', wanted '%s'", e.text, full);
	site_unref(s);
	unlink(path);
	free(rows);
	free(full);
}

static void bad_files(void **state)
{
	(void)state;
	refuses("block_lists", "1.2.3.4\nnonsense\n", ":2: 'nonsense'");
	refuses("block_lists", "1.2.3.4\n0.0.0.0/0\n", ":2: '0.0.0.0/0' would block everybody");
	refuses("block_lists", "::/0\n", ":1: '::/0' would block everybody");
	refuses("block_lists", "1.2.3.4\n\n5.6.7.8-5.6.7.1\n", ":3: ");
	refuses("include", "tcp dport 1 accept; tcp dport 2 accept\n", ":1: ");
	refuses("include", "# fine\n\ntcp dport 1 accept }\n", ":3: ");
	refuses("include", "tcp dport 1 comment \"open\n", ":1: ");
	refuses("include", "tcp dport { 1 # }\n", ":1: ");
	refuses("include", "accept\ninclude \"/etc/nftables.conf\"\n", ":2: ");
	refuses("include", "type filter hook input priority -10\n", ":1: ");
	refuses("include", "policy accept\n", ":1: ");
	refuses("include", "define port = 1\n", ":1: ");
	refuses("include", "accept comment \"gr\366\"\n", ":1: ");
}

/* What a comment holds is no matter, and however long its path is, a rule's line is told. */
static void include(void **state)
{
	char dir[] = "/tmp/test-fwgen-XXXXXX", *path, *rows, *text;
	struct fw_model *m;
	const struct fw_chain *c;
	json_t *json;
	FILE *f;

	(void)state;
	assert_non_null(mkdtemp(dir));
	path = xasprintf("%s/gr\303\266%0100d", dir, 1);
	f = fopen(path, "w");
	assert_non_null(f);
	fputs("# none\ntcp dport 1 accept # } \"\ntypes\n", f);
	fclose(f);
	rows = xasprintf("firewall = { include = ( \"%s\" ); };", path);
	m = model_of(rows);
	c = fw_chain_find(m, "custom");
	assert_non_null(c);
	assert_int_equal(c->count, 2);
	assert_non_null(strstr(c->rules[1].comment, "01:3"));
	json = fw_model_json(m);
	text = json_dumps(json, 0);
	assert_non_null(strstr(text, "tcp dport 1 accept # }"));
	assert_non_null(strstr(text, "01:2"));
	unlink(path);
	rmdir(dir);
	free(text);
	json_decref(json);
	fw_model_free(m);
	free(rows);
	free(path);
}

static void too_large(void **state)
{
	char path[] = "/tmp/test-fwgen-XXXXXX", *rows;
	int fd = mkstemp(path);
	struct error e = { "" };
	struct site *s;

	(void)state;
	assert_int_equal(ftruncate(fd, 2 << 20), 0);
	close(fd);
	rows = xasprintf("firewall = { include = ( \"%s\" ); };", path);
	s = site_of(rows);
	assert_null(fw_model_of(s, &e));
	assert_non_null(strstr(e.text, path));
	site_unref(s);
	unlink(path);
	free(rows);
}

/* Every comment is one that nft takes, and no more than it takes. */
static void comments(void **state)
{
	struct fw_model *m = model_of("firewall = { egress = true; };");
	struct fw_rule *r = fw_rule_add(m, "input", FW_ACCEPT, "a \"quote\", a \\ and a\nline");
	struct buf out = BUF_INIT(1 << 16);

	(void)state;
	fw_rule_text(r, &out);
	assert_string_equal(buf_str(&out), "accept comment \"a _quote_, a _ and a_line\"");
	for (size_t i = 0; i < m->chain_count; i++) {
		const struct fw_chain *c = &m->chains[i];

		assert_true(c->reason == NULL || fw_chain_known(&(struct fw_model){ 0 }, c->name));
		for (size_t j = 0; j < c->count; j++)
			assert_true(c->rules[j].comment[0] != '\0');
	}
	r = fw_rule_add(m, "input", FW_ACCEPT, "%0400d", 1);
	assert_int_equal(strlen(r->comment), FW_COMMENT_MAX);
	buf_free(&out);
	fw_model_free(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(text), cmocka_unit_test(files),
		cmocka_unit_test(bad_files), cmocka_unit_test(include), cmocka_unit_test(too_large), cmocka_unit_test(comments) };

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
