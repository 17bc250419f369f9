/* Transfer encodings undone in stretches of any length, binary messages encoded, and previews. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "mailsvc/mime/mime.h"

static void expect(const char *what, struct view got, struct view want)
{
	if (got.len != want.len || memcmp(got.ptr ? got.ptr : "", want.ptr, got.len) != 0)
		fail_msg("%s: got \"%.*s\", want \"%.*s\"", what, (int)got.len, got.ptr, (int)want.len, want.ptr);
}

/* Gives the decoder at most step more bytes at a time than it left. */
static void decode(struct view header, struct view body, size_t step, struct buf *out)
{
	struct mime_decoder d = mime_decoder_of(header);
	size_t from = 0, to = 0;

	while (from < body.len) {
		to = body.len - to < step ? body.len : to + step;
		from += mime_decode_some(&d, (struct view){ body.ptr + from, to - from }, to == body.len, out);
		assert_true(from <= to && (to < body.len || from == to));
	}
}

static void decodes_in_stretches(void **state)
{
#define QP "Content-Transfer-Encoding: quoted-printable\r\n\r\n"
#define B64 "Content-Transfer-Encoding: base64\r\n\r\n"
	static const struct {
		const char *header, *in, *want;
	} cases[] = {
		{ QP, "a=3Db=\r\nc  \r\nd =\r\n e\t", "a=bc\r\nd  e" },
		{ QP, "=", "" },
		{ QP, "=4", "=4" },
		{ QP, "=zz=C3=bC\n=\n", "=zz\xc3\xbc\n" },
		{ QP, "soft= \t \r\nbreak", "softbreak" },
		{ B64, "aGFs\r\nbG8=", "hallo" },
		{ B64, " a G-F s\tbG8\r\n", "hallo" },
		{ B64, "aGFsbG8=ignored", "hallo" },
		{ "Content-Transfer-Encoding: 8BIT\r\n\r\n", "a=3D", "a=3D" },
		{ "\r\n", "plain", "plain" },
	};
	struct buf out = BUF_INIT(1 << 20), long_line = BUF_INIT(1 << 20), want = BUF_INIT(1 << 20);

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		for (size_t step = 1; step <= strlen(cases[i].in); step++) {
			buf_reset(&out);
			decode(view_of(cases[i].header), view_of(cases[i].in), step, &out);
			expect(cases[i].in, buf_view(&out), view_of(cases[i].want));
		}
	}
	for (int i = 0; i < 30000; i++) { /* a line that never ends gets on, and no "=XX" is torn */
		buf_puts(&long_line, i % 3 ? "=C3" : "x");
		buf_puts(&want, i % 3 ? "\xc3" : "x");
	}
	for (size_t step = 4090; step < 4200; step++) {
		buf_reset(&out);
		decode(view_of(QP), buf_view(&long_line), step, &out);
		expect("a long line", buf_view(&out), buf_view(&want));
	}
	assert_int_equal(mime_decoder_of(view_of("Content-Transfer-Encoding: x-uu\r\n\r\n")).encoding, ENCODING_OTHER);
	buf_free(&out);
	buf_free(&long_line);
	buf_free(&want);
}

static void encodes_binary(void **state)
{
	static const char in[] =
	    "Content-Type: multipart/mixed; boundary=x\r\nContent-Transfer-Encoding: BINARY\r\n\r\npre\r\n--x\r\n"
	    "Content-Transfer-Encoding: binary\r\nA: b\r\n\r\n\0\1\2\r\n--x\r\nContent-Type: "
	    "text/plain\r\n\r\n=41\r\n--x--\r\n";
	static const char want[] =
	    "Content-Type: multipart/mixed; boundary=x\r\nContent-Transfer-Encoding: 8bit\r\n\r\npre\r\n--x\r\n"
	    "Content-Transfer-Encoding: base64\r\nA: b\r\n\r\nAAEC\r\n--x\r\nContent-Type: "
	    "text/plain\r\n\r\n=41\r\n--x--\r\n";
	static const char root[] = "Content-Transfer-Encoding: binary\r\n\r\n";
	struct buf out = BUF_INIT(1 << 20), message = BUF_INIT(1 << 20), back = BUF_INIT(1 << 20);

	(void)state;
	assert_true(mime_encode_binary((struct view){ in, sizeof(in) - 1 }, &out));
	expect("multipart", buf_view(&out), (struct view){ want, sizeof(want) - 1 });
	for (size_t len = 0; len < 400; len++) { /* what comes back is what went in, in lines of 76 */
		buf_reset(&message);
		buf_reset(&out);
		buf_reset(&back);
		buf_puts(&message, root);
		for (size_t i = 0; i < len; i++)
			buf_addc(&message, (char)(i * 37));
		assert_true(mime_encode_binary(buf_view(&message), &out));
		buf_drop(&out, mime_header_len(buf_view(&out)));
		for (size_t i = 0; i < out.len; i += 78)
			assert_true(out.len - i < 78 || memcmp(out.data + i + 76, "\r\n", 2) == 0);
		decode(view_of(B64), buf_view(&out), 1000, &back);
		expect("root", buf_view(&back), (struct view){ message.data + sizeof(root) - 1, len });
	}
	out.max = 10;
	assert_false(mime_encode_binary((struct view){ in, sizeof(in) - 1 }, &out));
	buf_free(&out);
	buf_free(&message);
	buf_free(&back);
}

static void previews(void **state)
{
	static const struct {
		const char *header, *body, *want;
	} cases[] = {
		{ "\r\n", "", "" },
		{ "\r\n", " a \t\r\n\r\n b\x01\x7f", "a b" },
		{ "\r\n", "> q\r\n > q\r\nown > text\r\n>", "own > text" },
		{ "\r\n", "> q\r\n", "> q" },
		{ "\r\n", "0123456789abc", "0123456789" },
		{ "\r\n", "012345678 9", "012345678" },
		{ "Content-Type: text/html\r\n\r\n", "<p>a&amp;b</p><script>x</script>c", "a&b c" },
		{ "Content-Type: text/plain; charset=utf-8\r\n\r\n",
		    "\xc2\xa0\xe2\x80\x8b\xc3\xa9\xe2\x80\x83\xf0\x9f\x98\x80", "\xc3\xa9 \xf0\x9f\x98\x80" },
		{ "Content-Type: image/png\r\n\r\n", "png", "" },
	};
	struct buf out = BUF_INIT(4096);

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		buf_reset(&out);
		mime_leaf_preview(view_of(cases[i].header), view_of(cases[i].body), 10, &out);
		expect(cases[i].body, buf_view(&out), view_of(cases[i].want));
	}
	buf_free(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(decodes_in_stretches), cmocka_unit_test(encodes_binary),
		cmocka_unit_test(previews) };

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
