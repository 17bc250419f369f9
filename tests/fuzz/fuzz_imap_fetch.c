/* Any bytes as the items of a FETCH; the sections that come of it are looked for in a message. */
#include <stdlib.h>
#include <string.h>

#include "mailsvc/imap/fetch.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char message[] =
    "Subject: s\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n\r\none\r\n--x\r\nContent-Type: "
    "message/rfc822\r\n\r\n"
    "Subject: t\r\nContent-Type: multipart/mixed; boundary=y\r\n\r\n--y\r\n\r\ntwo\r\n--y--\r\n--x--\r\n";

static int read_memory(void *arg, uint64_t offset, void *dst, size_t length)
{
	(void)arg;
	if (offset > sizeof(message) - 1 || length > sizeof(message) - 1 - offset)
		abort();
	memcpy(dst, message + offset, length);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fetch_source src = {
		.prefix = VIEW_LIT("P: q\r\n"), .length = sizeof(message) - 1, .read = read_memory
	};
	struct buf scratch = BUF_INIT(1 << 20), out = BUF_INIT(1 << 20);
	char *text = xmalloc(size + 1);
	struct imap_parser p = imap_parser_of(text, size);
	struct fetch_items items;

	if (size)
		memcpy(text, data, size);
	if (fetch_items_parse(&p, size & 1, &items)) {
		for (size_t i = 0; i < items.count; i++) {
			struct fetch_content c;

			if (items.at[i].kind != FETCH_CONTENT && items.at[i].kind != FETCH_BINARY)
				continue;
			if (fetch_section_find(&src, &items.at[i].section, &scratch, &c) != 0 ||
			    fetch_source_read(&src, c.offset, c.length, &out) != 0)
				abort();
		}
	}
	fetch_items_free(&items);
	fetch_source_free(&src);
	buf_free(&scratch);
	buf_free(&out);
	free(text);
	return 0;
}
