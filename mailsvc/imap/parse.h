/*
 * The arguments of one complete IMAP command (RFC 3501 9), literals included, from one buffer.  Pull style: every
 * function takes what it names from the front, or returns false, sets `error` to a text for the tagged BAD and leaves
 * the parser where it was.  Views borrow the command, which lives until the command is finished (IMAP_WAIT included).
 * Quoted strings are unescaped in place.  No I/O, no allocation but for sets and flags.
 */
#ifndef MAILSVC_IMAP_PARSE_H
#define MAILSVC_IMAP_PARSE_H

#include "mailsvc/store/client.h"

struct imap_parser {
	char *p, *end;
	const char *error; /* of the last failure; a constant */
	bool utf8;         /* mailbox names are UTF-8 (RFC 6855, RFC 9051 5.1), not modified UTF-7 */
};

/* text is written to (unescaping); it has no final CRLF. */
struct imap_parser imap_parser_of(char *text, size_t len);
bool imap_fail(struct imap_parser *, const char *error); /* sets error, returns false */

int imap_peek(const struct imap_parser *);                 /* the next byte as 0..255, -1 at the end */
bool imap_parse_end(struct imap_parser *);                 /* nothing may follow */
bool imap_parse_sp(struct imap_parser *);                  /* exactly one space */
bool imap_parse_char(struct imap_parser *, char);          /* that very byte, else false */
bool imap_accept(struct imap_parser *, char);              /* takes it if it is there; never an error */
bool imap_parse_tag(struct imap_parser *, struct view *);  /* at most 64 bytes */
bool imap_parse_atom(struct imap_parser *, struct view *); /* 1*ATOM-CHAR */
/* Letters, digits, "-", "." and "_" only, at least one: names of FETCH items (stops at "[", "<", space, parens) and
 * keys. */
bool imap_parse_word(struct imap_parser *, struct view *);
bool imap_parse_string(struct imap_parser *, struct view *);       /* quoted or literal */
bool imap_parse_astring(struct imap_parser *, struct view *);      /* atom (with "]") or string */
bool imap_parse_nstring(struct imap_parser *, struct view *);      /* NIL: ptr is NULL */
bool imap_parse_list_mailbox(struct imap_parser *, struct view *); /* a LIST pattern: atom with % * ], or string */
bool imap_parse_number(struct imap_parser *, uint32_t *);
bool imap_parse_number64(struct imap_parser *, uint64_t *);
bool imap_parse_nz_number(struct imap_parser *, uint32_t *);
bool imap_parse_since(struct imap_parser *, bool zero, uint64_t *modseq); /* " 12345": 63 bits; may it be 0? */
/*
 * A mailbox name in modified UTF-7 (RFC 3501 5.1.3), or as `utf8` has it: decoded to the UTF-8 the store uses, INBOX in capitals.  What is a
 * string, but no such name or too long, is the name "", which no mailbox has: the answer is NO then, not BAD.
 */
#define IMAP_NAME_MAX (MAILBOX_NAME_MAX + ADDRESS_MAX + 8) /* user/ADDRESS/NAME */
bool imap_parse_mailbox(struct imap_parser *, char name[IMAP_NAME_MAX + 1]);
/* The argument of ID (RFC 2971): NIL, or at most 30 pairs; checked, and of no further use. */
bool imap_parse_id(struct imap_parser *);
/* Search date: 1-Feb-1994, quoted or not, as days since 1970-01-01. */
bool imap_parse_date(struct imap_parser *, int64_t *day);
/* date-time: "17-Jul-1996 02:44:25 -0700" as seconds since 1970. */
bool imap_parse_datetime(struct imap_parser *, int64_t *when);

/* A sequence-set as written. first or last 0 stands for "*". saved: "$", the result that SEARCH kept (RFC 5182). */
struct imap_set {
	bool saved;
	struct uid_range *at;
	size_t count;
};
bool imap_parse_set(struct imap_parser *, struct imap_set *);
/* True when a sequence-set stands next ("1", "*", "$"): SEARCH. */
bool imap_peek_set(const struct imap_parser *);
void imap_set_free(struct imap_set *);

/* Flags as STORE and APPEND take them. Names borrow the command and are NUL-terminated copies in `text`. */
struct imap_flags {
	uint32_t flags; /* FLAGS_SETTABLE bits */
	const char *keywords[KEYWORDS_MAX];
	size_t keyword_count;
	char *text; /* what keywords point into */
};
/* "(\Seen foo)", or without parentheses when bare is allowed. \Recent is an error. */
bool imap_parse_flags(struct imap_parser *, bool bare, struct imap_flags *);
void imap_flags_free(struct imap_flags *);

#endif
