/*
 * The sort keys of one message (RFC 5256 3, RFC 5957), from its record: addresses from the fields that the record
 * keeps, or from the header where it does not.  Message identifiers become 64-bit numbers by a hash that is keyed anew
 * in each process, so that nobody can prepare two that are one.  Limits: KEY_MAX bytes of a key, LINKS_MAX references.
 */
#include <string.h>

#include "mailsvc/imap/order.h"

#define KEY_MAX 1024
#define LINKS_MAX 256 /* the newest: those at the end */

/* Addresses ----------------------------------------------------------------------------------------------------------
 */

struct first {
	bool found;
	struct buf *local, *display; /* NULL: not wanted */
};

/* The first mailbox; a group's name stands for its first "address", as in ENVELOPE. */
static void take_first(void *arg, const struct mime_mailbox *m)
{
	struct first *f = arg;
	struct buf text = BUF_INIT(KEY_MAX * 4);

	if (f->found || m->group_end)
		return;
	f->found = true;
	if (f->local != NULL)
		mime_fold(m->group_start ? m->name : m->local, f->local);
	if (f->display != NULL) {
		mime_decode_header(m->name, &text);
		if (text.len == 0) {
			buf_addv(&text, m->local);
			buf_addc(&text, '@');
			buf_addv(&text, m->domain);
		}
		mime_fold(buf_view(&text), f->display);
	}
	buf_free(&text);
}

static void add_address(struct order_table *t, unsigned kinds, uint32_t row, struct view header, const char *name,
    enum order_kind local, enum order_kind display)
{
	bool want_local = (kinds >> local & 1) && t->column[local].rows == row;
	bool want_display = display != ORDER_KINDS && (kinds >> display & 1) && t->column[display].rows == row;
	struct buf a = BUF_INIT(KEY_MAX), b = BUF_INIT(KEY_MAX);
	struct first f = { .local = want_local ? &a : NULL, .display = want_display ? &b : NULL };
	struct view raw;

	if (!want_local && !want_display)
		return;
	raw = mime_header_find(header, name);
	if (raw.ptr != NULL)
		mime_addresses(raw, take_first, &f);
	if (want_local)
		order_add_text(&t->column[local], &a);
	if (want_display)
		order_add_text(&t->column[display], &b);
	buf_free(&a);
	buf_free(&b);
}

/* Identifiers
 * ---------------------------------------------------------------------------------------------------------- */

/* The next "<id>" as a number, without quotes and white space (RFC 5256, "msg-id"); 0: no more. */
static uint64_t next_id(struct view *v)
{
	char plain[512];
	size_t n = 0;
	const char *p, *end = v->ptr + v->len, *open;

	while (v->len > 0 && (open = memchr(v->ptr, '<', v->len)) != NULL) {
		bool quoted = false;

		n = 0;
		for (p = open + 1; p < end && (quoted || (*p != '>' && *p != '<')); p++) {
			if (*p == '"')
				quoted = !quoted;
			else if (*p == '\\' && quoted && p + 1 < end)
				plain[n] = *++p, n += n < sizeof(plain) - 1;
			else if (quoted || (*p != ' ' && *p != '\t'))
				plain[n] = *p, n += n < sizeof(plain) - 1;
		}
		*v = (struct view){ p, (size_t)(end - p) };
		if (p < end && *p == '>' && n > 0)
			return order_hash((struct view){ plain, n });
	}
	return 0;
}

static void add_id(struct order_table *t, uint64_t id)
{
	if (t->id_count == t->id_cap) {
		t->id_cap = t->id_cap + t->id_cap / 4 + 256;
		t->ids = xreallocarray(t->ids, t->id_cap, sizeof(*t->ids));
	}
	t->ids[t->id_count++] = id;
}

/* References, or else the first identifier of In-Reply-To. */
static void add_links(struct order_table *t, const struct mime_record *r)
{
	struct order_links *l = &t->links[t->link_rows++];
	struct view id, references;
	uint64_t one;

	*l = (struct order_links){ .at = t->id_count };
	if (r == NULL || t->id_count > UINT32_MAX / 2)
		return;
	id = r->message_id;
	l->id = next_id(&id);
	l->reply = mime_subject_is_reply(r->subject);
	references = r->references;
	while ((one = next_id(&references)) != 0)
		add_id(t, one);
	l->count = (t->id_count - l->at) & INT32_MAX;
	if (l->count > LINKS_MAX) {
		memmove(t->ids + l->at, t->ids + t->id_count - LINKS_MAX, LINKS_MAX * sizeof(*t->ids));
		l->count = LINKS_MAX;
		t->id_count = l->at + l->count;
	}
	id = r->in_reply_to;
	if (l->count == 0 && (one = next_id(&id)) != 0) {
		add_id(t, one);
		l->count = 1;
	}
}

static void add_subject(struct order_column *c, struct view base)
{
	struct buf text = BUF_INIT(base.len);

	buf_addv(&text, base);
	order_add_text(c, &text);
	buf_free(&text);
}

static void add_folded(struct order_folded *f, struct view v)
{
	f->text[f->rows++] = v.ptr != NULL ? order_texts_add(&f->texts, v) : ORDER_NONE;
}

/* A row
 * ------------------------------------------------------------------------------------------------------------------ */

static void add_numbers(
    struct order_table *t, unsigned kinds, uint32_t row, const struct mime_record *r, const struct message_row *m)
{
	int64_t arrival = m != NULL ? m->internal_date : 0;
	struct {
		enum order_kind kind;
		int64_t value;
	} numbers[] = { { ORDER_ARRIVAL, arrival }, { ORDER_SIZE, m != NULL ? (int64_t)m->size : 0 },
		{ ORDER_DATE, r != NULL && r->date != INT64_MIN ? r->date : arrival } };

	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		struct order_column *c = &t->column[numbers[i].kind];

		if ((kinds >> numbers[i].kind & 1) && c->rows == row)
			order_add_number(c, numbers[i].value);
	}
}

void order_add_row(struct order_table *t, unsigned kinds, uint32_t row, struct search_message *m)
{
	const unsigned address =
	    1u << ORDER_CC | 1u << ORDER_FROM | 1u << ORDER_TO | 1u << ORDER_DISPLAYFROM | 1u << ORDER_DISPLAYTO;
	const unsigned content = address | 1u << ORDER_DATE | 1u << ORDER_SUBJECT | 1u << ORDER_LINKS |
	                         ((1u << MIME_FOLDED) - 1) << ORDER_FOLDED;
	const struct mime_record *r = m != NULL && (kinds & content) ? search_message_peek(m) : NULL;
	struct order_column *subject = &t->column[ORDER_SUBJECT];
	struct view header = VIEW_NONE;

	if (r != NULL && (kinds & address)) {
		header = r->kept.ptr != NULL ? r->kept : search_message_header(m);
		r = search_message_peek(m); /* reading the header may have made another record */
	}
	add_numbers(t, kinds, row, r, m != NULL ? m->row : NULL);
	if ((kinds >> ORDER_SUBJECT & 1) && subject->rows == row)
		add_subject(subject, r != NULL ? r->base_subject : VIEW_NONE);
	add_address(t, kinds, row, header, "From", ORDER_FROM, ORDER_DISPLAYFROM);
	add_address(t, kinds, row, header, "To", ORDER_TO, ORDER_DISPLAYTO);
	add_address(t, kinds, row, header, "Cc", ORDER_CC, ORDER_KINDS);
	if ((kinds >> ORDER_LINKS & 1) && t->link_rows == row)
		add_links(t, r);
	for (unsigned k = 0; k < MIME_FOLDED; k++)
		if ((kinds >> (ORDER_FOLDED + k) & 1) && t->folded[k].rows == row)
			add_folded(&t->folded[k], r != NULL ? r->folded[k] : VIEW_NONE);
}
