/* Asking keys for a DKIM signature over a hash, and the DKIM signer that uses it (RFC 6376). */
#ifndef MAILSVC_KEYS_CLIENT_H
#define MAILSVC_KEYS_CLIENT_H

#include "lib/rpc.h"
#include "site/site.h"

struct keys_client;
struct keys_client *keys_client_new(struct event_base *);
void keys_client_attach(struct keys_client *, int fd);

/*
 * Signs message (header and body, CRLF) for domain with relaxed/relaxed and rsa-sha256, over the headers RFC 6376 5.4.1 names
 * (From oversigned).  The callback gets the whole "DKIM-Signature: ...\r\n" field, or an empty view when there is no key for the
 * domain or keys is away.  message need not outlive the call.
 */
typedef void (*dkim_fn)(void *arg, struct view field);
uint32_t dkim_sign(struct keys_client *, const char *domain, const char *selector, struct view message, dkim_fn, void *arg);
void dkim_cancel(struct keys_client *, uint32_t id);

#endif
