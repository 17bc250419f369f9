/* CREATE (with USE of RFC 6154), DELETE, RENAME, SUBSCRIBE, UNSUBSCRIBE. */
#include <string.h>

#include "imap.h"
#include "process.h"

static bool name_ok(const char *name)
{
	size_t len = strlen(name);

	return len > 0 && name[0] != '/' && name[len - 1] != '/' && strstr(name, "//") == NULL;
}

/* Finds a mailbox; -1 after imap_finish has been called. */
static int find(struct imap_session *s, const char *name, uint32_t *id)
{
	struct mailbox_row row;
	int found;

	if (view_begin(imap_view(s)) < 0) {
		imap_finish_store(s, STORE_UNAVAILABLE);
		return -1;
	}
	found = view_mailbox_by_name(imap_view(s), s->account, name, &row);
	view_end(imap_view(s));
	if (found != 1) {
		imap_finish(s, "NO [NONEXISTENT] No such mailbox.");
		return -1;
	}
	*id = row.id;
	return 0;
}

static void on_done(void *arg, const struct store_result *result)
{
	struct imap_session *s = arg;

	s->pending = 0;
	if (result->status == STORE_OK)
		imap_finish(s, "OK %s completed.", s->command->name);
	else if (result->status == STORE_NO_MAILBOX)
		imap_finish(s, "NO [NONEXISTENT] No such mailbox.");
	else
		imap_finish_store(s, result->status);
}

/* " (USE (\Sent))" */
static bool parse_use(struct imap_parser *p, enum special_use *use)
{
	static const char *const names[] = { "", "Drafts", "Sent", "Trash", "Junk", "Archive" };
	struct view word;

	if (!imap_parse_char(p, '(') || !imap_parse_atom(p, &word))
		return false;
	if (!view_caseeq(word, "USE"))
		return imap_fail(p, "Unknown CREATE parameter.");
	if (!imap_parse_sp(p) || !imap_parse_char(p, '(') || !imap_parse_char(p, '\\') || !imap_parse_atom(p, &word))
		return false;
	for (unsigned i = 1; i < sizeof(names) / sizeof(names[0]); i++)
		if (view_caseeq(word, names[i]))
			*use = (enum special_use)i;
	if (*use == SPECIAL_NONE)
		return imap_fail(p, "Unknown special use.");
	return imap_parse_char(p, ')') && imap_parse_char(p, ')');
}

int imap_cmd_create(struct imap_session *s, struct imap_parser *p)
{
	char name[MAILBOX_NAME_MAX + 1];
	enum special_use use = SPECIAL_NONE;
	size_t len;

	if (!imap_parse_sp(p) || !imap_parse_mailbox(p, name))
		return IMAP_BAD;
	if (imap_accept(p, ' ') && !parse_use(p, &use))
		return IMAP_BAD;
	if (!imap_parse_end(p))
		return IMAP_BAD;
	/* "foo/" says that children will follow (RFC 3501 6.3.3); every mailbox here may have them. */
	len = strlen(name);
	if (len > 1 && name[len - 1] == '/')
		name[len - 1] = '\0';
	if (!name_ok(name)) {
		imap_finish(s, "NO [CANNOT] Empty mailbox names are not allowed.");
		return IMAP_DONE;
	}
	if (strcmp(name, "INBOX") == 0) {
		imap_finish(s, "NO [ALREADYEXISTS] INBOX always exists.");
		return IMAP_DONE;
	}
	s->pending = store_create(imap_store(s), s->account, name, use, on_done, s);
	return IMAP_WAIT;
}

int imap_cmd_delete(struct imap_session *s, struct imap_parser *p)
{
	char name[MAILBOX_NAME_MAX + 1];
	uint32_t id;

	if (!imap_parse_sp(p) || !imap_parse_mailbox(p, name) || !imap_parse_end(p))
		return IMAP_BAD;
	if (strcmp(name, "INBOX") == 0) {
		imap_finish(s, "NO [CANNOT] INBOX cannot be deleted.");
		return IMAP_DONE;
	}
	if (find(s, name, &id) < 0)
		return IMAP_DONE;
	if (s->mailbox != NULL && s->mailbox->id == id)
		imap_deselect(s);
	s->pending = store_delete(imap_store(s), id, on_done, s);
	return IMAP_WAIT;
}

int imap_cmd_rename(struct imap_session *s, struct imap_parser *p)
{
	char name[MAILBOX_NAME_MAX + 1], to[MAILBOX_NAME_MAX + 1];
	size_t len;
	uint32_t id;

	if (!imap_parse_sp(p) || !imap_parse_mailbox(p, name) || !imap_parse_sp(p) || !imap_parse_mailbox(p, to) ||
	    !imap_parse_end(p))
		return IMAP_BAD;
	len = strlen(name);
	if (!name_ok(to)) {
		imap_finish(s, "NO [CANNOT] Empty mailbox names are not allowed.");
		return IMAP_DONE;
	}
	if (strncmp(name, to, len) == 0 && to[len] == '/' && strcmp(name, "INBOX") != 0) {
		imap_finish(s, "NO [CANNOT] A mailbox cannot be moved below itself.");
		return IMAP_DONE;
	}
	if (find(s, name, &id) < 0)
		return IMAP_DONE;
	s->pending = store_rename(imap_store(s), id, to, on_done, s);
	return IMAP_WAIT;
}

int imap_cmd_subscribe(struct imap_session *s, struct imap_parser *p, bool on)
{
	char name[MAILBOX_NAME_MAX + 1];
	uint32_t id;

	if (!imap_parse_sp(p) || !imap_parse_mailbox(p, name) || !imap_parse_end(p))
		return IMAP_BAD;
	if (on && find(s, name, &id) < 0)
		return IMAP_DONE;
	s->pending = store_subscribe(imap_store(s), s->account, name, on, on_done, s);
	return IMAP_WAIT;
}
