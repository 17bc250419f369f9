/* Small text work that several layers need and no library does: escaping, sizes, durations, base64. */
#ifndef LIB_TEXT_H
#define LIB_TEXT_H

#include "buf.h"

/*
 * Appends v as a key=value log value: as it is when it is plain (no space, quote, backslash or control
 * byte), else in double quotes with \xNN escapes for what is not printable.  At most limit bytes of v
 * are shown, then "...".
 */
void text_escape(struct buf *out, struct view v, size_t limit);

/* "10G", "512k", "1048576" -> bytes (powers of 1024; suffix k M G T, either case); -1 if it is none. */
int text_parse_size(const char *s, uint64_t *out);
/* "90s", "10m", "4h", "5d", "2w", "30" (seconds) -> seconds; -1 if it is none. */
int text_parse_duration(const char *s, uint64_t *out);
void text_format_size(uint64_t bytes, char out[16]);       /* "9.8 MiB" */
void text_format_duration(uint64_t seconds, char out[24]); /* "4h" when exact, else seconds: parses back */

/* RFC 4648 base64.  Decode is strict (padding, no spaces): -1 when v is not base64 or passes out->max. */
int text_base64_encode(struct buf *out, struct view v);
int text_base64_decode(struct buf *out, struct view v);

/* RFC 5322 date-time: "Tue, 24 Nov 2026 06:45:48 +0000" in local time. */
void text_rfc5322_date(int64_t when, char out[40]);

/* ASCII lower case in place, whatever the locale. */
void text_lower(char *s);

/* Labels of 1 to 63 letters, digits, '-' and '_', 253 bytes in all, no final dot: what a host may be called in DNS. */
bool text_is_host(struct view v);

/* How many bytes from the start are above CR (13), none of which ends a line; *eight_bit when one is not ASCII. */
size_t text_run(struct view v, bool *eight_bit);

/* Edit distance of two short words, for 'did you mean'; at most limit + 1. */
unsigned text_distance(const char *a, const char *b, unsigned limit);

#endif
