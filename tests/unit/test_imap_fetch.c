/* FETCH items as they are parsed and labelled, and the bytes that sections name, prefix and partial included. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "mailsvc/imap/fetch.h"

static bool parse(const char *text, bool uid, struct fetch_items *items, char **copy)
{
	struct imap_parser p;

	*copy = xstrdup(text);
	p = imap_parser_of(*copy, strlen(text));
	return fetch_items_parse(&p, uid, items) && imap_parse_end(&p);
}

static const char kinds[] = "UFISMDetEBTPCYZ"; /* one letter a fetch_kind */
static const struct {
	const char *in, *want; /* letters; content with its label; "!" when it marks as seen */
	bool uid;
} taken[] = {
	{ "FLAGS", "F", false },
	{ "fLaGs", "UF", true },
	{ "(FLAGS)", "F", false },
	{ "ALL", "FISE", false },
	{ "FAST", "FIS", false },
	{ "FULL", "FISEB", false },
	{ "(UID FLAGS UID)", "UF", true },
	{ "BODYSTRUCTURE", "T", false },
	{ "(MODSEQ)", "M", false },
	{ "RFC822", "C[RFC822]!", false },
	{ "RFC822.HEADER", "C[RFC822.HEADER]", false },
	{ "RFC822.TEXT", "C[RFC822.TEXT]!", false },
	{ "(RFC822.SIZE BODY)", "SB", false },
	{ "BODY[]", "C[BODY[]]!", false },
	{ "BODY.PEEK[]<10.20>", "C[BODY[]<10>]", false },
	{ "body.peek[1.2.3]", "C[BODY[1.2.3]]", false },
	{ "BODY.PEEK[1.mime]", "C[BODY[1.MIME]]", false },
	{ "BODY.PEEK[HEADER.FIELDS (From \"To\" {1}\r\nX)]", "C[BODY[HEADER.FIELDS (From To X)]]", false },
	{ "BODY.PEEK[2.HEADER.FIELDS.NOT (\"a b\")]<0.5>", "C[BODY[2.HEADER.FIELDS.NOT ({3}\r\na b)]<0>]",
	    false },
	{ "(SAVEDATE EMAILID THREADID)", "Det", false },
	{ "PREVIEW", "P", false },
	{ "(preview (lazy) UID)", "PU", false },
	{ "PREVIEW (LAZY)", "P", false },
	{ "PREVIEW (CHANGEDSINCE 5)", "PM", false },
	{ "PREVIEW (LAZY) (CHANGEDSINCE 5)", "PM", false },
	{ "BINARY[]", "Y[BINARY[]]!", false },
	{ "BINARY.PEEK[1.2]<3.4>", "Y[BINARY[1.2]<3>]", false },
	{ "(binary.size[] BINARY.SIZE[1])", "Z[BINARY.SIZE[]]Z[BINARY.SIZE[1]]", false },
	{ "(BODY.PEEK[HEADER] BODY.PEEK[TEXT])", "C[BODY[HEADER]]C[BODY[TEXT]]", false },
};
static const char *const refused[] = { "", "()", "(FLAGS", "FLAGS)", "(ALL)", "X", "BODY[", "BODY[0]", "BODY[1.]",
	"BODY[MIME]", "BODY[]<1>", "BODY[]<1.0>", "BODY[HEADER.FIELDS]", "BODY[HEADER.FIELDS ()]", "BODY[1.X]",
	"BODY.PEEK", "BODY[]<99999999999.1>", "FLAGS FLAGS", "(FLAGS  UID)", "BINARY", "BINARY[TEXT]",
	"BINARY[1.MIME]", "BINARY[1.]", "BINARY.SIZE[1]<0.1>", "PREVIEW (EAGER)", "(PREVIEW (LAZY LAZY))",
	("BODY[1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1."
	 "1.1.1]") };

static void parses_items(void **state)
{
	struct buf got = BUF_INIT(4096);
	struct fetch_items items;
	char *copy;

	(void)state;
	for (size_t i = 0; i < sizeof(taken) / sizeof(taken[0]); i++) {
		if (!parse(taken[i].in, taken[i].uid, &items, &copy))
			fail_msg("refused: %s", taken[i].in);
		buf_reset(&got);
		for (size_t k = 0; k < items.count; k++) {
			buf_addc(&got, kinds[items.at[k].kind]);
			if (items.at[k].label)
				buf_printf(&got, "[%s]", items.at[k].label);
		}
		if (items.sets_seen)
			buf_addc(&got, '!');
		if (strcmp(buf_str(&got), taken[i].want) != 0)
			fail_msg("%s: got %s, want %s", taken[i].in, buf_str(&got), taken[i].want);
		fetch_items_free(&items);
		free(copy);
	}
	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
		if (parse(refused[i], false, &items, &copy))
			fail_msg("taken: %s", refused[i]);
		fetch_items_free(&items);
		free(copy);
	}
	for (int fields = FETCH_FIELDS_MAX; fields <= FETCH_FIELDS_MAX + 1; fields++) { /* of all items together */
		buf_reset(&got);
		for (int i = 0; i < fields; i++)
			buf_printf(&got, "%s%c",
			    i % 32 > 0 ? " "
			    : i > 0    ? ")] BODY.PEEK[HEADER.FIELDS ("
				       : "(BODY.PEEK[HEADER.FIELDS (",
			    'a');
		buf_puts(&got, ")])");
		assert_int_equal(parse(buf_str(&got), false, &items, &copy), fields == FETCH_FIELDS_MAX);
		fetch_items_free(&items);
		free(copy);
	}
	buf_free(&got);
}

static const char message[] = "Subject: outer\r\nFrom: a@b\r\n folded\r\nContent-Type: multipart/mixed; "
			      "boundary=x\r\n\r\npre\r\n--x\r\nX-Part: 1\r\n\r\none\r\n"
			      "--x\r\nContent-Type: message/rfc822\r\n\r\nSubject: inner\r\n\r\ntwo\r\n--x--\r\n";

static int read_memory(void *arg, uint64_t offset, void *dst, size_t length)
{
	memcpy(dst, (const char *)arg + offset, length);
	return 0;
}

static int read_fails(void *arg, uint64_t offset, void *dst, size_t length)
{
	(void)arg;
	(void)offset;
	(void)dst;
	(void)length;
	return -1;
}

static void finds_sections(void **state)
{
#define HEAD "Subject: outer\r\nFrom: a@b\r\n folded\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n"
	static const char text[] = "pre\r\n--x\r\nX-Part: 1\r\n\r\none\r\n--x\r\nContent-Type: "
				   "message/rfc822\r\n\r\nSubject: inner\r\n\r\ntwo\r\n--x--\r\n";
	static const struct {
		const char *section, *want; /* want NULL: NIL */
	} cases[] = {
		{ "HEADER", "P: q\r\n" HEAD },
		{ "TEXT", text },
		{ "1", "one" },
		{ "1.MIME", "X-Part: 1\r\n\r\n" },
		{ "1.HEADER", NULL },
		{ "1.1", NULL },
		{ "2", "Subject: inner\r\n\r\ntwo" },
		{ "2.MIME", "Content-Type: message/rfc822\r\n\r\n" },
		{ "2.HEADER", "Subject: inner\r\n\r\n" },
		{ "2.TEXT", "two" },
		{ "2.1", "two" },
		{ "2.1.MIME", "Subject: inner\r\n\r\n" },
		{ "3", NULL },
		{ "2.HEADER.FIELDS (subject)", "Subject: inner\r\n\r\n" },
		{ "HEADER.FIELDS (FROM P)", "P: q\r\nFrom: a@b\r\n folded\r\n\r\n" },
		{ "HEADER.FIELDS (FROM Date)", "From: a@b\r\n folded\r\n\r\n" },
		{ "HEADER.FIELDS (none)", "\r\n" },
		{ "HEADER.FIELDS.NOT (From Content-Type p)", "Subject: outer\r\n\r\n" },
	};
	struct fetch_source src = { .prefix = VIEW_LIT("P: q\r\n"),
		.length = sizeof(message) - 1,
		.read = read_memory,
		.arg = (void *)(uintptr_t)message };
	struct buf scratch = BUF_INIT(1 << 20), want = BUF_INIT(1 << 20), got = BUF_INIT(1 << 20);

	(void)state;
	for (size_t i = 0; i < 3 * (sizeof(cases) / sizeof(cases[0]) + 1); i++) {
		size_t k = i / 3;
		bool whole = k == sizeof(cases) / sizeof(cases[0]);
		const char *suffix[] = { "", "<4.7>", "<9.4294967295>" };
		const size_t from[] = { 0, 4, 9 }, most[] = { SIZE_MAX, 7, UINT32_MAX };
		struct fetch_content c;
		struct fetch_items items;
		char *line = xasprintf("BODY[%s]%s", whole ? "" : cases[k].section, suffix[i % 3]), *copy;

		assert_true(parse(line, false, &items, &copy));
		assert_int_equal(fetch_section_find(&src, &items.at[0].section, &scratch, &c), 0);
		buf_reset(&want);
		buf_reset(&got);
		buf_puts(&want, whole ? "P: q\r\n" : cases[k].want ? cases[k].want : "");
		if (whole)
			buf_puts(&want, message);
		buf_drop(&want, from[i % 3] < want.len ? from[i % 3] : want.len);
		if (want.len > most[i % 3])
			want.len = most[i % 3];
		buf_addv(&got, c.text);
		assert_int_equal(fetch_source_read(&src, c.offset, c.length, &got), 0);
		assert_int_equal(c.exists, whole || cases[k].want != NULL);
		if (got.len != want.len || memcmp(got.len ? got.data : "", want.len ? want.data : "", got.len) != 0)
			fail_msg("%s: got %s, want %s", line, buf_str(&got), buf_str(&want));
		fetch_items_free(&items);
		free(copy);
		free(line);
	}
	fetch_source_free(&src);
	src = (struct fetch_source){ .length = 10, .read = read_fails };
	assert_int_equal(fetch_source_record(&src), -1);
	buf_free(&scratch);
	buf_free(&want);
	buf_free(&got);
}

static int read_view(void *arg, uint64_t offset, void *dst, size_t length)
{
	const struct buf *header = arg;

	memcpy(dst, header->data + offset, length);
	return 0;
}

static void find(struct fetch_source *src, const struct fetch_section *s, struct buf *got)
{
	struct buf scratch = BUF_INIT(1 << 16);
	struct fetch_content c;

	buf_reset(got);
	assert_int_equal(fetch_section_find(src, s, &scratch, &c), 0);
	buf_addv(got, c.text);
	assert_int_equal(c.length, 0);
	buf_free(&scratch);
}

/* HEADER.FIELDS from what the record keeps is what the header gives, whatever is in it. */
static void kept_fields_are_the_headers(void **state)
{
	static const char *const pieces[] = { "From", "to", "SUBJECT", "Date", "X-Other", "Message-ID", ":", ":", ": ", " : ",
		"\t:", " ", "\t", "\r\n", "\r\n", "\r\n", "\n", "\r", "\r\n ", "\n\t", "a", "b@c", "\r\n\r\n", "" };
	struct view names[] = { VIEW_LIT("fRom"), VIEW_LIT("Subject"), VIEW_LIT("DATE"), VIEW_LIT("message-id"),
		VIEW_LIT("to") };
	struct buf header = BUF_INIT(1 << 16), record = BUF_INIT(1 << 20), got = BUF_INIT(1 << 16), want = got;
	unsigned seed = 4;

	(void)state;
	for (int round = 0; round < 20000; round++) {
		struct fetch_section s = { .part = PART_FIELDS, .fields = names, .field_count = 1 + (size_t)round % 5 };

		buf_reset(&header);
		buf_reset(&record);
		for (int i = rand_r(&seed) % 40; i > 0; i--)
			buf_puts(&header, pieces[(size_t)rand_r(&seed) % (sizeof(pieces) / sizeof(pieces[0]))]);
		mime_parse(buf_view(&header), &record);
		struct fetch_source src = { .prefix = round % 2 ? VIEW_LIT("To: x\r\nOther: y\r\n") : VIEW_NONE,
			.length = header.len, .read = read_view, .arg = &header, .mime = buf_view(&record) };
		find(&src, &s, &want);
		s.kept = true;
		src.read = read_fails; /* it is not read */
		find(&src, &s, &got);
		if (got.len != want.len || memcmp(got.len ? got.data : "", want.len ? want.data : "", got.len) != 0)
			fail_msg("round %d: %s\ngives %s\nnot %s", round, buf_str(&header), buf_str(&got), buf_str(&want));
		fetch_source_free(&src);
	}
	buf_free(&header);
	buf_free(&record);
	buf_free(&got);
	buf_free(&want);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(parses_items), cmocka_unit_test(finds_sections),
		cmocka_unit_test(kept_fields_are_the_headers) };

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
