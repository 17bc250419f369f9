/*
 * Whose mailbox a name means, and what this session may do with it (RFC 2342, RFC 4314).
 *
 *   NAME                 a mailbox of this account
 *   user/ADDRESS/NAME    a mailbox of another account
 *   shared/ADDRESS/NAME  a mailbox of an account that the site marks `shared`, which nobody logs in to
 *
 * ADDRESS is the whole address, NAME the mailbox's name in that account, such as INBOX.  Where this account has a
 * mailbox of its own that is called so, that is the one.  Flags of messages, \Seen among them, are the mailbox's:
 * everybody who shares it sees the same.  A mailbox without the right l is answered for as if it did not exist.
 *
 * All within a snapshot, but where it is said otherwise.
 */
#ifndef MAILSVC_IMAP_NAMESPACE_H
#define MAILSVC_IMAP_NAMESPACE_H

#include "imap.h"
#include "mailsvc/store/acl.h"

enum name_space { NAMESPACE_PERSONAL, NAMESPACE_USER, NAMESPACE_SHARED };

struct place {
	enum name_space space;
	uint32_t account;                /* who owns what the name means; 0: no such account */
	char owner[ADDRESS_MAX];         /* its address */
	char name[MAILBOX_NAME_MAX + 1]; /* in that account */
	bool exists;                     /* and may be known of: row and rights are set */
	struct mailbox_row row;
	uint32_t rights; /* ACL_ bits */
};

/* "ADDRESS/NAME": the owner, and NAME within name; NULL when it is of another form.  Pure. */
const char *namespace_owner(const char *name, char owner[ADDRESS_MAX]);
/*
 * "user/ADDRESS/NAME" in parts: false, with space personal and rest NULL, when name is of another form.  Pure.  rest
 * points into name, behind the address's slash.
 */
bool namespace_split(const char *name, enum name_space *space, char owner[ADDRESS_MAX], const char **rest);
/* The name of owner's mailbox for others, appended. */
void namespace_put(struct buf *out, bool shared, const char *owner, const char *name);
/* Does the site mark this account as shared? Needs no snapshot. */
bool namespace_is_shared(const struct imap_session *, const char *owner);

void namespace_resolve(struct imap_session *, const char *name, struct place *);
/* What this session may do with a mailbox, whoever's it is. */
uint32_t namespace_rights(struct imap_session *, const struct mailbox_row *);
/*
 * Rights for making a mailbox of this name: those on the nearest level above it that exists; on the INBOX of its
 * account when there is none.
 */
uint32_t namespace_parent_rights(struct imap_session *, const struct place *);
/*
 * For APPEND, COPY and MOVE: NULL when messages may be put there, else the tagged NO, with TRYCREATE where CREATE of
 * the name would be allowed.
 */
const char *namespace_into(struct imap_session *, const struct place *);
/* NULL: the place exists and all needed rights are held; else the text of the tagged NO. Needs no snapshot. */
const char *namespace_refusal(const struct place *, uint32_t needed);

/*
 * Outside a snapshot: resolves, and refuses with imap_finish what does not exist or may not be done.  0, or -1.
 */
int namespace_find(struct imap_session *, const char *name, uint32_t needed, struct place *);
/* Outside a snapshot: rights on the selected mailbox, -1 after a NO. */
int namespace_need(struct imap_session *, uint32_t needed);
/*
 * Rights of the selected mailbox as they now are (row: of this snapshot).  The client is told of flags that it may
 * change no more, or may change now.  false: it may not read it any longer.
 */
bool namespace_refresh(struct imap_session *, const struct mailbox_row *);
/* Settable flags among flags, as these rights allow (RFC 4314 4); keywords go with ACL_WRITE. Pure. */
uint32_t namespace_flags(uint32_t rights, uint32_t flags);

#endif
