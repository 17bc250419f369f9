/*
 * Authentication-Results (RFC 8601, with RFC 6008 header.b, RFC 8617 arc=, RFC 9989 policy.dmarc): the field that tells
 * the recipient's software what was found; and which fields of an arriving message claim to be ours, and must go.
 */
#ifndef MAILSVC_POLICY_AUTHRES_H
#define MAILSVC_POLICY_AUTHRES_H

#include <sys/socket.h>

#include "lib/buf.h"

struct spf_verdict;
struct dkim_result;
struct arc_verdict;
struct dmarc_verdict;
struct iprev_verdict;

#define AUTHRES_MAX 8192 /* what a field may take; results behind it are left out whole */

/* What is NULL or "" was not done and is not mentioned. */
struct authres {
	const char *auth_user; /* auth=pass smtp.auth=; a submission */
	const struct sockaddr *peer;
	const struct iprev_verdict *iprev;  /* needs peer */
	const struct spf_verdict *spf;      /* of MAIL FROM (or of postmaster@HELO, by its flag) */
	const char *mail_from;              /* smtp.mailfrom of spf; "": the domain that was checked */
	const struct spf_verdict *spf_helo; /* of HELO, when that was checked besides */
	const struct dkim_result *dkim;
	size_t dkim_count;
	bool dkim_done; /* a count of 0 means that it is not signed */
	const struct arc_verdict *arc;
	const struct dmarc_verdict *dmarc;
	const char *header_from; /* its domain, for dmarc */
};

/*
 * "Authentication-Results: host;" and the results, folded, CRLF at the end.  "host; none" when there is none.  Values
 * of the peer are quoted where they must be, and what is not printable in them is '?'.  -1: it does not fit into field.
 */
int authres_put(struct buf *field, const char *host, const struct authres *);
/* What stands behind "host;" above, folded, without the last CRLF: for ARC-Authentication-Results. */
int authres_put_results(struct buf *text, const struct authres *);

/*
 * Calls fn for each Authentication-Results field of the header whose authserv-id is host (RFC 8601 5: whatever the
 * case, quotes, comments, U-labels or a final dot), or cannot be read for sure; start and length within header, its
 * line end included, from the top.  Returns how many there were.
 */
size_t authres_strip(struct view header, const char *host, void (*fn)(void *arg, size_t start, size_t len), void *arg);

enum authres_word { AUTHRES_ABSENT, AUTHRES_PASS, AUTHRES_OTHER };
/*
 * What a host says of a method ("dmarc"); text: its field behind the name (and behind "i=N;" of ARC).  AUTHRES_OTHER
 * when one of several results is not pass, or the text cannot be read to its end.
 */
enum authres_word authres_says(struct view text, const char *method);
/* Calls fn with each value of property ("header.d") in results of method that are pass. */
void authres_passed(
    struct view text, const char *method, const char *property, void (*fn)(void *arg, struct view value), void *arg);

/*
 * What host itself said of a message that it has delivered: the value of the topmost field of that authserv-id above
 * all Received fields, whatever else claims to be one having been taken out by authres_strip.  ptr NULL: there is none.
 */
struct view authres_own(struct view header, const char *host);

#endif
