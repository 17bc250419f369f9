/* GETMETADATA and SETMETADATA: arguments and entry names. */
#include "metadata.h"

#include <limits.h>
#include <string.h>
#include <strings.h>

static const struct view roots[] = { { "/private", 8 }, { "/shared", 7 } };

static const struct view *root_of(struct view entry)
{
	for (size_t i = 0; i < sizeof(roots) / sizeof(roots[0]); i++)
		if (entry.len >= roots[i].len && strncasecmp(entry.ptr, roots[i].ptr, roots[i].len) == 0 &&
		    (entry.len == roots[i].len || entry.ptr[roots[i].len] == '/'))
			return &roots[i];
	return NULL;
}

bool metadata_is_private(struct view entry)
{
	return root_of(entry) == &roots[0];
}

bool metadata_entry_valid(struct view entry, bool depth)
{
	const struct view *root = root_of(entry);

	if (root == NULL || entry.len > METADATA_ENTRY_MAX || entry.ptr[entry.len - 1] == '/' ||
	    (entry.len == root->len && !depth))
		return false;
	for (size_t i = 0; i < entry.len; i++) {
		char c = entry.ptr[i];

		if (c <= 0x20 || c >= 0x7f || c == '*' || c == '%' || (c == '/' && i > 0 && entry.ptr[i - 1] == '/'))
			return false;
	}
	return true;
}

static bool parse_entry(struct imap_parser *p, bool depth, struct view *entry)
{
	if (!imap_parse_astring(p, entry))
		return false;
	return metadata_entry_valid(*entry, depth) || imap_fail(p, "Invalid entry name.");
}

/* "MAXSIZE 1024" or "DEPTH infinity" */
static bool parse_option(struct imap_parser *p, struct getmetadata *g)
{
	struct view word;

	if (!imap_parse_word(p, &word) || !imap_parse_sp(p))
		return false;
	if (view_caseeq(word, "MAXSIZE")) {
		g->sized = true;
		return imap_parse_number(p, &g->max_size);
	}
	if (!view_caseeq(word, "DEPTH"))
		return imap_fail(p, "Unknown GETMETADATA option.");
	if (!imap_parse_word(p, &word))
		return false;
	g->depth = view_caseeq(word, "infinity") ? UINT_MAX : view_eq(word, "1") ? 1 : 0;
	return g->depth != 0 || view_eq(word, "0") || imap_fail(p, "DEPTH is 0, 1 or infinity.");
}

/* "(MAXSIZE 1024 DEPTH 1) " */
static bool parse_options(struct imap_parser *p, struct getmetadata *g)
{
	if (!imap_parse_char(p, '('))
		return false;
	do {
		if (!parse_option(p, g))
			return false;
	} while (imap_accept(p, ' '));
	return imap_parse_char(p, ')') && imap_parse_sp(p);
}

/* A list that begins with a word is one of options: names of entries begin with a slash. */
static bool options_next(const struct imap_parser *p)
{
	return p->end - p->p >= 2 && p->p[0] == '(' && strchr("/\"{", p->p[1]) == NULL;
}

static bool parse_mailbox(struct imap_parser *p, char name[IMAP_NAME_MAX + 1], bool *server)
{
	const char *start = p->p;

	if (!imap_parse_mailbox(p, name))
		return false;
	/* "" as it stands; a name that is none is "" too, and no server. */
	*server = name[0] == '\0' &&
	          (strncmp(start, "\"\"", 2) == 0 || strncmp(start, "{0}", 3) == 0 || strncmp(start, "{0+}", 4) == 0);
	return imap_parse_sp(p);
}

bool metadata_parse_get(struct imap_parser *p, struct getmetadata *g)
{
	bool list;

	*g = (struct getmetadata){ 0 };
	if (!imap_parse_sp(p) || (options_next(p) && !parse_options(p, g)) ||
	    !parse_mailbox(p, g->mailbox, &g->server) || (options_next(p) && !parse_options(p, g)))
		return false;
	list = imap_accept(p, '(');
	do {
		if (g->count == METADATA_LIST_MAX)
			return imap_fail(p, "Too many entries.");
		if (!parse_entry(p, g->depth > 0, &g->entries[g->count++]))
			return false;
	} while (list && imap_accept(p, ' '));
	return (!list || imap_parse_char(p, ')')) && imap_parse_end(p);
}

bool metadata_wanted(const struct getmetadata *g, const char *entry)
{
	for (size_t i = 0; i < g->count; i++) {
		struct view e = g->entries[i];

		if (strncasecmp(entry, e.ptr, e.len) != 0)
			continue;
		if (entry[e.len] == '\0' ||
		    (entry[e.len] == '/' &&
			(g->depth == UINT_MAX || (g->depth == 1 && !strchr(entry + e.len + 1, '/')))))
			return true;
	}
	return false;
}

/* nstring, or a literal8 */
static bool parse_value(struct imap_parser *p, struct view *value)
{
	return imap_accept(p, '~') ? imap_parse_string(p, value) : imap_parse_nstring(p, value);
}

bool metadata_parse_set(struct imap_parser *p, struct setmetadata *m)
{
	*m = (struct setmetadata){ 0 };
	if (!imap_parse_sp(p) || !parse_mailbox(p, m->mailbox, &m->server) || !imap_parse_char(p, '('))
		return false;
	do {
		struct metadata_value *v = &m->values[m->count];

		if (m->count++ == METADATA_LIST_MAX)
			return imap_fail(p, "Too many entries.");
		if (!parse_entry(p, false, &v->entry) || !imap_parse_sp(p) || !parse_value(p, &v->value))
			return false;
	} while (imap_accept(p, ' '));
	return imap_parse_char(p, ')') && imap_parse_end(p);
}
