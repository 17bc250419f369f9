/*
 * GETQUOTA, GETQUOTAROOT and SETQUOTA (RFC 9208), resources STORAGE (KiB) and MESSAGE.
 *
 * An account's root is called as its address, a domain's as its name.  A mailbox counts for those of its owner that
 * have a limit.  Limits stand in the site: SETQUOTA is refused.
 */
#include <string.h>

#include "mailsvc/store/quota.h"
#include "namespace.h"
#include "process.h"

static uint64_t kib_used(uint64_t bytes)
{
	return bytes / 1024 + (bytes % 1024 != 0);
}

/* "* QUOTA root (STORAGE 10 100 MESSAGE 5 50)": limits of 0 are left out. */
static void put_quota(
    struct buf *out, const char *root, const struct account_row *used, uint64_t bytes, uint64_t messages)
{
	buf_puts(out, "* QUOTA ");
	imap_put_string(out, view_of(root));
	buf_puts(out, " (");
	if (bytes > 0)
		buf_printf(out, "STORAGE %llu %llu", (unsigned long long)kib_used(used->bytes),
		    (unsigned long long)(bytes / 1024));
	if (messages > 0)
		buf_printf(out, "%sMESSAGE %llu %llu", bytes > 0 ? " " : "", (unsigned long long)used->messages,
		    (unsigned long long)messages);
	buf_puts(out, ")\r\n");
}

/* Within a snapshot. */
static void put_account(struct imap_session *s, struct buf *out, const char *address, const struct quota_limits *l)
{
	struct account_row used = { 0 };

	view_account(imap_view(s), address, &used);
	put_quota(out, address, &used, l->bytes, l->messages);
}

static void put_domain(struct imap_session *s, struct buf *out, const struct quota_limits *l)
{
	struct account_row used = { 0 };

	view_domain(imap_view(s), l->domain, &used);
	put_quota(out, l->domain, &used, l->domain_bytes, 0);
}

struct visible {
	struct imap_session *session;
	const char *owner;
	bool found;
};

static bool look_shared(void *arg, const char *owner, const struct mailbox_row *row)
{
	const uint32_t needed = ACL_LOOKUP | ACL_READ;
	struct visible *v = arg;

	v->found = strcmp(owner, v->owner) == 0 && (namespace_rights(v->session, row) & needed) == needed;
	return !v->found;
}

/* May this session see the root of that address: its own, or of somebody whose mailbox it may read. In a snapshot. */
static bool may_see(struct imap_session *s, const char *address)
{
	struct visible v = { s, address, false };

	if (strcmp(address, imap_address(s)) == 0)
		return true;
	view_shared_with(imap_view(s), imap_address(s), look_shared, &v);
	return v.found;
}

static int finish(struct imap_session *s, struct buf *lines, const char *refusal)
{
	if (refusal != NULL)
		imap_finish(s, "%s", refusal);
	else
		conn_writev(s->conn, buf_view(lines));
	buf_free(lines);
	return IMAP_DONE;
}

int imap_cmd_getquota(struct imap_session *s, struct imap_parser *p)
{
	struct buf lines = BUF_INIT(8192);
	struct quota_limits own, limits;
	char address[ADDRESS_MAX];
	const char *refusal = NULL;
	struct view root;

	if (!imap_parse_sp(p) || !imap_parse_astring(p, &root) || !imap_parse_end(p))
		return IMAP_BAD;
	if (view_begin(imap_view(s)) < 0) {
		imap_finish_store(s, STORE_UNAVAILABLE);
		return IMAP_DONE;
	}
	quota_limits_of(s->process->ctx->site, imap_address(s), &own);
	if (own.domain_bytes > 0 && view_caseeq(root, own.domain))
		put_domain(s, &lines, &own);
	else if (address_normalise(root, address, sizeof(address)) == 0 && may_see(s, address) &&
		 quota_limits_of(s->process->ctx->site, address, &limits))
		put_account(s, &lines, address, &limits);
	else
		refusal = "NO [NONEXISTENT] No such quota root.";
	view_end(imap_view(s));
	return finish(s, &lines, refusal);
}

int imap_cmd_getquotaroot(struct imap_session *s, struct imap_parser *p)
{
	char name[IMAP_NAME_MAX + 1];
	struct buf lines = BUF_INIT(16384);
	struct quota_limits limits;
	struct place place;
	const char *refusal;
	bool account, domain;

	if (!imap_parse_sp(p) || !imap_parse_mailbox(p, name) || !imap_parse_end(p))
		return IMAP_BAD;
	if (view_begin(imap_view(s)) < 0) {
		imap_finish_store(s, STORE_UNAVAILABLE);
		return IMAP_DONE;
	}
	namespace_resolve(s, name, &place);
	refusal = namespace_refusal(&place, ACL_READ);
	if (refusal == NULL) {
		quota_limits_of(s->process->ctx->site, place.owner, &limits);
		account = limits.bytes > 0 || limits.messages > 0;
		domain = limits.domain_bytes > 0;
		buf_puts(&lines, "* QUOTAROOT ");
		imap_put_mailbox(s, &lines, name);
		if (account) {
			buf_addc(&lines, ' ');
			imap_put_string(&lines, view_of(place.owner));
		}
		if (domain) {
			buf_addc(&lines, ' ');
			imap_put_string(&lines, view_of(limits.domain));
		}
		buf_puts(&lines, "\r\n");
		if (account)
			put_account(s, &lines, place.owner, &limits);
		if (domain)
			put_domain(s, &lines, &limits);
	}
	view_end(imap_view(s));
	return finish(s, &lines, refusal);
}

/* " root (STORAGE 100)": read, and refused. */
int imap_cmd_setquota(struct imap_session *s, struct imap_parser *p)
{
	struct view root, resource;
	uint64_t limit;

	if (!imap_parse_sp(p) || !imap_parse_astring(p, &root) || !imap_parse_sp(p) || !imap_parse_char(p, '('))
		return IMAP_BAD;
	if (!imap_accept(p, ')')) {
		do {
			if (!imap_parse_atom(p, &resource) || !imap_parse_sp(p) || !imap_parse_number64(p, &limit))
				return IMAP_BAD;
		} while (imap_accept(p, ' '));
		if (!imap_parse_char(p, ')'))
			return IMAP_BAD;
	}
	if (!imap_parse_end(p))
		return IMAP_BAD;
	imap_finish(s, "NO [NOPERM] Quotas are set by the administrator.");
	return IMAP_DONE;
}
