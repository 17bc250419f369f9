/*
 * SPF (RFC 7208): may this address send for that domain?  The whole of check_host(): macros, exp=, redirect=, and the
 * limits of 4.6.4 (10 terms that look up, 2 void look-ups, 10 MX hosts and 10 PTR names a term).  There is no time
 * limit in here: the caller cancels.
 */
#ifndef MAILSVC_POLICY_SPF_H
#define MAILSVC_POLICY_SPF_H

#include <sys/socket.h>

#include "mailsvc/policy/dns.h"

#define SPF_LOOKUPS_MAX 10 /* terms that look up (4.6.4) */
#define SPF_NAMES_MAX 10   /* MX hosts of a term, and names of the peer, that are looked at */

enum spf_result { SPF_NONE, SPF_NEUTRAL, SPF_PASS, SPF_FAIL, SPF_SOFTFAIL, SPF_TEMPERROR, SPF_PERMERROR };

/* Copied by spf_start. */
struct spf_query {
	const struct sockaddr *peer; /* AF_INET or AF_INET6; an IPv4-mapped address counts as IPv4 */
	const char *helo;            /* as the peer said it; a literal or nonsense is no domain */
	const char *sender; /* MAIL FROM without brackets, UTF-8 or A-labels; "": postmaster@helo, the HELO identity */
	const char *host;   /* our name, for %{r} */
};

/* Texts are "" where there is none; they hold printable ASCII only. */
struct spf_verdict {
	enum spf_result result;
	bool helo;             /* the HELO identity was checked: sender was "" */
	char domain[256];      /* what was checked, in A-labels, lower case */
	char mechanism[128];   /* the term that decided, as published ("-all"); "" when none did */
	char explanation[512]; /* of exp=, for the 550; only with SPF_FAIL */
	char problem[160];     /* what is wrong: SPF_TEMPERROR, SPF_PERMERROR, and some SPF_NONE */
};

typedef void (*spf_fn)(void *arg, const struct spf_verdict *);
struct spf_check;

/*
 * The callback comes once, from the event loop, and the check is freed when it returns.  dns is copied; its ctx must
 * live as long as the check.
 */
struct spf_check *spf_start(const struct policy_dns *dns, const struct spf_query *, spf_fn, void *arg);
void spf_cancel(struct spf_check *); /* the callback will not come; NULL is ignored; not from inside the callback */

const char *spf_result_name(enum spf_result); /* "pass", "softfail" ... as RFC 8601 writes them */

#endif
