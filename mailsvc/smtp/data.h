/*
 * Message content on the wire: finds its end, takes off dot-stuffing, and finds what no message may hold.  Pull-style
 * and incremental: gives the same result however the input is cut.  Pure; no I/O.
 */
#ifndef MAILSVC_SMTP_DATA_H
#define MAILSVC_SMTP_DATA_H

#include "lib/buf.h"

enum smtp_data_fault { /* the first that was met; reading goes on to the true end */
	SMTP_DATA_CLEAN,
	SMTP_DATA_BARE_CR,
	SMTP_DATA_BARE_LF,
	SMTP_DATA_NUL,
};

enum smtp_data_status {
	SMTP_DATA_MORE,  /* the input is used up (a last piece may have been given) */
	SMTP_DATA_PIECE, /* piece was set; call again */
	SMTP_DATA_END,   /* CRLF.CRLF was read; what is left in the input belongs to the next command */
};

struct smtp_data_reader {
	enum {
		SMTP_DATA_AT_LINE, /* only ever after CRLF, or at the very start */
		SMTP_DATA_AT_TEXT,
		SMTP_DATA_AT_CR,
		SMTP_DATA_AT_DOT,
		SMTP_DATA_AT_DOT_CR,
	} state;
	bool dots; /* DATA; false for BDAT, which counts octets instead */
	enum smtp_data_fault fault;
	bool eight_bit; /* a byte above 127 was seen */
};

void smtp_data_init(struct smtp_data_reader *, bool dots);
/* Advances *in past what was read; *piece borrows from it: content to keep, empty unless SMTP_DATA_PIECE. */
enum smtp_data_status smtp_data_read(struct smtp_data_reader *, struct view *in, struct view *piece);
/* After the last octet of BDAT: did the content end with CRLF (or is it empty)?  A CR at the very end is a bare one. */
bool smtp_data_finish(struct smtp_data_reader *);

#endif
