/*
 * DMARC (RFC 9989): does what SPF and DKIM proved belong to the author's domain, and what does that domain ask for when
 * it does not?  Policy and organisational domains are found by the DNS tree walk; no public suffix list is needed.
 */
#ifndef MAILSVC_POLICY_DMARC_H
#define MAILSVC_POLICY_DMARC_H

#include "mailsvc/policy/spf.h"

enum dmarc_result { DMARC_NONE, DMARC_PASS, DMARC_FAIL, DMARC_TEMPERROR, DMARC_PERMERROR };
enum dmarc_policy { DMARC_P_NONE, DMARC_P_QUARANTINE, DMARC_P_REJECT };

#define DMARC_SIGNATURES_MAX 10 /* of dmarc_input.dkim and dkim_temporary together, the rest is ignored */

/* Copied by dmarc_start. */
struct dmarc_input {
	const char *from_domain; /* of dmarc_author */
	enum spf_result spf;
	const char *spf_domain;  /* what SPF checked; "" or NULL: nothing */
	const char *const *dkim; /* d= of the signatures that passed */
	size_t dkim_count;
	const char *const *dkim_temporary; /* d= of those that ended in temperror */
	size_t dkim_temporary_count;
};

struct dmarc_verdict {
	enum dmarc_result result;
	enum dmarc_policy policy; /* that applies to this domain: of p, sp or np; DMARC_P_NONE when none is known */
	bool testing;             /* t=y: the domain asks to apply one step less; policy is not lowered here */
	char domain[256];         /* where the record was; "" when there is none */
	char organisational[256]; /* of the author's domain; itself when no record was found */
	bool spf_aligned, dkim_aligned; /* passed and aligned */
	char reason[160];
};

typedef void (*dmarc_fn)(void *arg, const struct dmarc_verdict *);
struct dmarc_check;

/* The callback comes once, from the event loop; the check is freed when it returns. */
struct dmarc_check *dmarc_start(const struct policy_dns *dns, const struct dmarc_input *, dmarc_fn, void *arg);
void dmarc_cancel(struct dmarc_check *); /* the callback will not come; NULL is ignored */
/*
 * The next name has had its time: it counts as having no answer, and what is above it is asked for at once, so that one
 * dead name does not hide the policy above it.  False: there is no use in waiting longer.
 */
bool dmarc_hurry(struct dmarc_check *);
/* Ends it now, and calls fn with what is known: pass, or DMARC_TEMPERROR.  NULL: fn is not called. */
void dmarc_expire(struct dmarc_check *, dmarc_fn fn, void *arg);

const char *dmarc_result_name(enum dmarc_result);
const char *dmarc_policy_name(enum dmarc_policy);

/* What the domain asks for, for mail that fails: t=y lowers reject to quarantine and quarantine to none (4.7). */
enum dmarc_policy dmarc_wish(const struct dmarc_verdict *);
/*
 * That for this mail: none unless it failed, or may have failed (DMARC_TEMPERROR): then the caller should have it come
 * again rather than take it, since whoever forges an author can see to it that an aligned check gets no answer.
 */
enum dmarc_policy dmarc_disposition(const struct dmarc_verdict *);

/*
 * The author's domain, in A-labels and lower case.  -1 with a reason when the header has no From field, several, no
 * address in it or addresses of several domains: a permanent fault, nothing can be aligned to it.
 */
int dmarc_author(struct view header, char domain[256], char reason[160]);

#endif
