/* The files that Dovecot and Courier keep beside the messages of a Maildir: pure parsers, and their writer. */
#ifndef MAILSVC_MIGRATE_MAILDIR_H
#define MAILSVC_MIGRATE_MAILDIR_H

#include "lib/buf.h"

struct maildir_uid {
	struct view base; /* the file's name up to ":" */
	uint32_t uid;
};
struct maildir_beside { /* views into the files' texts */
	uint32_t uid_validity, uid_next;
	struct maildir_uid *uids; /* by base */
	size_t uid_count;
	struct view letters[26]; /* dovecot-keywords; ptr NULL: unused */
	struct view *courier;    /* keywords by number */
	size_t courier_count;
	struct maildir_numbers {
		struct view base, numbers;
	} * marked; /* by base */
	size_t marked_count;
};

/* The next line without its newline (and CR); false at the end. */
bool maildir_line(struct view *rest, struct view *line);
/* dovecot-uidlist of version 1 or 3, or courierimapuiddb. -1: none of these. */
int maildir_uidlist(struct maildir_beside *, struct view text);
void maildir_keywords(struct maildir_beside *, struct view text);
/* courierimapkeywords/:list: names, an empty line, then "base:0 1 2". */
void maildir_courier(struct maildir_beside *, struct view text);
uint32_t maildir_uid(const struct maildir_beside *, struct view base); /* 0: none */
/* The numbers of a message's keywords, and the next of them that has a name; false at the end. */
struct view maildir_courier_numbers(const struct maildir_beside *, struct view base);
bool maildir_courier_keyword(const struct maildir_beside *, struct view *numbers, struct view *name);
void maildir_beside_free(struct maildir_beside *);

#endif
