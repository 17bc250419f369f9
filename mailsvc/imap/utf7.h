/* Mailbox names on the wire: modified UTF-7 (RFC 3501 5.1.3), and LIST patterns. */
#ifndef MAILSVC_IMAP_UTF7_H
#define MAILSVC_IMAP_UTF7_H

#include "lib/buf.h"

/*
 * Strict: the one encoding of a name and no other, so that two names never look the same.  -1 for 8-bit or control
 * bytes, needless or empty shifts, left-over bits, lone surrogates, NUL, or a result that does not fit size.
 */
int utf7_decode(struct view in, char *out, size_t size);
void utf7_encode(struct view utf8, struct buf *out);

/*
 * Does name match pattern, where "*" stands for anything and "%" for anything without "/"?  Time is bounded by the
 * product of the lengths.  Patterns longer than LIST_PATTERN_MAX match nothing.
 */
#define LIST_PATTERN_MAX 1024
bool list_match(struct view pattern, struct view name);

#endif
