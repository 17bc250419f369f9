/*
 * What SORT and THREAD compare (RFC 5256, RFC 5957), and SEARCH FROM and the like, by message, in columns: numbers, or
 * numbers of texts; and, when all of a column is there, their ranks.  With ranks a SORT by any keys is a few counting
 * passes, and THREAD knows equal subjects by equal ranks.
 *
 * A process keeps the tables of the mailboxes it sorted last, ORDER_CACHE_MAX bytes of them: a message's keys never
 * change, so that only new messages are read.
 */
#ifndef MAILSVC_IMAP_ORDER_H
#define MAILSVC_IMAP_ORDER_H

#include "mailsvc/imap/order_texts.h"
#include "mailsvc/imap/search.h"

#define ORDER_CACHE_MAX (64u << 20)
#define ORDER_NONE UINT32_MAX

enum order_kind {
	ORDER_ARRIVAL,
	ORDER_CC,
	ORDER_DATE,
	ORDER_DISPLAYFROM,
	ORDER_DISPLAYTO,
	ORDER_FROM,
	ORDER_SIZE,
	ORDER_SUBJECT, /* base subject */
	ORDER_TO,
	ORDER_KINDS,
	ORDER_LINKS = ORDER_KINDS, /* no ranks: Message-ID and References, for THREAD */
	ORDER_FOLDED, /* and those behind it: no ranks; mime_record.folded[kind - ORDER_FOLDED], for SEARCH */
};

struct order_links {
	uint64_t id;         /* of Message-ID, 0: there is none */
	uint32_t at;         /* references, oldest first, in order_table.ids */
	uint32_t count : 31; /* of them */
	uint32_t reply : 1;  /* the subject says that it answers or forwards */
};

struct order_column {
	uint32_t rows;                    /* filled */
	uint64_t *number;                 /* of each; NULL: it is one of texts */
	uint32_t *text;                   /* of each, in texts */
	struct order_texts texts;
	uint32_t *rank, ranked, distinct; /* of the first `ranked` rows, or texts: 0 .. distinct - 1 */
	struct order_sorting *sorting;    /* under way */
};

/* A folded field as the record has it, in texts; ORDER_NONE: it has not, ask the message. */
struct order_folded {
	uint32_t rows;
	uint32_t *text;
	struct order_texts texts;
};

struct order_table {
	uint32_t mailbox, uid_validity;
	unsigned users; /* jobs that hold it */
	bool kept;      /* in the process's list */
	uint32_t rows, cap;
	uint32_t *uid; /* rising */
	struct order_column column[ORDER_KINDS];
	struct order_links *links;
	uint32_t link_rows;
	struct order_folded folded[MIME_FOLDED];
	uint64_t *ids;
	uint32_t id_count, id_cap;
	struct order_table *next;
};

/* The session's mailbox: kept by the process, or a fresh one for a few messages.  Give it back with order_release. */
struct order_table *order_take(const struct imap_session *, bool keep);
struct order_table *order_find(const struct imap_session *); /* the kept one, taken, or NULL */
void order_release(struct order_table *);

/*
 * Reads what the kinds (bits 1 << order_kind) want of the messages up to last (those in only, unless it is NULL), from
 * an open snapshot; m reads messages.  True: all are there; false: slice_end (clock_mono_ms) came first.
 */
bool order_fill(struct order_table *, struct store_view *, struct search_message *m, unsigned kinds, uint32_t last,
    const struct uidmap *only, uint64_t slice_end);
/* Ranks what is filled. True: done. */
bool order_rank(struct order_table *, unsigned kinds, uint64_t slice_end);
/* What the table knows of a folded field of a message: ptr NULL: nothing. */
struct view order_folded(const struct order_table *, enum mime_folded, uint32_t uid);
uint32_t order_row(const struct order_table *, uint32_t uid); /* ORDER_NONE: it was not there */
static inline uint32_t order_rank_of(const struct order_column *c, uint32_t row)
{
	return c->rank[c->text != NULL ? c->text[row] : row];
}

/* Between order.c and order_keys.c */
void order_add_number(struct order_column *, int64_t);
void order_add_text(struct order_column *, struct buf *); /* which it changes */
/* Adds what the kinds that have come as far as row want of a message; NULL: it is gone or cannot be read. */
void order_add_row(struct order_table *, unsigned kinds, uint32_t row, struct search_message *m);

#endif
