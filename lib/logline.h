/* Reading what log.h wrote: lines of a log file, and the key=value pairs in them. */
#ifndef LIB_LOGLINE_H
#define LIB_LOGLINE_H

#include "lib/buf.h"
#include "lib/log.h"

struct log_line {
	int64_t when; /* seconds */
	enum log_level level;
	struct view ident; /* who wrote it: "smtp" */
	struct view text;  /* "id=... event=..." */
};

/* line has no newline; the views borrow from it.  -1: no line of ours. */
int log_line_parse(struct view line, struct log_line *out);
int log_level_parse(struct view name, enum log_level *out); /* "INFO", either case */
const char *log_level_name(enum log_level);                 /* "INFO" */

/*
 * The pair at *pos of text, which moves behind it: false at the end.  value is emptied, then gets the value as it was
 * before text_escape; words without "=", and pairs whose key is not printable ASCII, are passed over.
 */
bool log_pair_next(struct view text, size_t *pos, struct view *key, struct buf *value);
/* The first pair of this key. */
bool log_pair_find(struct view text, const char *key, struct buf *value);

#endif
