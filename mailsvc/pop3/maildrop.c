/* The maildrop: a table of the messages that were there when the session began. */
#include "maildrop.h"

#include <stdlib.h>

static void add_due(struct maildrop *d, uint32_t uid)
{
	if (d->due_count > 0 && d->due[d->due_count - 1].last + 1 == uid) {
		d->due[d->due_count - 1].last = uid;
		return;
	}
	if (d->due_count == d->due_cap) {
		d->due_cap = d->due_cap * 2 + 8;
		d->due = xreallocarray(d->due, d->due_cap, sizeof(*d->due));
	}
	d->due[d->due_count++] = (struct uid_range){ uid, uid };
}

static bool take(void *arg, const struct message_row *row)
{
	struct maildrop *d = arg;

	if (d->hidden >= 0 && (row->keywords >> d->hidden & 1)) {
		d->gaps = true;
		if (row->save_date < d->before)
			add_due(d, row->uid);
		return true;
	}
	if (d->count == d->cap) {
		d->cap = d->cap + d->cap / 2 + 16;
		d->at = xreallocarray(d->at, d->cap, sizeof(*d->at));
	}
	d->at[d->count++] = (struct maildrop_message){ .uid = row->uid, .size = (uint32_t)row->size };
	return d->count < MAILDROP_MAX;
}

int maildrop_load(struct maildrop *d, struct store_view *view, uint32_t mailbox, int64_t before)
{
	struct mailbox_row row;

	*d = (struct maildrop){ .mailbox = mailbox, .hidden = -1, .before = before };
	if (view_mailbox(view, mailbox, &row) != 1)
		return -1;
	d->uid_validity = row.uid_validity;
	for (unsigned i = 0; i < row.keyword_count; i++)
		if (row.keywords[i].ptr != NULL && view_caseeq(row.keywords[i], MAILDROP_HIDDEN))
			d->hidden = (int)i;
	if (row.messages > 0 && row.messages <= MAILDROP_MAX) {
		d->cap = row.messages;
		d->at = xreallocarray(NULL, d->cap, sizeof(*d->at));
	}
	view_messages(view, mailbox, 1, UINT32_MAX, take, d);
	return 0;
}

void maildrop_free(struct maildrop *d)
{
	free(d->at);
	free(d->due);
	*d = (struct maildrop){ 0 };
}

struct maildrop_message *maildrop_get(struct maildrop *d, uint64_t number)
{
	if (number == 0 || number > d->count || d->at[number - 1].deleted)
		return NULL;
	return &d->at[number - 1];
}

void maildrop_stat(const struct maildrop *d, uint32_t *count, uint64_t *octets)
{
	*count = 0;
	*octets = 0;
	for (uint32_t i = 0; i < d->count; i++) {
		if (!d->at[i].deleted) {
			++*count;
			*octets += d->at[i].size;
		}
	}
}

void maildrop_reset(struct maildrop *d)
{
	for (uint32_t i = 0; i < d->count; i++)
		d->at[i].deleted = false;
}

struct uid_range *maildrop_deleted(const struct maildrop *d, size_t *count)
{
	struct uid_range *out = NULL;
	size_t cap = 0;

	*count = 0;
	for (uint32_t i = 0; i < d->count; i++) {
		if (!d->at[i].deleted)
			continue;
		if (i > 0 && d->at[i - 1].deleted && (!d->gaps || d->at[i - 1].uid + 1 == d->at[i].uid)) {
			out[*count - 1].last = d->at[i].uid;
			continue;
		}
		if (*count == cap) {
			cap = cap * 2 + 8;
			out = xreallocarray(out, cap, sizeof(*out));
		}
		out[(*count)++] = (struct uid_range){ d->at[i].uid, d->at[i].uid };
	}
	return out;
}
