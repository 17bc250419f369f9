/*
 * Does a message satisfy a search program?  What is read of it is read once: record, header, text.
 *
 * BODY looks in the text of every text part (decoded, mime_leaf_text) and in the headers of messages inside; TEXT in
 * the header too.  That goes part by part, for all such keys at once, and keeps a bit a key: the caller may return to
 * its loop in between, and no more than one part is in memory.  Limits: FETCH_HEADER_MAX bytes of a header,
 * MIME_TEXT_MAX of a part.  What cannot be read matches no key that needs it.
 */
#include <string.h>
#include <strings.h>

#include "mailsvc/imap/objectid.h"
#include "mailsvc/imap/order.h"
#include "mailsvc/imap/search.h"

#define TEXT_MAX (64u << 20)  /* folded text of one part */
#define KEEP_MAX (256u << 10) /* a larger buffer is given back after the message */

void search_message_init(struct search_message *m, int (*open)(struct search_message *), void *arg)
{
	memset(m, 0, sizeof(*m));
	m->open = open;
	m->arg = arg;
	m->header.max = 2 * FETCH_HEADER_MAX;
	m->header_text.max = m->body_text.max = m->value.max = TEXT_MAX;
}

static void give_back(struct buf *b)
{
	if (b->cap > KEEP_MAX)
		buf_free(b);
}

void search_message_pause(struct search_message *m)
{
	if (m->opened)
		fetch_source_free(&m->source);
	m->row = NULL;
	m->is_peeked = m->opened = m->unreadable = m->have_header = m->have_header_text = false;
	give_back(&m->header);
	give_back(&m->header_text);
	give_back(&m->body_text);
	give_back(&m->value);
}

void search_message_resume(struct search_message *m, const struct message_row *row, bool recent)
{
	search_message_pause(m);
	m->row = row;
	m->recent = recent;
}

void search_message_reset(struct search_message *m, const struct message_row *row, bool recent)
{
	search_message_resume(m, row, recent);
	m->text_done = m->header_told = false;
	m->part = 0;
	memset(m->hits, 0, sizeof(m->hits));
}

void search_message_free(struct search_message *m)
{
	if (m->opened)
		fetch_source_free(&m->source);
	buf_free(&m->header);
	buf_free(&m->header_text);
	buf_free(&m->body_text);
	buf_free(&m->value);
}

/* Each makes sure that what it names is there; false: it cannot be read. */
static bool need_record(struct search_message *m)
{
	if (m->opened || m->unreadable)
		return m->opened;
	memset(&m->source, 0, sizeof(m->source));
	if (m->open(m) == 0 && fetch_source_record(&m->source) == 0) {
		m->opened = true;
	} else {
		fetch_source_free(&m->source);
		m->unreadable = true;
	}
	return m->opened;
}

static const struct mime_record *need_peek(struct search_message *m)
{
	if (m->opened)
		return &m->source.record;
	if (m->is_peeked)
		return &m->peeked;
	if (m->unreadable)
		return NULL;
	memset(&m->source, 0, sizeof(m->source));
	m->is_peeked = m->open(m) == 0 && mime_record_peek(&m->peeked, m->source.mime, m->source.length) == 0;
	if (m->is_peeked)
		return &m->peeked;
	return need_record(m) ? &m->source.record : NULL;
}

static bool need_header(struct search_message *m)
{
	struct mime_part root;
	uint64_t len;

	if (m->have_header)
		return true;
	if (!need_record(m))
		return false;
	mime_record_part(&m->source.record, 0, &root);
	len = root.body < FETCH_HEADER_MAX ? root.body : FETCH_HEADER_MAX;
	buf_reset(&m->header);
	buf_addv(&m->header, m->source.prefix);
	if (fetch_source_read(&m->source, 0, len, &m->header) != 0)
		m->unreadable = true;
	else
		m->have_header = true;
	return m->have_header;
}

/* "Name: value" of every field, decoded and folded. */
static void fold_header(struct search_message *m, struct view block, struct buf *out)
{
	struct mime_header h;
	size_t pos = 0;

	while (mime_header_next(block, &pos, &h)) {
		buf_reset(&m->value);
		buf_addv(&m->value, h.name);
		buf_puts(&m->value, ": ");
		mime_decode_header(h.value, &m->value);
		mime_fold(buf_view(&m->value), out);
		buf_addc(out, '\n');
	}
}

static bool need_header_text(struct search_message *m)
{
	if (!m->have_header_text && need_header(m)) {
		buf_reset(&m->header_text);
		fold_header(m, buf_view(&m->header), &m->header_text);
		m->have_header_text = true;
	}
	return m->have_header_text;
}

/* The text of a leaf, and the header of a message inside another. */
static bool add_part_text(struct search_message *m, uint32_t index)
{
	struct buf raw = BUF_INIT(MIME_TEXT_RAW_MAX + FETCH_HEADER_MAX);
	struct mime_part p, up;
	uint64_t header_len, body_len;
	bool inner, fine;

	mime_record_part(&m->source.record, index, &p);
	inner = p.parent != UINT32_MAX;
	if (inner) {
		mime_record_part(&m->source.record, p.parent, &up);
		inner = up.rfc822;
	}
	if ((p.multipart || p.rfc822) && !inner)
		return true;
	header_len = p.body - p.header < FETCH_HEADER_MAX ? p.body - p.header : FETCH_HEADER_MAX;
	fine = fetch_source_read(&m->source, p.header, header_len, &raw) == 0;
	if (fine && inner)
		fold_header(m, buf_view(&raw), &m->body_text);
	if (fine && !p.multipart && !p.rfc822 && mime_is_text(buf_view(&raw))) {
		body_len = p.end - p.body < MIME_TEXT_RAW_MAX ? p.end - p.body : MIME_TEXT_RAW_MAX;
		fine = fetch_source_read(&m->source, p.body, body_len, &raw) == 0;
		if (fine)
			mime_leaf_text((struct view){ raw.data ? raw.data : "", (size_t)header_len },
			    (struct view){ raw.data ? raw.data + header_len : "", (size_t)body_len }, &m->body_text);
	}
	buf_addc(&m->body_text, '\n');
	buf_free(&raw);
	return fine;
}

static bool is_hit(const struct search_message *m, uint32_t key)
{
	return m->hits[key / 64] >> (key % 64) & 1;
}

static bool contains(const struct buf *text, const struct buf *needle)
{
	return needle->len == 0 ||
	       (text->len >= needle->len && memmem(text->data, text->len, needle->data, needle->len) != NULL);
}

void search_look(const struct search_program *g, struct search_message *m)
{
	buf_reset(&m->body_text);
	if (!need_record(m) || m->part >= m->source.record.part_count || !add_part_text(m, m->part++)) {
		m->text_done = true;
		return;
	}
	m->text_done = m->part == m->source.record.part_count;
	for (uint32_t i = 0; i < g->count; i++)
		if ((g->keys[i].type == SEARCH_BODY || g->keys[i].type == SEARCH_TEXT) && !is_hit(m, i) &&
		    contains(&m->body_text, &g->keys[i].text))
			m->hits[i / 64] |= (uint64_t)1 << (i % 64);
}

bool search_key_indexable(const struct search_key *k)
{
	/* It knows three bytes in a row.  No needle spans two pieces of a text: mime_fold leaves no line ends. */
	return (k->type == SEARCH_BODY || k->type == SEARCH_TEXT) && k->text.len >= 3;
}

static bool index_excludes(const struct search_key *k, const struct message_row *row)
{
	size_t low = 0, high = k->body_count;

	if (!k->indexed || row->uid > k->upto)
		return false;
	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (k->bodies[middle] < row->body)
			low = middle + 1;
		else
			high = middle;
	}
	return low == k->body_count || k->bodies[low] != row->body;
}

static bool is_alnum(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

/*
 * Could the header lines of the delivery, which the index does not have, hold the needle?  A quick look that may say
 * yes in vain: plain ASCII holds nothing else, and of a needle in ASCII three letters in a row must be there.
 */
static bool prefix_may_match(const struct buf *needle, struct view prefix)
{
	const char *n = NULL;

	for (size_t i = 0; i < prefix.len; i++)
		if ((unsigned char)prefix.ptr[i] >= 128 ||
		    (prefix.ptr[i] == '=' && i + 1 < prefix.len && prefix.ptr[i + 1] == '?'))
			return true;
	for (size_t i = 0; i < needle->len; i++)
		if ((unsigned char)needle->data[i] >= 128)
			return false;
	for (size_t i = 0; n == NULL && i + 3 <= needle->len; i++)
		if (is_alnum(needle->data[i]) && is_alnum(needle->data[i + 1]) && is_alnum(needle->data[i + 2]))
			n = needle->data + i;
	if (n == NULL)
		return prefix.len > 0;
	for (size_t i = 0; i + 3 <= prefix.len; i++) {
		const char *p = prefix.ptr + i;

		if ((p[0] | 32) == n[0] && (p[1] | 32) == n[1] && (p[2] | 32) == n[2])
			return true;
	}
	return false;
}

static enum search_answer body_matches(const struct search_program *g, uint32_t index, struct search_message *m)
{
	if (index_excludes(&g->keys[index], m->row) || !need_record(m))
		return SEARCH_NO;
	if (g->keys[index].text.len == 0 || is_hit(m, index))
		return SEARCH_YES;
	return m->text_done ? SEARCH_NO : SEARCH_LATER;
}

/* In the header itself: addresses, or any text. */
static bool header_matches(const struct search_key *k, struct search_message *m, const char *name, bool addresses)
{
	struct buf folded = BUF_INIT(TEXT_MAX);
	struct mime_header h;
	size_t pos = 0;
	bool found = false;

	if (!need_header(m))
		return false;
	while (!found && mime_header_next(buf_view(&m->header), &pos, &h)) {
		if (!view_caseeq(h.name, name))
			continue;
		buf_reset(&m->value);
		buf_reset(&folded);
		if (addresses) {
			mime_search_addresses(h.value, &folded);
		} else {
			mime_decode_header(h.value, &m->value);
			mime_fold(buf_view(&m->value), &folded);
		}
		found = contains(&folded, &k->text);
	}
	buf_free(&folded);
	return found;
}

/* A field that the record keeps as it is compared; where it does not (an older record, a very long field), the header.
 */
static bool folded_matches(const struct search_key *k, struct search_message *m)
{
	static const char *const names[MIME_FOLDED] = { "from", "to", "cc", "bcc", "subject" };
	struct view kept =
	    m->table != NULL ? order_folded(m->table, (enum mime_folded)k->number, m->row->uid) : VIEW_NONE;
	const struct mime_record *r = kept.ptr == NULL ? need_peek(m) : NULL;

	if (r == NULL && kept.ptr == NULL)
		return false;
	if (kept.ptr == NULL)
		kept = r->folded[k->number];
	if (kept.ptr != NULL)
		return kept.len > 0 &&
		       (k->text.len == 0 || memmem(kept.ptr, kept.len, k->text.data, k->text.len) != NULL);
	return header_matches(k, m, names[k->number], k->number != MIME_FOLDED_SUBJECT);
}

static int64_t day_of(int64_t when)
{
	return when / 86400 - (when % 86400 < 0);
}

/* The day that Date: names, whatever its time zone. */
static bool sent_day(struct search_message *m, int64_t *day)
{
	const struct mime_record *r = need_peek(m);

	if (r == NULL || r->date < -((int64_t)1 << 40) || r->date > (int64_t)1 << 40)
		return false;
	*day = day_of(r->date + (int64_t)r->date_zone * 60);
	return true;
}

static enum search_answer match(const struct search_program *, uint32_t index, struct search_message *);

/* What a key says that has no children and needs no text. */
static bool match_plain(const struct search_key *k, struct search_message *m)
{
	int64_t day;

	switch (k->type) {
	case SEARCH_ALL:
		return true;
	case SEARCH_FLAGS:
		return (m->row->flags & (uint32_t)k->number) != 0;
	case SEARCH_RECENT:
		return m->recent;
	case SEARCH_KEYWORD:
		return (m->row->keywords & k->keyword_bits) != 0;
	case SEARCH_UIDS:
		return uid_ranges_have(k->ranges, k->range_count, m->row->uid);
	case SEARCH_BEFORE:
		return day_of(m->row->internal_date) < k->number;
	case SEARCH_ON:
		return day_of(m->row->internal_date) == k->number;
	case SEARCH_SINCE:
		return day_of(m->row->internal_date) >= k->number;
	case SEARCH_OLDER:
		return m->row->internal_date <= k->number;
	case SEARCH_YOUNGER:
		return m->row->internal_date >= k->number;
	case SEARCH_SAVEDBEFORE:
		return day_of(m->row->save_date) < k->number;
	case SEARCH_SAVEDON:
		return day_of(m->row->save_date) == k->number;
	case SEARCH_SAVEDSINCE:
		return day_of(m->row->save_date) >= k->number;
	case SEARCH_MODSEQ:
		return m->row->modseq >= (uint64_t)k->number;
	case SEARCH_EMAILID:
		return objectid_is_email(buf_view(&k->text), m->row);
	case SEARCH_LARGER:
		return m->row->size > (uint64_t)k->number;
	case SEARCH_SMALLER:
		return m->row->size < (uint64_t)k->number;
	case SEARCH_SENTBEFORE:
		return sent_day(m, &day) && day < k->number;
	case SEARCH_SENTON:
		return sent_day(m, &day) && day == k->number;
	case SEARCH_SENTSINCE:
		return sent_day(m, &day) && day >= k->number;
	case SEARCH_FOLDED:
		return folded_matches(k, m);
	case SEARCH_HEADER:
		return header_matches(k, m, k->name, false);
	default:
		return false;
	}
}

/* AND: decided by the first NO; OR: by the first YES. */
static enum search_answer match_children(
    const struct search_program *g, uint32_t first, enum search_answer decides, struct search_message *m)
{
	enum search_answer all = decides == SEARCH_NO ? SEARCH_YES : SEARCH_NO;

	for (uint32_t c = first; c != SEARCH_NONE; c = g->keys[c].next) {
		enum search_answer one = match(g, c, m);

		if (one == decides)
			return one;
		if (one == SEARCH_LATER)
			all = one;
	}
	return all;
}

static enum search_answer match(const struct search_program *g, uint32_t index, struct search_message *m)
{
	const struct search_key *k = &g->keys[index];
	enum search_answer one;

	switch (k->type) {
	case SEARCH_BODY:
		return body_matches(g, index, m);
	case SEARCH_TEXT:
		if (index_excludes(k, m->row) && !prefix_may_match(&k->text, m->row->prefix))
			return SEARCH_NO;
		if (!need_header_text(m))
			return SEARCH_NO;
		return contains(&m->header_text, &k->text) ? SEARCH_YES : body_matches(g, index, m);
	case SEARCH_AND:
		return match_children(g, k->first, SEARCH_NO, m);
	case SEARCH_OR:
		return match_children(g, k->first, SEARCH_YES, m);
	case SEARCH_NOT:
		one = match(g, k->first, m);
		return one == SEARCH_LATER ? one : one == SEARCH_NO ? SEARCH_YES : SEARCH_NO;
	default:
		return match_plain(k, m) ? SEARCH_YES : SEARCH_NO;
	}
}

const struct mime_record *search_message_peek(struct search_message *m)
{
	return need_peek(m);
}

int search_message_next_text(struct search_message *m, struct view *out)
{
	if (!need_record(m))
		return -1;
	if (!m->header_told) {
		if (!need_header_text(m))
			return -1;
		m->header_told = true;
		*out = buf_view(&m->header_text);
		return 1;
	}
	if (m->part >= m->source.record.part_count)
		return 0;
	buf_reset(&m->body_text);
	if (!add_part_text(m, m->part++))
		return -1;
	*out = buf_view(&m->body_text);
	return 1;
}

struct view search_message_header(struct search_message *m)
{
	return need_header(m) ? (struct view){ m->header.data ? m->header.data : "", m->header.len } : VIEW_NONE;
}

enum search_answer search_match(const struct search_program *program, struct search_message *m)
{
	return match(program, program->root, m);
}
