/* The messages between smtp and send about recipients; one typed put/get pair each. */
#ifndef MAILSVC_SEND_VERIFY_PROTO_H
#define MAILSVC_SEND_VERIFY_PROTO_H

#include "verify_client.h"

enum verify_message {
	VERIFY_MESSAGE_ASK = 1,    /* str sender, str recipient */
	VERIFY_MESSAGE_ANSWER = 2, /* u8 status, str enhanced, str relay, str text */
	VERIFY_MESSAGE_CANCEL = 3, /* notification: u32 id of the ASK */
};

#define VERIFY_ADDRESS_MAX 512 /* with NUL: more than ADDRESS_MAX */

/* One that is too long becomes "": for the recipient, which nobody knows then. */
void verify_ask_put(struct buf *out, const char *sender, const char *recipient);
int verify_ask_get(
    struct view in, char sender[VERIFY_ADDRESS_MAX], char recipient[VERIFY_ADDRESS_MAX]); /* -1: malformed */

void verify_answer_put(struct buf *out, const struct verify_answer *);
int verify_answer_get(struct view in, struct verify_answer *); /* -1: malformed */

#endif
