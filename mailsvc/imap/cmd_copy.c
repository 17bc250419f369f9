/* COPY, MOVE and their UID forms (RFC 3501 6.4.7, RFC 6851), with COPYUID (RFC 4315). */
#include <stdlib.h>

#include "imap.h"
#include "slices.h"

struct copy_args {
	uint32_t to;
	bool move;
};

static uint32_t send_copy(
    struct imap_session *s, struct slices *x, const struct uid_range *ranges, size_t count, store_fn fn, void *arg)
{
	const struct copy_args *a = x->arg;

	return store_copy(imap_store(s), s->mailbox->id, a->to, a->move, ranges, count, fn, arg);
}

static void on_copied(struct imap_session *s, struct slices *x)
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

int imap_cmd_copy(struct imap_session *s, struct imap_parser *p, bool uid, bool move)
{
	char name[MAILBOX_NAME_MAX + 1];
	struct uid_range *ranges = NULL;
	struct copy_args *a;
	struct mailbox_row row;
	size_t count;
	int found;

	if (!imap_parse_sp(p) || !imap_parse_uids(s, p, uid, &ranges, &count))
		return IMAP_BAD;
	if (!imap_parse_sp(p) || !imap_parse_mailbox(p, name) || !imap_parse_end(p)) {
		free(ranges);
		return IMAP_BAD;
	}
	if (view_begin(imap_view(s)) < 0) {
		free(ranges);
		imap_finish_store(s, STORE_UNAVAILABLE);
		return IMAP_DONE;
	}
	found = view_mailbox_by_name(imap_view(s), s->account, name, &row);
	view_end(imap_view(s));
	if (found != 1 || count == 0) {
		free(ranges);
		if (found != 1)
			imap_finish_store(s, STORE_NO_MAILBOX);
		else
			imap_finish(s, "OK No messages.");
		return IMAP_DONE;
	}
	a = xmalloc(sizeof(*a));
	*a = (struct copy_args){ row.id, move };
	return slices_start(s, ranges, count, send_copy, on_copied, a);
}
