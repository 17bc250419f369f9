/* Log lines: any bytes are read, and every value that text_escape wrote is read back. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "lib/logline.h"
#include "lib/text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct view in = { (const char *)data, size }, key;
	struct buf value = BUF_INIT(1 << 20), line = BUF_INIT(1 << 20);
	struct log_line l;
	size_t pos = 0;

	log_line_parse(in, &l);
	while (log_pair_next(in, &pos, &key, &value))
		if (key.len == 0 || pos > size)
			abort();
	buf_puts(&line, "a=");
	text_escape(&line, in, size);
	buf_puts(&line, " b=c");
	if (!line.full && (!log_pair_find(buf_view(&line), "a", &value) || value.len != size ||
	                      (size > 0 && memcmp(value.data, data, size) != 0)))
		abort();
	buf_free(&value);
	buf_free(&line);
	return 0;
}
