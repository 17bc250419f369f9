/*
 * Any bytes as the arguments of LIST, LSUB, GETMETADATA and SETMETADATA, as names of mailboxes in the namespaces, and,
 * line by line, as the tree of names that LIST answers from.
 */
#include <stdlib.h>
#include <string.h>

#include "mailsvc/imap/list.h"
#include "mailsvc/imap/metadata.h"
#include "mailsvc/imap/namespace.h"
#include "mailsvc/imap/utf7.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void arguments(const uint8_t *data, size_t size, unsigned which)
{
	static struct list_args list;
	static struct getmetadata get;
	static struct setmetadata set;
	char *text = xmalloc(size + 1);
	struct imap_parser p = imap_parser_of(text, size);
	bool taken;

	if (size > 0)
		memcpy(text, data, size);
	if (which < 2)
		taken = list_parse(&p, which == 1, &list);
	else if (which == 2)
		taken = metadata_parse_get(&p, &get);
	else
		taken = metadata_parse_set(&p, &set);
	if (!taken && p.error == NULL)
		abort();
	if (taken && p.p != p.end)
		abort();
	if (taken && which == 2 && get.depth == 0 && !metadata_wanted(&get, "/shared/x") && get.count == 0)
		abort();
	for (size_t i = 0; taken && which == 3 && i < set.count; i++)
		if (!metadata_entry_valid(set.values[i].entry, false))
			abort();
	free(text);
}

static void name(struct view v)
{
	char *text = view_dup(v), owner[ADDRESS_MAX], again[ADDRESS_MAX];
	struct buf whole = BUF_INIT(IMAP_NAME_MAX * 2);
	enum name_space space, same;
	const char *rest, *rest_again;

	/* What is split and put together again is the same place. */
	if (namespace_split(text, &space, owner, &rest)) {
		namespace_put(&whole, space == NAMESPACE_SHARED, owner, rest);
		if (!whole.full && (!namespace_split(buf_str(&whole), &same, again, &rest_again) || same != space ||
				       strcmp(owner, again) != 0 || strcmp(rest, rest_again) != 0))
			abort();
	} else if (space != NAMESPACE_PERSONAL) {
		abort();
	}
	buf_free(&whole);
	free(text);
}

static void tree(struct view v, unsigned select)
{
	struct list_names n = { 0 };
	size_t listed = 0, count = 0;

	while (v.len > 0 && count++ < 200) {
		const char *end = memchr(v.ptr, '\n', v.len);
		struct view line = { v.ptr, end != NULL ? (size_t)(end - v.ptr) : v.len };
		struct list_name *e;
		size_t taken = line.len + (end != NULL);

		v = (struct view){ v.ptr + taken, v.len - taken };
		name(line);
		if (line.len == 0 || line.len > 300 || memchr(line.ptr, '\0', line.len) != NULL)
			continue;
		e = list_add(&n, line);
		e->mailbox = (uint32_t)(line.len % 3);
		e->subscribed = line.len % 2;
		e->special = line.len % 5 == 0 ? SPECIAL_SENT : SPECIAL_NONE;
	}
	list_link(&n);
	for (size_t i = 0; i < n.count; i++)
		n.at[i].matched = list_match(view_of(select % 2 ? "*" : "%/%"), view_of(n.at[i].name));
	list_choose(&n, select % 3 == 0, select);
	for (size_t i = 0; i < n.count; i++) {
		if (n.at[i].listed && !n.at[i].matched)
			abort();
		if (n.at[i].parent != LIST_NO_PARENT && n.at[i].parent >= i)
			abort();
		if (i > 0 && strcmp(n.at[i - 1].name, n.at[i].name) == 0)
			abort();
		listed += n.at[i].listed;
	}
	if (listed > n.count)
		abort();
	list_names_free(&n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	for (unsigned which = 0; which < 4; which++)
		arguments(data, size, which);
	tree((struct view){ (const char *)data, size }, size > 0 ? data[0] : 0);
	return 0;
}
