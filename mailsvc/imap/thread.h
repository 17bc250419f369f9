/*
 * THREAD=REFERENCES and THREAD=ORDEREDSUBJECT (RFC 5256 3): from the ranks of subjects and dates and the links of an
 * order_table to trees of messages, and to the text of the reply.
 *
 * Trees are built without regard to the order in which messages refer to each other: first each message is put below
 * the last one that it refers to itself, then those that have no parent where others' References put them.
 */
#ifndef MAILSVC_IMAP_THREAD_H
#define MAILSVC_IMAP_THREAD_H

#include "mailsvc/imap/order.h"

enum thread_algorithm { THREAD_NONE, THREAD_ORDEREDSUBJECT, THREAD_REFERENCES };

/* " REFERENCES" */
bool thread_parse(struct imap_parser *, enum thread_algorithm *);
unsigned thread_kinds(enum thread_algorithm); /* columns: bits 1 << order_kind */

/*
 * Appends "(1 2 (3)(4))(5)" of hits to out; numbers are those of map, or UIDs when it is NULL.  n log n, whatever
 * messages claim.
 */
void thread_put(const struct order_table *, enum thread_algorithm, const struct uidmap *hits, const struct uidmap *map,
    struct buf *out);

#endif
