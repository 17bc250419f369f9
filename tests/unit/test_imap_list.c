/* LIST: its arguments, and what of a tree of names is listed (the examples are those of RFC 5258 5 and imaptest). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "mailsvc/imap/list.h"
#include "mailsvc/imap/namespace.h"
#include "mailsvc/imap/status.h"
#include "mailsvc/imap/utf7.h"

static char text[70000];

static bool parse(const char *in, bool lsub, struct list_args *a, const char **error)
{
	struct imap_parser p;
	bool taken;

	snprintf(text, sizeof(text), "%s", in);
	p = imap_parser_of(text, strlen(text));
	taken = list_parse(&p, lsub, a);
	*error = p.error;
	return taken;
}

static const struct {
	const char *in;
	bool lsub, taken;
	size_t patterns;
	unsigned select, returns, status;
	bool extended;
} arguments[] = {
	{ " \"\" \"*\"", false, true, 1, 0, 0, 0, false },
	{ " \"\" %", true, true, 1, 0, 0, 0, false },
	{ " a/ b%", false, true, 1, 0, 0, 0, false },
	{ " () \"\" *", false, true, 1, 0, 0, 0, true },
	{ " (SUBSCRIBED) \"\" *", false, true, 1, LIST_SUBSCRIBED, 0, 0, true },
	{ " (recursivematch Special-Use remote) \"\" *", false, true, 1,
	    LIST_RECURSIVEMATCH | LIST_SPECIAL_USE | LIST_REMOTE, 0, 0, true },
	{ " \"\" (a b %)", false, true, 3, 0, 0, 0, true },
	{ " \"\" * RETURN ()", false, true, 1, 0, 0, 0, true },
	{ " \"\" * RETURN (CHILDREN STATUS (MESSAGES UNSEEN) SUBSCRIBED)", false, true, 1, 0,
	    LIST_CHILDREN | LIST_STATUS | LIST_SUBSCRIBED, STATUS_MESSAGES | STATUS_UNSEEN, true },
	{ " (SUBSCRIBED) \"\" * return (special-use)", false, true, 1, LIST_SUBSCRIBED, LIST_SPECIAL_USE, 0, true },
	{ "", false, false, 0, 0, 0, 0, false },
	{ " \"\"", false, false, 0, 0, 0, 0, false },
	{ " \"\" ()", false, false, 0, 0, 0, 0, false },
	{ " \"\" (a", false, false, 0, 0, 0, 0, false },
	{ " \"\" (a)b", false, false, 0, 0, 0, 0, false },
	{ " (RECURSIVEMATCH) \"\" *", false, false, 0, 0, 0, 0, false },
	{ " (RECURSIVEMATCH REMOTE) \"\" *", false, false, 0, 0, 0, 0, false },
	{ " (CHILDREN) \"\" *", false, false, 0, 0, 0, 0, false },
	{ " (SUBSCRIBED \"\" *", false, false, 0, 0, 0, 0, false },
	{ " (SUBSCRIBED)\"\" *", false, false, 0, 0, 0, 0, false },
	{ " \"\" * RETURN", false, false, 0, 0, 0, 0, false },
	{ " \"\" * RETURN (REMOTE)", false, false, 0, 0, 0, 0, false },
	{ " \"\" * RETURN (STATUS)", false, false, 0, 0, 0, 0, false },
	{ " \"\" * RETURN (STATUS ())", false, false, 0, 0, 0, 0, false },
	{ " \"\" * RETURN (STATUS (WHAT))", false, false, 0, 0, 0, 0, false },
	{ " \"\" * GIVE ()", false, false, 0, 0, 0, 0, false },
	{ " \"\" * RETURN () x", false, false, 0, 0, 0, 0, false },
	{ " (SUBSCRIBED) \"\" *", true, false, 0, 0, 0, 0, false },
	{ " \"\" (a b)", true, false, 0, 0, 0, 0, false },
	{ " \"\" * RETURN ()", true, false, 0, 0, 0, 0, false },
};

static void test_arguments(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(arguments) / sizeof(arguments[0]); i++) {
		struct list_args a;
		const char *error;
		bool taken = parse(arguments[i].in, arguments[i].lsub, &a, &error);

		if (taken != arguments[i].taken)
			fail_msg("\"%s\": taken %d (%s)", arguments[i].in, taken, error ? error : "");
		if (!taken) {
			assert_non_null(error);
			continue;
		}
		if (a.pattern_count != arguments[i].patterns || a.select != arguments[i].select ||
		    a.returns != arguments[i].returns || a.status != arguments[i].status ||
		    a.extended != arguments[i].extended)
			fail_msg("\"%s\": %zu patterns, select %u, returns %u, status %u, extended %d", arguments[i].in,
			    a.pattern_count, a.select, a.returns, a.status, a.extended);
	}
}

static void test_limits(void **state)
{
	struct list_args a;
	const char *error;
	char in[8000];
	size_t at = 0;

	(void)state;
	at += (size_t)snprintf(in, sizeof(in), " \"\" (a");
	for (int i = 1; i < LIST_PATTERNS_MAX; i++)
		at += (size_t)snprintf(in + at, sizeof(in) - at, " a");
	snprintf(in + at, sizeof(in) - at, ")");
	assert_true(parse(in, false, &a, &error));
	assert_int_equal(a.pattern_count, LIST_PATTERNS_MAX);
	snprintf(in + at, sizeof(in) - at, " a)");
	assert_false(parse(in, false, &a, &error));
	assert_string_equal(error, "Too many patterns.");

	at = (size_t)snprintf(in, sizeof(in), " \"\" (");
	memset(in + at, 'x', LIST_PATTERN_BYTES + 1);
	snprintf(in + at + LIST_PATTERN_BYTES + 1, sizeof(in) - at - LIST_PATTERN_BYTES - 1, ")");
	assert_false(parse(in, false, &a, &error));
	assert_string_equal(error, "The patterns are too long.");
}

/* "+" subscribed, "?" no mailbox (any more), "!" special use */
static const char *const names[] = { "INBOX", "+foo", "foo/+bar", "fruit", "+fruit/?peach", "fruit/apple", "toys/!cars",
	"+test1", "a b", "a/b", "a", "+deep/x/y", "test2/+test1", "test2", "test8/+test8", "test8/+test9", "test8",
	NULL };

static const struct {
	const char *patterns;
	bool lsub;
	unsigned select;
	const char *want; /* "*" has CHILDINFO */
} choices[] = {
	{ "%", false, 0, "INBOX a a b deep foo fruit test1 test2 test8 toys" },
	{ "*", false, 0,
	    "INBOX a a/b a b deep/x/y foo foo/bar fruit fruit/apple test1 test2 test2/test1 test8 test8/test8 "
	    "test8/test9 toys/cars" },
	{ "deep/%", false, 0, "deep/x" },
	{ "toys", false, 0, "toys" },
	{ "toys toys/cars", false, 0, "toys/cars" },
	{ "*", false, LIST_SUBSCRIBED, "deep/x/y foo foo/bar fruit/peach test1 test2/test1 test8/test8 test8/test9" },
	{ "%", false, LIST_SUBSCRIBED, "foo test1" },
	{ "%", false, LIST_SUBSCRIBED | LIST_RECURSIVEMATCH, "deep* foo* fruit* test1 test2* test8*" },
	{ "test2 test2/test1", false, LIST_SUBSCRIBED | LIST_RECURSIVEMATCH, "test2/test1" },
	{ "*test8", false, LIST_SUBSCRIBED | LIST_RECURSIVEMATCH, "test8* test8/test8" },
	{ "*", false, LIST_SPECIAL_USE, "toys/cars" },
	{ "%", false, LIST_SPECIAL_USE | LIST_RECURSIVEMATCH, "toys*" },
	{ "%", false, LIST_SPECIAL_USE | LIST_SUBSCRIBED | LIST_RECURSIVEMATCH, "" },
	{ "%", true, 0, "deep foo fruit test1 test2 test8" },
	{ "*", true, 0, "deep/x/y foo foo/bar fruit/peach test1 test2/test1 test8/test8 test8/test9" },
};

static void fill(struct list_names *n, bool lsub)
{
	for (size_t i = 0; names[i] != NULL; i++) {
		char name[64];
		size_t len = 0;
		bool subscribed = false, gone = false, special = false;
		struct list_name *e;

		for (const char *c = names[i]; *c != '\0'; c++) {
			if (*c == '+')
				subscribed = true;
			else if (*c == '?')
				gone = true;
			else if (*c == '!')
				special = true;
			else
				name[len++] = *c;
		}
		if (subscribed)
			list_add(n, (struct view){ name, len })->subscribed = true;
		if (gone || lsub)
			continue;
		e = list_add(n, (struct view){ name, len });
		e->mailbox = (uint32_t)i + 1;
		e->special = special ? SPECIAL_SENT : SPECIAL_NONE;
	}
}

static void mark(struct list_names *n, const char *patterns)
{
	char copy[200], *rest = copy, *pattern;

	snprintf(copy, sizeof(copy), "%s", patterns);
	while ((pattern = strsep(&rest, " ")) != NULL)
		for (size_t i = 0; i < n->count; i++)
			n->at[i].matched |= list_match(view_of(pattern), view_of(n->at[i].name));
}

static void test_choices(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(choices) / sizeof(choices[0]); i++) {
		struct list_names n = { 0 };
		struct buf got = BUF_INIT(4096);

		fill(&n, choices[i].lsub);
		list_link(&n);
		mark(&n, choices[i].patterns);
		list_choose(&n, choices[i].lsub, choices[i].select);
		for (size_t k = 0; k < n.count; k++)
			if (n.at[k].listed)
				buf_printf(&got, "%s%s%s", got.len > 0 ? " " : "", n.at[k].name,
				    (choices[i].select & LIST_RECURSIVEMATCH) && n.at[k].children_chosen ? "*" : "");
		if (strcmp(buf_str(&got), choices[i].want) != 0)
			fail_msg("%s %s %u:\n got %s\nwant %s", choices[i].lsub ? "LSUB" : "LIST", choices[i].patterns,
			    choices[i].select, buf_str(&got), choices[i].want);
		buf_free(&got);
		list_names_free(&n);
	}
}

static void test_children(void **state)
{
	struct list_names n = { 0 };

	(void)state;
	fill(&n, false);
	list_link(&n);
	for (size_t i = 0; i < n.count; i++) {
		bool want = false;
		size_t len = strlen(n.at[i].name);

		for (size_t k = 0; k < n.count; k++)
			want |= n.at[k].mailbox != 0 && strncmp(n.at[k].name, n.at[i].name, len) == 0 &&
			        n.at[k].name[len] == '/';
		if (n.at[i].has_children != want)
			fail_msg("%s: has_children %d", n.at[i].name, n.at[i].has_children);
		for (size_t k = 0; k < i; k++)
			assert_string_not_equal(n.at[k].name, n.at[i].name);
	}
	list_names_free(&n);
}

static const struct {
	const char *name;
	enum name_space space;
	const char *owner, *rest;
} splits[] = {
	{ "user/bob@example.org/INBOX", NAMESPACE_USER, "bob@example.org", "INBOX" },
	{ "user/Bob@EXAMPLE.org/a/b", NAMESPACE_USER, "bob@example.org", "a/b" },
	{ "shared/sales@example.org/INBOX/x", NAMESPACE_SHARED, "sales@example.org", "INBOX/x" },
	{ "user/a/b@example.org/INBOX", NAMESPACE_USER, "a/b@example.org", "INBOX" },
	{ "user/bob@example.org", NAMESPACE_PERSONAL, NULL, NULL },
	{ "user/bob@example.org/", NAMESPACE_PERSONAL, NULL, NULL },
	{ "user/bob/INBOX", NAMESPACE_PERSONAL, NULL, NULL },
	{ "user", NAMESPACE_PERSONAL, NULL, NULL },
	{ "users/bob@example.org/INBOX", NAMESPACE_PERSONAL, NULL, NULL },
	{ "User/bob@example.org/INBOX", NAMESPACE_PERSONAL, NULL, NULL },
	{ "user//bob@example.org/INBOX", NAMESPACE_USER, "/bob@example.org",
	    "INBOX" }, /* a slash may stand in an address */
	{ "", NAMESPACE_PERSONAL, NULL, NULL },
};

static void test_splits(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(splits) / sizeof(splits[0]); i++) {
		enum name_space space;
		char owner[ADDRESS_MAX];
		const char *rest = NULL;
		bool split = namespace_split(splits[i].name, &space, owner, &rest);

		if (split != (splits[i].owner != NULL) || space != splits[i].space)
			fail_msg("%s: %d, space %d", splits[i].name, split, space);
		if (split && (strcmp(owner, splits[i].owner) != 0 || strcmp(rest, splits[i].rest) != 0))
			fail_msg("%s: %s and %s", splits[i].name, owner, rest);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_arguments),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_choices),
		cmocka_unit_test(test_children),
		cmocka_unit_test(test_splits),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
