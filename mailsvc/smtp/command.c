/*
 * Takes a command line apart (RFC 5321 4.1.1).  Verbs compare without case; one or more spaces separate the verb from
 * its arguments, and trailing white space is ignored.  Nothing here knows a session's state.
 */
#include "mailsvc/smtp/command.h"

#include <string.h>

#define HELO_MAX 255

static const char *const verb_names[SMTP_VERB_COUNT] = {
	[SMTP_VERB_UNKNOWN] = "?",
	[SMTP_VERB_HELO] = "HELO",
	[SMTP_VERB_EHLO] = "EHLO",
	[SMTP_VERB_MAIL] = "MAIL",
	[SMTP_VERB_RCPT] = "RCPT",
	[SMTP_VERB_DATA] = "DATA",
	[SMTP_VERB_BDAT] = "BDAT",
	[SMTP_VERB_RSET] = "RSET",
	[SMTP_VERB_NOOP] = "NOOP",
	[SMTP_VERB_QUIT] = "QUIT",
	[SMTP_VERB_HELP] = "HELP",
	[SMTP_VERB_VRFY] = "VRFY",
	[SMTP_VERB_EXPN] = "EXPN",
	[SMTP_VERB_STARTTLS] = "STARTTLS",
	[SMTP_VERB_AUTH] = "AUTH",
};

static bool is_space(char c)
{
	return c == ' ' || c == '\t';
}

const char *smtp_verb_name(enum smtp_verb verb)
{
	return verb_names[verb];
}

void smtp_command_parse(struct view line, struct smtp_command *out)
{
	size_t n = 0;

	while (line.len > 0 && is_space(line.ptr[line.len - 1]))
		line.len--;
	while (n < line.len && !is_space(line.ptr[n]))
		n++;
	*out = (struct smtp_command){ SMTP_VERB_UNKNOWN, { line.ptr, n }, VIEW_NONE };
	for (int v = SMTP_VERB_UNKNOWN + 1; v < SMTP_VERB_COUNT; v++)
		if (view_caseeq(out->name, verb_names[v]))
			out->verb = (enum smtp_verb)v;
	while (n < line.len && is_space(line.ptr[n]))
		n++;
	out->args = (struct view){ line.ptr + n, line.len - n };
}

bool smtp_helo_ok(struct view args)
{
	if (args.len == 0 || args.len > HELO_MAX)
		return false;
	for (size_t i = 0; i < args.len; i++) {
		unsigned char c = (unsigned char)args.ptr[i];

		/* What would end or change a Received field stays out; bytes above ASCII are U-labels. */
		if (c <= ' ' || c == 0x7f || strchr("()<>@,;\\\"", c) != NULL)
			return false;
	}
	return true;
}

int smtp_bdat_parse(struct view args, uint64_t *size, bool *last)
{
	size_t n = 0;

	while (n < args.len && !is_space(args.ptr[n]))
		n++;
	if (view_u64((struct view){ args.ptr, n }, UINT64_MAX, size) == -1)
		return -1;
	while (n < args.len && is_space(args.ptr[n]))
		n++;
	*last = n < args.len;
	if (*last && !view_caseeq((struct view){ args.ptr + n, args.len - n }, "LAST"))
		return -1;
	return 0;
}
