/* STATUS of one mailbox, and mailbox names as the wire has them. */
#include "namespace.h"
#include "status.h"
#include "utf7.h"

bool imap_names_utf8(const struct imap_session *s)
{
	return (s->enabled & (ENABLED_UTF8 | ENABLED_REV2)) != 0;
}

/* A name holds no control characters (view.h), so in UTF-8 it can always be quoted. */
static void put_utf8(struct buf *out, const char *name)
{
	buf_addc(out, '"');
	for (; *name != '\0'; name++) {
		if (*name == '"' || *name == '\\')
			buf_addc(out, '\\');
		buf_addc(out, *name);
	}
	buf_addc(out, '"');
}

void imap_put_mailbox(const struct imap_session *s, struct buf *out, const char *name)
{
	struct buf utf7 = BUF_INIT(IMAP_NAME_MAX * 4);

	if (imap_names_utf8(s)) {
		put_utf8(out, name);
		return;
	}
	utf7_encode(view_of(name), &utf7);
	imap_put_string(out, buf_view(&utf7));
	buf_free(&utf7);
}

int imap_cmd_status(struct imap_session *s, struct imap_parser *p)
{
	char name[IMAP_NAME_MAX + 1];
	struct place place;
	struct buf line = BUF_INIT(8192);
	const char *refusal;
	unsigned wanted;

	if (!imap_parse_sp(p) || !imap_parse_mailbox(p, name) || !imap_parse_sp(p) || !status_parse(p, &wanted) ||
	    !imap_parse_end(p))
		return IMAP_BAD;
	if (view_begin(imap_view(s)) < 0) {
		imap_finish_store(s, STORE_UNAVAILABLE);
		return IMAP_DONE;
	}
	namespace_resolve(s, name, &place);
	refusal = namespace_refusal(&place, ACL_READ);
	if (refusal == NULL)
		status_put(s, &line, name, &place.row, wanted);
	view_end(imap_view(s));
	if (wanted & STATUS_HIGHESTMODSEQ)
		imap_enable_condstore(s);
	if (refusal != NULL)
		imap_finish(s, "%s", refusal);
	else
		conn_writev(s->conn, buf_view(&line));
	buf_free(&line);
	return IMAP_DONE;
}
