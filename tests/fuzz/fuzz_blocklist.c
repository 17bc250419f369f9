/*
 * Any bytes as a block list: refused with the line that is wrong, or read into ranges that are sorted, apart, and give
 * the same when they are written and read again.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "fwgen/model.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void put(const struct fw_ranges *r, struct buf *out)
{
	char text[128];

	for (size_t i = 0; i < r->count; i++) {
		if (i > 0 && memcmp(r->at[i - 1].last, r->at[i].first, 16) >= 0)
			abort();
		if (memcmp(r->at[i].first, r->at[i].last, 16) > 0 || !fw_ranges_hold(r, r->at[i].last))
			abort();
		fw_range_text(r->type, &r->at[i], text, sizeof(text));
		buf_printf(out, "%s\n", text);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fw_ranges v4 = { .type = FW_TYPE_IPV4 }, v6 = { .type = FW_TYPE_IPV6 };
	struct fw_ranges again4 = { .type = FW_TYPE_IPV4 }, again6 = { .type = FW_TYPE_IPV6 };
	struct buf one = BUF_INIT(1 << 24), other = BUF_INIT(1 << 24);
	struct error e = { "" };
	unsigned line = 0;

	if (fw_blocklist_parse((struct view){ (const char *)data, size }, &v4, &v6, &line, &e) == -1) {
		if (line == 0 || line > size + 1 || e.text[0] == '\0')
			abort();
	} else {
		put(&v4, &one);
		put(&v6, &one);
		if (fw_blocklist_parse(buf_view(&one), &again4, &again6, &line, &e) == -1)
			abort();
		put(&again4, &other);
		put(&again6, &other);
		if (one.len != other.len || (one.len > 0 && memcmp(one.data, other.data, one.len) != 0))
			abort();
	}
	buf_free(&one);
	buf_free(&other);
	fw_ranges_free(&v4);
	fw_ranges_free(&v6);
	fw_ranges_free(&again4);
	fw_ranges_free(&again6);
	return 0;
}
