/*
 * Collects one IMAP command from a byte stream: lines that end in CRLF and the literals between them, within limits.
 * Incremental, no I/O: the caller feeds bytes as they come and answers literals.  Used before login and after.
 */
#ifndef MAILSVC_IMAP_READER_H
#define MAILSVC_IMAP_READER_H

#include <event2/buffer.h>

#include "lib/buf.h"

struct imap_reader_limits {
	uint32_t line;    /* bytes of a line without CRLF */
	uint32_t literal; /* bytes of a literal; 0: the protocol has none (POP3) */
	uint32_t total;   /* bytes of a command, literals included */
	uint32_t discard; /* bytes read and thrown away behind an error before it becomes fatal */
};

enum reader_status {
	READER_MORE,    /* all bytes taken, nothing complete */
	READER_LITERAL, /* a literal was announced: call imap_reader_take, _refuse or _external, then feed on */
	READER_COMMAND, /* text is a whole command, literals in place as {n}CRLF bytes, without the last CRLF */
	READER_ERROR,   /* the command was wrong and is skipped: error says how; text begins with its tag */
	READER_FATAL,   /* as READER_ERROR, and the stream cannot be followed any more */
};

struct imap_reader {
	const struct imap_reader_limits *limits;
	struct buf text;
	const char *error;
	uint64_t literal; /* announced: its size */
	uint32_t line;    /* bytes of the current line */
	uint32_t discarded;
	uint64_t left; /* bytes of a literal still to come */
	uint8_t tail_len, state;
	bool sync;     /* announced: the client waits for "+" */
	bool cr;       /* the last byte was a CR */
	char tail[16]; /* the end of the line while discarding */
};

void imap_reader_init(struct imap_reader *, const struct imap_reader_limits *);
/* Takes bytes from data; *used says how many. Feed the rest again unless READER_MORE came. */
enum reader_status imap_reader_feed(struct imap_reader *, const char *data, size_t len, size_t *used);
/* Feeds the first stretch of a connection's input and drains what was taken, which is added to *taken. */
enum reader_status imap_reader_pull(struct imap_reader *, struct evbuffer *in, uint64_t *taken);
/* After READER_LITERAL: takes it if it fits (true: and the client must be sent "+"), else refuses it. */
bool imap_reader_take(struct imap_reader *);
/* Skips the rest of the command and reports error; at once when the client waits for "+". */
void imap_reader_refuse(struct imap_reader *, const char *error);
/* The caller takes the literal's bytes from the stream itself, then feeds on behind them. */
void imap_reader_external(struct imap_reader *);
/* Makes ready for the next command, and releases memory. */
void imap_reader_next(struct imap_reader *);

#endif
