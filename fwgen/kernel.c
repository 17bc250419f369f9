/*
 * kernel.h through nft(8), which reads and writes the text of rules.  What is loaded is compared with what the same
 * text gives in a network namespace of its own, block by block (a set, a counter, a chain), whatever the order in which
 * they were made.
 */
#include <stdlib.h>
#include <string.h>

#include "fwgen/kernel.h"
#include "fwgen/model.h"
#include "lib/proc.h"

#define TEXT_MAX (64u << 20)
#define INTERVAL "\t\tflags interval\n"

static int nft(char *const argv[], struct view in, struct buf *out, struct error *e)
{
	struct buf err = BUF_INIT(65536);
	int r = proc_run(argv, in, out, &err, e);

	if (r == 127)
		r = error_set(e, "nft was not found; install nftables");
	else if (r > 0)
		r = error_set(e, "nft: %.400s", buf_str(&err));
	buf_free(&err);
	return r;
}

int fw_kernel_present(struct error *e)
{
	char *argv[] = { "nft", "list", "tables", "inet", NULL };
	struct buf out = BUF_INIT(1 << 20);
	int r = nft(argv, VIEW_NONE, &out, e);

	if (r == 0)
		r = strstr(buf_str(&out), "table inet " FW_TABLE "\n") != NULL;
	buf_free(&out);
	return r;
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

static int by_head(const void *a, const void *b)
{
	return strcmp(((const struct block *)a)->head, ((const struct block *)b)->head);
}

static void blocks_free(struct blocks *b)
{
	for (size_t i = 0; i < b->count; i++)
		free(b->at[i].head);
	free(b->at);
	buf_free(&b->listing);
}

/* A block begins with one tab and what it is, and ends with a brace below that. */
static void cut(struct blocks *b)
{
	const char *line = buf_str(&b->listing), *next;

	for (; *line != '\0'; line = next) {
		const char *brace = strchr(line, '{'), *end = strstr(line, "\n\t}\n");

		next = strchr(line, '\n');
		next = next != NULL ? next + 1 : line + strlen(line);
		if (line[0] != '\t' || line[1] < 'a' || line[1] > 'z' || brace == NULL || end == NULL ||
		    brace < line + 2)
			continue;
		b->at = xreallocarray(b->at, b->count + 1, sizeof(*b->at));
		b->at[b->count++] = (struct block){ view_dup((struct view){ line + 1, (size_t)(brace - line) - 2 }),
			{ next, (size_t)(end + 1 - next) } };
		if (end + 1 < next) /* nothing in it */
			b->at[b->count - 1].text.len = 0;
		next = end + 4;
	}
	if (b->count > 1)
		qsort(b->at, b->count, sizeof(*b->at), by_head);
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
	if (r == 0)
		cut(b);
	buf_free(&command);
	buf_free(&text);
	return r;
}

/* ---- comparing */

static struct view next_line(struct view *rest)
{
	const char *end = rest->len > 0 ? memchr(rest->ptr, '\n', rest->len) : NULL;
	struct view line = { rest->ptr, end != NULL ? (size_t)(end - rest->ptr) : rest->len };

	rest->ptr += line.len + (end != NULL);
	rest->len -= line.len + (end != NULL);
	while (line.len > 0 && line.ptr[0] == '\t') {
		line.ptr++;
		line.len--;
	}
	return line;
}

static bool same(struct view a, struct view b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

static bool has_line(struct view text, struct view line)
{
	while (text.len > 0) {
		struct view l = next_line(&text);

		if (same(l, line))
			return true;
	}
	return false;
}

static void one_side(char sign, const char *head, struct view text, struct view other, struct buf *diff)
{
	while (text.len > 0) {
		struct view line = next_line(&text);

		if (line.len > 0 && !has_line(other, line))
			buf_printf(diff, "%c %s: %.*s\n", sign, head, (int)line.len, line.ptr);
	}
}

static void differ(const char *head, struct view has, struct view want, struct buf *diff)
{
	size_t before = diff->len;

	one_side('-', head, has, want, diff);
	one_side('+', head, want, has, diff);
	if (diff->len == before)
		buf_printf(diff, "- %s: in another order\n", head);
}

static int compare(const struct blocks *has, const struct blocks *want, struct buf *diff)
{
	size_t i = 0, k = 0;
	int r = 0;

	while (i < has->count || k < want->count) {
		int order = i == has->count ? 1 : k == want->count ? -1 : strcmp(has->at[i].head, want->at[k].head);

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
	int r = fw_kernel_present(e);

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

/* ---- loading, and back */

static bool in_model(const struct fw_model *m, const char *head)
{
	const char *name = strchr(head, ' ');

	if (name == NULL)
		return true;
	name++;
	if (strncmp(head, "set ", 4) == 0)
		return fw_set_find(m, name) != NULL;
	if (strncmp(head, "chain ", 6) == 0)
		return fw_chain_known(m, name);
	for (size_t i = 0; i < m->counter_count && strncmp(head, "counter ", 8) == 0; i++)
		if (strcmp(m->counters[i], name) == 0)
			return true;
	return false;
}

/* What an older site left, which no rule names any more. */
static int put_leftovers(const struct fw_model *m, struct buf *text, struct error *e)
{
	struct blocks has = { .count = 0 };
	int r = fw_kernel_present(e);

	if (r > 0)
		r = list(m, false, &has, e);
	for (size_t i = 0; r == 0 && i < has.count; i++)
		if (!in_model(m, has.at[i].head)) {
			const char *name = strchr(has.at[i].head, ' ') + 1;
			buf_printf(text, "delete %.*s inet " FW_TABLE " %s\n", (int)(name - has.at[i].head) - 1,
			    has.at[i].head, name);
		}
	blocks_free(&has);
	return r;
}

int fw_kernel_load(const struct fw_model *m, struct error *e)
{
	char *argv[] = { "nft", "-f", "-", NULL };
	struct buf text = BUF_INIT(TEXT_MAX);
	int r = fw_model_text(m, &text) < 0 ? error_set(e, "the firewall is larger than %u bytes", TEXT_MAX)
	                                    : put_leftovers(m, &text, e);

	if (r == 0)
		r = nft(argv, buf_view(&text), NULL, e);
	buf_free(&text);
	return r;
}

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

	return text.len == 0 ? fw_kernel_remove(e) : nft(argv, text, NULL, e);
}
