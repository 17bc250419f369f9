/* SEARCH programs: what is taken, what is refused, and which of a few messages each finds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "mailsvc/imap/search.h"

#define DAY 86400

static const struct {
	struct message_row row;
	bool recent;
	const char *message;
} messages[] = {
	{ { .uid = 3, .flags = FLAG_SEEN, .internal_date = 10 * DAY + 5, .size = 100, .modseq = 19, .save_date = DAY, .body = 6 }, false,
	    "From: Alice <alice@example.org>\r\nTo: bob@example.net\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n"
	    "Date: Thu, 1 Jan 1970 23:30:00 -0200\r\n\r\nhello world\r\n" },
	{ { .uid = 5, .flags = FLAG_FLAGGED | FLAG_DELETED, .keywords = 2, .internal_date = 11 * DAY, .size = 200, .modseq = 20, .save_date = 2 * DAY, .body = 7 },
	    true,
	    "From: Bob <bob@example.net>\r\nCc: Carol <c@x>\r\nBcc: d@x\r\nX-Note: =?iso-8859-1?q?=FC?=\r\nSubject: "
	    "plain\r\n"
	    "Content-Type: text/plain; charset=koi8-r\r\nContent-Transfer-Encoding: base64\r\n\r\n8NLJ18XU\r\n" },
	{ { .uid = 9, .flags = FLAG_ANSWERED | FLAG_DRAFT, .internal_date = 12 * DAY, .size = 300, .modseq = 21, .save_date = 4 * DAY, .body = 8 }, true,
	    "Subject: third\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\nin the "
	    "preamble\r\n--x\r\nContent-Type: message/rfc822\r\n\r\n"
	    "Subject: deep\r\n\r\nbelow\r\n--x\r\nContent-Type: application/x\r\n\r\nopaque\r\n--x--\r\n" },
};

static struct imap_mailbox mailbox;
static struct imap_session session;

static int read_memory(void *arg, uint64_t offset, void *dst, size_t length)
{
	memcpy(dst, (const char *)arg + offset, length);
	return 0;
}

static int open_message(struct search_message *m)
{
	size_t *which = m->arg;

	m->source = (struct fetch_source){ .length = strlen(messages[*which].message),
		.read = read_memory,
		.arg = (void *)(uintptr_t)messages[*which].message };
	return 0;
}

static bool parse(const char *text, struct search_program *program, char **copy)
{
	struct imap_parser p;

	*copy = xasprintf(" %s", text);
	p = imap_parser_of(*copy, strlen(*copy));
	return search_parse(&session, &p, program);
}

/* As the job does it, with a pause after every part. */
static bool matches(const struct search_program *program, struct search_message *m)
{
	const struct message_row *row = m->row;
	enum search_answer answer;
	unsigned looks = 0;

	while ((answer = search_match(program, m)) == SEARCH_LATER) {
		assert_true(looks++ < 10);
		search_look(program, m);
		search_message_pause(m);
		search_message_resume(m, row, m->recent);
	}
	return answer == SEARCH_YES;
}

static const struct {
	const char *keys, *want; /* UIDs */
} found[] = {
	{ "ALL", "3 5 9 " },
	{ "SEEN", "3 " },
	{ "UNSEEN", "5 9 " },
	{ "FLAGGED DELETED", "5 " },
	{ "UNFLAGGED UNDELETED", "3 9 " },
	{ "ANSWERED", "9 " },
	{ "UNANSWERED", "3 5 " },
	{ "DRAFT", "9 " },
	{ "UNDRAFT", "3 5 " },
	{ "RECENT", "5 9 " },
	{ "OLD", "3 " },
	{ "NEW", "5 9 " },
	{ "NOT NEW", "3 " },
	{ "KEYWORD junk", "5 " },
	{ "UNKEYWORD JUNK", "3 9 " },
	{ "KEYWORD unknown", "" },
	{ "1", "3 " },
	{ "2:*", "5 9 " },
	{ "7", "" },
	{ "3:99", "9 " },
	{ "*", "9 " },
	{ "UID 5:100", "5 9 " },
	{ "UID 4", "" },
	{ "UID *", "9 " },
	{ "NOT 2,1", "9 " },
	{ "LARGER 100", "5 9 " },
	{ "SMALLER 200", "3 " },
	{ "BEFORE 12-Jan-1970", "3 " },
	{ "ON \"12-Jan-1970\"", "5 " },
	{ "SINCE 12-Jan-1970", "5 9 " },
	{ "SENTON 1-Jan-1970", "3 " },
	{ "SENTBEFORE 2-Jan-1970", "3 " },
	{ "SENTSINCE 2-Jan-1970", "" },
	{ "FROM alice", "3 " },
	{ "FROM \"ALICE <\"", "3 " },
	{ "TO EXAMPLE.NET", "3 " },
	{ "CC carol", "5 " },
	{ "BCC d@", "5 " },
	{ "SUBJECT {7}\r\ngr\xc3\xbcSSe", "3 " },
	{ "CHARSET iso-8859-1 SUBJECT {5}\r\ngr\xfc\xdf"
	  "e",
	    "3 " },
	{ "FROM \"\"", "3 5 " },
	{ "SUBJECT third", "9 " },
	{ "MODSEQ 20", "5 9 " },
	{ "MODSEQ \"/flags/\\\\draft\" all 21", "9 " },
	{ "OLDER 1", "3 5 9 " },
	{ "YOUNGER 1", "" },
	{ "YOUNGER 4294967295", "3 5 9 " },
	{ "SAVEDBEFORE 3-Jan-1970", "3 " },
	{ "SAVEDON 3-Jan-1970", "5 " },
	{ "SAVEDSINCE 3-Jan-1970", "5 9 " },
	{ "SAVEDATESUPPORTED", "3 5 9 " },
	{ "EMAILID E7-00000000", "5 " },
	{ "NOT EMAILID E7-00000000", "3 9 " },
	{ "EMAILID e7-00000000", "" },
	{ "THREADID T1", "" },
	{ "NOT THREADID T1", "3 5 9 " },
	{ "$", "3 9 " },
	{ "NOT $", "5 " },
	{ "UID $ SEEN", "3 " },
	{ "HEADER X-Note \"\"", "5 " },
	{ "HEADER x-note {2}\r\n\xc3\xbc", "5 " },
	{ "HEADER X-None \"\"", "" },
	{ "BODY \"HELLO WORLD\"", "3 " },
	{ "BODY alice", "" },
	{ "TEXT alice", "3 " },
	{ "BODY {12}\r\n\xd0\xbf\xd1\x80\xd0\xb8\xd0\xb2\xd0\xb5\xd1\x82", "5 " },
	{ "BODY below", "9 " },
	{ "BODY deep", "9 " },
	{ "BODY opaque", "" },
	{ "BODY preamble", "" },
	{ "NOT BODY below", "3 5 " },
	{ "BODY below TEXT third", "9 " },
	{ "BODY below NOT TEXT third", "" },
	{ "OR BODY nothing BODY world", "3 " },
	{ "NOT (OR BODY below BODY world)", "5 " },
	{ "OR NOT TEXT below SEEN", "3 5 " },
	{ "BODY \"\"", "3 5 9 " },
	{ "OR SEEN DRAFT", "3 9 " },
	{ "OR (SEEN) OR 2 UID 9", "3 5 9 " },
	{ "NOT (OR SEEN DRAFT)", "5 " },
	{ "(TEXT third) (UNSEEN)", "9 " },
	{ "NOT NOT SEEN", "3 " },
	{ "CHARSET US-ASCII ALL", "3 5 9 " },
};

static void finds_messages(void **state)
{
	struct buf got = BUF_INIT(4096);
	struct search_message m;
	size_t which;

	(void)state;
	search_message_init(&m, open_message, &which);
	for (size_t i = 0; i < sizeof(found) / sizeof(found[0]); i++) {
		struct search_program program;
		char *copy;

		if (!parse(found[i].keys, &program, &copy))
			fail_msg("refused: %s", found[i].keys);
		search_bind(&program, &mailbox);
		buf_reset(&got);
		for (which = 0; which < 3; which++) {
			search_message_reset(&m, &messages[which].row, messages[which].recent);
			if (matches(&program, &m))
				buf_printf(&got, "%u ", messages[which].row.uid);
		}
		if (strcmp(buf_str(&got), found[i].want) != 0)
			fail_msg("%s: got %s, want %s", found[i].keys, buf_str(&got), found[i].want);
		search_free(&program);
		free(copy);
	}
	search_message_free(&m);
	buf_free(&got);
}

static void refuses_programs(void **state)
{
	static const char *const bad[] = { "", "X", "NOT", "OR SEEN", "(SEEN", "SEEN)", "()", "SEEN  SEEN", "FROM",
		"HEADER x", "BEFORE yesterday", "LARGER x", "UID", "UID x", "KEYWORD", "0", "1:", "CHARSET",
		"CHARSET utf-8", "CHARSET klingon ALL", "SEEN,", "$1", "1,$", "YOUNGER 0", "OLDER x", "MODSEQ", "MODSEQ x", "MODSEQ \"/flags/a\" 5", "MODSEQ \"/flags/a\" some 5", "EMAILID", "EMAILID a!", "SAVEDON x", "NOT(SEEN)", "LARGER 99999999999999999999" };
	struct buf text = BUF_INIT(65536);
	struct search_program program;
	char *copy;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		if (parse(bad[i], &program, &copy))
			fail_msg("taken: %s", bad[i]);
		assert_int_equal(program.bad_charset, strstr(bad[i], "klingon") != NULL);
		search_free(&program);
		free(copy);
	}
	for (int limit = 0; limit < 2; limit++) { /* depth, keys */
		buf_reset(&text);
		for (int i = 0; i < (limit ? SEARCH_KEYS_MAX : SEARCH_DEPTH_MAX + 1); i++)
			buf_puts(&text, limit ? "SEEN " : "NOT ");
		buf_puts(&text, "SEEN");
		assert_false(parse(buf_str(&text), &program, &copy));
		search_free(&program);
		free(copy);
		buf_drop(&text, limit ? 10 : 4);
		assert_true(parse(buf_str(&text), &program, &copy));
		search_free(&program);
		free(copy);
	}
	for (int i = 0; i <= SEARCH_TEXT_KEYS_MAX; i++) {
		buf_reset(&text);
		for (int k = 0; k <= i; k++)
			buf_puts(&text, k == 0 ? "BODY x" : k % 2 ? " TEXT x" : " FROM x");
		assert_int_equal(parse(buf_str(&text), &program, &copy), i < SEARCH_TEXT_KEYS_MAX);
		search_free(&program);
		free(copy);
	}
	buf_free(&text);
}

/* A message is not read when its row decides, in whatever order the keys stand. */
static int must_not_open(struct search_message *m)
{
	(void)m;
	fail_msg("the message was read");
	return -1;
}

static void puts_cheap_keys_first(void **state)
{
	static const char *const keys[] = { "TEXT x SEEN", "OR TEXT x UNSEEN UID 9", "NOT (TEXT x SEEN)",
		"(OR BODY x ALL)" };
	struct search_program program;
	struct search_message m;
	char *copy;

	(void)state;
	search_message_init(&m, must_not_open, NULL);
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		assert_true(parse(keys[i], &program, &copy));
		search_message_reset(&m, &messages[2].row, false);
		assert_int_equal(search_match(&program, &m), i > 0 ? SEARCH_YES : SEARCH_NO);
		search_free(&program);
		free(copy);
	}
	search_message_free(&m);
}

static int open_long(struct search_message *m)
{
	m->source = (struct fetch_source){ .length = strlen(m->arg), .read = read_memory, .arg = m->arg };
	return 0;
}

/* Fields that the record does not keep, since they are too long: the header is read. */
static void reads_long_fields(void **state)
{
	static const struct {
		const char *keys;
		enum search_answer want;
	} cases[] = { { "SUBJECT \"last w\"", SEARCH_YES }, { "SUBJECT nothing", SEARCH_NO },
		{ "TO \"carol <c@x>\"", SEARCH_YES }, { "TO \"(comment)\"", SEARCH_NO },
		{ "HEADER To \"(comment)\"", SEARCH_YES }, { "CC carol", SEARCH_NO } };
	struct buf text = BUF_INIT(65536);
	struct search_program program;
	struct search_message m;
	char *copy;

	(void)state;
	buf_puts(&text, "Subject:");
	for (int i = 0; i < MIME_KEPT_MAX / 8; i++)
		buf_puts(&text, " subject");
	buf_puts(&text, " =?utf-8?q?LAST_w=C3=B6rds?=\r\nTo: ");
	for (int i = 0; i < MIME_KEPT_MAX / 8; i++)
		buf_puts(&text, "a@b.example, ");
	buf_puts(&text, "Carol <c@x> (comment)\r\n\r\n");
	search_message_init(&m, open_long, (void *)(uintptr_t)buf_str(&text));
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_true(parse(cases[i].keys, &program, &copy));
		search_message_reset(&m, &messages[0].row, false);
		if (search_match(&program, &m) != cases[i].want)
			fail_msg("%s", cases[i].keys);
		search_free(&program);
		free(copy);
	}
	search_message_free(&m);
	buf_free(&text);
}

static int set_up(void **state)
{
	(void)state;
	for (size_t i = 0; i < 3; i++)
		uidmap_append(&mailbox.map, messages[i].row.uid);
	mailbox.keywords[1] = xstrdup("Junk");
	mailbox.keyword_count = 2;
	session.mailbox = &mailbox;
	/* What was saved: 7 was expunged since. */
	mailbox.saved = xreallocarray(NULL, 3, sizeof(*mailbox.saved));
	mailbox.saved[0] = (struct uid_range){ 9, 9 };
	mailbox.saved[1] = (struct uid_range){ 2, 3 };
	mailbox.saved[2] = (struct uid_range){ 7, 7 };
	mailbox.saved_count = 3;
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	uidmap_free(&mailbox.map);
	free(mailbox.keywords[1]);
	free(mailbox.saved);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(finds_messages),
		cmocka_unit_test(refuses_programs),
		cmocka_unit_test(puts_cheap_keys_first),
		cmocka_unit_test(reads_long_fields),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
