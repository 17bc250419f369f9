/* xtext (RFC 3461 4): how ENVID, ORCPT and the AUTH parameter of MAIL carry any printable text. */
#ifndef LIB_XTEXT_H
#define LIB_XTEXT_H

#include "buf.h"

/* Appends v with what may not stand as it is, and every byte that is not printable ASCII, as "+HH". */
void xtext_encode(struct buf *out, struct view v);
/* Appends what v stands for; -1: malformed (something may have been appended). Any byte may come out. */
int xtext_decode(struct buf *out, struct view v);

#endif
