/*
 * The program of a SEARCH, parsed into an array of keys.  Limits: SEARCH_KEYS_MAX keys, SEARCH_DEPTH_MAX levels of
 * NOT, OR and parentheses.  Message numbers are turned into UIDs here; those that do not exist match nothing.
 */
#include <stdlib.h>
#include <string.h>

#include "lib/clock.h"
#include "mailsvc/imap/objectid.h"
#include "mailsvc/imap/search.h"

struct parse {
	const struct imap_session *session;
	struct imap_parser *p;
	struct search_program *program;
	char charset[64];
};

static bool parse_key(struct parse *, unsigned depth, uint32_t *out);

/* SEARCH_NONE: too many. Keys move when one is added: hold indexes. */
static uint32_t add(struct parse *c, enum search_type type)
{
	struct search_program *g = c->program;
	struct search_key *k;

	if (g->count == SEARCH_KEYS_MAX)
		return SEARCH_NONE;
	if ((g->count & (g->count - 1)) == 0)
		g->keys = xreallocarray(g->keys, g->count ? 2 * (size_t)g->count : 1, sizeof(*g->keys));
	k = &g->keys[g->count];
	memset(k, 0, sizeof(*k));
	k->type = type;
	k->first = k->next = SEARCH_NONE;
	k->text.max = 128 * 1024;
	if (type >= SEARCH_SENTBEFORE && type <= SEARCH_FOLDED)
		k->cost = 1;
	else if (type == SEARCH_HEADER)
		k->cost = 2;
	else if (type == SEARCH_BODY || type == SEARCH_TEXT)
		k->cost = 3;
	return g->count++;
}

static bool new_key(struct parse *c, enum search_type type, uint32_t *out)
{
	if ((type == SEARCH_FOLDED || type == SEARCH_HEADER || type == SEARCH_BODY || type == SEARCH_TEXT) &&
	    ++c->program->text_keys > SEARCH_TEXT_KEYS_MAX)
		return imap_fail(c->p, "Too many keys that search in texts.");
	*out = add(c, type);
	return *out != SEARCH_NONE || imap_fail(c->p, "Too many search keys.");
}

/* Puts child among the children of parent, cheaper ones first. */
static void adopt(struct search_program *g, uint32_t parent, uint32_t child)
{
	uint32_t *at = &g->keys[parent].first;

	while (*at != SEARCH_NONE && g->keys[*at].cost <= g->keys[child].cost)
		at = &g->keys[*at].next;
	g->keys[child].next = *at;
	*at = child;
	if (g->keys[child].cost > g->keys[parent].cost)
		g->keys[parent].cost = g->keys[child].cost;
}

/* Arguments ------------------------------------------------------------------------------------------------------ */

static bool parse_text(struct parse *c, uint32_t key)
{
	struct view v;
	struct buf utf8 = BUF_INIT(1024 * 1024);

	if (!imap_parse_sp(c->p) || !imap_parse_astring(c->p, &v))
		return false;
	if (c->charset[0])
		mime_to_utf8(c->charset, v, &utf8);
	else
		mime_to_utf8("utf-8", v, &utf8);
	mime_fold(buf_view(&utf8), &c->program->keys[key].text);
	buf_free(&utf8);
	return !c->program->keys[key].text.full || imap_fail(c->p, "A search string is too long.");
}

static bool parse_header(struct parse *c, uint32_t key)
{
	struct view name;

	if (!imap_parse_sp(c->p) || !imap_parse_astring(c->p, &name))
		return false;
	c->program->keys[key].name = view_dup(name);
	return parse_text(c, key);
}

static bool parse_keyword(struct parse *c, uint32_t key)
{
	struct view v;

	if (!imap_parse_sp(c->p) || !imap_parse_atom(c->p, &v))
		return false;
	buf_addv(&c->program->keys[key].text, v);
	return true;
}

/* Message numbers beyond the mailbox match nothing, and are no error here. */
static void clamp_set(struct imap_set *set, uint32_t messages)
{
	size_t n = 0;

	for (size_t i = 0; i < set->count; i++) {
		struct uid_range r = set->at[i];
		uint32_t first = r.first ? r.first : messages, last = r.last ? r.last : messages;

		if (first > last) {
			uint32_t swap = first;

			first = last;
			last = swap;
		}
		if (first > messages || messages == 0)
			continue;
		set->at[n++] = (struct uid_range){ first, last > messages ? messages : last };
	}
	set->count = n;
}

static bool parse_uids(struct parse *c, uint32_t key, bool uid)
{
	struct search_key *k = &c->program->keys[key];
	struct imap_set set;
	bool fine;

	if (!imap_parse_set(c->p, &set))
		return false;
	if (!uid)
		clamp_set(&set, c->session->mailbox->map.count);
	fine = imap_resolve_set(c->session, c->p, &set, uid, &k->ranges, &k->range_count);
	imap_set_free(&set);
	return fine;
}

/* Keys ----------------------------------------------------------------------------------------------------------- */

enum argument { NO_ARGUMENT, TEXT, FIELD, KEYWORD, DATE, NUMBER, AGO, MODSEQ, OBJECTID };

static const struct {
	const char *name;
	enum search_type type;
	enum argument argument;
	uint32_t number; /* flags, or which folded field */
	bool negated;
} keys[] = {
	{ "ALL", SEARCH_ALL, NO_ARGUMENT, 0, false },
	{ "ANSWERED", SEARCH_FLAGS, NO_ARGUMENT, FLAG_ANSWERED, false },
	{ "BCC", SEARCH_FOLDED, TEXT, MIME_FOLDED_BCC, false },
	{ "BEFORE", SEARCH_BEFORE, DATE, 0, false },
	{ "BODY", SEARCH_BODY, TEXT, 0, false },
	{ "CC", SEARCH_FOLDED, TEXT, MIME_FOLDED_CC, false },
	{ "DELETED", SEARCH_FLAGS, NO_ARGUMENT, FLAG_DELETED, false },
	{ "DRAFT", SEARCH_FLAGS, NO_ARGUMENT, FLAG_DRAFT, false },
	{ "EMAILID", SEARCH_EMAILID, OBJECTID, 0, false },
	{ "FLAGGED", SEARCH_FLAGS, NO_ARGUMENT, FLAG_FLAGGED, false },
	{ "FROM", SEARCH_FOLDED, TEXT, MIME_FOLDED_FROM, false },
	{ "HEADER", SEARCH_HEADER, FIELD, 0, false },
	{ "KEYWORD", SEARCH_KEYWORD, KEYWORD, 0, false },
	{ "LARGER", SEARCH_LARGER, NUMBER, 0, false },
	{ "MODSEQ", SEARCH_MODSEQ, MODSEQ, 0, false },
	{ "OLD", SEARCH_RECENT, NO_ARGUMENT, 0, true },
	{ "OLDER", SEARCH_OLDER, AGO, 0, false },
	{ "ON", SEARCH_ON, DATE, 0, false },
	{ "RECENT", SEARCH_RECENT, NO_ARGUMENT, 0, false },
	{ "SAVEDATESUPPORTED", SEARCH_ALL, NO_ARGUMENT, 0, false },
	{ "SAVEDBEFORE", SEARCH_SAVEDBEFORE, DATE, 0, false },
	{ "SAVEDON", SEARCH_SAVEDON, DATE, 0, false },
	{ "SAVEDSINCE", SEARCH_SAVEDSINCE, DATE, 0, false },
	{ "SEEN", SEARCH_FLAGS, NO_ARGUMENT, FLAG_SEEN, false },
	{ "SENTBEFORE", SEARCH_SENTBEFORE, DATE, 0, false },
	{ "SENTON", SEARCH_SENTON, DATE, 0, false },
	{ "SENTSINCE", SEARCH_SENTSINCE, DATE, 0, false },
	{ "SINCE", SEARCH_SINCE, DATE, 0, false },
	{ "SMALLER", SEARCH_SMALLER, NUMBER, 0, false },
	{ "SUBJECT", SEARCH_FOLDED, TEXT, MIME_FOLDED_SUBJECT, false },
	{ "TEXT", SEARCH_TEXT, TEXT, 0, false },
	{ "THREADID", SEARCH_ALL, OBJECTID, 0, true }, /* no message has one */
	{ "TO", SEARCH_FOLDED, TEXT, MIME_FOLDED_TO, false },
	{ "UNANSWERED", SEARCH_FLAGS, NO_ARGUMENT, FLAG_ANSWERED, true },
	{ "UNDELETED", SEARCH_FLAGS, NO_ARGUMENT, FLAG_DELETED, true },
	{ "UNDRAFT", SEARCH_FLAGS, NO_ARGUMENT, FLAG_DRAFT, true },
	{ "UNFLAGGED", SEARCH_FLAGS, NO_ARGUMENT, FLAG_FLAGGED, true },
	{ "UNKEYWORD", SEARCH_KEYWORD, KEYWORD, 0, true },
	{ "UNSEEN", SEARCH_FLAGS, NO_ARGUMENT, FLAG_SEEN, true },
	{ "YOUNGER", SEARCH_YOUNGER, AGO, 0, false },
};

/* An interval in seconds, nz-number (RFC 5032). */
static bool parse_ago(struct parse *c, struct search_key *k)
{
	uint32_t seconds;

	if (!imap_parse_sp(c->p) || !imap_parse_nz_number(c->p, &seconds))
		return false;
	k->number = clock_wall() - seconds;
	return true;
}

/* MODSEQ ["/flags/name" priv|shared|all] n: modseqs are kept for messages, not for single flags (RFC 7162 3.1.5). */
static bool parse_modseq(struct parse *c, struct search_key *k)
{
	char *start = c->p->p;
	struct view name, type;
	uint64_t modseq;

	if (imap_accept(c->p, ' ') && imap_peek(c->p) == '"') {
		if (!imap_parse_string(c->p, &name) || !imap_parse_sp(c->p) || !imap_parse_word(c->p, &type))
			return false;
		if (!view_caseeq(type, "priv") && !view_caseeq(type, "shared") && !view_caseeq(type, "all"))
			return imap_fail(c->p, "MODSEQ of an entry is priv, shared or all.");
	} else {
		c->p->p = start;
	}
	if (!imap_parse_since(c->p, true, &modseq))
		return false;
	k->number = (int64_t)modseq;
	c->program->modseq = true;
	return true;
}

static bool parse_objectid(struct parse *c, struct search_key *k)
{
	struct view id;

	if (!imap_parse_sp(c->p) || !imap_parse_atom(c->p, &id))
		return false;
	if (!objectid_valid(id))
		return imap_fail(c->p, "Invalid object identifier.");
	buf_addv(&k->text, id);
	return true;
}

static bool parse_argument(struct parse *c, size_t row, uint32_t key)
{
	struct search_key *k = &c->program->keys[key];
	uint64_t number;

	switch (keys[row].argument) {
	case NO_ARGUMENT:
		k->number = keys[row].number;
		return true;
	case TEXT:
		k->number = keys[row].number;
		return parse_text(c, key);
	case FIELD:
		return parse_header(c, key);
	case KEYWORD:
		return parse_keyword(c, key);
	case DATE:
		return imap_parse_sp(c->p) && imap_parse_date(c->p, &k->number);
	case NUMBER:
		if (!imap_parse_sp(c->p) || !imap_parse_number64(c->p, &number))
			return false;
		k->number = (int64_t)number;
		return true;
	case AGO:
		return parse_ago(c, k);
	case MODSEQ:
		return parse_modseq(c, k);
	case OBJECTID:
		return parse_objectid(c, k);
	}
	return false;
}

/* key becomes NOT key. */
static bool negate(struct parse *c, uint32_t *key)
{
	uint32_t not ;

	if (!new_key(c, SEARCH_NOT, &not ))
		return false;
	adopt(c->program, not, *key);
	*key = not ;
	return true;
}

/* At least one key, up to ")" or the end; the AND of them in parent. */
static bool parse_list(struct parse *c, unsigned depth, uint32_t parent)
{
	uint32_t key;

	do {
		if (!parse_key(c, depth, &key))
			return false;
		adopt(c->program, parent, key);
	} while (imap_accept(c->p, ' '));
	return true;
}

/* NEW is (RECENT UNSEEN). */
static bool parse_new(struct parse *c, uint32_t *out)
{
	uint32_t recent, seen;

	if (!new_key(c, SEARCH_AND, out) || !new_key(c, SEARCH_RECENT, &recent) || !new_key(c, SEARCH_FLAGS, &seen))
		return false;
	c->program->keys[seen].number = FLAG_SEEN;
	if (!negate(c, &seen))
		return false;
	adopt(c->program, *out, recent);
	adopt(c->program, *out, seen);
	return true;
}

static bool parse_children(struct parse *c, unsigned depth, unsigned count, uint32_t parent)
{
	uint32_t child;

	while (count-- > 0) {
		if (!imap_parse_sp(c->p) || !parse_key(c, depth + 1, &child))
			return false;
		adopt(c->program, parent, child);
	}
	return true;
}

static bool parse_named(struct parse *c, unsigned depth, struct view word, uint32_t *out)
{
	if (view_caseeq(word, "NOT"))
		return new_key(c, SEARCH_NOT, out) && parse_children(c, depth, 1, *out);
	if (view_caseeq(word, "OR"))
		return new_key(c, SEARCH_OR, out) && parse_children(c, depth, 2, *out);
	if (view_caseeq(word, "NEW"))
		return parse_new(c, out);
	if (view_caseeq(word, "UID"))
		return new_key(c, SEARCH_UIDS, out) && imap_parse_sp(c->p) && parse_uids(c, *out, true);
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		if (view_caseeq(word, keys[i].name))
			return new_key(c, keys[i].type, out) && parse_argument(c, i, *out) &&
			       (!keys[i].negated || negate(c, out));
	}
	return imap_fail(c->p, "Unknown search key.");
}

static bool parse_key(struct parse *c, unsigned depth, uint32_t *out)
{
	struct view word;

	if (depth > SEARCH_DEPTH_MAX)
		return imap_fail(c->p, "The search nests too deep.");
	if (imap_accept(c->p, '('))
		return new_key(c, SEARCH_AND, out) && parse_list(c, depth + 1, *out) && imap_parse_char(c->p, ')');
	if (imap_peek_set(c->p))
		return new_key(c, SEARCH_UIDS, out) && parse_uids(c, *out, false);
	return imap_parse_word(c->p, &word) && parse_named(c, depth, word, out);
}

/* "x " */
static bool parse_charset_name(struct parse *c)
{
	struct view name;

	if (!imap_parse_astring(c->p, &name))
		return false;
	if (view_copy(name, c->charset, sizeof(c->charset)) != 0 || !mime_charset_known(c->charset)) {
		c->program->bad_charset = true;
		return imap_fail(c->p, "Unknown charset.");
	}
	return imap_parse_sp(c->p);
}

/* "CHARSET x " in front of the keys. */
static bool parse_charset(struct parse *c)
{
	char *start = c->p->p;
	struct view word;

	if (imap_peek(c->p) == '(' || imap_peek_set(c->p))
		return true;
	if (!imap_parse_word(c->p, &word))
		return false;
	if (!view_caseeq(word, "CHARSET")) {
		c->p->p = start;
		return true;
	}
	if (c->session->enabled & ENABLED_UTF8) /* RFC 6855 3 */
		return imap_fail(c->p, "No CHARSET after ENABLE UTF8=ACCEPT.");
	return imap_parse_sp(c->p) && parse_charset_name(c);
}

static bool parse_program(struct parse *c)
{
	return new_key(c, SEARCH_AND, &c->program->root) && parse_list(c, 0, c->program->root) && imap_parse_end(c->p);
}

bool search_parse(const struct imap_session *s, struct imap_parser *p, struct search_program *program)
{
	struct parse c = { .session = s, .p = p, .program = program };

	memset(program, 0, sizeof(*program));
	return imap_parse_sp(p) && parse_charset(&c) && parse_program(&c);
}

bool search_parse_in_charset(const struct imap_session *s, struct imap_parser *p, struct search_program *program)
{
	struct parse c = { .session = s, .p = p, .program = program };

	memset(program, 0, sizeof(*program));
	return imap_parse_sp(p) && parse_charset_name(&c) && parse_program(&c);
}

void search_free(struct search_program *program)
{
	for (uint32_t i = 0; i < program->count; i++) {
		free(program->keys[i].name);
		free(program->keys[i].ranges);
		free(program->keys[i].bodies);
		buf_free(&program->keys[i].text);
	}
	free(program->keys);
	memset(program, 0, sizeof(*program));
}

void search_bind(struct search_program *program, const struct imap_mailbox *m)
{
	for (uint32_t i = 0; i < program->count; i++) {
		struct search_key *k = &program->keys[i];

		if (k->type != SEARCH_KEYWORD)
			continue;
		k->keyword_bits = 0;
		for (unsigned n = 0; n < m->keyword_count; n++)
			if (m->keywords[n] && view_caseeq(buf_view(&k->text), m->keywords[n]))
				k->keyword_bits |= (uint64_t)1 << n;
	}
}
