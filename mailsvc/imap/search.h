/*
 * SEARCH (RFC 3501 6.4.4), with the keys of RFC 5032 (WITHIN), 7162 (MODSEQ), 8474 (EMAILID) and 8514 (SAVEDATE): a
 * program of keys, and whether a message satisfies it.
 *
 * Text is compared as substrings of its folded form (mime_fold).  Keys are put in the order of their cost, so that a
 * message is read only when its row cannot decide.  Nothing here but imap_cmd_search needs a store.
 */
#ifndef MAILSVC_IMAP_SEARCH_H
#define MAILSVC_IMAP_SEARCH_H

#include "mailsvc/imap/fetch.h"
#include "mailsvc/imap/imap.h"

#define SEARCH_DEPTH_MAX 50
#define SEARCH_KEYS_MAX 1000
#define SEARCH_TEXT_KEYS_MAX 64 /* HEADER, BODY and TEXT: each goes over all of a header or text */

enum search_type {
	/* decided by the row */
	SEARCH_ALL,
	SEARCH_FLAGS, /* number: flags that must be set */
	SEARCH_RECENT,
	SEARCH_KEYWORD, /* text: its name as given */
	SEARCH_UIDS,    /* ranges */
	SEARCH_BEFORE,  /* number: a day; of the internal date, in UTC */
	SEARCH_ON,
	SEARCH_SINCE,
	SEARCH_OLDER, /* number: seconds since 1970; of the internal date */
	SEARCH_YOUNGER,
	SEARCH_SAVEDBEFORE, /* number: a day; of when it came into the mailbox, in UTC */
	SEARCH_SAVEDON,
	SEARCH_SAVEDSINCE,
	SEARCH_LARGER,
	SEARCH_SMALLER,
	SEARCH_MODSEQ,  /* number: at least */
	SEARCH_EMAILID, /* text: an object identifier */
	/* by the record */
	SEARCH_SENTBEFORE, /* of Date:, as written there */
	SEARCH_SENTON,
	SEARCH_SENTSINCE,
	SEARCH_FOLDED, /* number: mime_folded; text */
	/* by the header */
	SEARCH_HEADER, /* name, text */
	/* by everything */
	SEARCH_BODY,
	SEARCH_TEXT,
	/* of other keys */
	SEARCH_AND,
	SEARCH_OR,
	SEARCH_NOT,
};

struct search_key {
	enum search_type type;
	unsigned cost;        /* 0 row, 1 record, 2 header, 3 body */
	uint32_t first, next; /* children (AND, OR, NOT) and siblings, as indexes; SEARCH_NONE ends */
	int64_t number;
	char *name;               /* of a header field */
	struct buf text;          /* folded, but for KEYWORD */
	struct uid_range *ranges; /* sorted */
	size_t range_count;
	uint64_t keyword_bits; /* of KEYWORD, by search_bind */
	/* BODY, TEXT: what the full-text index says, when indexed is set: up to UID upto only these bodies may match.
	 */
	bool indexed;
	uint32_t upto;
	uint64_t *bodies; /* rising */
	size_t body_count;
};
#define SEARCH_NONE UINT32_MAX

struct search_program {
	struct search_key *keys;
	uint32_t count, root;
	unsigned text_keys;
	bool modseq;      /* MODSEQ is among the keys: the reply names the highest one */
	bool bad_charset; /* why search_parse failed: answer NO [BADCHARSET ...] */
};

/* From after "SEARCH" or "UID SEARCH" to the end of the command. Free with search_free, also after failure. */
bool search_parse(const struct imap_session *, struct imap_parser *, struct search_program *);
/* The same for SORT and THREAD: " charset keys". */
bool search_parse_in_charset(const struct imap_session *, struct imap_parser *, struct search_program *);
void search_free(struct search_program *);
/* May the full-text index be asked for it? */
bool search_key_indexable(const struct search_key *);
/* Looks the keywords up by name: call again when they may have changed. */
void search_bind(struct search_program *, const struct imap_mailbox *);

struct order_table;

struct search_message {
	const struct message_row *row;
	const struct order_table *table; /* knows folded fields of some messages; or NULL */
	bool recent;
	/* Opens source when it is first wanted: 0, or -1 when the message cannot be read (then no content key matches).
	 */
	int (*open)(struct search_message *);
	void *arg;
	struct fetch_source source;
	/* The evaluator's own. */
	struct mime_record peeked; /* mime_record_peek's, while is_peeked */
	bool is_peeked, opened, unreadable, have_header, have_header_text, text_done, header_told;
	uint32_t part;                           /* BODY has been looked for in the parts before this one */
	uint64_t hits[SEARCH_KEYS_MAX / 64 + 1]; /* keys (bits) that were found in them */
	struct buf header, header_text, body_text, value;
};
enum search_answer {
	SEARCH_NO,
	SEARCH_YES,
	SEARCH_LATER, /* search_look first, until text_done */
};
void search_message_init(struct search_message *, int (*open)(struct search_message *), void *arg);
void search_message_reset(struct search_message *, const struct message_row *, bool recent);
/* The snapshot ends: lets go of what belongs to it, but not of what has been found in the message so far. */
void search_message_pause(struct search_message *);
/* The same message in a new snapshot. */
void search_message_resume(struct search_message *, const struct message_row *, bool recent);
void search_message_free(struct search_message *);
enum search_answer search_match(const struct search_program *, struct search_message *);
/*
 * What else wants to know something of a message: its record as mime_record_peek gives it, and prefix and header (at
 * most FETCH_HEADER_MAX bytes).  NULL and ptr NULL: it cannot be read.
 */
const struct mime_record *search_message_peek(struct search_message *);
struct view search_message_header(struct search_message *);
/*
 * All that TEXT looks in, piece by piece, for whoever indexes it: the header, then each part.  1: out, until the next
 * call; 0: that was all; -1: it cannot be read.
 */
int search_message_next_text(struct search_message *, struct view *out);
/* Looks for the program's BODY and TEXT keys in one more part. */
void search_look(const struct search_program *, struct search_message *);

#endif
