/*
 * GETMETADATA and SETMETADATA (RFC 5464).
 *
 * Private entries are this account's, on its own and on others' mailboxes; shared ones are the mailbox's.  Rights: l
 * and one of r, s, w, i, p for private entries, l and r to read shared ones, l and w to set them.  Of the server itself
 * there are /shared/admin, from the site, and private entries.  /private/specialuse of one's own mailbox is what CREATE
 * gave it (RFC 6154 4), and cannot be set.
 *
 * All entries of one SETMETADATA are checked before the first is set; then they are set one after another.
 */
#include <stdlib.h>
#include <string.h>

#include "list.h"
#include "metadata.h"
#include "namespace.h"
#include "process.h"

#define ANSWER_MAX (16u << 20)
#define USE_ENTRY "/private/specialuse"

/* GETMETADATA ------------------------------------------------------------------------------------------------------ */

struct answer {
	const struct getmetadata *asked;
	struct buf out;   /* "entry value entry value" */
	uint64_t longest; /* of those that are over MAXSIZE */
};

static bool put_value(void *arg, const char *entry, struct view value)
{
	struct answer *a = arg;
	bool binary = value.len > 0 && memchr(value.ptr, '\0', value.len) != NULL;

	if (!metadata_wanted(a->asked, entry))
		return true;
	if (a->asked->sized && value.len > a->asked->max_size) {
		if (value.len > a->longest)
			a->longest = value.len;
		return true;
	}
	if (a->out.len > 0)
		buf_addc(&a->out, ' ');
	buf_printf(&a->out, "%s ", entry);
	if (binary) { /* a literal8 */
		buf_printf(&a->out, "~{%zu}\r\n", value.len);
		buf_addv(&a->out, value);
	} else {
		imap_put_string(&a->out, (struct view){ value.ptr != NULL ? value.ptr : "", value.len });
	}
	return true;
}

static void get_server(struct imap_session *s, struct answer *a)
{
	char *admin = xasprintf("mailto:%s", s->process->ctx->site->admin.contact);

	view_metadata(imap_view(s), s->account, 0, put_value, a);
	put_value(a, "/shared/admin", view_of(admin));
	free(admin);
}

static bool holds(uint32_t rights, uint32_t any)
{
	return (rights & ACL_LOOKUP) && (rights & any);
}
#define PRIVATE_RIGHTS (ACL_READ | ACL_SEEN | ACL_WRITE | ACL_INSERT | ACL_POST)

static void get_mailbox(struct imap_session *s, const struct place *place, struct answer *a)
{
	if (holds(place->rights, PRIVATE_RIGHTS))
		view_metadata(imap_view(s), s->account, place->row.id, put_value, a);
	if (place->account == s->account && place->row.special != SPECIAL_NONE)
		put_value(a, USE_ENTRY, view_of(special_uses[place->row.special]));
	if (holds(place->rights, ACL_READ))
		view_metadata(imap_view(s), 0, place->row.id, put_value, a);
}

/* What is asked for that the rights do not allow to see. */
static bool may_get(const struct getmetadata *g, uint32_t rights)
{
	for (size_t i = 0; i < g->count; i++)
		if (!holds(rights, metadata_is_private(g->entries[i]) ? PRIVATE_RIGHTS : ACL_READ))
			return false;
	return true;
}

static void send_answer(struct imap_session *s, const char *name, struct answer *a)
{
	struct buf line = BUF_INIT(IMAP_NAME_MAX * 5);

	if (a->out.full) {
		imap_finish(s, "NO [LIMIT] The entries are too long for one answer.");
		return;
	}
	if (a->out.len > 0) {
		buf_puts(&line, "* METADATA ");
		if (name[0] == '\0')
			buf_puts(&line, "\"\"");
		else
			imap_put_mailbox(s, &line, name);
		buf_puts(&line, " (");
		conn_writev(s->conn, buf_view(&line));
		conn_writev(s->conn, buf_view(&a->out));
		conn_printf(s->conn, ")\r\n");
		buf_free(&line);
	}
	if (a->longest > 0)
		imap_finish(s, "OK [METADATA LONGENTRIES %llu] Some are longer.", (unsigned long long)a->longest);
}

int imap_cmd_getmetadata(struct imap_session *s, struct imap_parser *p)
{
	struct getmetadata *g = xmalloc(sizeof(*g));
	struct answer a = { .asked = g, .out = BUF_INIT(ANSWER_MAX) };
	const char *refusal = NULL;
	struct place place;
	int status = IMAP_BAD;

	if (!metadata_parse_get(p, g))
		goto out;
	status = IMAP_DONE;
	if (view_begin(imap_view(s)) < 0) {
		imap_finish_store(s, STORE_UNAVAILABLE);
		goto out;
	}
	if (g->server) {
		get_server(s, &a);
	} else {
		namespace_resolve(s, g->mailbox, &place);
		refusal = namespace_refusal(&place, ACL_LOOKUP);
		if (refusal == NULL && !may_get(g, place.rights))
			refusal = "NO [NOPERM] You have no right to read these entries.";
		if (refusal == NULL)
			get_mailbox(s, &place, &a);
	}
	view_end(imap_view(s));
	if (refusal != NULL)
		imap_finish(s, "%s", refusal);
	else
		send_answer(s, g->server ? "" : g->mailbox, &a);
out:
	buf_free(&a.out);
	free(g);
	return status;
}

/* SETMETADATA ------------------------------------------------------------------------------------------------------ */

struct setting { /* the job: the command's bytes stay until it is finished */
	struct imap_session *session;
	struct setmetadata args;
	uint32_t mailbox; /* 0: the server */
	size_t next;
};

static const char *check_values(const struct setting *set, uint32_t rights)
{
	for (size_t i = 0; i < set->args.count; i++) {
		const struct metadata_value *v = &set->args.values[i];
		bool private = metadata_is_private(v->entry);

		if (v->value.ptr != NULL && v->value.len > METADATA_SIZE_MAX)
			return "NO [METADATA MAXSIZE 32768] The value is too long.";
		if (set->mailbox == 0 ? !private : !holds(rights, private ? PRIVATE_RIGHTS : ACL_WRITE))
			return "NO [NOPERM] You have no right to set this entry.";
		if (view_caseeq(v->entry, USE_ENTRY))
			return "NO [CANNOT] The use of a mailbox is set when it is made.";
	}
	return NULL;
}

static void set_next(struct setting *set);

static void on_set(void *arg, const struct store_result *result)
{
	struct setting *set = arg;
	struct imap_session *s = set->session;

	s->pending = 0;
	if (result->status == STORE_INVALID)
		imap_finish(s, "NO [METADATA TOOMANY] There is no room for another entry.");
	else if (result->status == STORE_NO_MAILBOX)
		imap_finish(s, "NO [NONEXISTENT] No such mailbox.");
	else if (result->status != STORE_OK)
		imap_finish_store(s, result->status);
	else if (set->next == set->args.count)
		imap_finish(s, "OK SETMETADATA completed.");
	else
		set_next(set);
}

static void set_next(struct setting *set)
{
	const struct metadata_value *v = &set->args.values[set->next++];
	struct imap_session *s = set->session;
	char entry[METADATA_ENTRY_MAX + 1];

	view_copy(v->entry, entry, sizeof(entry));
	s->pending = store_set_metadata(
	    imap_store(s), metadata_is_private(v->entry) ? s->account : 0, set->mailbox, entry, v->value, on_set, set);
}

/* NULL, or the tagged NO. */
static const char *find_target(struct imap_session *s, struct setting *set)
{
	struct place place;
	const char *refusal;

	if (set->args.server)
		return check_values(set, 0);
	if (view_begin(imap_view(s)) < 0)
		return "NO [UNAVAILABLE] The store is not available; try again.";
	namespace_resolve(s, set->args.mailbox, &place);
	view_end(imap_view(s));
	refusal = namespace_refusal(&place, ACL_LOOKUP);
	if (refusal != NULL)
		return refusal;
	set->mailbox = place.row.id;
	return check_values(set, place.rights);
}

int imap_cmd_setmetadata(struct imap_session *s, struct imap_parser *p)
{
	struct setting *set = xcalloc(1, sizeof(*set));
	struct imap_job job = { .free = free, .state = set };
	const char *refusal;

	set->session = s;
	if (!metadata_parse_set(p, &set->args)) {
		free(set);
		return IMAP_BAD;
	}
	refusal = find_target(s, set);
	if (refusal != NULL) {
		imap_finish(s, "%s", refusal);
		free(set);
		return IMAP_DONE;
	}
	imap_start_job(s, &job);
	set_next(set);
	return IMAP_WAIT;
}
