/*
 * Names of mailboxes to owners, rows and rights.
 *
 * An address may hold a slash ("a/b@example.org"): the shortest text before a slash that is an address is the owner,
 * and two addresses cannot begin alike so, since the domain ends the first.
 */
#include "namespace.h"

#include <string.h>
#include <strings.h>

#include "process.h"
#include "site/route.h"

static const struct {
	enum name_space space;
	struct view prefix;
} spaces[] = { { NAMESPACE_USER, { "user/", 5 } }, { NAMESPACE_SHARED, { "shared/", 7 } } };
#define SPACES (sizeof(spaces) / sizeof(spaces[0]))

const char *namespace_owner(const char *name, char owner[ADDRESS_MAX])
{
	for (const char *slash = strchr(name, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
		struct view address = { name, (size_t)(slash - name) };

		if (address.len >= ADDRESS_MAX)
			break;
		if (slash[1] != '\0' && address_normalise(address, owner, ADDRESS_MAX) == 0)
			return slash + 1;
	}
	return NULL;
}

bool namespace_split(const char *name, enum name_space *space, char owner[ADDRESS_MAX], const char **rest)
{
	const char *start = NULL;

	*space = NAMESPACE_PERSONAL;
	for (size_t i = 0; i < SPACES && start == NULL; i++) {
		if (strncmp(name, spaces[i].prefix.ptr, spaces[i].prefix.len) == 0) {
			*space = spaces[i].space;
			start = name + spaces[i].prefix.len;
		}
	}
	*rest = start != NULL ? namespace_owner(start, owner) : NULL;
	if (*rest == NULL)
		*space = NAMESPACE_PERSONAL;
	return *rest != NULL;
}

void namespace_put(struct buf *out, bool shared, const char *owner, const char *name)
{
	buf_printf(out, "%s/%s/%s", shared ? "shared" : "user", owner, name);
}

bool namespace_is_shared(const struct imap_session *s, const char *owner)
{
	const struct site_account *a = site_find_account(s->process->ctx->site, owner);

	return a != NULL && a->shared;
}

uint32_t namespace_rights(struct imap_session *s, const struct mailbox_row *row)
{
	return row->account == s->account ? ACL_ALL : acl_effective(imap_view(s), row, imap_address(s));
}

/* Another's mailbox; INBOX at the start in capitals, as with one's own. */
static void resolve_foreign(
    struct imap_session *s, struct place *p, enum name_space space, const char *owner, const char *name)
{
	struct account_row account;

	if (view_copy(view_of(name), p->name, sizeof(p->name)) < 0 ||
	    (space == NAMESPACE_SHARED) != namespace_is_shared(s, owner) ||
	    view_account(imap_view(s), owner, &account) != 1)
		return;
	if (strncasecmp(p->name, "INBOX", 5) == 0 && (p->name[5] == '\0' || p->name[5] == '/'))
		memcpy(p->name, "INBOX", 5);
	p->space = space;
	p->account = account.id;
	view_copy(view_of(owner), p->owner, sizeof(p->owner));
	if (view_mailbox_by_name(imap_view(s), account.id, p->name, &p->row) != 1)
		return;
	p->rights = namespace_rights(s, &p->row);
	p->exists = (p->rights & ACL_LOOKUP) != 0;
}

void namespace_resolve(struct imap_session *s, const char *name, struct place *p)
{
	enum name_space space;
	char owner[ADDRESS_MAX];
	const char *rest;
	bool fits = view_copy(view_of(name), p->name, sizeof(p->name)) == 0;

	p->space = NAMESPACE_PERSONAL;
	p->account = 0;
	p->exists = false;
	p->rights = 0;
	p->owner[0] = '\0';
	if (fits && view_mailbox_by_name(imap_view(s), s->account, name, &p->row) == 1) {
		p->exists = true;
		p->rights = ACL_ALL;
	} else if (namespace_split(name, &space, owner, &rest)) {
		resolve_foreign(s, p, space, owner, rest);
		return;
	}
	p->account = fits ? s->account : 0;
	view_copy(view_of(imap_address(s)), p->owner, sizeof(p->owner));
}

/* Those on a level that may not be known of are none. */
static uint32_t known_rights(struct imap_session *s, const struct mailbox_row *row)
{
	uint32_t rights = namespace_rights(s, row);

	return rights & ACL_LOOKUP ? rights : 0;
}

uint32_t namespace_parent_rights(struct imap_session *s, const struct place *p)
{
	char name[MAILBOX_NAME_MAX + 1];
	struct mailbox_row row;
	char *slash;

	if (p->account == 0)
		return 0;
	if (p->account == s->account)
		return ACL_ALL;
	view_copy(view_of(p->name), name, sizeof(name));
	while ((slash = strrchr(name, '/')) != NULL) {
		*slash = '\0';
		if (view_mailbox_by_name(imap_view(s), p->account, name, &row) == 1)
			return known_rights(s, &row);
	}
	return view_mailbox_by_name(imap_view(s), p->account, "INBOX", &row) == 1 ? known_rights(s, &row) : 0;
}

const char *namespace_refusal(const struct place *p, uint32_t needed)
{
	if (!p->exists)
		return "NO [NONEXISTENT] No such mailbox.";
	if ((p->rights & needed) != needed)
		return "NO [NOPERM] You have no right to do this.";
	return NULL;
}

const char *namespace_into(struct imap_session *s, const struct place *p)
{
	if (!p->exists && (namespace_parent_rights(s, p) & ACL_CREATE))
		return "NO [TRYCREATE] No such mailbox.";
	return namespace_refusal(p, ACL_INSERT);
}

int namespace_find(struct imap_session *s, const char *name, uint32_t needed, struct place *p)
{
	const char *refusal;

	if (view_begin(imap_view(s)) < 0) {
		imap_finish_store(s, STORE_UNAVAILABLE);
		return -1;
	}
	namespace_resolve(s, name, p);
	view_end(imap_view(s));
	refusal = namespace_refusal(p, needed);
	if (refusal == NULL)
		return 0;
	imap_finish(s, "%s", refusal);
	return -1;
}

int namespace_need(struct imap_session *s, uint32_t needed)
{
	if ((s->mailbox->rights & needed) == needed)
		return 0;
	imap_finish(s, "NO [NOPERM] You have no right to do this.");
	return -1;
}

bool namespace_refresh(struct imap_session *s, const struct mailbox_row *row)
{
	struct imap_mailbox *m = s->mailbox;
	uint32_t flags = ACL_SEEN | ACL_WRITE | ACL_DELETE_MESSAGES, before = m->rights;

	if (!m->foreign)
		return true;
	m->rights = namespace_rights(s, row);
	if (((m->rights ^ before) & flags) != 0 && (m->rights & ACL_READ))
		imap_send_flags_lists(s, true);
	return (m->rights & (ACL_LOOKUP | ACL_READ)) == (ACL_LOOKUP | ACL_READ);
}

uint32_t namespace_flags(uint32_t rights, uint32_t flags)
{
	uint32_t mine = 0;

	if (rights & ACL_SEEN)
		mine |= FLAG_SEEN;
	if (rights & ACL_DELETE_MESSAGES)
		mine |= FLAG_DELETED;
	if (rights & ACL_WRITE)
		mine |= FLAG_ANSWERED | FLAG_FLAGGED | FLAG_DRAFT;
	return flags & mine;
}
