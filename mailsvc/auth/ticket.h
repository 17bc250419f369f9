/* What imap shows auth to prove that auth let a session in: 16 random bytes, good once, for 30 seconds. */
#ifndef MAILSVC_AUTH_TICKET_H
#define MAILSVC_AUTH_TICKET_H

#include "mailsvc/auth/client.h"

#define TICKET_LIFE_S 30
#define TICKETS_MAX 8192 /* unredeemed at once; the oldest gives way */

struct tickets;
struct tickets *tickets_new(void);
void tickets_free(struct tickets *);
int ticket_issue(struct tickets *, const char *address, enum protocol, int64_t now, uint8_t out[AUTH_TICKET_LEN]);
/* Ends the ticket. -1: there is none, or its time is over. */
int ticket_redeem(
    struct tickets *, const uint8_t ticket[AUTH_TICKET_LEN], int64_t now, char address[ADDRESS_MAX], enum protocol *);

#endif
