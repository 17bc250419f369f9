/*
 * The parts of LIST and LSUB that need no session: arguments (RFC 5258 with RFC 5819, RFC 6154), and the tree of names
 * with what of it is to be listed.  cmd_list.c fills the tree and answers.
 */
#ifndef MAILSVC_IMAP_LIST_H
#define MAILSVC_IMAP_LIST_H

#include "parse.h"

/* Arguments -------------------------------------------------------------------------------------------------------- */

#define LIST_PATTERNS_MAX 64
#define LIST_PATTERN_BYTES 4096 /* of all patterns, each with the reference before it */

enum list_option {
	LIST_SUBSCRIBED = 1,
	LIST_SPECIAL_USE = 2,
	LIST_REMOTE = 4,         /* select: there is nothing remote */
	LIST_RECURSIVEMATCH = 8, /* select */
	LIST_CHILDREN = 16,      /* return: told anyway */
	LIST_STATUS = 32,        /* return */
};

struct list_args {
	struct view reference;
	struct view patterns[LIST_PATTERNS_MAX]; /* borrow the command */
	size_t pattern_count;
	unsigned select, returns; /* list_option bits */
	unsigned status;          /* status_item bits */
	bool extended;            /* selection options, several patterns or RETURN were given, even if empty */
};

/* Everything behind "LIST" or "LSUB", to the end. */
bool list_parse(struct imap_parser *, bool lsub, struct list_args *);

/* What a mailbox is for, by enum special_use, as RFC 6154 writes it: "\\Sent"; SPECIAL_NONE: "". */
#define SPECIAL_USES 6
extern const char *const special_uses[SPECIAL_USES];

/* Names ------------------------------------------------------------------------------------------------------------ */

#define LIST_NO_PARENT SIZE_MAX

struct list_name {
	char *name;       /* UTF-8; owned */
	uint32_t mailbox; /* 0: no mailbox, but a level above one, or a subscription to what is gone */
	enum special_use special;
	bool subscribed;
	bool readable;        /* may be selected */
	bool matched;         /* a pattern matches it: the caller's to set, between list_link and list_choose */
	size_t parent;        /* index, LIST_NO_PARENT */
	bool has_children;    /* a mailbox below */
	bool listed;          /* list_choose: this one is in the answer */
	bool children_chosen; /* and tells with CHILDINFO of chosen ones below it */
};

struct list_names {
	struct list_name *at;
	size_t count, cap;
};

struct list_name *list_add(struct list_names *, struct view name); /* valid until the next list_add */
/*
 * Sorts (a name, then all below it), joins entries of the same name, adds the levels between, and finds parents and
 * children.  Once, after all have been added.
 */
void list_link(struct list_names *);
/*
 * Decides what is listed.  Chosen are: with lsub or LIST_SUBSCRIBED what is subscribed, with LIST_SPECIAL_USE what has
 * a special use, with neither what is a mailbox.  A level above a chosen name that no pattern matches is listed too if
 * it is matched itself, unless options choose without LIST_RECURSIVEMATCH.
 */
void list_choose(struct list_names *, bool lsub, unsigned select);
void list_names_free(struct list_names *);

#endif
