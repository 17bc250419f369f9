/*
 * The wire between store and the others.  A request's data is {form u8} and a payload; form 1 says that the payload is
 * in the sealed memfd that came along.  A payload is {blob head, blob mime record, body to the end}.  Everything is
 * bounded here; what does not decode closes the channel.
 */
#ifndef MAILSVC_STORE_PROTO_H
#define MAILSVC_STORE_PROTO_H

#include "client.h"

enum store_message {
	STORE_DELIVER = 1,
	STORE_APPEND,
	STORE_FLAGS,
	STORE_COPY,
	STORE_EXPUNGE,
	STORE_CLAIM_RECENT,
	STORE_CREATE,
	STORE_DELETE,
	STORE_RENAME,
	STORE_SUBSCRIBE,
	STORE_OPEN_ACCOUNT,
	STORE_QUEUE_RESULT,
	STORE_APPEND_MANY,
	STORE_FLAGS_UNCHANGED,
	STORE_SET_ACL,
	STORE_SET_METADATA,
	STORE_IMPORT,
	STORE_UNDELETE,
	STORE_RENAME_ACCOUNT,
	STORE_HAND_OVER,
	STORE_ERASE_ACCOUNT,
	STORE_REQUESTS,     /* above: through the commit thread; itself: what could not be packed, answered
	                       STORE_UNAVAILABLE */
	STORE_QUEUE_CREDIT, /* {u32}; no reply */
	STORE_QUEUE_DEFER,  /* {blob destination, u64 until, blob reason}; no reply */

	STORE_ADMIN_QUEUE_LIST = 32, /* proto_select: entries behind .queue; the answer's message: {u64 the last one
	                                looked at}, or nothing: there are no more */
	STORE_ADMIN_QUEUE_SUMMARY,   /* proto_select: .value: what the last answer's message was, or nothing */
	STORE_ADMIN_QUEUE_SHOW,      /* {u64 id} */
	STORE_ADMIN_QUEUE_CHANGE,    /* proto_select; the answer's JSON is a number */
	STORE_ADMIN_ACCOUNTS,
	STORE_ADMIN_SNAPSHOT,
	STORE_ADMIN_COMPACT, /* {u64: 1 begins one, 2 of everything, 0 only asks} */
	STORE_ADMIN_READER,  /* nothing; answered by a reader's pages */
	STORE_ADMIN_END,

	STORE_REPLY = 64,
	STORE_CHANGED,     /* {u32 mailbox}* */
	STORE_QUEUE_ITEM,  /* proto_item; fd: the message, when it is not in it */
	STORE_PAGE_SHARED, /* fd: the page store writes */
	STORE_PAGE_READER, /* fd: the page this reader writes */
	STORE_ADMIN_REPLY, /* {u8 found, blob json, message to the end}, by form as a request */
};

#define PROTO_PREFIX_MAX (16 * 1024)
#define PROTO_MIME_MAX (1u << 20)
#define PROTO_MIMES_MAX (64u << 20) /* of the messages of one STORE_APPEND_MANY together */
#define PROTO_RECIPIENTS_MAX 10000  /* of all remote parts of a delivery */
#define PROTO_QUEUE_RECIPIENTS 100
#define PROTO_REPLY_TEXT_MAX 512
#define PROTO_PAYLOAD_MAX (STORE_BODY_MAX + (64u << 20))

struct proto_local {
	struct view account, mailbox, prefix;
};
struct proto_dsn {
	uint32_t notify;
	struct view orcpt;
};
struct proto_remote {
	struct view sender, domain;
	uint32_t flags; /* QUEUE_* */
	const struct view *recipients;
	size_t recipient_count;
	const struct proto_dsn *dsn; /* of each, or NULL */
	struct view envid;
	uint32_t priority, ret;
};
struct proto_outcome {
	struct view address, reply;
	uint32_t outcome;
};
struct proto_append { /* its body and record stand behind those before it in the payload's */
	uint32_t flags, mime_len;
	const struct view *keywords;
	size_t keyword_count;
	int64_t date;
	uint64_t body_len;
};
/* All requests; each uses the members that its put and get name. Views point into the payload. */
struct proto_request {
	uint32_t type;
	uint32_t account, mailbox, to, flags, mode;
	struct view name;
	struct view keywords[KEYWORDS_MAX];
	size_t keyword_count;
	struct view ranges; /* as record.h has them */
	int64_t date;
	struct view body, mime;
	struct proto_local *locals;
	size_t local_count;
	struct proto_remote *remotes;
	size_t remote_count;
	struct view *recipients; /* of the remotes */
	struct proto_dsn *dsn;
	uint64_t queue;
	struct proto_outcome *outcomes;
	size_t outcome_count;
	bool bounce; /* with a queue result: a delivery in the same commit */
	bool told;
	uint32_t attempt; /* of a queue result; 0: not said */
	struct proto_append *appends;
	size_t append_count;
	struct view *append_keywords; /* of them all */
	uint64_t unchanged_since;
	struct view other, value; /* a second name; a value */
	struct view key;          /* of an import */
	uint32_t uid, uid_validity;
};
void proto_request_put(struct buf *head, const struct proto_request *);
/* payload as above. -1: malformed; then nothing is held. */
int proto_request_get(struct proto_request *, uint32_t type, struct view payload);
void proto_request_free(struct proto_request *);
void proto_payload_put(struct buf *, struct view head, struct view mime, struct view body);

struct proto_reply {
	enum store_status status;
	uint32_t mailbox, uid_validity;
	uint64_t modseq, queue_id, count;
	struct view source, destination;
	struct view modseqs; /* packed u64s, of a change of flags */
};
void proto_reply_put(struct buf *, const struct proto_reply *);
int proto_reply_get(struct proto_reply *, struct view payload);

/*
 * Which entries the administrator means, and what is to be done, in the members of a proto_request: mode: enum
 * queue_action, queue: the one (of a list: those behind it), name: to whom, other: from whom, date: made before, flags:
 * SELECT_*, value: the route.
 */
enum { SELECT_HELD = 1 };
void proto_select_put(struct buf *, const struct proto_request *);
int proto_select_get(struct proto_request *, struct view data);

struct proto_item {
	uint64_t id;
	int64_t created, due;
	uint32_t attempts, flags;
	struct view sender, domain, envid, route;
	uint8_t priority, ret, told, wanted;
	struct view recipients[PROTO_QUEUE_RECIPIENTS];
	struct proto_dsn dsn[PROTO_QUEUE_RECIPIENTS];
	size_t recipient_count;
	struct view message; /* empty when it comes as a descriptor */
};
void proto_item_put(struct buf *, const struct proto_item *);
int proto_item_get(struct proto_item *, struct view data);

/*
 * A payload as a message's data: inline, or sealed in *fd when it is long (-1 else).  proto_unwrap finds it again;
 * when *mapped is set it must be unmapped.
 */
int proto_wrap(struct view payload, struct buf *data, int *fd);
int proto_unwrap(struct imsg *, size_t max, struct view *payload, struct view *mapped);

/* "Inbox" in any case is "INBOX", at the first level. false: not a name we allow (view.h, RFC 9051 5.1). */
bool mailbox_name_normalise(struct view name, char out[MAILBOX_NAME_MAX + 1]);

#endif
