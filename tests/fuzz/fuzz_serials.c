/* Any bytes as STATE/serials: refused with a reason, or read, found again by name, and written as the same text; and
 * any bytes as a zone file whose serial is looked for and replaced. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "dnsgen/serials.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void replace_serial(struct view text)
{
	struct buf out = BUF_INIT(1u << 20);
	struct view digits;
	uint32_t value;
	if (zone_text_serial(text, &digits, &value)) {
		uint32_t next = serial_next(value, 1), seen;
		zone_text_with_serial(text, next, &out);
		if (!out.full && (!zone_text_serial(buf_view(&out), &digits, &seen) || seen != next || seen == value ||
				     !zone_text_same(text, buf_view(&out))))
			abort();
	}
	buf_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct view text = { (const char *)data, size };
	struct serials serials, again;
	struct buf out = BUF_INIT(1u << 20);
	struct error e;

	replace_serial(text);
	if (serials_parse(text, "serials", &serials, &e) == 0) {
		for (size_t i = 0; i < serials.count; i++)
			if (serials_find(&serials, serials.at[i].zone) != &serials.at[i])
				abort();
		serials_text(&serials, &out);
		if (!out.full &&
		    (serials_parse(buf_view(&out), "serials", &again, &e) == -1 || again.count != serials.count))
			abort();
		if (!out.full)
			serials_free(&again);
		serials_free(&serials);
	}
	buf_free(&out);
	return 0;
}
