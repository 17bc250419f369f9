/* Command lines with their arguments: the parsers must stay inside, and what they accept must be well formed. */
#include <stdlib.h>

#include "mailsvc/smtp/command.h"
#include "mailsvc/smtp/path.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_path(enum smtp_path_status status, const struct smtp_path *path, struct view args)
{
	if (status != SMTP_PATH_OK)
		return;
	if (path->mailbox.len > 0 &&
	    (path->mailbox.ptr < args.ptr || path->mailbox.ptr + path->mailbox.len > args.ptr + args.len))
		abort();
	if (!path->null && !path->unqualified && path->address.domain.len == 0)
		abort();
	for (size_t i = 0; i < path->mailbox.len; i++)
		if ((unsigned char)path->mailbox.ptr[i] < ' ')
			abort();
	if (path->envid.len > DSN_ENVID_MAX || path->orcpt.len > DSN_ORCPT_MAX || (path->notify & ~15u) != 0 ||
	    ((path->notify & DSN_NEVER) != 0 && path->notify != DSN_NEVER))
		abort();
	for (size_t i = 0; i < path->orcpt.len; i++)
		if ((unsigned char)path->orcpt.ptr[i] <= ' ')
			abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct smtp_command command;
	struct smtp_path path;
	uint64_t chunk;
	bool last;

	smtp_command_parse((struct view){ (const char *)data, size }, &command);
	check_path(smtp_path_mail(command.args, &path), &path, command.args);
	check_path(smtp_path_rcpt(command.args, &path), &path, command.args);
	smtp_helo_ok(command.args);
	smtp_bdat_parse(command.args, &chunk, &last);
	return 0;
}
