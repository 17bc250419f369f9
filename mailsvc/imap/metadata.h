/* The arguments of GETMETADATA and SETMETADATA (RFC 5464), and which entries they name. */
#ifndef MAILSVC_IMAP_METADATA_H
#define MAILSVC_IMAP_METADATA_H

#include "parse.h"

#define METADATA_LIST_MAX 100         /* entries in one command */
#define METADATA_SIZE_MAX (32 * 1024) /* bytes of a value: [METADATA MAXSIZE] */

/* "/private/comment" or "/shared/...": one byte more than "/shared" at least, unless it is asked for with depth. */
bool metadata_entry_valid(struct view entry, bool depth);
bool metadata_is_private(struct view entry);

struct getmetadata {
	char mailbox[IMAP_NAME_MAX + 1]; /* "": the server */
	bool server;
	bool sized;
	uint32_t max_size;
	unsigned depth; /* 0, 1, or UINT_MAX: infinity */
	struct view entries[METADATA_LIST_MAX];
	size_t count;
};
/* Behind "GETMETADATA", to the end. Options are taken before the mailbox (the grammar) or behind it (the examples). */
bool metadata_parse_get(struct imap_parser *, struct getmetadata *);
/* Is the stored entry (lower case) one of those that are asked for, or as deep below one as asked for? */
bool metadata_wanted(const struct getmetadata *, const char *entry);

struct setmetadata {
	char mailbox[IMAP_NAME_MAX + 1];
	bool server;
	struct metadata_value {
		struct view entry, value; /* value.ptr NULL: to be removed */
	} values[METADATA_LIST_MAX];
	size_t count;
};
bool metadata_parse_set(struct imap_parser *, struct setmetadata *);

#endif
