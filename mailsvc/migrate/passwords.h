/* Password hashes out of other servers' files: pure. */
#ifndef MAILSVC_MIGRATE_PASSWORDS_H
#define MAILSVC_MIGRATE_PASSWORDS_H

#include "lib/buf.h"
#include "lib/log.h"
#include "mailsvc/auth/credentials.h"

struct password_entry {
	struct view user, hash; /* hash: "{SCHEME}..." or as crypt(5) has it */
};
/*
 * The next user with a hash: a line "user:hash[:...]" (Dovecot's passwd-file, shadow), a line with tabs (mysql
 * --batch), or a row of an INSERT INTO mailbox (mailcow's dump), of which several may stand on a line.  *pos starts at
 * 0; false at the end.  *line: its number.
 */
bool passwords_next(struct view text, size_t *pos, size_t *line, struct password_entry *out);

enum password_kind { PASSWORD_HASH, PASSWORD_PLAIN };
/*
 * What credentials keep for this hash (out), or the password itself where the other server kept that.  -1: a scheme
 * that cannot be taken over, with the reason.
 */
int password_take_over(struct view hash, enum password_kind *, char out[CREDENTIALS_HASH_MAX], struct error *);

#endif
