/* One command line of a client: its verb and its arguments.  Pure; no I/O. */
#ifndef MAILSVC_SMTP_COMMAND_H
#define MAILSVC_SMTP_COMMAND_H

#include "lib/buf.h"

enum smtp_verb {
	SMTP_VERB_UNKNOWN,
	SMTP_VERB_HELO,
	SMTP_VERB_EHLO,
	SMTP_VERB_MAIL,
	SMTP_VERB_RCPT,
	SMTP_VERB_DATA,
	SMTP_VERB_BDAT,
	SMTP_VERB_RSET,
	SMTP_VERB_NOOP,
	SMTP_VERB_QUIT,
	SMTP_VERB_HELP,
	SMTP_VERB_VRFY,
	SMTP_VERB_EXPN,
	SMTP_VERB_STARTTLS,
	SMTP_VERB_AUTH,
	SMTP_VERB_COUNT
};

struct smtp_command {
	enum smtp_verb verb;
	struct view name; /* as written */
	struct view args; /* behind the spaces after the verb, trailing spaces cut; may be empty */
};

/* line: without CRLF. Always gives a command; an unknown or malformed verb is SMTP_VERB_UNKNOWN. */
void smtp_command_parse(struct view line, struct smtp_command *out);
const char *smtp_verb_name(enum smtp_verb);

/* HELO and EHLO: a domain or an address literal, of harmless characters only since it goes into trace headers. */
bool smtp_helo_ok(struct view args);

/* BDAT's arguments: chunk-size [SP "LAST"]. -1: malformed, and then nothing that follows can be told apart. */
int smtp_bdat_parse(struct view args, uint64_t *size, bool *last);

#endif
