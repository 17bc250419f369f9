/* SORT and THREAD over tables of sort keys made from messages: RFC 5256's rules, hostile references, growing tables. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lib/clock.h"
#include "mailsvc/imap/search_reply.h"
#include "mailsvc/imap/sort.h"
#include "mailsvc/imap/thread.h"

static const char *text; /* of the message that is open */

static int read_memory(void *arg, uint64_t offset, void *dst, size_t length)
{
	(void)arg;
	memcpy(dst, text + offset, length);
	return 0;
}

static int open_message(struct search_message *m)
{
	static struct buf record = { .max = MIME_RECORD_MAX };

	buf_reset(&record);
	mime_parse(view_of(text), &record);
	m->source = (struct fetch_source){ .length = strlen(text), .read = read_memory, .mime = buf_view(&record) };
	return 0;
}

#define ALL_KINDS ((1u << (ORDER_FOLDED + MIME_FOLDED)) - 1)

struct world {
	struct order_table table;
	struct search_message message;
	struct uidmap hits;
};

/* What order_fill does with a row. */
static void add(struct world *w, const char *message, int64_t arrival)
{
	struct order_table *t = &w->table;
	uint32_t row = t->rows, uid = row + 1;
	struct message_row m = { .uid = uid, .internal_date = arrival, .size = strlen(message) };

	if (row == t->cap) {
		t->cap = t->cap * 2 + 4;
		t->uid = xreallocarray(t->uid, t->cap, sizeof(*t->uid));
		t->links = xreallocarray(t->links, t->cap, sizeof(*t->links));
		for (unsigned k = 0; k < ORDER_KINDS; k++) {
			struct order_column *c = &t->column[k];

			if (k == ORDER_ARRIVAL || k == ORDER_DATE || k == ORDER_SIZE)
				c->number = xreallocarray(c->number, t->cap, sizeof(*c->number));
			else
				c->text = xreallocarray(c->text, t->cap, sizeof(*c->text));
		}
		for (unsigned k = 0; k < MIME_FOLDED; k++)
			t->folded[k].text = xreallocarray(t->folded[k].text, t->cap, sizeof(*t->folded[k].text));
	}
	if (row == 0)
		search_message_init(&w->message, open_message, NULL);
	t->uid[t->rows++] = uid;
	uidmap_append(&w->hits, uid);
	text = message;
	search_message_reset(&w->message, &m, false);
	order_add_row(t, ALL_KINDS, row, &w->message);
}

static void world_free(struct world *w)
{
	struct order_table *t = &w->table;

	search_message_free(&w->message);
	uidmap_free(&w->hits);
	for (unsigned k = 0; k < ORDER_KINDS; k++) {
		free(t->column[k].number);
		free(t->column[k].text);
		free(t->column[k].rank);
		order_texts_free(&t->column[k].texts);
	}
	for (unsigned k = 0; k < MIME_FOLDED; k++) {
		free(t->folded[k].text);
		order_texts_free(&t->folded[k].texts);
	}
	free(t->uid);
	free(t->links);
	free(t->ids);
}

static void rank(struct world *w)
{
	assert_true(order_rank(&w->table, (1u << ORDER_KINDS) - 1, UINT64_MAX));
}

static void sorts(struct world *w, const char *criteria, const char *want)
{
	char *copy = xasprintf(" %s", criteria);
	struct imap_parser p = imap_parser_of(copy, strlen(copy));
	struct buf got = BUF_INIT(4096);
	struct sort_criteria c;
	uint32_t *uids;
	size_t count;

	if (!sort_parse(&p, &c) || !imap_parse_end(&p))
		fail_msg("%s: %s", criteria, p.error);
	uids = sort_uids(&w->table, &c, &w->hits, &count);
	for (size_t i = 0; i < count; i++)
		buf_printf(&got, "%s%u", i ? " " : "", uids[i]);
	if (strcmp(buf_str(&got), want) != 0)
		fail_msg("%s: got %s, want %s", criteria, buf_str(&got), want);
	free(uids);
	free(copy);
	buf_free(&got);
}

static void sorts_messages(void **state)
{
	static struct world w;

	(void)state;
	add(&w,
	    "From: Zed <amy@x>\r\nTo: B <zoe@x>\r\nSubject: Re: [list] beta\r\nDate: Thu, 1 Jan 1970 12:00:00 "
	    "+0000\r\n\r\n",
	    400);
	add(&w,
	    "From: amy <zed@x>\r\nTo: group: c@x, d@x;\r\nSubject: _under\r\nDate: Thu, 1 Jan 1970 13:00:00 "
	    "+0200\r\n\r\nlonger",
	    300);
	add(&w, "From: bob@x\r\nCc: carl@x\r\nSubject: alphabetically-late-2\r\n\r\n", 200);
	add(&w, "From: (no)\r\nSubject: =?utf-8?q?Fwd=3A?= Alphabetically-Late-1\r\nDate: nonsense\r\n\r\n", 100);
	add(&w, "Subject: alphabet\r\nDate: Thu, 1 Jan 1970 12:00:00 +0000\r\n\r\n", 500);
	rank(&w);
	sorts(&w, "(ARRIVAL)", "4 3 2 1 5");
	sorts(&w, "(REVERSE ARRIVAL)", "5 1 2 3 4");
	sorts(&w, "(DATE)", "4 3 2 1 5"); /* 3 and 4 by arrival */
	sorts(&w, "(REVERSE DATE)", "1 5 2 3 4");
	sorts(&w, "(REVERSE DATE REVERSE ARRIVAL)", "5 1 2 3 4");
	sorts(&w, "(SUBJECT)", "5 4 3 1 2");
	sorts(&w, "(FROM)", "4 5 1 3 2");
	sorts(&w, "(DISPLAYFROM)", "4 5 2 3 1");
	sorts(&w, "(TO)", "3 4 5 2 1");
	sorts(&w, "(CC ARRIVAL)", "4 2 1 5 3");
	/* New rows are merged into what was ranked. */
	add(&w, "From: aaa@x\r\nSubject: ALPHABETICALLY-late-15\r\nDate: Thu, 1 Jan 1970 12:00:01 +0000\r\n\r\n", 250);
	add(&w, "From: zzz@x\r\nSubject: re: alphabet\r\n\r\n", 600);
	rank(&w);
	sorts(&w, "(SUBJECT)", "5 7 4 6 3 1 2");
	sorts(&w, "(FROM)", "4 5 6 1 3 2 7");
	sorts(&w, "(ARRIVAL)", "4 3 6 2 1 5 7");
	assert_true(view_eq(order_folded(&w.table, MIME_FOLDED_FROM, 3), "bob@x"));
	assert_null(order_folded(&w.table, MIME_FOLDED_FROM, 8).ptr);
	uidmap_remove(&w.hits, &(struct uid_range){ 2, 5 }, 1);
	uidmap_append(&w.hits, 99); /* nothing is known of it */
	sorts(&w, "(ARRIVAL)", "6 1 7");
	world_free(&w);
}

static void keeps_texts_once(void **state)
{
	struct order_texts t = { 0 };
	char digits[16];

	(void)state;
	assert_int_equal(order_texts_add(&t, VIEW_NONE), 0);
	for (uint32_t round = 0; round < 2; round++) {
		for (uint32_t i = 1; i <= 5000; i++) {
			size_t len = (size_t)snprintf(digits, sizeof(digits), "%u", i);

			assert_int_equal(order_texts_add(&t, (struct view){ digits, len }), i);
			assert_int_equal(order_texts_add(&t, VIEW_LIT("")), 0);
		}
	}
	assert_int_equal(t.count, 5001);
	assert_true(view_eq(order_texts_get(&t, 4711), "4711"));
	assert_int_equal(order_texts_get(&t, 0).len, 0);
	order_texts_free(&t);
}

static void refuses_criteria(void **state)
{
	static const char *const bad[] = { "", " ()", " (X)", " (REVERSE)", " (REVERSE REVERSE DATE)", " DATE",
		" (DATE", " (DATE  CC)" };

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		char *copy = xstrdup(bad[i]);
		struct imap_parser p = imap_parser_of(copy, strlen(copy));
		struct sort_criteria c;

		if (sort_parse(&p, &c))
			fail_msg("taken: %s", bad[i]);
		free(copy);
	}
}

static const char *threads(struct world *w, enum thread_algorithm algorithm)
{
	static struct buf out = { .max = 64 << 20 };

	rank(w);
	buf_reset(&out);
	thread_put(&w->table, algorithm, &w->hits, NULL, &out);
	return buf_str(&out);
}

/* Each message is "id refs... ;subject"; its date is its number. */
static void threads_messages(void **state)
{
	static const struct {
		const char *messages[8], *want;
	} cases[] = {
		{ { "a;x", "b a;Re: x", "c a b;Re: x" }, "(1 2 3)" },
		{ { "a;x", "b a;Re: x", "c a;Re: x" }, "(1 (2)(3))" },
		{ { "b a;x", "c a;y" }, "((1)(2))" },                                           /* a is not here */
		{ { "b a;x", "c b q;y" }, "(1 2)" },                                            /* q is passed over */
		{ { "b a;x", "c q;y" }, "(1)(2)" }, { { "c b;x", "b a;x", "a;x" }, "(3 2 1)" }, /* children first */
		{ { "a b;x", "b a;y" }, "(2 1)" },                                              /* a loop */
		{ { "a a;x" }, "(1)" }, { { "a;x", "a;y", "c a;z" }, "(1 3)(2)" }, /* a second message of one name */
		{ { "a;x", "b;Re: x" }, "(1 2)" },                                 /* by subject */
		{ { "a;Re: x", "b;x" }, "(2 1)" }, { { "a;x", "b;x" }, "((1)(2))" },
		{ { "a;Re: x", "b;Re: x", "c;Re: x" }, "((1)(2)(3))" },
		{ { "a;", "b;" }, "(1)(2)" },                   /* none is no subject */
		{ { "b p;x", "c p;y", "d;x" }, "((1)(2)(3))" }, /* joins the dummy */
		{ { "b p;x", "c p;y", "d q;x", "e q;w" }, "((1)(2)(3)(4))" },
		{ { "d z a b c;x", "b;y" }, "(2 1)" }, /* what is between is not here */
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct world w = { 0 };

		for (int m = 0; m < 8 && cases[i].messages[m]; m++) {
			const char *s = cases[i].messages[m];
			struct buf message = BUF_INIT(4096);

			buf_printf(&message, "Message-ID: <%c@x>\r\n", *s++);
			if (*s == ' ')
				buf_puts(&message, "References:");
			for (; *s == ' '; s += 2)
				buf_printf(&message, " <%c@x>", s[1]);
			buf_printf(&message, "%sSubject: %s\r\nDate: Thu, 1 Jan 1970 00:%02d:00 +0000\r\n\r\n",
			    cases[i].messages[m][1] == ' ' ? "\r\n" : "", s + 1, m);
			add(&w, buf_str(&message), 0);
			buf_free(&message);
		}
		if (strcmp(threads(&w, THREAD_REFERENCES), cases[i].want) != 0)
			fail_msg("%s ...: got %s, want %s", cases[i].messages[0], threads(&w, THREAD_REFERENCES),
			    cases[i].want);
		world_free(&w);
	}
}

static void threads_by_subject(void **state)
{
	struct world w = { 0 };

	(void)state;
	add(&w, "Subject: b\r\nDate: Thu, 1 Jan 1970 00:03:00 +0000\r\n\r\n", 0);
	add(&w, "Subject: Re: a\r\nDate: Thu, 1 Jan 1970 00:02:00 +0000\r\n\r\n", 0);
	add(&w, "Subject: a\r\nDate: Thu, 1 Jan 1970 00:05:00 +0000\r\n\r\n", 0);
	add(&w, "Subject: A\r\nDate: Thu, 1 Jan 1970 00:04:00 +0000\r\n\r\n", 0);
	assert_string_equal(threads(&w, THREAD_ORDEREDSUBJECT), "(2 (4)(3))(1)");
	world_free(&w);
}

/* Each message exactly once, parentheses that match. */
static void check_whole(const char *got, uint32_t count)
{
	bool *seen = xcalloc(count + 1, sizeof(*seen));
	long depth = 0;
	uint32_t found = 0;

	for (const char *s = got; *s;) {
		if (*s >= '0' && *s <= '9') {
			unsigned long n = strtoul(s, (char **)(uintptr_t)&s, 10);

			assert_true(n > 0 && n <= count && !seen[n] && depth > 0);
			seen[n] = true;
			found++;
			continue;
		}
		depth += *s == '(' ? 1 : *s == ')' ? -1 : 0;
		assert_true(depth >= 0 && strchr("() ", *s));
		s++;
	}
	assert_int_equal(depth, 0);
	assert_int_equal(found, count);
	free(seen);
}

static void survives_anything(void **state)
{
	unsigned seed = 4;

	(void)state;
	for (int round = 0; round < 300; round++) {
		struct world w = { 0 };
		uint32_t count = 1 + (uint32_t)rand_r(&seed) % 40;

		for (uint32_t i = 0; i < count; i++) {
			struct buf message = BUF_INIT(65536);
			int refs = rand_r(&seed) % 6;

			buf_printf(&message,
			    "Message-ID: <%d>\r\nSubject: %s%d\r\nDate: Thu, 1 Jan 1970 00:%02d:00 "
			    "+0000\r\nReferences:",
			    rand_r(&seed) % 30, rand_r(&seed) % 2 ? "Re: " : "", rand_r(&seed) % 10,
			    rand_r(&seed) % 60);
			while (refs-- > 0)
				buf_printf(&message, " <%d>", rand_r(&seed) % 30);
			buf_puts(&message, "\r\n\r\n");
			add(&w, buf_str(&message), 0);
			buf_free(&message);
		}
		check_whole(threads(&w, THREAD_REFERENCES), count);
		check_whole(threads(&w, THREAD_ORDEREDSUBJECT), count);
		world_free(&w);
	}
}

/* Chains as long as the mailbox, forwards and backwards: neither deep recursion nor n² steps. */
static void takes_long_chains(void **state)
{
	const int count = 20000;

	(void)state;
	for (int backwards = 0; backwards < 2; backwards++) {
		struct world w = { 0 };
		uint64_t before;

		for (int i = 0; i < count; i++) {
			char *message =
			    xasprintf("Message-ID: <%d>\r\nIn-Reply-To: <%d>\r\n\r\n", i, backwards ? i + 1 : i - 1);

			add(&w, message, i);
			free(message);
		}
		rank(&w);
		before = clock_mono_ms();
		check_whole(threads(&w, THREAD_REFERENCES), (uint32_t)count);
		if (clock_mono_ms() - before > 2000)
			fail_msg("%d messages took %llu ms", count, (unsigned long long)(clock_mono_ms() - before));
		world_free(&w);
	}
}

static void takes_return_options(void **state)
{
	static const struct {
		const char *text;
		int want; /* -1: refused */
	} cases[] = { { " ALL", 0 }, { " RETURN () ALL", RETURN_ALL },
		{ " RETURN (MIN max) ALL", RETURN_MIN | RETURN_MAX }, { " RETURN (SAVE) ALL", RETURN_SAVE },
		{ " return (count all) ALL", RETURN_COUNT | RETURN_ALL }, { " RETURN (X) ALL", -1 },
		{ " RETURN MIN", -1 }, { " RETURN (MIN", -1 }, { " RETURN(MIN)", -1 }, { " RETURN (MIN  MAX)", -1 },
		{ "", 0 }, { " RETURNED", 0 } };

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char *copy = xstrdup(cases[i].text);
		struct imap_parser p = imap_parser_of(copy, strlen(copy));
		unsigned options;
		int got = search_return_parse(&p, &options) ? (int)options : -1;

		if (got != cases[i].want)
			fail_msg("%s: got %d, want %d", cases[i].text, got, cases[i].want);
		free(copy);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sorts_messages),
		cmocka_unit_test(keeps_texts_once),
		cmocka_unit_test(refuses_criteria),
		cmocka_unit_test(threads_messages),
		cmocka_unit_test(threads_by_subject),
		cmocka_unit_test(survives_anything),
		cmocka_unit_test(takes_long_chains),
		cmocka_unit_test(takes_return_options),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
