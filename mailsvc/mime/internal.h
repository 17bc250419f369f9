/*
 * Between the files of mime/ only.  All readers here are tolerant: they take any bytes, run in linear time, and give
 * back what can be made out.
 */
#ifndef MAILSVC_MIME_INTERNAL_H
#define MAILSVC_MIME_INTERNAL_H

#include "mime.h"

#define MIME_BOUNDARY_MAX 256 /* RFC 2046 allows 70 */
#define MIME_NONE UINT32_MAX  /* no such part */

/* The fields that records and structures are made of; of a repeated field the first counts (header.c). */
enum mime_field {
	FIELD_DATE,
	FIELD_SUBJECT,
	FIELD_FROM,
	FIELD_SENDER,
	FIELD_REPLY_TO,
	FIELD_TO,
	FIELD_CC,
	FIELD_BCC,
	FIELD_IN_REPLY_TO,
	FIELD_MESSAGE_ID,
	FIELD_REFERENCES,
	FIELD_CONTENT_TYPE,
	FIELD_CONTENT_TRANSFER_ENCODING,
	FIELD_CONTENT_ID,
	FIELD_CONTENT_DESCRIPTION,
	FIELD_CONTENT_DISPOSITION,
	FIELD_CONTENT_MD5,
	FIELD_CONTENT_LANGUAGE,
	FIELD_CONTENT_LOCATION,
	FIELD_COUNT
};
struct mime_fields {
	struct view value[FIELD_COUNT]; /* raw; ptr NULL when the field is absent */
};
void mime_fields_read(struct view block, struct mime_fields *);

/* Appends what mime_record.header_ends, kept and folded are read from. */
void mime_kept_put(struct buf *out, struct view header);

/* Structured values, RFC 2045 5.1 (content.c) ---------------------------------------------------------------- */
struct mime_params {
	const char *p, *end;
	unsigned count;
	struct view name, value; /* of the last mime_params_next; value is unquoted, RFC 2231 forms stay as they are */
	char store[4096];        /* longer values are cut */
};
bool mime_params_next(struct mime_params *);

struct mime_content {
	struct view type, subtype;     /* as written, or the default */
	bool defaulted;                /* the field was absent or broken */
	bool multipart, message, text; /* message: rfc822 or global */
	struct mime_params params;
};
/* digest: what is not said is message/rfc822 (RFC 2046 5.1.5), else text/plain. */
void mime_content_read(struct view content_type, bool digest, struct mime_content *);
/* One leading token, as of Content-Transfer-Encoding and Content-Disposition; empty when there is none. */
struct view mime_token_read(struct view raw, struct mime_params *params);
const char *mime_skip_cfws(const char *p, const char *end);

enum mime_encoding mime_encoding_read(struct view content_transfer_encoding);

/* Structure (scan.c) ------------------------------------------------------------------------------------------ */
struct scan_part {
	struct mime_part part;
	uint32_t first_child, last_child, next_sibling; /* MIME_NONE: none */
	bool digest_child;                              /* without Content-Type it is message/rfc822 */
};
struct scan {
	struct scan_part *parts; /* in the order in which they start */
	uint32_t count, cap;
};
void mime_scan(struct view message, struct scan *);        /* at least one part; free with mime_scan_free */
void mime_scan_opaque(struct view message, struct scan *); /* one leaf, whatever it holds */
void mime_scan_free(struct scan *);

/* IMAP text (imap_text.c) ------------------------------------------------------------------------------------- */
void mime_imap_string(struct buf *out, struct view v);
void mime_envelope(struct buf *out, const struct mime_fields *);
void mime_bodystructure(struct buf *out, struct view message, const struct scan *);

/* Bytes and characters ---------------------------------------------------------------------------------------- */
void mime_decode_base64(struct view in, struct buf *out); /* what is not of the alphabet is skipped; stops at padding */
void mime_decode_quoted_word(struct view in, struct buf *out); /* "=XX" undone; blanks stay */
bool mime_utf8_valid(struct view);
void mime_utf8_put(struct buf *out, uint32_t codepoint);
/* UTF-8 as it is; text that is not, which nobody declared, as windows-1252. */
void mime_undeclared_to_utf8(struct view in, struct buf *out);
void mime_base_subject(struct view subject, struct buf *out); /* RFC 5256 2.1, folded */
void mime_html_to_text(struct view html, struct buf *out);
/* The text of a text leaf as UTF-8, appended, HTML reduced to its words.  false: it is no text. */
bool mime_leaf_utf8(struct view part_header, struct view body, struct buf *out);

#endif
