/* The items of a FETCH, parsed.  Sections are taken as RFC 3501 9 has them; labels repeat them in capitals. */
#include <stdlib.h>
#include <string.h>

#include "mailsvc/imap/fetch.h"

static const struct {
	const char *name;
	enum fetch_kind kind;
	enum fetch_part part; /* of content */
	bool sets_seen;
} names[] = {
	{ "UID", FETCH_UID, PART_ALL, false },
	{ "FLAGS", FETCH_FLAGS, PART_ALL, false },
	{ "INTERNALDATE", FETCH_INTERNALDATE, PART_ALL, false },
	{ "RFC822.SIZE", FETCH_SIZE, PART_ALL, false },
	{ "MODSEQ", FETCH_MODSEQ, PART_ALL, false },
	{ "SAVEDATE", FETCH_SAVEDATE, PART_ALL, false },
	{ "EMAILID", FETCH_EMAILID, PART_ALL, false },
	{ "THREADID", FETCH_THREADID, PART_ALL, false },
	{ "ENVELOPE", FETCH_ENVELOPE, PART_ALL, false },
	{ "BODY", FETCH_BODY, PART_ALL, false },
	{ "BODYSTRUCTURE", FETCH_BODYSTRUCTURE, PART_ALL, false },
	{ "PREVIEW", FETCH_PREVIEW, PART_ALL, false },
	{ "RFC822", FETCH_CONTENT, PART_ALL, true },
	{ "RFC822.HEADER", FETCH_CONTENT, PART_HEADER, false },
	{ "RFC822.TEXT", FETCH_CONTENT, PART_TEXT, true },
};

static bool has(const struct fetch_items *items, enum fetch_kind kind)
{
	for (size_t i = 0; i < items->count; i++)
		if (items->at[i].kind == kind)
			return true;
	return false;
}

static struct fetch_item *add(struct fetch_items *items, enum fetch_kind kind)
{
	items->at = xreallocarray(items->at, items->count + 1, sizeof(*items->at));
	memset(&items->at[items->count], 0, sizeof(*items->at));
	items->at[items->count].kind = kind;
	items->flags |= kind == FETCH_FLAGS;
	items->modseq |= kind == FETCH_MODSEQ;
	items->body |= kind >= FETCH_ENVELOPE;
	return &items->at[items->count++];
}

static void add_once(struct fetch_items *items, enum fetch_kind kind)
{
	if (!has(items, kind))
		add(items, kind);
}

static void set_label(struct fetch_item *item, struct buf *label)
{
	item->label_len = label->len;
	item->label = view_dup(buf_view(label));
}

static bool parse_fields(struct imap_parser *p, struct fetch_section *s, size_t *fields)
{
	struct view name;

	if (!imap_parse_sp(p) || !imap_parse_char(p, '('))
		return false;
	s->kept = s->part == PART_FIELDS && s->path_len == 0;
	do {
		if (++*fields > FETCH_FIELDS_MAX)
			return imap_fail(p, "Too many header fields.");
		if (!imap_parse_astring(p, &name))
			return false;
		s->fields = xreallocarray(s->fields, s->field_count + 1, sizeof(*s->fields));
		s->fields[s->field_count++] = name;
		s->kept = s->kept && mime_kept(name);
	} while (imap_accept(p, ' '));
	return imap_parse_char(p, ')');
}

static bool parse_section_text(struct imap_parser *p, struct fetch_section *s, size_t *fields)
{
	struct view word;

	if (!imap_parse_word(p, &word))
		return false;
	if (view_caseeq(word, "HEADER"))
		s->part = PART_HEADER;
	else if (view_caseeq(word, "TEXT"))
		s->part = PART_TEXT;
	else if (view_caseeq(word, "MIME") && s->path_len > 0)
		s->part = PART_MIME;
	else if (view_caseeq(word, "HEADER.FIELDS"))
		s->part = PART_FIELDS;
	else if (view_caseeq(word, "HEADER.FIELDS.NOT"))
		s->part = PART_FIELDS_NOT;
	else
		return imap_fail(p, "Unknown section.");
	return (s->part != PART_FIELDS && s->part != PART_FIELDS_NOT) || parse_fields(p, s, fields);
}

/* After "[", the "]" included.  Of a binary one: numbers only. */
static bool parse_section(struct imap_parser *p, struct fetch_section *s, size_t *fields)
{
	if (imap_accept(p, ']'))
		return true;
	while (imap_peek(p) >= '0' && imap_peek(p) <= '9') {
		if (s->path_len == MIME_DEPTH_MAX)
			return imap_fail(p, "The section is too deep.");
		if (!imap_parse_nz_number(p, &s->path[s->path_len]))
			return false;
		s->path_len++;
		if (!imap_accept(p, '.'))
			return imap_parse_char(p, ']');
	}
	if (s->binary)
		return imap_fail(p, "A part's number is expected.");
	return parse_section_text(p, s, fields) && imap_parse_char(p, ']');
}

static bool parse_partial(struct imap_parser *p, struct fetch_section *s)
{
	if (!imap_accept(p, '<'))
		return true;
	s->partial = true;
	return imap_parse_number(p, &s->origin) && imap_parse_char(p, '.') && imap_parse_nz_number(p, &s->size) &&
	       imap_parse_char(p, '>');
}

static void put_field_name(struct buf *label, struct view name)
{
	bool atom = name.len > 0;

	for (size_t i = 0; atom && i < name.len; i++)
		atom = name.ptr[i] > 32 && name.ptr[i] < 127 && !strchr("(){%*\"\\]", name.ptr[i]);
	if (atom)
		buf_addv(label, name);
	else
		buf_printf(label, "{%zu}\r\n%.*s", name.len, (int)name.len, name.ptr);
}

static void label_section(struct fetch_item *item, const char *name)
{
	static const char *const parts[] = { "", "HEADER", "HEADER.FIELDS (", "HEADER.FIELDS.NOT (", "TEXT", "MIME" };
	const struct fetch_section *s = &item->section;
	struct buf label = BUF_INIT(256 * 1024);

	buf_printf(&label, "%s[", name);
	for (size_t i = 0; i < s->path_len; i++)
		buf_printf(&label, "%s%u", i > 0 ? "." : "", s->path[i]);
	if (s->path_len > 0 && s->part != PART_ALL)
		buf_addc(&label, '.');
	buf_puts(&label, parts[s->part]);
	for (size_t i = 0; i < s->field_count; i++) {
		if (i > 0)
			buf_addc(&label, ' ');
		put_field_name(&label, s->fields[i]);
	}
	buf_puts(&label, s->field_count > 0 ? ")]" : "]");
	if (s->partial)
		buf_printf(&label, "<%u>", s->origin);
	set_label(item, &label);
	buf_free(&label);
}

/* BODY[...] or BODY.PEEK[...], at "[". */
static bool parse_content(struct imap_parser *p, struct fetch_items *items, bool peek)
{
	struct fetch_item *item = add(items, FETCH_CONTENT);

	items->sets_seen |= !peek;
	if (!imap_parse_char(p, '[') || !parse_section(p, &item->section, &items->fields) ||
	    !parse_partial(p, &item->section))
		return false;
	label_section(item, "BODY");
	return true;
}

/* BINARY[...], BINARY.PEEK[...] or BINARY.SIZE[...], at "[". */
static bool parse_binary(struct imap_parser *p, struct fetch_items *items, enum fetch_kind kind, bool peek)
{
	struct fetch_item *item = add(items, kind);

	items->sets_seen |= !peek;
	item->section.binary = true;
	if (!imap_parse_char(p, '[') || !parse_section(p, &item->section, &items->fields) ||
	    (kind == FETCH_BINARY && !parse_partial(p, &item->section)))
		return false;
	label_section(item, kind == FETCH_BINARY ? "BINARY" : "BINARY.SIZE");
	return true;
}

/* " (LAZY)" may follow PREVIEW: it is quick enough to make no difference. Something else is not ours. */
static void skip_lazy(struct imap_parser *p)
{
	char *start = p->p;
	struct view word;

	if (!imap_accept(p, ' ') || !imap_accept(p, '(') || !imap_parse_word(p, &word) || !view_caseeq(word, "LAZY") ||
	    !imap_accept(p, ')'))
		p->p = start;
}

static bool parse_item(struct imap_parser *p, struct fetch_items *items)
{
	struct view word;

	if (items->count >= FETCH_ITEMS_MAX)
		return imap_fail(p, "Too many FETCH items.");
	if (!imap_parse_word(p, &word))
		return false;
	if (view_caseeq(word, "BODY.PEEK") || (view_caseeq(word, "BODY") && imap_peek(p) == '['))
		return parse_content(p, items, word.len > 4);
	if (view_caseeq(word, "BINARY") || view_caseeq(word, "BINARY.PEEK"))
		return parse_binary(p, items, FETCH_BINARY, word.len > 6);
	if (view_caseeq(word, "BINARY.SIZE"))
		return parse_binary(p, items, FETCH_BINARY_SIZE, true);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		struct fetch_item *item;
		struct buf label = BUF_INIT(32);

		if (!view_caseeq(word, names[i].name))
			continue;
		if (names[i].kind != FETCH_CONTENT) {
			add_once(items, names[i].kind);
			if (names[i].kind == FETCH_PREVIEW)
				skip_lazy(p);
			return true;
		}
		item = add(items, FETCH_CONTENT);
		item->section.part = names[i].part;
		items->sets_seen |= names[i].sets_seen;
		buf_puts(&label, names[i].name);
		set_label(item, &label);
		buf_free(&label);
		return true;
	}
	return imap_fail(p, "Unknown FETCH item.");
}

static bool parse_macro(struct imap_parser *p, struct fetch_items *items)
{
	char *start = p->p;
	struct view word;
	bool all, full;

	if (!imap_parse_word(p, &word))
		return false;
	all = view_caseeq(word, "ALL");
	full = view_caseeq(word, "FULL");
	if (!all && !full && !view_caseeq(word, "FAST")) {
		p->p = start;
		return false;
	}
	add_once(items, FETCH_FLAGS);
	add_once(items, FETCH_INTERNALDATE);
	add_once(items, FETCH_SIZE);
	if (all || full)
		add_once(items, FETCH_ENVELOPE);
	if (full)
		add_once(items, FETCH_BODY);
	return true;
}

static bool parse_list(struct imap_parser *p, struct fetch_items *items)
{
	if (!imap_accept(p, '('))
		return parse_macro(p, items) || parse_item(p, items);
	do {
		if (!parse_item(p, items))
			return false;
	} while (imap_accept(p, ' '));
	return imap_parse_char(p, ')');
}

/* "CHANGEDSINCE 5 VANISHED)", RFC 7162 3.1.4 and 3.2.6. */
static bool parse_modifiers(struct imap_parser *p, bool uid, struct fetch_items *items)
{
	struct view word;

	do {
		if (!imap_parse_word(p, &word))
			return false;
		if (view_caseeq(word, "CHANGEDSINCE") && !items->since_given) {
			items->since_given = true;
			if (!imap_parse_since(p, false, &items->since))
				return false;
		} else if (view_caseeq(word, "VANISHED") && uid && !items->vanished) {
			items->vanished = true;
		} else {
			return imap_fail(p, "Unknown FETCH modifier.");
		}
	} while (imap_accept(p, ' '));
	if (items->vanished && !items->since_given)
		return imap_fail(p, "VANISHED needs CHANGEDSINCE.");
	return imap_parse_char(p, ')');
}

bool fetch_items_parse(struct imap_parser *p, bool uid, struct fetch_items *items)
{
	memset(items, 0, sizeof(*items));
	if (uid)
		add(items, FETCH_UID);
	if (!parse_list(p, items))
		return false;
	if (imap_accept(p, ' ') && (!imap_parse_char(p, '(') || !parse_modifiers(p, uid, items)))
		return false;
	if (items->since_given)
		add_once(items, FETCH_MODSEQ);
	return true;
}

struct fetch_items fetch_items_resync(uint64_t since)
{
	struct fetch_items items = { .since_given = true, .vanished = true, .since = since };

	add(&items, FETCH_UID);
	add(&items, FETCH_FLAGS);
	add(&items, FETCH_MODSEQ);
	return items;
}

void fetch_items_free(struct fetch_items *items)
{
	for (size_t i = 0; i < items->count; i++) {
		free(items->at[i].section.fields);
		free(items->at[i].label);
	}
	free(items->at);
	memset(items, 0, sizeof(*items));
}
