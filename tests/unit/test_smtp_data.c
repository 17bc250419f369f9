/* The content reader: every case whole, cut at each place, and byte by byte must give the same. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "mailsvc/smtp/data.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define CASE(in) in, sizeof(in) - 1

struct row {
	const char *in;
	size_t len;
	const char *content; /* NULL: not looked at, since the message is refused */
	bool ended;
	enum smtp_data_fault fault;
	const char *rest; /* behind the end */
};

static const struct row data_rows[] = {
	{ CASE(".\r\n"), "", true, SMTP_DATA_CLEAN, "" },
	{ CASE("a\r\n.\r\n"), "a\r\n", true, SMTP_DATA_CLEAN, "" },
	{ CASE("a\r\n\r\nb\r\n.\r\nQUIT\r\n"), "a\r\n\r\nb\r\n", true, SMTP_DATA_CLEAN, "QUIT\r\n" },
	{ CASE("..\r\n.\r\n"), ".\r\n", true, SMTP_DATA_CLEAN, "" },
	{ CASE("a\r\n..b\r\n...\r\n.\r\n"), "a\r\n.b\r\n..\r\n", true, SMTP_DATA_CLEAN, "" },
	{ CASE(".a\r\n.\r\n"), "a\r\n", true, SMTP_DATA_CLEAN, "" },
	{ CASE("a.\r\n.\r\n"), "a.\r\n", true, SMTP_DATA_CLEAN, "" },
	{ CASE("a\r\n."), "a\r\n", false, SMTP_DATA_CLEAN, "" },
	{ CASE("a\r\n.\r"), "a\r\n", false, SMTP_DATA_CLEAN, "" },
	{ CASE("a\r\n"), "a\r\n", false, SMTP_DATA_CLEAN, "" },
	{ CASE("\r\n.\r\n"), "\r\n", true, SMTP_DATA_CLEAN, "" },
	{ CASE("\xc3\xa9\r\n.\r\n"), "\xc3\xa9\r\n", true, SMTP_DATA_CLEAN, "" },
	/* What other servers have taken for the end: here it is content, and refuses the message. */
	{ CASE("a\n.\nMAIL\r\n.\r\n"), NULL, true, SMTP_DATA_BARE_LF, "" },
	{ CASE("a\n.\r\nMAIL\r\n.\r\n"), NULL, true, SMTP_DATA_BARE_LF, "" },
	{ CASE("a\r.\rMAIL\r\n.\r\n"), NULL, true, SMTP_DATA_BARE_CR, "" },
	{ CASE("a\r.\r\nMAIL\r\n.\r\n"), NULL, true, SMTP_DATA_BARE_CR, "" },
	{ CASE("a\r\n.\nMAIL\r\n.\r\n"), NULL, true, SMTP_DATA_BARE_LF, "" },
	{ CASE("a\r\n.\rMAIL\r\n.\r\n"), NULL, true, SMTP_DATA_BARE_CR, "" },
	{ CASE("a\r\n.\r\r\nMAIL\r\n.\r\n"), NULL, true, SMTP_DATA_BARE_CR, "" },
	{ CASE("a\r\r\n.\r\n"), NULL, true, SMTP_DATA_BARE_CR, "" },
	{ CASE("a\n\r.\r\n\r\n.\r\n"), NULL, true, SMTP_DATA_BARE_LF, "" },
	{ CASE("a\r\n\0.\r\nb\r\n.\r\n"), NULL, true, SMTP_DATA_NUL, "" },
	{ CASE("a\r\n.\0\r\nb\r\n.\r\n"), NULL, true, SMTP_DATA_NUL, "" },
	{ CASE("a\r\0\n.\r\n\r\n.\r\n"), NULL, true, SMTP_DATA_BARE_CR, "" },
	{ CASE("\n.\r\nb\r\n.\r\n"), NULL, true, SMTP_DATA_BARE_LF, "" },
	{ CASE(".\nb\r\n.\r\n"), NULL, true, SMTP_DATA_BARE_LF, "" },
};

struct result {
	struct buf content;
	bool ended;
	struct smtp_data_reader reader;
	size_t used;
};

/* Feeds pieces of at most step bytes, after a first one of `first`. */
static void feed(const struct row *row, bool dots, size_t first, size_t step, struct result *out)
{
	size_t next = first;

	*out = (struct result){ .content = BUF_INIT(65536) };
	smtp_data_init(&out->reader, dots);
	while (out->used < row->len && !out->ended) {
		size_t n = row->len - out->used < next ? row->len - out->used : next;
		/* A copy of exactly this size, so that ASan sees a read beyond it. */
		char *copy = xmalloc(n);
		struct view in = { copy, n }, piece;
		enum smtp_data_status status;

		memcpy(copy, row->in + out->used, n);
		while ((status = smtp_data_read(&out->reader, &in, &piece)) == SMTP_DATA_PIECE) {
			assert_true(piece.len > 0);
			buf_addv(&out->content, piece);
		}
		assert_int_equal(piece.len, 0);
		out->ended = status == SMTP_DATA_END;
		assert_true(out->ended || in.len == 0);
		out->used += n - in.len;
		next = step;
		free(copy);
	}
}

static void check(const struct row *row, size_t index, size_t first, size_t step)
{
	struct result r;

	feed(row, true, first, step, &r);
	if (r.ended != row->ended || r.reader.fault != row->fault)
		fail_msg("row %zu cut %zu/%zu: ended %d fault %d", index, first, step, r.ended, r.reader.fault);
	if (row->content != NULL && !view_eq(buf_view(&r.content), row->content))
		fail_msg("row %zu cut %zu/%zu: content \"%s\"", index, first, step, buf_str(&r.content));
	if (!view_eq((struct view){ row->in + r.used, row->len - r.used }, row->rest))
		fail_msg("row %zu cut %zu/%zu: %zu of %zu bytes used", index, first, step, r.used, row->len);
	buf_free(&r.content);
}

static void test_data(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(data_rows); i++) {
		check(&data_rows[i], i, data_rows[i].len, data_rows[i].len);
		check(&data_rows[i], i, 1, 1);
		for (size_t cut = 1; cut < data_rows[i].len; cut++)
			check(&data_rows[i], i, cut, data_rows[i].len);
	}
}

static void test_chunks(void **state)
{
	static const struct {
		struct row row;
		bool complete; /* ended with CRLF */
	} rows[] = {
		{ { CASE("a\r\n.\r\nb"), "a\r\n.\r\nb", false, SMTP_DATA_CLEAN, "" }, false },
		{ { CASE("..a\r\n"), "..a\r\n", false, SMTP_DATA_CLEAN, "" }, true },
		{ { CASE(""), "", false, SMTP_DATA_CLEAN, "" }, true },
		{ { CASE("a\n"), NULL, false, SMTP_DATA_BARE_LF, "" }, false },
		{ { CASE("a\r"), NULL, false, SMTP_DATA_BARE_CR, "" }, false },
		{ { CASE("\0"), NULL, false, SMTP_DATA_NUL, "" }, false },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++)
		for (size_t step = 1; step < 4; step++) {
			struct result r;

			feed(&rows[i].row, false, step, step, &r);
			assert_false(r.ended);
			assert_int_equal(smtp_data_finish(&r.reader), rows[i].complete);
			assert_int_equal(r.reader.fault, rows[i].row.fault);
			if (rows[i].row.content != NULL)
				assert_true(view_eq(buf_view(&r.content), rows[i].row.content));
			buf_free(&r.content);
		}
}

static void test_eight_bit(void **state)
{
	struct smtp_data_reader r;
	struct view in = VIEW_LIT("plain\r\n"), piece;

	(void)state;
	smtp_data_init(&r, true);
	while (smtp_data_read(&r, &in, &piece) == SMTP_DATA_PIECE)
		;
	assert_false(r.eight_bit);
	in = VIEW_LIT("gr\xc3\xbc\xc3\x9f"
		      "e\r\n");
	while (smtp_data_read(&r, &in, &piece) == SMTP_DATA_PIECE)
		;
	assert_true(r.eight_bit);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_data),
		cmocka_unit_test(test_chunks),
		cmocka_unit_test(test_eight_bit),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
