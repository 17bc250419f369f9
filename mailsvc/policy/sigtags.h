/*
 * Tag lists (RFC 6376 3.2): "v=1; a=rsa-sha256; ..." of DKIM and ARC signature fields and of DKIM key records.  Views
 * point into what was parsed.
 */
#ifndef MAILSVC_POLICY_SIGTAGS_H
#define MAILSVC_POLICY_SIGTAGS_H

#include "lib/buf.h"

#define SIGTAGS_MAX 64

struct sigtag {
	struct view name;
	struct view value; /* without white space around it */
	struct view raw;   /* all between '=' and ';' */
};
struct sigtags {
	struct sigtag tags[SIGTAGS_MAX];
	size_t count;
};

/*
 * -1: no tag list, or a name twice: problem says which, and nothing of it may be used.  Values may hold UTF-8 (RFC
 * 8616).
 */
int sigtags_parse(struct sigtags *, struct view list, const char **problem);
const struct sigtag *sigtags_find(const struct sigtags *, const char *name); /* NULL: absent */
struct view sigtags_value(const struct sigtags *, const char *name);         /* ptr NULL: absent */

/* Base64 with white space anywhere in it, appended; -1: it is none. */
int sigtags_base64(struct view value, struct buf *out);
/* Takes the next word off a list with ':' between, white space around it removed; false at the end. */
bool sigtags_word(struct view *rest, struct view *word);
bool sigtags_has(struct view list, const char *word); /* whatever the case */
/* Copies value, its white space left out, what is not printable ASCII as '?', cut to fit. */
void sigtags_text(struct view value, char *out, size_t size);

#endif
