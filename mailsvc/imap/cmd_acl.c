/*
 * SETACL, DELETEACL, GETACL, LISTRIGHTS, MYRIGHTS (RFC 4314).  The owner has all rights, always, and needs no entry.
 *
 * An identifier is an address of an account of this host, or "anyone" (which is: every account), each with "-" before
 * it for rights that are taken away.  Addresses that are no account are refused: whoever gets such an address later
 * would have the rights too.
 *
 * With whom users may share is limits.sharing of the site: what is shared stands in the other's list of mailboxes
 * unasked, and domains on one host may be strangers.
 */
#include <string.h>

#include "namespace.h"
#include "process.h"
#include "site/route.h"

static void on_done(void *arg, const struct store_result *result)
{
	struct imap_session *s = arg;

	s->pending = 0;
	if (result->status == STORE_OK)
		imap_finish(s, "OK %s completed.", s->command->name);
	else if (result->status == STORE_INVALID)
		imap_finish(s, "NO [LIMIT] The mailbox has too many entries.");
	else if (result->status == STORE_NO_MAILBOX)
		imap_finish(s, "NO [NONEXISTENT] No such mailbox.");
	else
		imap_finish_store(s, result->status);
}

/* " mailbox identifier" */
static bool parse_subject(struct imap_parser *p, char name[IMAP_NAME_MAX + 1], struct view *identifier)
{
	return imap_parse_sp(p) && imap_parse_mailbox(p, name) && imap_parse_sp(p) && imap_parse_astring(p, identifier);
}

/* Does the site let the owner's users give rights to who? Taking away always is allowed. */
static bool may_share(const struct site *site, const char *owner, const char *identifier)
{
	const char *domain = strrchr(owner, '@'), *other = strrchr(identifier, '@');

	if (strcmp(site->limits.sharing, "host") == 0 || identifier[0] == '-')
		return true;
	if (strcmp(site->limits.sharing, "domain") != 0)
		return false;
	return other != NULL ? domain != NULL && strcmp(domain, other) == 0 : site->domain_count == 1;
}

/* NULL, or the tagged NO. owner: the identifier names the mailbox's owner, without "-". */
static const char *check_identifier(
    const struct imap_session *s, const struct place *place, struct view raw, char out[ADDRESS_MAX + 1], bool *owner)
{
	const char *who;

	if (acl_identifier(raw, out) < 0)
		return "NO [CANNOT] An identifier is an address, or anyone.";
	who = out + (out[0] == '-');
	*owner = strcmp(out, place->owner) == 0;
	if (strcmp(who, ACL_ANYONE) != 0 && site_find_account(s->process->ctx->site, who) == NULL)
		return "NO [CANNOT] There is no such account.";
	if (!*owner && !may_share(s->process->ctx->site, place->owner, out))
		return "NO [NOPERM] The administrator does not allow sharing with them.";
	return NULL;
}

struct search {
	const char *identifier;
	uint32_t rights;
};

static bool find_entry(void *arg, const char *identifier, uint32_t rights)
{
	struct search *f = arg;

	if (strcmp(identifier, f->identifier) != 0)
		return true;
	f->rights = rights;
	return false;
}

/* SETACL's third argument: "+lr", "-w" or "lrs", taken together with the entry that is there. */
static int new_rights(
    struct imap_session *s, const struct place *place, const char *identifier, struct view letters, uint32_t *rights)
{
	char sign = letters.len > 0 && (letters.ptr[0] == '+' || letters.ptr[0] == '-') ? letters.ptr[0] : '\0';
	struct search now = { identifier, 0 };
	uint32_t given;

	if (sign != '\0')
		letters = (struct view){ letters.ptr + 1, letters.len - 1 };
	if (acl_parse(letters, &given) < 0)
		return -1;
	if (sign != '\0') {
		if (view_begin(imap_view(s)) < 0)
			return 1;
		view_acl(imap_view(s), place->row.id, find_entry, &now);
		view_end(imap_view(s));
	}
	*rights = sign == '+' ? now.rights | given : sign == '-' ? now.rights & ~given : given;
	return 0;
}

int imap_cmd_setacl(struct imap_session *s, struct imap_parser *p)
{
	char name[IMAP_NAME_MAX + 1], identifier[ADDRESS_MAX + 1];
	struct view raw, letters;
	struct place place;
	const char *refusal;
	uint32_t rights = 0;
	bool owner;
	int status;

	if (!parse_subject(p, name, &raw) || !imap_parse_sp(p) || !imap_parse_astring(p, &letters) ||
	    !imap_parse_end(p))
		return IMAP_BAD;
	if (namespace_find(s, name, ACL_ADMIN, &place) < 0)
		return IMAP_DONE;
	refusal = check_identifier(s, &place, raw, identifier, &owner);
	if (refusal == NULL && owner)
		refusal = "NO [CANNOT] The owner has all rights.";
	if (refusal != NULL) {
		imap_finish(s, "%s", refusal);
		return IMAP_DONE;
	}
	status = new_rights(s, &place, identifier, letters, &rights);
	if (status < 0)
		return imap_bad(p, "Unknown right.");
	if (status > 0) {
		imap_finish_store(s, STORE_UNAVAILABLE);
		return IMAP_DONE;
	}
	s->pending = store_set_acl(imap_store(s), place.row.id, identifier, rights, on_done, s);
	return IMAP_WAIT;
}

int imap_cmd_deleteacl(struct imap_session *s, struct imap_parser *p)
{
	char name[IMAP_NAME_MAX + 1], identifier[ADDRESS_MAX + 1];
	struct view raw;
	struct place place;

	if (!parse_subject(p, name, &raw) || !imap_parse_end(p))
		return IMAP_BAD;
	if (namespace_find(s, name, ACL_ADMIN, &place) < 0)
		return IMAP_DONE;
	/* What is no identifier has no entry; one of an account that is gone can be taken away. */
	if (acl_identifier(raw, identifier) < 0)
		return IMAP_DONE;
	s->pending = store_set_acl(imap_store(s), place.row.id, identifier, 0, on_done, s);
	return IMAP_WAIT;
}

static void put_entry(struct buf *out, const char *identifier, uint32_t rights)
{
	char letters[sizeof(ACL_LETTERS) + 2];

	acl_format_old(rights, letters);
	buf_addc(out, ' ');
	imap_put_string(out, view_of(identifier));
	buf_printf(out, " %s", letters[0] != '\0' ? letters : "\"\"");
}

struct entries {
	struct buf *out;
	const char *owner;
};

static bool add_entry(void *arg, const char *identifier, uint32_t rights)
{
	struct entries *e = arg;

	if (strcmp(identifier, e->owner) != 0)
		put_entry(e->out, identifier, rights);
	return true;
}

int imap_cmd_getacl(struct imap_session *s, struct imap_parser *p)
{
	char name[IMAP_NAME_MAX + 1];
	struct buf line = BUF_INIT(1u << 20);
	struct place place;
	struct entries entries = { &line, place.owner };

	if (!imap_parse_sp(p) || !imap_parse_mailbox(p, name) || !imap_parse_end(p))
		return IMAP_BAD;
	if (namespace_find(s, name, ACL_ADMIN, &place) < 0)
		return IMAP_DONE;
	if (view_begin(imap_view(s)) < 0) {
		imap_finish_store(s, STORE_UNAVAILABLE);
		return IMAP_DONE;
	}
	buf_puts(&line, "* ACL ");
	imap_put_mailbox(s, &line, name);
	put_entry(&line, place.owner, ACL_ALL);
	view_acl(imap_view(s), place.row.id, add_entry, &entries);
	view_end(imap_view(s));
	buf_puts(&line, "\r\n");
	conn_writev(s->conn, buf_view(&line));
	buf_free(&line);
	return IMAP_DONE;
}

int imap_cmd_listrights(struct imap_session *s, struct imap_parser *p)
{
	char name[IMAP_NAME_MAX + 1], identifier[ADDRESS_MAX + 1];
	struct buf line = BUF_INIT(8192);
	struct view raw;
	struct place place;
	const char *refusal;
	bool owner;

	if (!parse_subject(p, name, &raw) || !imap_parse_end(p))
		return IMAP_BAD;
	if (namespace_find(s, name, ACL_ADMIN, &place) < 0)
		return IMAP_DONE;
	refusal = check_identifier(s, &place, raw, identifier, &owner);
	if (refusal != NULL) {
		imap_finish(s, "%s", refusal);
		return IMAP_DONE;
	}
	buf_puts(&line, "* LISTRIGHTS ");
	imap_put_mailbox(s, &line, name);
	buf_addc(&line, ' ');
	imap_put_string(&line, raw);
	/* The owner's cannot be taken away; of others' each stands for itself. */
	buf_puts(&line, owner ? " " ACL_LETTERS "cd" : " \"\" l r s w i p k x t e a");
	buf_puts(&line, "\r\n");
	conn_writev(s->conn, buf_view(&line));
	buf_free(&line);
	return IMAP_DONE;
}

int imap_cmd_myrights(struct imap_session *s, struct imap_parser *p)
{
	char name[IMAP_NAME_MAX + 1], letters[sizeof(ACL_LETTERS) + 2];
	struct buf line = BUF_INIT(8192);
	struct place place;

	if (!imap_parse_sp(p) || !imap_parse_mailbox(p, name) || !imap_parse_end(p))
		return IMAP_BAD;
	if (namespace_find(s, name, ACL_LOOKUP, &place) < 0)
		return IMAP_DONE;
	acl_format_old(place.rights, letters);
	buf_puts(&line, "* MYRIGHTS ");
	imap_put_mailbox(s, &line, name);
	buf_printf(&line, " %s\r\n", letters);
	conn_writev(s->conn, buf_view(&line));
	buf_free(&line);
	return IMAP_DONE;
}
