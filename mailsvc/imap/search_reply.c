/*
 * The replies of SEARCH and SORT.  ALL is written as ranges of numbers that follow each other in the order of the
 * reply, so that of a SORT it keeps that order (RFC 5267 3.1).  Message numbers are those of the map at the moment of
 * sending: it stands still while the command runs.
 */
#include "mailsvc/imap/search_reply.h"

#include <stdlib.h>

#define PIECE (64 * 1024)

bool search_return_parse(struct imap_parser *p, unsigned *options)
{
	static const struct {
		const char *name;
		unsigned bit;
	} names[] = { { "MIN", RETURN_MIN }, { "MAX", RETURN_MAX }, { "ALL", RETURN_ALL }, { "COUNT", RETURN_COUNT },
		{ "SAVE", RETURN_SAVE } };
	char *start = p->p;
	struct view word;
	unsigned bit;

	*options = 0;
	if (!imap_accept(p, ' ') || !imap_parse_word(p, &word) || !view_caseeq(word, "RETURN")) {
		p->p = start;
		return true;
	}
	if (!imap_parse_sp(p) || !imap_parse_char(p, '('))
		return false;
	while (!imap_accept(p, ')')) {
		if ((*options != 0 && !imap_parse_sp(p)) || !imap_parse_word(p, &word))
			return false;
		bit = 0;
		for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
			if (view_caseeq(word, names[i].name))
				bit = names[i].bit;
		if (bit == 0)
			return imap_fail(p, "Unknown RETURN option.");
		*options |= bit;
	}
	if (*options == 0)
		*options = RETURN_ALL;
	return true;
}

/* The next hit's UID, or 0. */
static uint32_t next_hit(struct search_reply *r)
{
	const struct uid_run *run;

	if (r->sent == r->count)
		return 0;
	r->sent++;
	if (r->order != NULL)
		return r->order[r->sent - 1];
	run = &r->hits->run[r->run];
	if (r->at == run->count) {
		run = &r->hits->run[++r->run];
		r->at = 0;
	}
	return run->first + r->at++;
}

static uint32_t number_of(const struct imap_session *s, const struct search_reply *r, uint32_t uid)
{
	return r->uid ? uid : uidmap_seq(&s->mailbox->map, uid);
}

static uint32_t edge(const struct search_reply *r, bool last)
{
	if (r->order != NULL)
		return r->order[last ? r->count - 1 : 0];
	return last ? uidmap_last(r->hits) : r->hits->run[0].first;
}

static void begin(struct imap_session *s, struct search_reply *r, struct buf *out)
{
	r->begun = true;
	if (r->options == 0) {
		buf_printf(out, "* %s", r->name);
		return;
	}
	buf_printf(out, "* ESEARCH (TAG \"%s\")%s", s->tag, r->uid ? " UID" : "");
	if (r->count > 0 && (r->options & RETURN_MIN))
		buf_printf(out, " MIN %u", number_of(s, r, edge(r, false)));
	if (r->count > 0 && (r->options & RETURN_MAX))
		buf_printf(out, " MAX %u", number_of(s, r, edge(r, true)));
	if (r->options & RETURN_COUNT)
		buf_printf(out, " COUNT %zu", r->count);
	if (r->count > 0 && (r->options & RETURN_ALL))
		buf_puts(out, " ALL ");
	else
		r->sent = r->count;
}

static void put_range(struct search_reply *r, struct buf *out)
{
	if (r->low == 0)
		return;
	buf_puts(out, r->gap ? r->gap : "");
	r->gap = ",";
	buf_decimal(out, r->low);
	if (r->high != r->low) {
		buf_addc(out, ':');
		buf_decimal(out, r->high);
	}
}

static void put_hit(struct search_reply *r, struct buf *out, uint32_t n)
{
	if (r->options == 0) {
		buf_addc(out, ' ');
		buf_decimal(out, n);
	} else if (r->low != 0 && n == r->high + 1) {
		r->high = n;
	} else {
		put_range(r, out);
		r->low = r->high = n;
	}
}

/* RFC 4731 3.2, RFC 7162 3.1.5. */
static uint64_t modseq_of(const struct search_reply *r)
{
	if (r->options == 0 || (r->options & (RETURN_ALL | RETURN_COUNT)) || !(r->options & (RETURN_MIN | RETURN_MAX)))
		return r->max_modseq;
	if (!(r->options & RETURN_MAX))
		return r->first_modseq;
	if (!(r->options & RETURN_MIN))
		return r->last_modseq;
	return r->first_modseq > r->last_modseq ? r->first_modseq : r->last_modseq;
}

static void end(struct search_reply *r, struct buf *out)
{
	put_range(r, out);
	if (r->modseq && r->count > 0)
		buf_printf(out, r->options == 0 ? " (MODSEQ %llu)" : " MODSEQ %llu", (unsigned long long)modseq_of(r));
	buf_puts(out, "\r\n");
	r->closed = true;
}

bool search_reply_send(struct imap_session *s, struct search_reply *r)
{
	struct buf out = BUF_INIT(PIECE + 256);
	uint32_t uid = 0;

	if (r->options == RETURN_SAVE)
		return true; /* nothing is to be told (RFC 5182 2.1) */
	if (!r->begun)
		begin(s, r, &out);
	while (!imap_output_full(s) && (uid = next_hit(r)) != 0) {
		put_hit(r, &out, number_of(s, r, uid));
		if (out.len >= PIECE) {
			conn_writev(s->conn, buf_view(&out));
			buf_reset(&out);
		}
	}
	if (r->sent == r->count && !r->closed)
		end(r, &out);
	conn_writev(s->conn, buf_view(&out));
	buf_free(&out);
	return r->closed;
}

void search_reply_save(struct imap_session *s, const struct search_reply *r)
{
	struct imap_mailbox *m = s->mailbox;
	bool all = (r->options & (RETURN_ALL | RETURN_COUNT)) || !(r->options & (RETURN_MIN | RETURN_MAX));

	free(m->saved);
	m->saved = xreallocarray(NULL, (all ? r->hits->runs : 2) + 1, sizeof(*m->saved));
	m->saved_count = 0;
	for (uint32_t i = 0; all && i < r->hits->runs; i++)
		m->saved[m->saved_count++] =
		    (struct uid_range){ r->hits->run[i].first, r->hits->run[i].first + r->hits->run[i].count - 1 };
	for (int last = 0; !all && r->count > 0 && last < 2; last++)
		if (r->options & (last ? RETURN_MAX : RETURN_MIN))
			m->saved[m->saved_count++] = (struct uid_range){ edge(r, last), edge(r, last) };
	/* Whoever resolves "$" sorts it: of a SORT, MIN may lie above MAX. */
}
