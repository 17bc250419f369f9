/*
 * Block lists: an address, a prefix or a range "A-B" a line; what follows it, and comments after # or ;, do not count
 * (lists of the Internet have "1.2.3.0/24 ; SBL1").  Everything is merged, so that an interval set takes it.
 */
#include <string.h>

#include "fwgen/model.h"
#include "lib/text.h"

#define LINE_MAX_BYTES 1024
#define ENTRIES_MAX 2000000u

static int add_word(const char *word, struct fw_ranges *v4, struct fw_ranges *v6)
{
	struct fw_ranges *list = strchr(word, ':') != NULL ? v6 : v4;
	struct fw_ranges ends = { .type = list->type };
	const char *dash = strchr(word, '-');
	struct fw_range range;
	char first[64];
	int r = -1;

	if (dash == NULL)
		return fw_ranges_add_prefix(list, word);
	if (view_copy((struct view){ word, (size_t)(dash - word) }, first, sizeof(first)) == 0 &&
	    fw_ranges_add_prefix(&ends, first) == 0 && fw_ranges_add_prefix(&ends, dash + 1) == 0 && ends.count == 2 &&
	    fw_range_single(list->type, &ends.at[0]) && fw_range_single(list->type, &ends.at[1]) &&
	    memcmp(ends.at[0].first, ends.at[1].last, 16) <= 0) {
		range = ends.at[0];
		memcpy(range.last, ends.at[1].last, sizeof(range.last));
		fw_ranges_add(list, &range);
		r = 0;
	}
	fw_ranges_free(&ends);
	return r;
}

static int add_line(struct view line, struct fw_ranges *v4, struct fw_ranges *v6)
{
	char word[128];
	size_t start = 0, end;

	while (start < line.len && strchr(" \t\r", line.ptr[start]) != NULL && line.ptr[start] != '\0')
		start++;
	for (end = start; end < line.len && line.ptr[end] != '\0' && strchr(" \t\r#;", line.ptr[end]) == NULL;)
		end++;
	if (end < line.len && line.ptr[end] == '\0')
		return -1;
	if (end == start)
		return 0;
	return view_copy((struct view){ line.ptr + start, end - start }, word, sizeof(word)) == -1
	           ? -1
	           : add_word(word, v4, v6);
}

/* Is what was added last all addresses? */
static bool is_everybody(const struct fw_ranges *r)
{
	return r->count > 0 && fw_range_bits(r->type, &r->at[r->count - 1]) == 0;
}

static int bad_line(struct view line, const char *why, struct error *e)
{
	struct buf shown = BUF_INIT(256);

	text_escape(&shown, line, 40);
	error_set(e, "'%s' %s", buf_str(&shown), why);
	buf_free(&shown);
	return -1;
}

int fw_blocklist_parse(struct view text, struct fw_ranges *v4, struct fw_ranges *v6, unsigned *line, struct error *e)
{
	*line = 0;
	while (text.len > 0) {
		const char *end = memchr(text.ptr, '\n', text.len);
		struct view one = { text.ptr, end != NULL ? (size_t)(end - text.ptr) : text.len };

		++*line;
		if (one.len > LINE_MAX_BYTES)
			return error_set(e, "the line is longer than %d bytes", LINE_MAX_BYTES);
		if (add_line(one, v4, v6) == -1)
			return bad_line(one, "begins with no address, prefix or range; write one, or begin it with #", e);
		if (is_everybody(v4) || is_everybody(v6))
			return bad_line(one, "would block everybody; remove it", e);
		if (v4->count + v6->count > ENTRIES_MAX)
			return error_set(e, "there are more than %u entries", ENTRIES_MAX);
		text.ptr += one.len + (end != NULL);
		text.len -= one.len + (end != NULL);
	}
	fw_ranges_merge(v4);
	fw_ranges_merge(v6);
	return 0;
}
