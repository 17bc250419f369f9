/* The table of commands, finding the one that is named, and checking that it may run now. */
#include <strings.h>

#include "imap.h"
#include "namespace.h"
#include "process.h"

static int run_capability(struct imap_session *s, struct imap_parser *p)
{
	if (!imap_parse_end(p))
		return IMAP_BAD;
	conn_printf(s->conn, "* CAPABILITY " IMAP_CAPABILITY "\r\n");
	return IMAP_DONE;
}

/* NOOP, CHECK: the reply brings what changed. */
static int run_noop(struct imap_session *s, struct imap_parser *p)
{
	(void)s;
	return imap_parse_end(p) ? IMAP_DONE : IMAP_BAD;
}

static int run_logout(struct imap_session *s, struct imap_parser *p)
{
	if (!imap_parse_end(p))
		return IMAP_BAD;
	conn_printf(s->conn, "* BYE Logging out.\r\n%s OK LOGOUT completed.\r\n", s->tag);
	imap_close(s, NULL, "logout");
	return IMAP_DONE;
}

static int run_refused(struct imap_session *s, struct imap_parser *p)
{
	(void)s;
	return imap_bad(p, "Already authenticated.");
}

static int run_namespace(struct imap_session *s, struct imap_parser *p)
{
	if (!imap_parse_end(p))
		return IMAP_BAD;
	conn_printf(s->conn, "* NAMESPACE ((\"\" \"/\")) ((\"user/\" \"/\")) ((\"shared/\" \"/\"))\r\n");
	return IMAP_DONE;
}

static int run_id(struct imap_session *s, struct imap_parser *p)
{
	if (!imap_parse_sp(p) || !imap_parse_id(p) || !imap_parse_end(p))
		return IMAP_BAD;
	conn_printf(s->conn, "* ID (\"name\" \"mailadm\" \"version\" \"" MAILADM_VERSION "\")\r\n");
	return IMAP_DONE;
}

/* RFC 4978: the reply is the last that leaves as it is. */
static int run_compress(struct imap_session *s, struct imap_parser *p)
{
	struct view name;

	if (!imap_parse_sp(p) || !imap_parse_atom(p, &name) || !imap_parse_end(p))
		return IMAP_BAD;
	if (!view_caseeq(name, "DEFLATE"))
		return imap_bad(p, "Unknown compression.");
	if (s->compressed) {
		imap_finish(s, "NO [COMPRESSIONACTIVE] DEFLATE is active already.");
		return IMAP_DONE;
	}
	if (s->process->compressed >= COMPRESSED_MAX) {
		imap_finish(s, "NO [LIMIT] Too many sessions are compressed; go on without.");
		return IMAP_DONE;
	}
	imap_finish(s, "OK DEFLATE active.");
	s->compressed = conn_start_deflate(s->conn) == 0;
	s->process->compressed += s->compressed;
	return IMAP_DONE;
}

/* What is not known is ignored (RFC 5161 3.1). */
static int run_enable(struct imap_session *s, struct imap_parser *p)
{
	static const struct {
		const char *name;
		unsigned bits;
	} extensions[] = {
		{ "CONDSTORE", ENABLED_CONDSTORE },
		{ "QRESYNC", ENABLED_QRESYNC | ENABLED_CONDSTORE },
		{ "UTF8=ACCEPT", ENABLED_UTF8 },
		{ "IMAP4rev2", ENABLED_REV2 },
	};
	bool named[sizeof(extensions) / sizeof(extensions[0])] = { false };
	unsigned bits = 0;
	struct view name;

	do {
		if (!imap_parse_sp(p) || !imap_parse_atom(p, &name))
			return IMAP_BAD;
		for (size_t i = 0; i < sizeof(extensions) / sizeof(extensions[0]); i++)
			named[i] |= view_caseeq(name, extensions[i].name);
	} while (imap_peek(p) != -1);
	conn_printf(s->conn, "* ENABLED");
	for (size_t i = 0; i < sizeof(extensions) / sizeof(extensions[0]); i++) {
		if (!named[i])
			continue;
		bits |= extensions[i].bits;
		conn_printf(s->conn, " %s", extensions[i].name);
	}
	conn_printf(s->conn, "\r\n");
	if (bits & ENABLED_CONDSTORE)
		imap_enable_condstore(s);
	s->enabled |= bits;
	return IMAP_DONE;
}

static int run_select(struct imap_session *s, struct imap_parser *p)
{
	return imap_cmd_select(s, p, false);
}

static int run_examine(struct imap_session *s, struct imap_parser *p)
{
	return imap_cmd_select(s, p, true);
}

static int run_close(struct imap_session *s, struct imap_parser *p)
{
	return imap_cmd_close(s, p, true);
}

static int run_unselect(struct imap_session *s, struct imap_parser *p)
{
	return imap_cmd_close(s, p, false);
}

static int run_list(struct imap_session *s, struct imap_parser *p)
{
	return imap_cmd_list(s, p, false);
}

static int run_lsub(struct imap_session *s, struct imap_parser *p)
{
	return imap_cmd_list(s, p, true);
}

static int run_subscribe(struct imap_session *s, struct imap_parser *p)
{
	return imap_cmd_subscribe(s, p, true);
}

static int run_unsubscribe(struct imap_session *s, struct imap_parser *p)
{
	return imap_cmd_subscribe(s, p, false);
}

#define PAIR(name, call, uid_call)                                                                                     \
	static int run_##name(struct imap_session *s, struct imap_parser *p)                                           \
	{                                                                                                              \
		return call;                                                                                           \
	}                                                                                                              \
	static int run_uid_##name(struct imap_session *s, struct imap_parser *p)                                       \
	{                                                                                                              \
		return uid_call;                                                                                       \
	}
PAIR(fetch, imap_cmd_fetch(s, p, false), imap_cmd_fetch(s, p, true))
PAIR(search, imap_cmd_search(s, p, false), imap_cmd_search(s, p, true))
PAIR(sort, imap_cmd_sort(s, p, false), imap_cmd_sort(s, p, true))
PAIR(thread, imap_cmd_thread(s, p, false), imap_cmd_thread(s, p, true))
PAIR(store, imap_cmd_store(s, p, false), imap_cmd_store(s, p, true))
PAIR(copy, imap_cmd_copy(s, p, false, false), imap_cmd_copy(s, p, true, false))
PAIR(move, imap_cmd_copy(s, p, false, true), imap_cmd_copy(s, p, true, true))
PAIR(expunge, imap_cmd_expunge(s, p, false), imap_cmd_expunge(s, p, true))
#undef PAIR

#define MAILBOX IMAP_NEEDS_MAILBOX
#define WRITE (IMAP_NEEDS_MAILBOX | IMAP_NEEDS_WRITE)

#define PIPES_UIDS (IMAP_PIPES | IMAP_PIPES_UIDS)
#define PIPES_NUMBERS (IMAP_PIPES | IMAP_PIPES_NUMBERS)

const struct imap_command imap_commands[] = {
	{ "NOOP", 0, run_noop },
	{ "FETCH", MAILBOX | IMAP_NO_EXPUNGE, run_fetch },
	{ "UID FETCH", MAILBOX, run_uid_fetch },
	{ "STORE", WRITE | IMAP_NO_EXPUNGE | PIPES_NUMBERS, run_store },
	{ "UID STORE", WRITE | PIPES_UIDS, run_uid_store },
	{ "SEARCH", MAILBOX | IMAP_NO_EXPUNGE, run_search },
	{ "UID SEARCH", MAILBOX, run_uid_search },
	{ "SORT", MAILBOX | IMAP_NO_EXPUNGE, run_sort },
	{ "UID SORT", MAILBOX, run_uid_sort },
	{ "THREAD", MAILBOX | IMAP_NO_EXPUNGE, run_thread },
	{ "UID THREAD", MAILBOX, run_uid_thread },
	{ "IDLE", 0, imap_cmd_idle },
	{ "STATUS", 0, imap_cmd_status },
	{ "SELECT", 0, run_select },
	{ "EXAMINE", 0, run_examine },
	{ "APPEND", IMAP_PIPES, imap_cmd_append },
	{ "COPY", MAILBOX | PIPES_NUMBERS, run_copy },
	{ "UID COPY", MAILBOX | PIPES_UIDS, run_uid_copy },
	{ "MOVE", WRITE, run_move },
	{ "UID MOVE", WRITE, run_uid_move },
	{ "EXPUNGE", WRITE, run_expunge },
	{ "UID EXPUNGE", WRITE | PIPES_UIDS, run_uid_expunge },
	{ "CLOSE", MAILBOX, run_close },
	{ "UNSELECT", MAILBOX, run_unselect },
	{ "CHECK", MAILBOX, run_noop },
	{ "LIST", 0, run_list },
	{ "LSUB", 0, run_lsub },
	{ "CREATE", 0, imap_cmd_create },
	{ "DELETE", 0, imap_cmd_delete },
	{ "RENAME", 0, imap_cmd_rename },
	{ "SUBSCRIBE", 0, run_subscribe },
	{ "UNSUBSCRIBE", 0, run_unsubscribe },
	{ "CAPABILITY", 0, run_capability },
	{ "NAMESPACE", 0, run_namespace },
	{ "MYRIGHTS", 0, imap_cmd_myrights },
	{ "GETACL", 0, imap_cmd_getacl },
	{ "SETACL", 0, imap_cmd_setacl },
	{ "DELETEACL", 0, imap_cmd_deleteacl },
	{ "LISTRIGHTS", 0, imap_cmd_listrights },
	{ "GETQUOTA", 0, imap_cmd_getquota },
	{ "GETQUOTAROOT", 0, imap_cmd_getquotaroot },
	{ "SETQUOTA", 0, imap_cmd_setquota },
	{ "GETMETADATA", 0, imap_cmd_getmetadata },
	{ "SETMETADATA", 0, imap_cmd_setmetadata },
	{ "ID", 0, run_id },
	{ "ENABLE", 0, run_enable },
	{ "COMPRESS", IMAP_NO_SYNC, run_compress },
	{ "LOGOUT", IMAP_NO_SYNC, run_logout },
	{ "LOGIN", 0, run_refused },
	{ "AUTHENTICATE", 0, run_refused },
	{ "STARTTLS", 0, run_refused },
	{ NULL, 0, NULL },
};

/* The name as the table has it, "UID" and its second word joined; NULL: there is no such command. */
const struct imap_command *imap_command_find(struct imap_parser *p)
{
	struct view word;
	const char *start = p->p;

	if (!imap_parse_atom(p, &word))
		return NULL;
	if (view_caseeq(word, "UID")) {
		if (!imap_parse_sp(p) || !imap_parse_atom(p, &word))
			return NULL;
		word = (struct view){ start, (size_t)(word.ptr + word.len - start) };
	}
	for (const struct imap_command *c = imap_commands; c->name != NULL; c++)
		if (view_caseeq(word, c->name))
			return c;
	return NULL;
}

/*
 * Rights on another's mailbox may have changed since the command before.  False after a NO: it may not be read any more,
 * and all that is left to do is to leave it.
 */
static bool refresh_rights(struct imap_session *s)
{
	struct mailbox_row row;

	if (view_begin(imap_view(s)) < 0) {
		imap_finish_store(s, STORE_UNAVAILABLE);
		return false;
	}
	if (view_mailbox(imap_view(s), s->mailbox->id, &row) != 1 || !namespace_refresh(s, &row))
		s->mailbox->gone = true;
	view_end(imap_view(s));
	if (s->mailbox->gone)
		imap_finish(s, "NO [NONEXISTENT] The mailbox has been deleted, or may not be read any more.");
	return !s->mailbox->gone;
}

int imap_command_run(struct imap_session *s, struct imap_parser *p)
{
	const struct imap_command *c;

	if (!imap_parse_sp(p))
		return IMAP_BAD;
	c = imap_command_find(p);
	if (c == NULL)
		return imap_bad(p, "Unknown command.");
	s->command = c;
	if ((c->flags & IMAP_NEEDS_MAILBOX) && s->mailbox == NULL)
		return imap_bad(p, "No mailbox is selected.");
	if ((c->flags & IMAP_NEEDS_MAILBOX) && s->mailbox->foreign && c->run != run_close && c->run != run_unselect &&
	    !refresh_rights(s))
		return IMAP_DONE;
	if ((c->flags & IMAP_NEEDS_WRITE) && s->mailbox->read_only) {
		imap_finish(s, "NO [READ-ONLY] The mailbox is open read-only.");
		return IMAP_DONE;
	}
	return c->run(s, p);
}
