/*
 * The untagged FETCH of one message after another: text that gathers in a buffer, and in between pieces of a body that
 * are too long for it and are streamed into the connection's own memory.
 */
#ifndef MAILSVC_IMAP_FETCH_REPLY_H
#define MAILSVC_IMAP_FETCH_REPLY_H

#include "mailsvc/imap/fetch.h"
#include "mailsvc/imap/imap.h"

#define FETCH_FLUSH (64 * 1024) /* bytes that gather before they go to the connection */

struct fetch_piece { /* bytes of the body that go between out[..at] and out[at..] */
	size_t at;
	uint64_t offset, left; /* of the body as it is stored */
	struct mime_decoder decoder;
	uint64_t skip, wanted; /* with a decoder: decoded bytes to pass over, and then to send */
};

struct fetch_reply {
	struct imap_session *session;
	const struct fetch_items *items;
	const struct uid_range *marked; /* their FLAGS are told, asked for or not */
	size_t marked_count;

	struct buf out, scratch, raw;
	struct fetch_source source; /* the message that is being rendered */
	struct fetch_piece pieces[FETCH_ITEMS_MAX];
	size_t piece_count, piece, sent; /* sent: of out, while streaming */
	uint64_t body, ref_ms;
	struct body_ref ref; /* of the message that is being rendered or streamed */
	/* BINARY of long parts: how much its items are when decoded, as far as that is known. */
	struct {
		uint32_t uid;
		size_t done; /* items before it are measured */
		uint64_t size[FETCH_ITEMS_MAX];
		bool nul[FETCH_ITEMS_MAX];
		uint64_t at; /* in the body of the next one */
		bool fresh;  /* scratch holds all of the last one, decoded */
		struct mime_decoder decoder;
	} measured;
	struct { /* what FLAGS is without keywords and \Recent */
		uint8_t len;
		char text[63];
	} flag_text[32];
};

void fetch_reply_init(struct fetch_reply *, struct imap_session *, const struct fetch_items *);
void fetch_reply_free(struct fetch_reply *);

/*
 * Inside a snapshot: adds the reply for a row.  0: done, and when piece_count is set it must be streamed before the
 * next one; 1: nothing was added and there is more to compute, come again with the same row; -1: nothing was added, it
 * cannot be read; -2: nothing was added, a part's encoding is not known.
 */
int fetch_reply_put(struct fetch_reply *, const struct message_row *, uint32_t seq);
void fetch_reply_flush(struct fetch_reply *); /* out to the connection, when there are no pieces */
/* 1: all is out; 0: the connection takes no more now; -1: the body cannot be read. */
int fetch_reply_stream(struct fetch_reply *);

#endif
