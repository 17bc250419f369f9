/* STATUS items: their names, and their values from a mailbox's row. */
#include "status.h"

#include "objectid.h"

static const char *const names[] = { "MESSAGES", "RECENT", "UIDNEXT", "UIDVALIDITY", "UNSEEN", "DELETED", "SIZE",
	"HIGHESTMODSEQ", "APPENDLIMIT", "DELETED-STORAGE", "MAILBOXID" };
#define ITEMS (sizeof(names) / sizeof(names[0]))

static bool parse_item(struct imap_parser *p, unsigned *wanted)
{
	struct view word;

	if (!imap_parse_word(p, &word))
		return false;
	for (unsigned i = 0; i < ITEMS; i++) {
		if (view_caseeq(word, names[i])) {
			*wanted |= 1u << i;
			return true;
		}
	}
	return imap_fail(p, "Unknown STATUS item.");
}

bool status_parse(struct imap_parser *p, unsigned *wanted)
{
	*wanted = 0;
	if (!imap_parse_char(p, '('))
		return false;
	do {
		if (!parse_item(p, wanted))
			return false;
	} while (imap_accept(p, ' '));
	return imap_parse_char(p, ')');
}

struct deleted {
	uint32_t left; /* to be found */
	uint64_t bytes;
};

static bool add_deleted(void *arg, const struct message_row *row)
{
	struct deleted *d = arg;

	if (row->flags & FLAG_DELETED) {
		d->bytes += row->size;
		d->left--;
	}
	return d->left > 0;
}

static uint64_t deleted_storage(struct imap_session *s, const struct mailbox_row *row)
{
	struct deleted d = { .left = row->deleted };

	if (d.left > 0)
		view_messages(imap_view(s), row->id, 1, UINT32_MAX, add_deleted, &d);
	return d.bytes;
}

static uint64_t value_of(struct imap_session *s, const struct mailbox_row *row, enum status_item item)
{
	switch (item) {
	case STATUS_MESSAGES:
		return row->messages;
	case STATUS_RECENT:
		return row->recent;
	case STATUS_UIDNEXT:
		return row->uid_next;
	case STATUS_UIDVALIDITY:
		return row->uid_validity;
	case STATUS_UNSEEN:
		return row->unseen;
	case STATUS_DELETED:
		return row->deleted;
	case STATUS_SIZE:
		return row->bytes;
	case STATUS_HIGHESTMODSEQ:
		return row->modseq > 0 ? row->modseq : 1;
	case STATUS_APPENDLIMIT:
		return imap_message_size_max(s);
	case STATUS_DELETED_STORAGE:
		return deleted_storage(s, row);
	case STATUS_MAILBOXID:
		break;
	}
	return 0;
}

void status_put(
    struct imap_session *s, struct buf *out, const char *name, const struct mailbox_row *row, unsigned wanted)
{
	const char *gap = "";

	buf_puts(out, "* STATUS ");
	imap_put_mailbox(s, out, name);
	buf_puts(out, " (");
	for (unsigned i = 0; i < ITEMS; i++) {
		if (!(wanted & 1u << i))
			continue;
		buf_printf(out, "%s%s ", gap, names[i]);
		gap = " ";
		if (1u << i == STATUS_MAILBOXID) {
			buf_addc(out, '(');
			objectid_put_mailbox(out, row->id);
			buf_addc(out, ')');
		} else {
			buf_printf(out, "%llu", (unsigned long long)value_of(s, row, (enum status_item)(1u << i)));
		}
	}
	buf_puts(out, ")\r\n");
}
