/*
 * What a SEARCH or SORT answers: RETURN options (RFC 4731 ESEARCH, RFC 5182 SAVE, RFC 5267 ESORT) and the line, which
 * may be megabytes long and is sent as fast as the client takes it.
 */
#ifndef MAILSVC_IMAP_SEARCH_REPLY_H
#define MAILSVC_IMAP_SEARCH_REPLY_H

#include "mailsvc/imap/imap.h"

enum search_return { RETURN_MIN = 1, RETURN_MAX = 2, RETURN_ALL = 4, RETURN_COUNT = 8, RETURN_SAVE = 16 };

/* " RETURN (MIN MAX)" in front of what follows: bits of search_return, 0 when it is not there. "()" means ALL. */
bool search_return_parse(struct imap_parser *, unsigned *options);

struct search_reply {
	const char *name; /* "SEARCH", "SORT" */
	bool uid;         /* numbers are UIDs */
	unsigned options; /* 0: the untagged reply of RFC 3501 and 5256 */
	bool modseq;      /* tell it */
	const struct uidmap *hits;
	const uint32_t *order;                          /* the hits' UIDs in their order; NULL: rising */
	size_t count;                                   /* of the hits */
	uint64_t first_modseq, last_modseq, max_modseq; /* of the first and last in the order, and of all */
	/* Its own: zero at first. */
	bool begun, closed;
	size_t sent;        /* hits */
	uint32_t run, at;   /* in hits */
	uint32_t low, high; /* a range of an ESEARCH set that may still grow; 0: none */
	const char *gap;
};
/* Sends until the output is at its mark; true when all is sent. */
bool search_reply_send(struct imap_session *, struct search_reply *);
/* What "$" is from now on (RFC 5182 2.4): of MIN and MAX alone just those, else all. */
void search_reply_save(struct imap_session *, const struct search_reply *);

#endif
