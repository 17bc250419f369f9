/*
 * A message's structure, computed once at receipt and kept as a versioned record: part offsets, ENVELOPE, dates.
 * No I/O.  Input is hostile: depth, parts and header sizes are bounded, and whatever is beyond is treated as text.
 *
 * Offsets are bytes from the start of the message as given (without any per-delivery prefix).
 */
#ifndef MAILSVC_MIME_MIME_H
#define MAILSVC_MIME_MIME_H

#include "lib/buf.h"

#define MIME_RECORD_VERSION 2 /* of what is written; 1, without kept fields, is read too */
#define MIME_DEPTH_MAX 50
#define MIME_PARTS_MAX 2000
#define MIME_KEPT_MAX (8 * 1024) /* bytes of a header's kept fields, and of each of its folded ones */
#define MIME_RECORD_MAX                                                                                                \
	(1 << 20) /* bytes of a record; a message whose record would be larger is one opaque text part */

/* Appends the record of message to out (whose max should be MIME_RECORD_MAX or more). Cannot fail for any input. */
void mime_parse(struct view message, struct buf *record);

struct mime_part {
	uint32_t parent;            /* index; the root's is UINT32_MAX */
	uint16_t number;            /* among its siblings, 1.. */
	bool multipart, rfc822;     /* message/rfc822 and message/global: its child is the inner message */
	uint64_t header, body, end; /* header: first byte of its MIME or message header; body: after the blank line;
	                               end: past its last byte (without the CRLF before a boundary) */
	uint32_t lines;             /* of body */
};

enum mime_folded {
	MIME_FOLDED_FROM,
	MIME_FOLDED_TO,
	MIME_FOLDED_CC,
	MIME_FOLDED_BCC,
	MIME_FOLDED_SUBJECT,
	MIME_FOLDED
};

/* A record that has been checked against its message's length: every offset is inside, every string whole. */
struct mime_record {
	struct view blob;
	uint64_t message_len;
	uint32_t part_count;
	int64_t date;         /* Date: as seconds since 1970, INT64_MIN when absent or wrong */
	int16_t date_zone;    /* minutes east, of Date: */
	struct view envelope; /* IMAP ENVELOPE "(...)", literals included: ready to send (well-formed: mime_record_open
	                         checked it) */
	struct view bodystructure;                       /* IMAP BODYSTRUCTURE "(...)" likewise */
	struct view subject;                             /* decoded to UTF-8, unfolded */
	struct view base_subject;                        /* RFC 5256 2.1, case-folded */
	struct view message_id, in_reply_to, references; /* as written, unfolded */
	/* Of the message's own header.  ptr NULL: not recorded (an older record, or too long), read the header. */
	struct view kept;                /* the fields whose names mime_kept knows, whole and in order */
	bool header_ends;                /* with a blank line; together with kept */
	struct view folded[MIME_FOLDED]; /* as SEARCH compares them (mime_search_addresses, mime_fold); "" when absent */
};

/* -1 when the record is broken, of another version, or lies about a message of message_len bytes. */
int mime_record_open(struct mime_record *, struct view blob, uint64_t message_len);
/*
 * The same for readers of dates, subjects, message ids, kept and folded alone, in a fraction of the time: parts, envelope
 * and bodystructure are not checked and must not be used.
 */
int mime_record_peek(struct mime_record *, struct view blob, uint64_t message_len);
/* Of those just kept, and whether the header ends with a blank line; false: it has none, or is broken as far as that. */
bool mime_record_kept(struct view blob, uint64_t message_len, struct view *kept, bool *header_ends);
void mime_record_part(const struct mime_record *, uint32_t index, struct mime_part *out);
/* "1.2.3" as IMAP numbers parts (RFC 9051 6.4.5.1), path as numbers; the index, or -1 when there is none. Empty: the
 * root. */
int64_t mime_record_find(const struct mime_record *, const uint32_t *path, size_t path_len);
/* BODY (without extension data) is derived from bodystructure. */
void mime_body_from_bodystructure(struct view bodystructure, struct buf *out);
/* True when text is one balanced IMAP parenthesised list, with atoms, quoted strings and literals only: safe to send as
 * it is. */
bool mime_imap_text_ok(struct view text);

/* Headers ------------------------------------------------------------------------------------------------ */
struct mime_header {
	struct view name;  /* without the colon */
	struct view value; /* raw: after the colon, folds and all, without the last CRLF */
	struct view field; /* the whole field, last CRLF included */
};
/* Walks the fields of a header block; *pos starts at 0.  false at the blank line or the end. */
bool mime_header_next(struct view block, size_t *pos, struct mime_header *out);
size_t mime_header_len(
    struct view message); /* bytes up to and including the blank line (all of it when there is none) */
struct view mime_header_find(struct view block, const char *name); /* first value, or an empty view with ptr NULL */
void mime_unfold(struct view raw, struct buf *out);                /* unfolds and trims */
void mime_decode_header(
    struct view raw, struct buf *out); /* unfolded, RFC 2047 words decoded, UTF-8 (RFC 6532 taken as it is) */

/* A parameter of a structured value (the whole value of Content-Type or Content-Disposition), RFC 2231 undone, UTF-8,
 * appended. */
bool mime_parameter(struct view raw, const char *name, struct buf *out);

/* Address lists, tolerant: as many mailboxes as can be made out. */
struct mime_mailbox {
	struct view name;          /* raw display name, quotes removed, not decoded */
	struct view local, domain; /* domain empty when missing */
	struct view route;         /* "@a,@b" of an obsolete source route (RFC 5322 4.4), usually empty */
	bool more; /* an "@" was passed over in what makes no sense here: others may see another address */
	bool group_start, group_end;
};
typedef void (*mime_mailbox_fn)(void *arg, const struct mime_mailbox *);
void mime_addresses(struct view raw, mime_mailbox_fn, void *arg);

/* "Name <local@domain>, local@domain" of an address field's value, decoded and folded (mime_fold), appended. */
void mime_search_addresses(struct view raw, struct buf *folded);
/* Does a decoded subject say that it answers or forwards (RFC 5256 2.1: there was a mark to take off)? */
bool mime_subject_is_reply(struct view subject);
bool mime_kept(struct view name); /* is a field of this name in mime_record.kept? */

/* RFC 5322 date-time with obsolete forms; 0, or -1. zone in minutes east. */
int mime_parse_date(struct view raw, int64_t *when, int16_t *zone);

/* Content-Transfer-Encoding undone ------------------------------------------------------------------------- */
enum mime_encoding { ENCODING_IDENTITY, ENCODING_BASE64, ENCODING_QUOTED_PRINTABLE, ENCODING_OTHER };
struct mime_decoder {
	enum mime_encoding encoding; /* ENCODING_OTHER: not known, decoded as it is */
	uint32_t bits;
	unsigned have;
	bool ended;
};
/* For the body of the part with this header. */
struct mime_decoder mime_decoder_of(struct view part_header);
/*
 * Decodes a stretch of a body, appended; returns how many bytes it took, which may be fewer than there are unless last:
 * call again with what is left and more behind it.  A stretch of 4096 bytes or more always gets on.
 */
size_t mime_decode_some(struct mime_decoder *, struct view in, bool last, struct buf *out);

/*
 * The message with its binary parts in base64, appended (its size grows by half at most, and 64 bytes a part).  false: out
 * is full.
 */
bool mime_encode_binary(struct view message, struct buf *out);

/* Content for searching ------------------------------------------------------------------------------------ */
/* Opens every charset converter that will be needed: call before the sandbox. */
void mime_charsets_preload(void);
/* Converts to UTF-8; an unknown charset or a broken byte becomes U+FFFD, never an error. false when the charset is
 * unknown. */
bool mime_to_utf8(const char *charset, struct view in, struct buf *out);
bool mime_charset_known(const char *charset);
/* Case-folded and NFKC-ish form in which substrings are compared (utf8proc). */
void mime_fold(struct view utf8, struct buf *out);
/* The text of part (text/..., any encoding and charset) as folded UTF-8, appended. Other types add nothing. */
void mime_part_text(const struct mime_record *, struct view message, uint32_t part, struct buf *folded);
/* The same from a leaf's header and body alone, for readers that do not hold the whole message. */
bool mime_is_text(struct view part_header); /* will mime_leaf_text add anything? */
void mime_leaf_text(struct view part_header, struct view body, struct buf *folded);
/*
 * The first characters of a text leaf as one line of UTF-8 (PREVIEW, RFC 8970), appended: blanks and line ends are one
 * space each, quoted lines are left out where there are others.  body: its beginning is enough.
 */
void mime_leaf_preview(struct view part_header, struct view body, unsigned characters, struct buf *out);
#define MIME_TEXT_MAX (16u << 20)                 /* decoded bytes of a part that are looked at */
#define MIME_TEXT_RAW_MAX (MIME_TEXT_MAX / 3 * 5) /* bytes of its body that can matter */

#endif
