/*
 * CREATE (with USE of RFC 6154), DELETE, RENAME, SUBSCRIBE, UNSUBSCRIBE.
 *
 * A mailbox made in another's account begins with its parent's entries (store does that).  Where there is no parent,
 * the rights of that account's INBOX decide (namespace.h), and its entries are copied: who made it can use it then.
 */
#include <stdlib.h>
#include <string.h>

#include "list.h"
#include "namespace.h"
#include "objectid.h"
#include "process.h"

static bool name_ok(const char *name)
{
	size_t len = strlen(name);

	return len > 0 && name[0] != '/' && name[len - 1] != '/' && strstr(name, "//") == NULL;
}

/* The namespaces' own levels, and what is below them without being anybody's mailbox. */
static bool reserved(const char *name)
{
	return strcmp(name, "user") == 0 || strcmp(name, "shared") == 0 || strncmp(name, "user/", 5) == 0 ||
	       strncmp(name, "shared/", 7) == 0;
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

/*
 * May this name be made or taken by a rename?  NULL, or the tagged NO.  Within a snapshot; place: what it resolves to.
 */
static const char *check_new(struct imap_session *s, const char *name, const struct place *place)
{
	if (!name_ok(name) || (place->account == s->account && place->space == NAMESPACE_PERSONAL && reserved(name)))
		return "NO [CANNOT] A mailbox cannot have such a name.";
	if (place->exists || strcmp(name, "INBOX") == 0)
		return "NO [ALREADYEXISTS] The mailbox exists.";
	if (!(namespace_parent_rights(s, place) & ACL_CREATE))
		return "NO [NOPERM] You have no right to make a mailbox there.";
	return NULL;
}

/* CREATE --------------------------------------------------------------------------------------------------------- */

/* " (USE (\Sent))": *refused when the uses are none that a mailbox here can have (RFC 6154 3). */
static bool parse_use(struct imap_parser *p, enum special_use *use, bool *refused)
{
	struct view word;

	if (!imap_parse_char(p, '(') || !imap_parse_atom(p, &word))
		return false;
	if (!view_caseeq(word, "USE"))
		return imap_fail(p, "Unknown CREATE parameter.");
	if (!imap_parse_sp(p) || !imap_parse_char(p, '('))
		return false;
	for (unsigned count = 0; !imap_accept(p, ')'); count++) {
		enum special_use one = SPECIAL_NONE;

		if ((count > 0 && !imap_parse_sp(p)) || !imap_parse_char(p, '\\') || !imap_parse_atom(p, &word))
			return false;
		for (unsigned i = SPECIAL_NONE + 1; i < SPECIAL_USES; i++)
			if (view_caseeq(word, special_uses[i] + 1)) /* behind the backslash */
				one = (enum special_use)i;
		*refused |= one == SPECIAL_NONE || (*use != SPECIAL_NONE && *use != one);
		*use = one;
	}
	return imap_parse_char(p, ')');
}

struct entry {
	char identifier[ADDRESS_MAX + 1];
	uint32_t rights;
};

struct inherit { /* the job: INBOX's entries for mailboxes that were made without a parent */
	struct imap_session *session;
	uint32_t created;
	struct entry *entries;
	size_t count, next;
};

static void inherit_free(void *state)
{
	struct inherit *h = state;

	free(h->entries);
	free(h);
}

static void finish_create(struct imap_session *s, uint32_t mailbox)
{
	struct buf id = BUF_INIT(OBJECTID_MAX);

	objectid_put_mailbox(&id, mailbox);
	imap_finish(s, "OK [MAILBOXID (%s)] CREATE completed.", buf_str(&id));
	buf_free(&id);
}

static bool add_entry(void *arg, const char *identifier, uint32_t rights)
{
	struct inherit *h = arg;
	struct entry *e;

	h->entries = xreallocarray(h->entries, h->count + 1, sizeof(*h->entries));
	e = &h->entries[h->count++];
	view_copy(view_of(identifier), e->identifier, sizeof(e->identifier));
	e->rights = rights;
	return true;
}

static void on_inherited(void *arg, const struct store_result *result)
{
	struct inherit *h = arg;
	struct imap_session *s = h->session;

	s->pending = 0;
	if (result->status != STORE_OK || h->next == h->count) {
		finish_create(s, h->created);
		return;
	}
	h->next++;
	s->pending = store_set_acl(imap_store(s), h->created, h->entries[h->next - 1].identifier,
	    h->entries[h->next - 1].rights, on_inherited, h);
}

/* Gives the new mailbox what INBOX has, when it has nothing of its own: true when that is under way. */
static bool inherit(struct imap_session *s, uint32_t created)
{
	static const struct store_result begin = { .status = STORE_OK };
	struct imap_job job = { .free = inherit_free };
	struct mailbox_row row, inbox;
	struct inherit *h;

	if (view_begin(imap_view(s)) < 0)
		return false;
	job.state = h = xcalloc(1, sizeof(*h));
	h->session = s;
	h->created = created;
	if (view_mailbox(imap_view(s), created, &row) == 1 && row.account != s->account) {
		view_acl(imap_view(s), created, add_entry, h);
		if (h->count == 0 && view_mailbox_by_name(imap_view(s), row.account, "INBOX", &inbox) == 1)
			view_acl(imap_view(s), inbox.id, add_entry, h);
		else
			h->count = 0;
	}
	view_end(imap_view(s));
	if (h->count == 0) {
		inherit_free(h);
		return false;
	}
	imap_start_job(s, &job);
	on_inherited(h, &begin);
	return true;
}

static void on_created(void *arg, const struct store_result *result)
{
	struct imap_session *s = arg;

	s->pending = 0;
	if (result->status != STORE_OK)
		imap_finish_store(s, result->status);
	else if (!inherit(s, result->mailbox))
		finish_create(s, result->mailbox);
}

int imap_cmd_create(struct imap_session *s, struct imap_parser *p)
{
	char name[IMAP_NAME_MAX + 1];
	enum special_use use = SPECIAL_NONE;
	struct place place;
	const char *refusal;
	bool refused = false;
	size_t len;

	if (!imap_parse_sp(p) || !imap_parse_mailbox(p, name))
		return IMAP_BAD;
	if (imap_accept(p, ' ') && !parse_use(p, &use, &refused))
		return IMAP_BAD;
	if (!imap_parse_end(p))
		return IMAP_BAD;
	/* "foo/" says that children will follow (RFC 3501 6.3.3); every mailbox here may have them. */
	len = strlen(name);
	if (len > 1 && name[len - 1] == '/')
		name[len - 1] = '\0';
	if (view_begin(imap_view(s)) < 0) {
		imap_finish_store(s, STORE_UNAVAILABLE);
		return IMAP_DONE;
	}
	namespace_resolve(s, name, &place);
	refusal = check_new(s, name, &place);
	view_end(imap_view(s));
	if (refusal == NULL && (refused || (use != SPECIAL_NONE && place.account != s->account)))
		refusal = "NO [USEATTR] A mailbox cannot have this use.";
	if (refusal != NULL) {
		imap_finish(s, "%s", refusal);
		return IMAP_DONE;
	}
	s->pending = store_create(imap_store(s), place.account, place.name, use, on_created, s);
	return IMAP_WAIT;
}

/* DELETE, RENAME
 * ------------------------------------------------------------------------------------------------------- */

int imap_cmd_delete(struct imap_session *s, struct imap_parser *p)
{
	char name[IMAP_NAME_MAX + 1];
	struct place place;

	if (!imap_parse_sp(p) || !imap_parse_mailbox(p, name) || !imap_parse_end(p))
		return IMAP_BAD;
	if (namespace_find(s, name, ACL_DELETE_MAILBOX, &place) < 0)
		return IMAP_DONE;
	if (strcmp(place.name, "INBOX") == 0) {
		imap_finish(s, "NO [CANNOT] INBOX cannot be deleted.");
		return IMAP_DONE;
	}
	if (s->mailbox != NULL && s->mailbox->id == place.row.id)
		imap_deselect(s);
	s->pending = store_delete(imap_store(s), place.row.id, on_done, s);
	return IMAP_WAIT;
}

/* NULL, or why it cannot be; both names are resolved. */
static const char *check_rename(
    struct imap_session *s, const char *to_name, const struct place *from, const struct place *to)
{
	size_t len = strlen(from->name);
	const char *refusal = namespace_refusal(from, ACL_DELETE_MAILBOX);

	if (refusal == NULL)
		refusal = check_new(s, to_name, to);
	if (refusal != NULL)
		return refusal;
	if (from->account != to->account)
		return "NO [CANNOT] A mailbox cannot be moved to another account; copy its messages.";
	if (strcmp(from->name, "INBOX") == 0)
		return from->account == s->account ? NULL : "NO [CANNOT] Another's INBOX cannot be renamed.";
	if (strncmp(from->name, to->name, len) == 0 && to->name[len] == '/')
		return "NO [CANNOT] A mailbox cannot be moved below itself.";
	return NULL;
}

int imap_cmd_rename(struct imap_session *s, struct imap_parser *p)
{
	char name[IMAP_NAME_MAX + 1], to_name[IMAP_NAME_MAX + 1];
	struct place from, to;
	const char *refusal;

	if (!imap_parse_sp(p) || !imap_parse_mailbox(p, name) || !imap_parse_sp(p) || !imap_parse_mailbox(p, to_name) ||
	    !imap_parse_end(p))
		return IMAP_BAD;
	if (view_begin(imap_view(s)) < 0) {
		imap_finish_store(s, STORE_UNAVAILABLE);
		return IMAP_DONE;
	}
	namespace_resolve(s, name, &from);
	namespace_resolve(s, to_name, &to);
	refusal = check_rename(s, to_name, &from, &to);
	view_end(imap_view(s));
	if (refusal != NULL) {
		imap_finish(s, "%s", refusal);
		return IMAP_DONE;
	}
	s->pending = store_rename(imap_store(s), from.row.id, to.name, on_done, s);
	return IMAP_WAIT;
}

/* Subscriptions are this account's, whoever's the mailbox is.
 * ----------------------------------------------------------- */

int imap_cmd_subscribe(struct imap_session *s, struct imap_parser *p, bool on)
{
	char name[IMAP_NAME_MAX + 1];
	struct place place;

	if (!imap_parse_sp(p) || !imap_parse_mailbox(p, name) || !imap_parse_end(p))
		return IMAP_BAD;
	if (on && namespace_find(s, name, ACL_LOOKUP, &place) < 0)
		return IMAP_DONE;
	s->pending = store_subscribe(imap_store(s), s->account, name, on, on_done, s);
	return IMAP_WAIT;
}
