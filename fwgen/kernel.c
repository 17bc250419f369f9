/*
 * kernel.h, what is there.  That nothing differs is told by netlink (netlink_same.c).  Words for what differs are
 * nft's, which reads and writes the text of rules: what is loaded is compared with what the same text gives in a
 * network namespace of its own, block by block (a set, a counter, a chain), whatever the order in which they were made.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fwgen/bans.h"
#include "fwgen/kernel.h"
#include "fwgen/netlink.h"
#include "lib/proc.h"

#define TEXT_MAX (64u << 20)

static int nft(char *const argv[], struct view in, struct buf *out, struct error *e)
{
	struct buf err = BUF_INIT(65536);
	int r = proc_run(argv, in, out, &err, e);

	if (r == -1 && errno == ETIMEDOUT) /* argv may be a shell */
		error_set(e, "nft did not end within %u seconds and was killed", proc_limit());
	else if (r == 127)
		r = error_set(e, "nft was not found; install nftables");
	else if (r > 0)
		r = error_set(e, "nft: %.400s", buf_str(&err));
	buf_free(&err);
	return r;
}

int fw_kernel_present(struct error *e)
{
	static const struct fw_model none;
	struct fw_netlink n;
	struct fw_state s;
	int err, there;

	if (fw_netlink_open(&n, e) == -1)
		return -1;
	err = fw_netlink_state(&n, &none, &s);
	there = s.present;
	if (err == 0)
		fw_state_free(&s);
	fw_netlink_close(&n);
	return err != 0 ? fw_netlink_error(err, NULL, e) : there;
}

int fw_kernel_remove(struct error *e)
{
	char *argv[] = { "nft", "delete", "table", "inet", FW_TABLE, NULL };
	int there = fw_kernel_present(e);

	return there <= 0 ? there : nft(argv, VIEW_NONE, NULL, e);
}

/* ---- a listing as blocks */

struct block {
	char *head; /* "set blocked4": what it is, and its name */
	struct view text;
};
struct blocks {
	struct buf listing;
	struct block *at;
	size_t count;
};

/* Of two with one head the later in the listing comes later. */
static int by_head(const void *a, const void *b)
{
	const struct block *one = a, *other = b;
	int order = strcmp(one->head, other->head);

	return order != 0 ? order : (one->text.ptr > other->text.ptr) - (one->text.ptr < other->text.ptr);
}

static void blocks_free(struct blocks *b)
{
	for (size_t i = 0; i < b->count; i++)
		free(b->at[i].head);
	free(b->at);
	buf_free(&b->listing);
}

static void add_block(struct blocks *b, struct view head, struct view text)
{
	b->at = xreallocarray(b->at, b->count + 1, sizeof(*b->at));
	b->at[b->count++] = (struct block){ view_dup(head), text };
}

/* Sorted; of those with one head the last stays: a set with its elements stands behind the same without. */
static void sort(struct blocks *b)
{
	size_t n = 0;

	if (b->count < 2)
		return;
	qsort(b->at, b->count, sizeof(*b->at), by_head);
	for (size_t i = 1; i < b->count; i++) {
		if (strcmp(b->at[i].head, b->at[n].head) != 0)
			n++;
		else
			free(b->at[n].head);
		b->at[n] = b->at[i];
	}
	b->count = n + 1;
}

/* A block begins with one tab and what it is, and ends with a brace below that; "flags dormant" is the table's own. */
static void cut(struct blocks *b)
{
	const char *line = buf_str(&b->listing), *next;

	for (; *line != '\0'; line = next) {
		const char *end_of_line = strchr(line, '\n'), *end;
		size_t len = end_of_line != NULL ? (size_t)(end_of_line - line) : strlen(line);

		next = line + len + (end_of_line != NULL);
		if (len < 2 || line[0] != '\t' || line[1] < 'a' || line[1] > 'z')
			continue;
		if (len < 4 || memcmp(line + len - 2, " {", 2) != 0) {
			add_block(b, (struct view){ line + 1, len - 1 }, VIEW_NONE);
			continue;
		}
		end = strstr(end_of_line != NULL ? end_of_line : line, "\n\t}\n");
		if (end == NULL)
			return;
		add_block(b, (struct view){ line + 1, len - 3 },
		    (struct view){ next, end + 1 > next ? (size_t)(end + 1 - next) : 0 });
		next = end + 4;
	}
}

/*
 * The table without counters' values and elements, then the elements of the interval sets: those of the others are bans
 * and meters.  prefix comes before nft and its arguments: a shell's command line for another namespace.
 */
static int list(const struct fw_model *m, bool scratch, struct blocks *b, struct error *e)
{
	struct buf command = BUF_INIT(65536), text = BUF_INIT(TEXT_MAX);
	char *argv[] = { scratch ? "unshare" : "sh", scratch ? "-n" : "-c", scratch ? "sh" : NULL, "-c", NULL, NULL };
	int r = 0;

	if (scratch) {
		buf_puts(&command, "nft -f - && ");
		r = fw_model_text(m, &text) < 0 ? error_set(e, "the firewall is larger than %u bytes", TEXT_MAX) : 0;
	}
	buf_puts(&command, "nft -s -t list table inet " FW_TABLE);
	for (size_t i = 0; i < m->set_count; i++)
		if (m->sets[i].interval)
			buf_printf(&command, " && { nft -s list set inet " FW_TABLE " %s 2>/dev/null || true; }",
			    m->sets[i].name);
	argv[scratch ? 4 : 2] = (char *)(uintptr_t)buf_str(&command);
	b->listing = BUF_INIT(TEXT_MAX);
	if (r == 0)
		r = nft(argv, buf_view(&text), &b->listing, e);
	if (r == 0) {
		cut(b);
		sort(b);
	}
	buf_free(&command);
	buf_free(&text);
	return r;
}

/* ---- comparing */

#define SHOWN_MAX 100 /* lines of one block and side */

/* What a block holds: its lines, and of elements each. */
struct item {
	struct view text;
	size_t place;
};
struct items {
	struct item *at;
	size_t count, room;
};

static struct view trim(struct view v)
{
	while (v.len > 0 && (v.ptr[0] == '\t' || v.ptr[0] == ' ')) {
		v.ptr++;
		v.len--;
	}
	while (v.len > 0 && v.ptr[v.len - 1] == ' ')
		v.len--;
	return v;
}

/* What stands before end, which is left out too. */
static struct view take(struct view *rest, char end)
{
	const char *at = rest->len > 0 ? memchr(rest->ptr, end, rest->len) : NULL;
	struct view part = { rest->ptr, at != NULL ? (size_t)(at - rest->ptr) : rest->len };

	rest->ptr += part.len + (at != NULL);
	rest->len -= part.len + (at != NULL);
	return trim(part);
}

static void add_item(struct items *list, struct view text)
{
	if (text.len == 0)
		return;
	if (list->count == list->room) {
		list->room = list->room > 0 ? 2 * list->room : 64;
		list->at = xreallocarray(list->at, list->room, sizeof(*list->at));
	}
	list->at[list->count] = (struct item){ text, list->count };
	list->count++;
}

static void split(struct view text, struct items *list)
{
	static const char begin[] = "elements = { ";
	bool elements = false;

	while (text.len > 0) {
		struct view line = take(&text, '\n');

		if (line.len >= sizeof(begin) - 1 && memcmp(line.ptr, begin, sizeof(begin) - 1) == 0) {
			elements = true;
			line.ptr += sizeof(begin) - 1;
			line.len -= sizeof(begin) - 1;
		}
		if (!elements) {
			add_item(list, line);
			continue;
		}
		if (line.len > 0 && line.ptr[line.len - 1] == '}') {
			elements = false;
			line.len--;
		}
		while (line.len > 0)
			add_item(list, take(&line, ','));
	}
}

static int text_order(struct view a, struct view b)
{
	int order = memcmp(a.ptr, b.ptr, a.len < b.len ? a.len : b.len);

	return order != 0 ? order : (a.len > b.len) - (a.len < b.len);
}

static int by_text(const void *a, const void *b)
{
	const struct item *one = a, *other = b;
	int order = text_order(one->text, other->text);

	return order != 0 ? order : (one->place > other->place) - (one->place < other->place);
}

static int by_place(const void *a, const void *b)
{
	const struct item *one = a, *other = b;

	return (one->place > other->place) - (one->place < other->place);
}

/* Leaves in each list what it alone has, in its order there. */
static void keep_own(struct items *a, struct items *b)
{
	size_t i = 0, k = 0, own_a = 0, own_b = 0;

	if (a->count > 0)
		qsort(a->at, a->count, sizeof(*a->at), by_text);
	if (b->count > 0)
		qsort(b->at, b->count, sizeof(*b->at), by_text);
	while (i < a->count || k < b->count) {
		int order = i == a->count ? 1 : k == b->count ? -1 : text_order(a->at[i].text, b->at[k].text);

		if (order < 0)
			a->at[own_a++] = a->at[i];
		else if (order > 0)
			b->at[own_b++] = b->at[k];
		i += order <= 0;
		k += order >= 0;
	}
	a->count = own_a;
	b->count = own_b;
	if (own_a > 0)
		qsort(a->at, own_a, sizeof(*a->at), by_place);
	if (own_b > 0)
		qsort(b->at, own_b, sizeof(*b->at), by_place);
}

static void one_side(char sign, const char *head, const struct items *list, struct buf *diff)
{
	for (size_t i = 0; i < list->count && i < SHOWN_MAX; i++)
		buf_printf(diff, "%c %s: %.*s\n", sign, head, (int)list->at[i].text.len, list->at[i].text.ptr);
	if (list->count > SHOWN_MAX)
		buf_printf(diff, "%c %s: %zu more\n", sign, head, list->count - SHOWN_MAX);
}

static bool same(struct view a, struct view b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

static void differ(const char *head, struct view has, struct view want, struct buf *diff)
{
	struct items a = { .count = 0 }, b = { .count = 0 };
	struct view first = VIEW_NONE, other = VIEW_NONE;

	split(has, &a);
	split(want, &b);
	for (size_t i = 0; i < a.count && i < b.count && first.len == 0; i++)
		if (!same(a.at[i].text, b.at[i].text)) {
			first = a.at[i].text;
			other = b.at[i].text;
		}
	keep_own(&a, &b);
	one_side('-', head, &a, diff);
	one_side('+', head, &b, diff);
	if (a.count + b.count == 0)
		buf_printf(diff, "- %s, in another order: %.*s\n+ %s, in another order: %.*s\n", head, (int)first.len,
		    first.ptr, head, (int)other.len, other.ptr);
	free(a.at);
	free(b.at);
}

static int compare(const struct blocks *has, const struct blocks *want, struct buf *diff)
{
	size_t i = 0, k = 0;
	int r = 0;

	while (i < has->count || k < want->count) {
		int order = i == has->count ? 1 : k == want->count ? -1 : strcmp(has->at[i].head, want->at[k].head);

		order = (order > 0) - (order < 0);
		if (order < 0)
			buf_printf(diff, "- %s\n", has->at[i].head);
		else if (order > 0)
			buf_printf(diff, "+ %s\n", want->at[k].head);
		else if (!same(has->at[i].text, want->at[k].text))
			differ(has->at[i].head, has->at[i].text, want->at[k].text, diff);
		else
			order = 2;
		r = r != 0 || order != 2;
		i += order != 1;
		k += order != -1;
	}
	return r;
}

int fw_kernel_compare(const struct fw_model *m, struct buf *diff, struct error *e)
{
	struct blocks has = { .count = 0 }, want = { .count = 0 };
	struct buf ignored = BUF_INIT(TEXT_MAX);
	int r = fw_netlink_can(m) ? fw_netlink_same(m, e) : 0;

	if (r != 0)
		return r > 0 ? 0 : -1;
	r = fw_kernel_present(e);
	if (r > 0)
		r = list(m, false, &has, e);
	if (r == 0)
		r = list(m, true, &want, e);
	if (r == 0)
		r = compare(&has, &want, diff != NULL ? diff : &ignored);
	blocks_free(&has);
	blocks_free(&want);
	buf_free(&ignored);
	return r;
}

/* ---- the text of what is loaded, and back */

int fw_kernel_save(struct buf *text, struct error *e)
{
	char *argv[] = { "nft", "list", "table", "inet", FW_TABLE, NULL };
	int r = fw_kernel_present(e);

	if (r <= 0)
		return r;
	buf_puts(text, "table inet " FW_TABLE "\ndelete table inet " FW_TABLE "\n");
	return nft(argv, VIEW_NONE, text, e);
}

int fw_kernel_restore(struct view text, struct error *e)
{
	char *argv[] = { "nft", "-f", "-", NULL };
	struct error ignored; /* the rules are back; guard sees to bans too */
	struct bans *bans;
	struct ban *now = NULL;
	size_t count = 0;
	bool known;
	int r;

	if (text.len == 0)
		return fw_kernel_remove(e);
	bans = bans_open(&ignored);
	known = bans != NULL && bans_list(bans, &now, &count, &ignored) == 0;
	r = nft(argv, text, NULL, e);
	if (r == 0 && known)
		bans_settle(bans, now, count, &ignored);
	free(now);
	bans_close(bans);
	return r;
}
