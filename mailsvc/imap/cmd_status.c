/* STATUS: answered from the counters of the mailbox, whatever its size. */
#include "imap.h"
#include "utf7.h"

enum { WANT_MESSAGES = 1, WANT_RECENT = 2, WANT_UIDNEXT = 4, WANT_UIDVALIDITY = 8, WANT_UNSEEN = 16 };

static bool parse_item(struct imap_parser *p, unsigned *wanted)
{
	static const char *const names[] = { "MESSAGES", "RECENT", "UIDNEXT", "UIDVALIDITY", "UNSEEN" };
	struct view word;

	if (!imap_parse_word(p, &word))
		return false;
	for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (view_caseeq(word, names[i])) {
			*wanted |= 1u << i;
			return true;
		}
	}
	return imap_fail(p, "Unknown STATUS item.");
}

void imap_put_mailbox(struct buf *out, const char *name)
{
	struct buf utf7 = BUF_INIT(MAILBOX_NAME_MAX * 4);

	utf7_encode(view_of(name), &utf7);
	imap_put_string(out, buf_view(&utf7));
	buf_free(&utf7);
}

static void put_status(struct buf *out, const struct mailbox_row *row, unsigned wanted)
{
	const struct {
		const char *name;
		uint32_t value;
	} items[] = { { "MESSAGES", row->messages }, { "RECENT", row->recent }, { "UIDNEXT", row->uid_next },
		{ "UIDVALIDITY", row->uid_validity }, { "UNSEEN", row->unseen } };
	const char *gap = "";

	buf_puts(out, "* STATUS ");
	imap_put_mailbox(out, row->name);
	buf_puts(out, " (");
	for (unsigned i = 0; i < sizeof(items) / sizeof(items[0]); i++) {
		if (wanted & 1u << i) {
			buf_printf(out, "%s%s %u", gap, items[i].name, items[i].value);
			gap = " ";
		}
	}
	buf_puts(out, ")\r\n");
}

int imap_cmd_status(struct imap_session *s, struct imap_parser *p)
{
	char name[MAILBOX_NAME_MAX + 1];
	struct mailbox_row row;
	struct buf line = BUF_INIT(8192);
	unsigned wanted = 0;
	int found;

	if (!imap_parse_sp(p) || !imap_parse_mailbox(p, name) || !imap_parse_sp(p) || !imap_parse_char(p, '('))
		return IMAP_BAD;
	do {
		if (!parse_item(p, &wanted))
			return IMAP_BAD;
	} while (imap_accept(p, ' '));
	if (!imap_parse_char(p, ')') || !imap_parse_end(p))
		return IMAP_BAD;
	if (view_begin(imap_view(s)) < 0) {
		imap_finish_store(s, STORE_UNAVAILABLE);
		return IMAP_DONE;
	}
	found = view_mailbox_by_name(imap_view(s), s->account, name, &row);
	view_end(imap_view(s));
	if (found != 1) {
		imap_finish(s, "NO [NONEXISTENT] No such mailbox.");
		return IMAP_DONE;
	}
	put_status(&line, &row, wanted);
	conn_writev(s->conn, buf_view(&line));
	buf_free(&line);
	return IMAP_DONE;
}
