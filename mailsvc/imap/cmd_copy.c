/* COPY, MOVE and their UID forms (RFC 3501 6.4.7, RFC 6851), with COPYUID (RFC 4315). */
#include <stdlib.h>
#include <string.h>

#include "imap.h"
#include "namespace.h"
#include "slices.h"

struct copy_args {
	uint32_t to;
	bool move;
	uint32_t unset; /* flags that the rights at the destination do not allow: taken away behind the copy */
	size_t keyword_count;
	char *keywords[KEYWORDS_MAX]; /* of the source, into text */
	char text[KEYWORDS_MAX * (KEYWORD_NAME_MAX + 1)];
};

static uint32_t send_copy(
    struct imap_session *s, struct slices *x, const struct uid_range *ranges, size_t count, store_fn fn, void *arg)
{
	const struct copy_args *a = x->arg;

	return store_copy(imap_store(s), s->mailbox->id, a->to, a->move, ranges, count, fn, arg);
}

static void finish_copy(struct imap_session *s, struct slices *x)
{
	const struct copy_args *a = x->arg;
	struct buf code = BUF_INIT(IMAP_OUTPUT_MAX);

	if (x->source_count > 0 && x->destination_count > 0) {
		buf_printf(&code, "[COPYUID %u ", x->uid_validity);
		slices_put_set(&code, x->source, x->source_count);
		buf_addc(&code, ' ');
		slices_put_set(&code, x->destination, x->destination_count);
		buf_puts(&code, "] ");
	}
	if (code.full) /* more than a client would read */
		buf_reset(&code);
	/* RFC 6851 4.3: MOVE tells where things went before it says that they are gone. */
	if (a->move && code.len > 0)
		conn_printf(s->conn, "* OK %sMoved.\r\n", buf_str(&code));
	if (x->status != STORE_OK)
		imap_finish_store(s, x->status);
	else if (a->move)
		imap_finish(s, "OK MOVE completed.");
	else
		imap_finish(s, "OK %sCOPY completed.", code.len > 0 ? buf_str(&code) : "");
	buf_free(&code);
}

/*
 * Flags that may not be set in the destination (RFC 4314 4).  The slices stay the session's job: their destination is
 * gone through a second time.
 */
static void unset_next(struct slices *x);

static void on_unset(void *arg, const struct store_result *result)
{
	struct slices *x = arg;

	x->session->pending = 0;
	if (result->status == STORE_OK && x->next < x->destination_count)
		unset_next(x);
	else
		finish_copy(x->session, x); /* copied it is, whatever came of the flags */
}

static void unset_next(struct slices *x)
{
	const struct copy_args *a = x->arg;
	size_t from = x->next, left = x->destination_count - from;
	size_t count = left < STORE_RANGES_MAX ? left : STORE_RANGES_MAX;

	x->next += count;
	x->session->pending = store_flags(imap_store(x->session), a->to, FLAGS_REMOVE, a->unset,
	    (const char *const *)a->keywords, a->keyword_count, x->destination + from, count, on_unset, x);
}

static void on_copied(struct imap_session *s, struct slices *x)
{
	const struct copy_args *a = x->arg;

	if (x->status != STORE_OK || x->destination_count == 0 || (a->unset == 0 && a->keyword_count == 0)) {
		finish_copy(s, x);
		return;
	}
	x->next = 0;
	unset_next(x);
}

static struct copy_args *copy_args_new(const struct imap_mailbox *from, const struct place *to, bool move)
{
	struct copy_args *a = xcalloc(1, sizeof(*a));
	size_t at = 0;

	a->to = to->row.id;
	a->move = move;
	a->unset = FLAGS_SETTABLE & ~namespace_flags(to->rights, FLAGS_SETTABLE);
	for (unsigned i = 0; !(to->rights & ACL_WRITE) && i < from->keyword_count; i++) {
		size_t len;

		if (from->keywords[i] == NULL)
			continue;
		len = strlen(from->keywords[i]) + 1;
		if (len > sizeof(a->text) - at)
			break;
		a->keywords[a->keyword_count++] = memcpy(a->text + at, from->keywords[i], len);
		at += len;
	}
	return a;
}

int imap_cmd_copy(struct imap_session *s, struct imap_parser *p, bool uid, bool move)
{
	char name[IMAP_NAME_MAX + 1];
	struct uid_range *ranges = NULL;
	struct place to;
	const char *refusal;
	size_t count;

	if (!imap_parse_sp(p) || !imap_parse_uids(s, p, uid, &ranges, &count))
		return IMAP_BAD;
	if (!imap_parse_sp(p) || !imap_parse_mailbox(p, name) || !imap_parse_end(p)) {
		free(ranges);
		return IMAP_BAD;
	}
	if (move && namespace_need(s, ACL_DELETE_MESSAGES | ACL_EXPUNGE) < 0) {
		free(ranges);
		return IMAP_DONE;
	}
	if (view_begin(imap_view(s)) < 0) {
		free(ranges);
		imap_finish_store(s, STORE_UNAVAILABLE);
		return IMAP_DONE;
	}
	namespace_resolve(s, name, &to);
	refusal = namespace_into(s, &to);
	view_end(imap_view(s));
	if (refusal == NULL && count > 0) {
		struct copy_args *a = copy_args_new(s->mailbox, &to, move);

		slices_start(s, ranges, count, send_copy, on_copied, a);
		if (a->unset != 0 || a->keyword_count > 0)
			imap_may_park(s, NULL); /* two changes: a later command must not come between them */
		return IMAP_WAIT;
	}
	free(ranges);
	imap_finish(s, "%s", refusal != NULL ? refusal : "OK No messages.");
	return IMAP_DONE;
}
