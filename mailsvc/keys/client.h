/* Asking keys for a DKIM signature over a hash, and the DKIM signer that uses it (RFC 6376). */
#ifndef MAILSVC_KEYS_CLIENT_H
#define MAILSVC_KEYS_CLIENT_H

#include "lib/rpc.h"
#include "site/site.h"

struct keys_client;
struct keys_client *keys_client_new(struct event_base *);
void keys_client_attach(struct keys_client *, int fd);

enum dkim_status {
	DKIM_SIGNED,
	DKIM_NO_KEY, /* there is none at all for the domain: mail goes unsigned */
	DKIM_AWAY,   /* keys could not be asked: whether mail would be signed is not known */
};

/*
 * Signs message (header and body, CRLF) for the domain with relaxed/relaxed, over the headers RFC 6376 5.4.1 names
 * (From oversigned): with rsa-sha256, and with ed25519-sha256 where it has such a selector.  The callback gets the
 * whole "DKIM-Signature: ...\r\n" fields of the keys there are, or an empty view unless DKIM_SIGNED.  Neither domain
 * nor message need outlive the call.
 */
typedef void (*dkim_fn)(void *arg, enum dkim_status, struct view fields);
uint32_t dkim_sign(struct keys_client *, const struct site_domain *, struct view message, dkim_fn, void *arg);
void dkim_cancel(struct keys_client *, uint32_t id);

/*
 * The ARC set (RFC 8617 5.1) that the domain puts in front of message, which was received with this verdict:
 * "ARC-Seal", "ARC-Message-Signature" and "ARC-Authentication-Results" fields with CRLF, by its RSA key.  authres: what
 * an Authentication-Results field has behind "authserv_id;" ("none" when empty), unfolded or folded.  The callback
 * never comes from inside; DKIM_NO_KEY also when no set should be added: the chain is closed, or could not be verified
 * for now (a seal would fail it for good).  dkim_cancel takes its id.  Nothing given need outlive the call.
 */
struct arc_verdict;
uint32_t arc_seal(struct keys_client *, const struct site_domain *, struct view message, const struct arc_verdict *,
    const char *authserv_id, struct view authres, dkim_fn, void *arg);

/*
 * The domain of ours that signs what comes from an address in `domain`: itself, or for host.name the domain that it
 * is in (DMARC aligns the two).  NULL: none.
 */
const struct site_domain *dkim_domain(const struct site *, const char *domain);

#endif
