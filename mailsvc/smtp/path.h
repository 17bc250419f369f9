/* MAIL FROM and RCPT TO: the path and the ESMTP parameters (RFC 5321 4.1.2, 6531, 3461).  Pure; no I/O. */
#ifndef MAILSVC_SMTP_PATH_H
#define MAILSVC_SMTP_PATH_H

#include "mailsvc/store/client.h"
#include "site/address.h"

enum smtp_path_status {
	SMTP_PATH_OK,
	SMTP_PATH_SYNTAX,        /* 501 5.5.4: no FROM: or TO:, no <>, garbage behind it */
	SMTP_PATH_ADDRESS,       /* 501 5.1.7 or 5.1.3: what stands in <> is no mailbox */
	SMTP_PATH_PARAM_UNKNOWN, /* 555 5.5.4 */
	SMTP_PATH_PARAM_BAD,     /* 501 5.5.4: malformed or given twice */
};

enum smtp_body { SMTP_BODY_7BIT, SMTP_BODY_8BITMIME };

/* A path, without its source route; views borrow the command's arguments. */
struct smtp_path {
	struct view mailbox;    /* "" for <> */
	struct address address; /* of mailbox; domain is empty when it is unqualified */
	bool null;              /* <> */
	bool unqualified;       /* a bare local part: <Postmaster>, and <root> on the local socket */
	bool routed;            /* a source route was stripped */
	/* MAIL parameters */
	bool has_size;
	uint64_t size;
	enum smtp_body body;
	bool smtputf8;
	enum dsn_ret ret;
	struct view envid; /* as it travels; "" none */
	/* RCPT parameters */
	unsigned notify;   /* enum dsn_notify bits, 0: not said */
	struct view orcpt; /* as it travels; "" none */
	bool dsn;          /* one of the four was given */
};

/* args: everything behind "MAIL" or "RCPT". A null path is an error for RCPT. */
enum smtp_path_status smtp_path_mail(struct view args, struct smtp_path *out);
enum smtp_path_status smtp_path_rcpt(struct view args, struct smtp_path *out);

#endif
