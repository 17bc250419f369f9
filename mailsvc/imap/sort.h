/*
 * SORT (RFC 5256), with the display keys of RFC 5957: its criteria, and putting UIDs in order by the ranks of an
 * order_table.
 */
#ifndef MAILSVC_IMAP_SORT_H
#define MAILSVC_IMAP_SORT_H

#include "mailsvc/imap/order.h"

#define SORT_KEYS_MAX 32

struct sort_criteria {
	struct {
		enum order_kind kind;
		bool reverse;
	} key[SORT_KEYS_MAX];
	size_t count;
	unsigned kinds; /* bits 1 << order_kind */
};

/* " (REVERSE DATE SUBJECT)" */
bool sort_parse(struct imap_parser *, struct sort_criteria *);
/*
 * The UIDs of hits in the order of criteria, equal ones in that of their UIDs; those that the table does not have are
 * left out.  malloc'd.  The columns must be ranked.
 */
uint32_t *sort_uids(const struct order_table *, const struct sort_criteria *, const struct uidmap *hits, size_t *count);
/* The same as rows of the table. */
uint32_t *sort_rows(const struct order_table *, const struct sort_criteria *, const struct uidmap *hits, size_t *count);

#endif
