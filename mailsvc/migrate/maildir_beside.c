/* maildir.h: dovecot-uidlist, courierimapuiddb, dovecot-keywords, courierimapkeywords. */
#include <stdlib.h>
#include <string.h>

#include "mailsvc/migrate/maildir.h"

#define UIDS_MAX 20000000
#define COURIER_MAX 1000

bool maildir_line(struct view *rest, struct view *line)
{
	const char *end = rest->len > 0 ? memchr(rest->ptr, '\n', rest->len) : NULL;
	size_t n = end ? (size_t)(end - rest->ptr) : rest->len;

	if (rest->len == 0)
		return false;
	*line = (struct view){ rest->ptr, n };
	rest->ptr += end ? n + 1 : n;
	rest->len -= end ? n + 1 : n;
	if (line->len > 0 && line->ptr[line->len - 1] == '\r')
		line->len--;
	return true;
}

/* The next word of a line. */
static bool word(struct view *rest, struct view *out)
{
	size_t n = 0;

	while (rest->len > 0 && rest->ptr[0] == ' ') {
		rest->ptr++;
		rest->len--;
	}
	while (n < rest->len && rest->ptr[n] != ' ')
		n++;
	*out = (struct view){ rest->ptr, n };
	rest->ptr += n;
	rest->len -= n;
	return n > 0;
}

static uint32_t number(struct view v)
{
	uint64_t n;

	return view_u64(v, UINT32_MAX, &n) == 0 ? (uint32_t)n : 0;
}

static int by_name(struct view a, struct view b)
{
	int c = memcmp(a.ptr, b.ptr, a.len < b.len ? a.len : b.len);

	return c != 0 ? c : a.len < b.len ? -1 : a.len > b.len;
}

static int uid_order(const void *pa, const void *pb)
{
	return by_name(((const struct maildir_uid *)pa)->base, ((const struct maildir_uid *)pb)->base);
}

static int marked_order(const void *pa, const void *pb)
{
	return by_name(((const struct maildir_numbers *)pa)->base, ((const struct maildir_numbers *)pb)->base);
}

static struct view base_of(struct view name)
{
	const char *colon = name.len > 0 ? memchr(name.ptr, ':', name.len) : NULL;

	return colon ? (struct view){ name.ptr, (size_t)(colon - name.ptr) } : name;
}

/* "3 V1275660208 N25022 G..." or "1 1275660208 25022". */
static int uidlist_head(struct maildir_beside *b, struct view line, bool *extended)
{
	struct view w;

	if (!word(&line, &w) || (!view_eq(w, "3") && !view_eq(w, "1") && !view_eq(w, "2")))
		return -1;
	*extended = view_eq(w, "3");
	if (!*extended) {
		b->uid_validity = word(&line, &w) ? number(w) : 0;
		b->uid_next = word(&line, &w) ? number(w) : 0;
	}
	while (*extended && word(&line, &w)) {
		struct view value = { w.ptr + 1, w.len - 1 };
		if (w.ptr[0] == 'V')
			b->uid_validity = number(value);
		else if (w.ptr[0] == 'N')
			b->uid_next = number(value);
	}
	return b->uid_validity == 0 ? -1 : 0;
}

int maildir_uidlist(struct maildir_beside *b, struct view text)
{
	struct view line, w, name;
	size_t size = 0;
	bool extended;

	if (!maildir_line(&text, &line) || uidlist_head(b, line, &extended) < 0)
		return -1;
	while (maildir_line(&text, &line) && b->uid_count < UIDS_MAX) {
		uint32_t uid = word(&line, &w) ? number(w) : 0;

		if (uid == 0)
			continue;
		name = VIEW_NONE;
		while (word(&line, &w)) /* "W2481 :base:2", or the name itself */
			if (!extended || w.ptr[0] == ':') {
				name = (struct view){ w.ptr + extended, w.len - extended };
				break;
			}
		if (name.len == 0)
			continue;
		if (b->uid_count == size) {
			size = size ? size * 2 : 256;
			b->uids = xreallocarray(b->uids, size, sizeof(*b->uids));
		}
		b->uids[b->uid_count++] = (struct maildir_uid){ base_of(name), uid };
	}
	if (b->uid_count > 1)
		qsort(b->uids, b->uid_count, sizeof(*b->uids), uid_order);
	return 0;
}

uint32_t maildir_uid(const struct maildir_beside *b, struct view base)
{
	struct maildir_uid key = { base, 0 };
	const struct maildir_uid *found =
	    b->uid_count > 0 ? bsearch(&key, b->uids, b->uid_count, sizeof(key), uid_order) : NULL;

	return found ? found->uid : 0;
}

void maildir_keywords(struct maildir_beside *b, struct view text)
{
	struct view line, w;
	uint64_t n;

	while (maildir_line(&text, &line))
		if (word(&line, &w) && view_u64(w, 25, &n) == 0 && word(&line, &w))
			b->letters[n] = w;
}

void maildir_courier(struct maildir_beside *b, struct view text)
{
	struct view line;
	size_t size = 0;

	b->courier = xcalloc(COURIER_MAX, sizeof(*b->courier));
	while (maildir_line(&text, &line) && line.len > 0)
		if (b->courier_count < COURIER_MAX)
			b->courier[b->courier_count++] = line;
	while (maildir_line(&text, &line) && b->marked_count < UIDS_MAX) {
		const char *colon = line.len > 0 ? memrchr(line.ptr, ':', line.len) : NULL;
		size_t n = colon ? (size_t)(colon - line.ptr) : 0;

		if (colon == NULL)
			continue;
		if (b->marked_count == size) {
			size = size ? size * 2 : 64;
			b->marked = xreallocarray(b->marked, size, sizeof(*b->marked));
		}
		b->marked[b->marked_count++] =
		    (struct maildir_numbers){ base_of((struct view){ line.ptr, n }), { colon + 1, line.len - n - 1 } };
	}
	if (b->marked_count > 1)
		qsort(b->marked, b->marked_count, sizeof(*b->marked), marked_order);
}

struct view maildir_courier_numbers(const struct maildir_beside *b, struct view base)
{
	struct maildir_numbers key = { .base = base };
	const struct maildir_numbers *found =
	    b->marked_count > 0 ? bsearch(&key, b->marked, b->marked_count, sizeof(key), marked_order) : NULL;

	return found ? found->numbers : VIEW_NONE;
}

bool maildir_courier_keyword(const struct maildir_beside *b, struct view *numbers, struct view *name)
{
	struct view w;
	uint64_t n;

	while (word(numbers, &w))
		if (b->courier_count > 0 && view_u64(w, b->courier_count - 1, &n) == 0) {
			*name = b->courier[n];
			return true;
		}
	return false;
}

void maildir_beside_free(struct maildir_beside *b)
{
	free(b->uids);
	free(b->courier);
	free(b->marked);
	*b = (struct maildir_beside){ 0 };
}
