/*
 * Access rights of mailboxes (RFC 4314): letters and bits, and what somebody may do.  Store keeps the entries
 * (store_set_acl, view_acl); who serves users asks acl_effective before each request.
 */
#ifndef MAILSVC_STORE_ACL_H
#define MAILSVC_STORE_ACL_H

#include "view.h"

/* In the order of their letters: "lrswipkxtea". */
enum acl_right {
	ACL_LOOKUP = 1,            /* l: LIST, LSUB, SUBSCRIBE */
	ACL_READ = 2,              /* r: SELECT, STATUS */
	ACL_SEEN = 4,              /* s: \Seen kept */
	ACL_WRITE = 8,             /* w: flags and keywords other than \Seen and \Deleted */
	ACL_INSERT = 16,           /* i: APPEND, COPY into */
	ACL_POST = 32,             /* p: send to its submission address */
	ACL_CREATE = 64,           /* k: CREATE below, RENAME below */
	ACL_DELETE_MAILBOX = 128,  /* x: DELETE, RENAME away */
	ACL_DELETE_MESSAGES = 256, /* t: \Deleted */
	ACL_EXPUNGE = 512,         /* e: EXPUNGE, and as part of CLOSE */
	ACL_ADMIN = 1024,          /* a: SETACL, DELETEACL, GETACL, LISTRIGHTS */
};
#define ACL_ALL 2047u
#define ACL_LETTERS "lrswipkxtea"
#define ACL_ANYONE "anyone"

/*
 * Letters as bits; 'c' is k and x, 'd' is t, e and x (RFC 4314 2.1.1).  -1: a letter that is none, or an upper-case
 * one. A letter may repeat.
 */
int acl_parse(struct view letters, uint32_t *rights);
/* Bits as letters, in order; size of out: 12 (13 with obsolete). */
void acl_format(uint32_t rights, char out[sizeof ACL_LETTERS]);
/* The same with "c" where k or x, and "d" where any of t, e, x is held, for clients of RFC 2086 (RFC 4314 2.1.1). */
void acl_format_old(uint32_t rights, char out[sizeof ACL_LETTERS + 2]);
/*
 * "anyone" or an address, each with or without "-" before it, as store keeps it: the address normalised.  -1: neither.
 * out holds ADDRESS_MAX + 1 bytes.
 */
int acl_identifier(struct view identifier, char out[ADDRESS_MAX + 1]);

/*
 * What the account of this (normalised) address may do with a mailbox: its owner all; others what their own entry and
 * "anyone" grant together, less what "-address" and "-anyone" take away.  Within a snapshot.
 */
uint32_t acl_effective(struct store_view *, const struct mailbox_row *, const char *address);

#endif
