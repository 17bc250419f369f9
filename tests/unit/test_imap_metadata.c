/* GETMETADATA and SETMETADATA: arguments, names of entries, depth. */
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "mailsvc/imap/metadata.h"

static char text[20000];

static struct imap_parser parser(const char *in)
{
	snprintf(text, sizeof(text), "%s", in);
	return imap_parser_of(text, strlen(text));
}

static const struct {
	const char *in;
	bool taken, server;
	size_t count;
	unsigned depth;
	uint32_t max_size;
} gets[] = {
	{ " INBOX /shared/comment", true, false, 1, 0, 0 },
	{ " \"\" /shared/comment", true, true, 1, 0, 0 },
	{ " {0}\r\n /shared/comment", true, true, 1, 0, 0 },
	{ " a&b /shared/comment", true, false, 1, 0, 0 },
	{ " INBOX (/shared/comment \"/private/x\")", true, false, 2, 0, 0 },
	{ " (DEPTH 1) INBOX /shared", true, false, 1, 1, 0 },
	{ " INBOX (MAXSIZE 7 DEPTH infinity) (/shared)", true, false, 1, UINT_MAX, 7 },
	{ " INBOX /shared", false, false, 0, 0, 0 },
	{ " INBOX", false, false, 0, 0, 0 },
	{ " INBOX ()", false, false, 0, 0, 0 },
	{ " INBOX /other/x", false, false, 0, 0, 0 },
	{ " INBOX /sharedx/y", false, false, 0, 0, 0 },
	{ " INBOX /shared/", false, false, 0, 0, 0 },
	{ " INBOX /shared//x", false, false, 0, 0, 0 },
	{ " INBOX \"/shared/a b\"", false, false, 0, 0, 0 },
	{ " INBOX \"/shared/%\"", false, false, 0, 0, 0 },
	{ " INBOX (/shared/x", false, false, 0, 0, 0 },
	{ " INBOX /shared/x /shared/y", false, false, 0, 0, 0 },
	{ " (DEPTH 2) INBOX /shared/x", false, false, 0, 0, 0 },
	{ " (DEPTH) INBOX /shared/x", false, false, 0, 0, 0 },
	{ " (MAXSIZE x) INBOX /shared/x", false, false, 0, 0, 0 },
	{ "", false, false, 0, 0, 0 },
};

static void test_get(void **state)
{
	static struct getmetadata g;

	(void)state;
	for (size_t i = 0; i < sizeof(gets) / sizeof(gets[0]); i++) {
		struct imap_parser p = parser(gets[i].in);
		bool taken = metadata_parse_get(&p, &g);

		if (taken != gets[i].taken || (!taken && p.error == NULL))
			fail_msg("\"%s\": taken %d", gets[i].in, taken);
		if (taken && (g.server != gets[i].server || g.count != gets[i].count || g.depth != gets[i].depth ||
				 g.max_size != gets[i].max_size || g.sized != (gets[i].max_size > 0)))
			fail_msg("\"%s\": server %d, %zu entries, depth %u, size %u", gets[i].in, g.server, g.count,
			    g.depth, g.max_size);
	}
}

static const struct {
	const char *in;
	bool taken;
	size_t count;
	const char *value; /* of the last */
} sets[] = {
	{ " INBOX (/shared/comment \"x\")", true, 1, "x" },
	{ " INBOX (/shared/comment NIL)", true, 1, NULL },
	{ " INBOX (/shared/comment \"NIL\")", true, 1, "NIL" },
	{ " INBOX (/shared/a \"1\" /private/b {3}\r\nxyz)", true, 2, "xyz" },
	{ " INBOX (/shared/a ~{3}\r\nxyz)", true, 1, "xyz" },
	{ " INBOX (/shared/a \"\")", true, 1, "" },
	{ " INBOX (/shared \"x\")", false, 0, NULL },
	{ " INBOX (/shared/a)", false, 0, NULL },
	{ " INBOX (/shared/a x)", false, 0, NULL },
	{ " INBOX ()", false, 0, NULL },
	{ " INBOX /shared/a \"x\"", false, 0, NULL },
	{ " INBOX (/shared/a \"x\"", false, 0, NULL },
	{ " INBOX (/shared/a \"x\") y", false, 0, NULL },
};

static void test_set(void **state)
{
	static struct setmetadata m;

	(void)state;
	for (size_t i = 0; i < sizeof(sets) / sizeof(sets[0]); i++) {
		struct imap_parser p = parser(sets[i].in);
		bool taken = metadata_parse_set(&p, &m);

		if (taken != sets[i].taken || (!taken && p.error == NULL))
			fail_msg("\"%s\": taken %d", sets[i].in, taken);
		if (!taken)
			continue;
		if (m.count != sets[i].count)
			fail_msg("\"%s\": %zu values", sets[i].in, m.count);
		if (sets[i].value == NULL ? m.values[m.count - 1].value.ptr != NULL
					  : m.values[m.count - 1].value.ptr == NULL ||
						!view_eq(m.values[m.count - 1].value, sets[i].value))
			fail_msg("\"%s\": another value", sets[i].in);
	}
}

static void test_too_many(void **state)
{
	static struct getmetadata g;
	static struct setmetadata m;

	(void)state;
	for (int extra = 0; extra < 2; extra++) {
		char get[4000], set[8000];
		size_t at = (size_t)snprintf(get, sizeof(get), " INBOX ("),
		       to = (size_t)snprintf(set, sizeof(set), " INBOX (");
		struct imap_parser p;

		for (int i = 0; i < METADATA_LIST_MAX + extra; i++) {
			at += (size_t)snprintf(get + at, sizeof(get) - at, "%s/shared/e%d", i > 0 ? " " : "", i);
			to += (size_t)snprintf(set + to, sizeof(set) - to, "%s/shared/e%d NIL", i > 0 ? " " : "", i);
		}
		snprintf(get + at, sizeof(get) - at, ")");
		snprintf(set + to, sizeof(set) - to, ")");
		p = parser(get);
		assert_int_equal(metadata_parse_get(&p, &g), !extra);
		p = parser(set);
		assert_int_equal(metadata_parse_set(&p, &m), !extra);
	}
}

static void test_wanted(void **state)
{
	static struct getmetadata g;
	static const struct {
		unsigned depth;
		const char *entry;
		bool wanted;
	} rows[] = { { 0, "/shared/a", true }, { 0, "/shared/a/b", false }, { 0, "/shared/ab", false },
		{ 1, "/shared/a", true }, { 1, "/shared/a/b", true }, { 1, "/shared/a/b/c", false },
		{ 1, "/shared/ab", false }, { UINT_MAX, "/shared/a/b/c", true }, { UINT_MAX, "/shared/ab/c", false },
		{ UINT_MAX, "/shared", false } };

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct imap_parser p = parser(" INBOX /SHARED/a");

		assert_true(metadata_parse_get(&p, &g));
		g.depth = rows[i].depth;
		if (metadata_wanted(&g, rows[i].entry) != rows[i].wanted)
			fail_msg("depth %u: %s", rows[i].depth, rows[i].entry);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_get),
		cmocka_unit_test(test_set),
		cmocka_unit_test(test_too_many),
		cmocka_unit_test(test_wanted),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
