/*
 * FETCH (RFC 3501 6.4.5): what is asked for, and where in a message it is.
 *
 * A message is a prefix (per-delivery header lines, in memory) and a body (read in slices).  The prefix belongs to the
 * header: BODY[] is prefix and body, BODY[HEADER] prefix and the body's header; parts lie in the body alone.
 * All that this header declares works without a session or a store.
 */
#ifndef MAILSVC_IMAP_FETCH_H
#define MAILSVC_IMAP_FETCH_H

#include "mailsvc/imap/parse.h"
#include "mailsvc/mime/mime.h"
#include "mailsvc/store/view.h"

#define FETCH_ITEMS_MAX 64
#define FETCH_FIELDS_MAX 256           /* names in the HEADER.FIELDS of one command: each is looked for in each line */
#define FETCH_HEADER_MAX (1024 * 1024) /* bytes of a header that fields are looked for in */
#define FETCH_PREVIEW_MAX 200          /* characters of PREVIEW */

enum fetch_kind {
	FETCH_UID,
	FETCH_FLAGS,
	FETCH_INTERNALDATE,
	FETCH_SIZE,
	FETCH_MODSEQ,
	FETCH_SAVEDATE, /* RFC 8514 */
	FETCH_EMAILID,  /* RFC 8474 */
	FETCH_THREADID,
	FETCH_ENVELOPE, /* from here on the body is needed */
	FETCH_BODY,
	FETCH_BODYSTRUCTURE,
	FETCH_PREVIEW, /* RFC 8970 */
	FETCH_CONTENT, /* BODY[...], RFC822, RFC822.HEADER, RFC822.TEXT */
	FETCH_BINARY,  /* BINARY[...], RFC 3516 */
	FETCH_BINARY_SIZE,
};

enum fetch_part { PART_ALL, PART_HEADER, PART_FIELDS, PART_FIELDS_NOT, PART_TEXT, PART_MIME };

struct fetch_section {
	uint32_t path[MIME_DEPTH_MAX];
	size_t path_len;
	enum fetch_part part;
	struct view *fields; /* names; borrow the command */
	size_t field_count;
	bool binary; /* PART_ALL, its Content-Transfer-Encoding undone */
	bool kept;   /* PART_FIELDS whose names the message's record keeps (mime_kept) */
	bool partial;
	uint32_t origin, size; /* <origin.size> */
};

struct fetch_item {
	enum fetch_kind kind;
	struct fetch_section section;
	char *label; /* of content, as the reply names it: "BODY[1.TEXT]<0>" */
	size_t label_len;
};

struct fetch_items {
	struct fetch_item *at;
	size_t count, fields;
	bool flags;     /* FLAGS is among them */
	bool sets_seen; /* reading without PEEK */
	bool body;      /* something needs the body's record or bytes */
	bool modseq;    /* MODSEQ is among them */
	bool since_given, vanished; /* (CHANGEDSINCE since [VANISHED]) */
	uint64_t since;
};

/* "(UID BODY.PEEK[])", "FULL", "FLAGS (CHANGEDSINCE 5 VANISHED)". uid: a UID FETCH, whose replies always have UID. Free with fetch_items_free,
 * also after failure. */
bool fetch_items_parse(struct imap_parser *, bool uid, struct fetch_items *);
struct fetch_items fetch_items_resync(uint64_t since); /* UID FLAGS MODSEQ (CHANGEDSINCE since VANISHED) */
void fetch_items_free(struct fetch_items *);

/* A message as FETCH and SEARCH read it. */
struct fetch_source {
	struct view prefix;
	uint64_t length;                                                   /* of the body */
	int (*read)(void *arg, uint64_t offset, void *dst, size_t length); /* 0, or -1: errno */
	void *arg;
	struct view mime; /* its record, as stored */
	struct mime_record record;
	bool checked;      /* the record, by an earlier fetch_source_record: not again */
	bool opened;       /* record is */
	struct buf parsed; /* a record made here, because the stored one is unusable */
};
/* 0: record is open. It is computed anew when the stored one is broken or of another version. -1: cannot read. */
int fetch_source_record(struct fetch_source *);
void fetch_source_free(struct fetch_source *);
/* Appends bytes of the body. */
int fetch_source_read(const struct fetch_source *, uint64_t offset, uint64_t length, struct buf *out);

/* Bytes to send: text, then length bytes of the body from offset. */
struct fetch_content {
	bool exists; /* false: NIL */
	struct view text;
	uint64_t offset, length;
	struct mime_decoder decoder; /* binary: what these bytes are to be passed through; an identity otherwise */
};
/*
 * scratch holds text where it must be put together (HEADER.FIELDS).  partial is applied, except where there is a
 * decoder: it counts decoded bytes.  -1: cannot read.
 */
int fetch_section_find(
    struct fetch_source *, const struct fetch_section *, struct buf *scratch, struct fetch_content *);
/* The beginning of the first text part that has any, as one line of UTF-8, appended; -1: cannot read. */
int fetch_preview(struct fetch_source *, struct buf *out);

#endif
