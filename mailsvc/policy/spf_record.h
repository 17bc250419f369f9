/* An SPF record (RFC 7208 4.5, 4.6, 12) and its macro strings (7).  Pure. */
#ifndef MAILSVC_POLICY_SPF_RECORD_H
#define MAILSVC_POLICY_SPF_RECORD_H

#include "mailsvc/policy/name.h"
#include "mailsvc/policy/spf.h"

#define SPF_RECORD_MAX 16384 /* bytes; a longer one is a permanent error */

enum spf_kind { SPF_ALL, SPF_INCLUDE, SPF_A, SPF_MX, SPF_PTR, SPF_IP4, SPF_IP6, SPF_EXISTS };

struct spf_term {
	enum spf_kind kind;
	enum spf_result qualifier;     /* SPF_PASS, SPF_FAIL, SPF_SOFTFAIL or SPF_NEUTRAL */
	struct view text;              /* all of it, as published */
	struct view domain;            /* domain-spec, macros in it; ptr NULL: none, the current domain */
	unsigned bits4, bits6;         /* prefix lengths; 32 and 128 when none is given */
	struct policy_address network; /* SPF_IP4, SPF_IP6 */
};

/* Views point into text, which is the record's own copy. */
struct spf_record {
	char *text;
	struct spf_term *terms; /* the mechanisms, in order */
	size_t count;
	struct view redirect, exp; /* domain-specs; ptr NULL: none */
};

bool spf_record_is(struct view txt); /* is a TXT record an SPF record at all ("v=spf1" and its end or a space)? */
/*
 * Parses all of it: an error anywhere makes it invalid (4.6).  0; or -1 and what is wrong with it (printable, with the
 * term).  Free the record in both cases.
 */
int spf_record_parse(struct view txt, struct spf_record *, char problem[160]);
void spf_record_free(struct spf_record *);
bool spf_term_looks_up(const struct spf_term *); /* does it count against the limit of ten (4.6.4)? */

/* Macros ----------------------------------------------------------------------------------------------------- */

/* What macros stand for; NULL is "". */
struct spf_facts {
	const char *local, *sender_domain, *helo, *host, *validated; /* %{l} %{o} %{h} %{r} %{p} */
	const char *domain;                                          /* %{d} */
	struct policy_address peer;                                  /* %{i} %{c} %{v} */
	int64_t now;                                                 /* %{t} */
};

/* Is v a macro-string?  explanation: spaces, and the letters c, r and t, may be in it. */
bool spf_macro_ok(struct view v, bool explanation);
bool spf_macro_domain_ok(struct view v);         /* a domain-spec: a macro-string that ends in a macro or a top label */
bool spf_macro_uses(struct view v, char letter); /* %{p} or %{P} for 'p' */
/* Appends what v, which is valid, expands to. */
void spf_macro_expand(struct view v, const struct spf_facts *, struct buf *out);
/*
 * The name that a domain-spec stands for: without its final dot, and without labels at its left when it passes 253
 * bytes (7.3).  -1 when nothing can have this name; it holds "" then.
 */
int spf_macro_name(struct view v, const struct spf_facts *, char name[256]);

#endif
