/* The body of DATA (RFC 5321 4.5.2): dots doubled at the start of lines, and the final dot; in slices. */
#ifndef MAILSVC_SEND_DOTSTUFF_H
#define MAILSVC_SEND_DOTSTUFF_H

#include "lib/buf.h"

struct dotstuff {
	struct view left;
	bool line_start, finished;
	char last[2]; /* the last two bytes that went out */
};

void dotstuff_init(struct dotstuff *, struct view message);
/* Appends about max bytes (a few more where dots are doubled). finished is set once the final dot is out. */
void dotstuff_next(struct dotstuff *, size_t max, struct buf *out);

#endif
