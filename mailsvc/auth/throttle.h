/*
 * Who may try a password: pure logic on a clock that the caller passes (seconds).
 *
 * Failures are counted in windows of ten minutes from the first one, for each source, for each account, and for each
 * pair of the two.  At the limit, further tries are stopped until the window ends.  A source that has logged in to the
 * account within 30 days is judged by the failures of that pair alone, so that no stranger can lock a user out, neither
 * from elsewhere nor from behind the same address.  Loopback is never judged as a source.  The same wrong password for
 * the same account counts once, so that a phone with an old password does not lock its office out.
 */
#ifndef MAILSVC_AUTH_THROTTLE_H
#define MAILSVC_AUTH_THROTTLE_H

#include "mailsvc/auth/source.h"
#include "mailsvc/auth/table.h"

#define THROTTLE_WINDOW 600
#define THROTTLE_KNOWN (30 * 86400)

enum throttle_answer { THROTTLE_GO, THROTTLE_GO_KNOWN, THROTTLE_STOP };

struct throttle;
struct throttle *throttle_new(const uint8_t key[DIGEST_LEN]);
void throttle_free(struct throttle *);
enum throttle_answer throttle_ask(
    struct throttle *, const struct source *, const char *account, unsigned limit, int64_t now);
/* wrong: a digest of account, password and what it was compared with. */
void throttle_failed(
    struct throttle *, const struct source *, const char *account, const struct digest *wrong, int64_t now);
void throttle_succeeded(struct throttle *, const struct source *, const char *account, int64_t now);
/*
 * A try that did not succeed, wrong or stopped: is it an offence of this source?  The same password again, as a phone
 * repeats it, is none; another source that tries the same one offends all the same.
 */
bool throttle_offends(struct throttle *, const struct source *, const struct digest *wrong, int64_t now);
/* Was this very password wrong within the last window?  Then it need not be hashed again. */
bool throttle_was_wrong(struct throttle *, const struct digest *wrong, int64_t now);

#endif
