/*
 * The command reader and the argument parser.  The first byte chooses the size of the pieces: whole and piecewise
 * reading must give the same commands, and every parser of arguments gets each of them.
 */
#include <stdlib.h>
#include <string.h>

#include "mailsvc/imap/parse.h"
#include "mailsvc/imap/reader.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct imap_reader_limits limits = { .line = 200, .literal = 100, .total = 400, .discard = 1000 };

static void parse_all(struct view command)
{
	typedef bool (*string_fn)(struct imap_parser *, struct view *);
	static const string_fn strings[] = { imap_parse_tag, imap_parse_atom, imap_parse_word, imap_parse_string,
		imap_parse_astring, imap_parse_nstring, imap_parse_list_mailbox };
	char name[IMAP_NAME_MAX + 1];

	for (unsigned which = 0; which < 12; which++) {
		char *text = malloc(command.len > 0 ? command.len : 1);
		struct imap_parser p = imap_parser_of(text, command.len);
		struct imap_flags flags;
		struct imap_set set;
		struct view v;
		int64_t when;
		uint64_t n;

		if (command.len > 0)
			memcpy(text, command.ptr, command.len);
		while (p.p < p.end) {
			const char *before = p.p;
			bool taken = false;

			if (which < 7)
				taken = strings[which](&p, &v);
			else if (which == 7 && (taken = imap_parse_set(&p, &set)))
				imap_set_free(&set);
			else if (which == 8 && (taken = imap_parse_flags(&p, true, &flags)))
				imap_flags_free(&flags);
			else if (which == 9)
				taken = imap_parse_mailbox(&p, name);
			else if (which == 10)
				taken = imap_parse_date(&p, &when) || imap_parse_datetime(&p, &when);
			else if (which == 11)
				taken = imap_parse_number64(&p, &n) || imap_parse_id(&p);
			if (!taken && p.error == NULL)
				abort();
			if (p.p > p.end || p.p < before)
				abort();
			if (p.p == before)
				p.p++;
		}
		free(text);
	}
}

static void run(const uint8_t *data, size_t size, size_t step, struct buf *out)
{
	struct imap_reader r;
	size_t pos = 0, used;

	imap_reader_init(&r, &limits);
	for (;;) {
		size_t n = size - pos < step ? size - pos : step;
		enum reader_status status = imap_reader_feed(&r, (const char *)data + pos, n, &used);

		pos += used;
		if (status == READER_MORE && pos == size)
			break;
		if (status == READER_LITERAL)
			imap_reader_take(&r);
		if (status == READER_COMMAND) {
			parse_all(buf_view(&r.text));
			buf_addv(out, buf_view(&r.text));
			buf_puts(out, "\n--\n");
			imap_reader_next(&r);
		}
		if (status == READER_FATAL)
			break;
		if (status == READER_ERROR)
			imap_reader_next(&r);
	}
	imap_reader_next(&r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf whole = BUF_INIT(1 << 24), pieces = BUF_INIT(1 << 24);

	if (size < 1 || size > 5000)
		return 0;
	run(data + 1, size - 1, size, &whole);
	run(data + 1, size - 1, data[0] % 16 + 1u, &pieces);
	/* How much is thrown away before the stream is given up depends on the pieces; what is read before does not. */
	if (memcmp(whole.data == NULL ? "" : whole.data, pieces.data == NULL ? "" : pieces.data,
		whole.len < pieces.len ? whole.len : pieces.len) != 0)
		abort();
	buf_free(&whole);
	buf_free(&pieces);
	return 0;
}
