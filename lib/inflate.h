/* Unpacking what is packed by gzip or deflate, whole: an end to how large it becomes is the buffer's maximum. */
#ifndef LIB_INFLATE_H
#define LIB_INFLATE_H

#include "lib/buf.h"

enum inflate_kind { INFLATE_GZIP, INFLATE_RAW };

/* Appends what in unpacks to: 0; or -1: it is broken or cut, or out is full. */
int inflate_all(struct view in, enum inflate_kind, struct buf *out);

#endif
