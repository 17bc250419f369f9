/* A POP3 command line in words (RFC 1939 3), apart from what runs it so that tests and fuzzers drive it directly. */
#ifndef MAILSVC_POP3_COMMAND_H
#define MAILSVC_POP3_COMMAND_H

#include "lib/buf.h"

#define POP3_WORDS_MAX 2

struct args { /* borrowed from the line */
	struct view word[POP3_WORDS_MAX];
	size_t count;
};

/* Words are what spaces part, several as well as one.  False: more arguments than any command has. */
bool pop3_split(struct view line, struct view *name, struct args *);

#endif
