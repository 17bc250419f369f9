/*
 * The messages of auth.  A peer that sends anything else, or asks what its role may not, loses its channel: login and
 * smtp may CHECK and use SCRAM (for their own protocols), imap may REDEEM, and auth alone speaks to hash.
 */
#ifndef MAILSVC_AUTH_AUTH_PROTO_H
#define MAILSVC_AUTH_AUTH_PROTO_H

#include "mailsvc/auth/client.h"
#include "mailsvc/auth/credentials.h"
#include "mailsvc/auth/source.h"

enum auth_message {
	AUTH_MSG_CHECK = 1,   /* u8 protocol, blob user, blob password, source (source_put) */
	AUTH_MSG_REDEEM,      /* 16 bytes */
	AUTH_MSG_ANSWER,      /* u8 status, str address, 16 bytes ticket, u32 protocols, str message, u64 exchange */
	AUTH_MSG_SCRAM_FIRST, /* u8 protocol, u8 enum scram_channel_use, 32 bytes, blob client-first-message, source */
	AUTH_MSG_SCRAM_FINAL, /* u64 exchange, blob client-final-message */
	AUTH_MSG_FEATURES,    /* auth's own, id 0: u8 1 where every account can use SCRAM */
};
enum hash_message {
	HASH_MSG_VERIFY = 1, /* blob password, str hash, u8 enum hash_wants bits, 16 bytes salt of the keys */
	HASH_MSG_RESULT, /* u8: 1 right, 0 wrong; when right what was wanted, else "": str new hash, str SCRAM keys */
};

enum hash_wants { HASH_WANTS_HASH = 1, HASH_WANTS_KEYS = 2 };

#define AUTH_USER_MAX (ADDRESS_MAX - 1) /* bytes; a longer one is nobody's */

#endif
