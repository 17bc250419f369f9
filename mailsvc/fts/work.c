/*
 * Indexing, behind everybody else: a slice of SLICE_MS, then the loop, then the next one.  Accounts wait in a queue; of
 * the first, each mailbox is read on from the highest UID that its index has.  Messages gather in a transaction of at
 * most BATCH; it ends when the account has been read.  A body that several messages share is read once.
 *
 * A long message is read in pieces over as many slices as it takes.  One that cannot be read is noted as such: queries
 * then find it always.  What has been expunged stays in the file until it is the larger part; then the file is made
 * anew.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

#include "lib/clock.h"
#include "mailsvc/fts/internal.h"

#define SLICE_MS 20
#define PAUSE_MS 1
#define GATHER_MS 300 /* after a delivery: more may come */
#define RETRY_MS 1000 /* store is away */
#define TROUBLE_MS 60000
#define BATCH 1000
#define SWEEP_MS 3600000
#define GONE_MS 5000
#define GARBAGE 1000     /* bodies that may be gone beside as many as there are messages */
#define RESERVE_FACTOR 2 /* of limits.disk_reserve must be free */

void numbers_add(struct numbers *n, uint32_t one)
{
	for (size_t i = 0; i < n->count; i++)
		if (n->at[i] == one)
			return;
	if (n->count == n->cap) {
		n->cap = n->cap * 2 + 64;
		n->at = xreallocarray(n->at, n->cap, sizeof(*n->at));
	}
	n->at[n->count++] = one;
}

void numbers_drop_first(struct numbers *n)
{
	if (n->count > 0)
		memmove(n->at, n->at + 1, --n->count * sizeof(*n->at));
}

void fts_work_soon(struct fts *f, unsigned ms)
{
	struct timeval tv = { ms / 1000, ms % 1000 * 1000 };

	if (!event_pending(f->work, EV_TIMEOUT, NULL))
		event_add(f->work, &tv);
}

/* A message ----------------------------------------------------------------------------------------------------------
 */

static int read_body(void *arg, uint64_t offset, void *dst, size_t length)
{
	struct fts *f = arg;

	return view_body_read(f->view, &f->ref, offset, dst, length);
}

/* The body alone: each delivery has a prefix of its own. */
static int open_message(struct search_message *m)
{
	struct fts *f = m->arg;

	if (view_body(f->view, m->row->body, &f->ref) != 1)
		return -1;
	m->source = (struct fetch_source){ .length = f->ref.length, .read = read_body, .arg = f, .mime = f->ref.mime };
	return 0;
}

/* false: the slice is over. */
static bool read_message(struct fts *f, struct fts_index *index, const struct message_row *row)
{
	struct view text;
	int more;

	if (f->half == row->uid && f->half_body == row->body) {
		search_message_resume(&f->message, row, false);
	} else {
		search_message_reset(&f->message, row, false);
		fts_grams_reset(&f->grams);
	}
	f->half = 0;
	while ((more = search_message_next_text(&f->message, &text)) == 1) {
		fts_grams_add(&f->grams, text);
		if (clock_mono_ms() >= f->slice_end) {
			f->half = row->uid;
			f->half_body = row->body;
			return false;
		}
	}
	if (!store_view_ready(f->view))
		return false; /* it is store that cannot be read */
	f->error |= more == 0 ? fts_index_add(index, row->body, buf_view(&f->grams.out))
	                      : fts_index_add_unread(index, row->body);
	f->indexed++;
	return true;
}

struct walk {
	struct fts *fts;
	struct fts_open *open;
	struct fts_mailbox *mailbox;
	bool stopped;
};

static bool take_row(void *arg, const struct message_row *row)
{
	struct walk *w = arg;
	struct fts *f = w->fts;
	int has = fts_index_has(w->open->index, row->body);

	if (has < 0)
		f->error = -1;
	if (has == 0 && f->error == 0) {
		if (!read_message(f, w->open->index, row)) {
			w->stopped = true;
			return false;
		}
		w->open->added++;
	}
	if (f->error != 0)
		return false;
	w->mailbox->upto = row->uid;
	w->stopped = clock_mono_ms() >= f->slice_end || w->open->added >= BATCH;
	return !w->stopped;
}

/* An account ---------------------------------------------------------------------------------------------------------
 */

static bool take_mailbox(void *arg, const struct mailbox_row *row)
{
	struct fts *f = arg;

	f->mailboxes = xreallocarray(f->mailboxes, f->mailbox_count + 1, sizeof(*f->mailboxes));
	f->mailboxes[f->mailbox_count++] =
	    (struct fts_mailbox){ .id = row->id, .uid_validity = row->uid_validity, .last = row->uid_next - 1 };
	f->messages += row->messages;
	return true;
}

static void look_at(struct fts *f, uint32_t account)
{
	f->mailbox_count = f->mailbox = 0;
	f->messages = 0;
	view_mailboxes(f->view, account, take_mailbox, f);
	f->looking = true;
}

/* true: the account has been read. */
static bool read_account(struct fts *f, struct fts_open *open)
{
	struct walk w = { .fts = f, .open = open };

	for (; f->mailbox < f->mailbox_count; f->mailbox++) {
		struct fts_mailbox *m = w.mailbox = &f->mailboxes[f->mailbox];

		if (fts_index_upto(open->index, m->id, m->uid_validity, &m->upto) != 0) {
			f->error = -1;
			return false;
		}
		if (m->upto > m->last) { /* it was made from a store that had more: this one was restored */
			f->error = -1;
			return false;
		}
		if (m->upto == m->last)
			continue;
		view_messages(f->view, m->id, m->upto + 1, m->last, take_row, &w);
		search_message_pause(&f->message);
		if (!store_view_ready(f->view) || f->error != 0)
			return false;
		if (!w.stopped)
			m->upto = m->last;
		f->error |= fts_index_set_upto(open->index, m->id, m->uid_validity, m->upto);
		if (w.stopped || f->error != 0)
			return false;
	}
	return true;
}

static void end_account(struct fts *f, struct fts_open *open)
{
	uint32_t account = open->account;
	uint64_t bodies;

	numbers_drop_first(&f->accounts);
	f->looking = false;
	if (f->again)
		numbers_add(&f->accounts, account);
	f->again = false;
	if (fts_index_commit(open->index) != 0 || fts_index_count(open->index, &bodies) != 0) {
		fts_files_broken(f, open);
		return;
	}
	open->added = 0;
	if (bodies / 2 <= f->messages + GARBAGE)
		return;
	log_info("event=fts.again account=%u bodies=%llu messages=%llu", account, (unsigned long long)bodies,
	    (unsigned long long)f->messages);
	fts_files_close(f, open);
	fts_index_remove(f->dir, account);
	numbers_add(&f->accounts, account);
}

/* What is to be looked at --------------------------------------------------------------------------------------------
 */

static void add_account(struct fts *f, uint32_t account)
{
	if (f->looking && f->accounts.count > 0 && f->accounts.at[0] == account)
		f->again = true;
	else
		numbers_add(&f->accounts, account);
}

static void find_accounts(struct fts *f)
{
	const struct site *site = f->ctx->site;
	struct account_row account;
	struct mailbox_row *row = xmalloc(sizeof(*row));
	uint64_t since;
	bool gone = false; /* a mailbox is: its account may be */

	for (size_t i = 0; f->all && i < site->account_count; i++)
		if (view_account(f->view, site->accounts[i].address, &account) == 1)
			add_account(f, account.id);
	f->all = false;
	for (size_t i = 0; i < f->changed.count; i++) {
		if (view_mailbox(f->view, f->changed.at[i], row) == 1)
			add_account(f, row->account);
		else
			gone = true;
	}
	f->changed.count = 0;
	free(row);
	since = clock_mono_ms() - f->removed_ms;
	if (f->removed_ms == 0 || since >= SWEEP_MS || ((gone || f->sweeps > 0) && since >= GONE_MS)) {
		f->removed_ms = clock_mono_ms();
		f->sweeps -= f->sweeps > 0;
		fts_files_sweep(f);
	}
}

/* Mail needs the disk more than we do. */
static bool disk_is_full(const struct fts *f)
{
	struct statvfs st;

	return statvfs(f->dir, &st) == 0 &&
	       (uint64_t)st.f_bavail * st.f_frsize < RESERVE_FACTOR * f->ctx->site->limits.disk_reserve;
}

/* Milliseconds until the next one; 0: nothing is left to do. */
static unsigned slice(struct fts *f)
{
	struct fts_open *open = NULL;
	bool done = false;

	if (disk_is_full(f))
		return TROUBLE_MS;
	if (view_begin(f->view) != 0)
		return RETRY_MS;
	find_accounts(f);
	f->slice_end = clock_mono_ms() + SLICE_MS;
	f->error = 0;
	if (f->accounts.count > 0) {
		if (!f->looking)
			look_at(f, f->accounts.at[0]);
		open = fts_files_get(f, f->accounts.at[0], true);
		done = open != NULL && read_account(f, open);
	}
	view_end(f->view);
	if (f->accounts.count == 0)
		return f->sweeps > 0 ? GONE_MS : 0;
	if (open == NULL || f->error != 0) {
		f->looking = false;
		f->half = 0;
		numbers_drop_first(&f->accounts);
		if (open != NULL)
			fts_files_broken(f, open);
		return TROUBLE_MS;
	}
	if (done) {
		end_account(f, open);
	} else if (open->added >= BATCH) {
		open->added = 0;
		if (fts_index_commit(open->index) != 0) {
			f->looking = false;
			fts_files_broken(f, open);
		}
	}
	return f->accounts.count > 0 ? PAUSE_MS : f->sweeps > 0 ? GONE_MS : 0;
}

static void on_work(evutil_socket_t fd, short what, void *arg)
{
	struct fts *f = arg;
	unsigned next = slice(f);

	(void)fd, (void)what;
	if (next > 0)
		fts_work_soon(f, next);
}

static void on_changed(void *arg, const uint32_t *mailboxes, size_t count)
{
	struct fts *f = arg;

	for (size_t i = 0; i < count && !f->all; i++) {
		numbers_add(&f->changed, mailboxes[i]);
		if (f->changed.count > 1000) {
			f->changed.count = 0;
			f->all = true;
		}
	}
	fts_work_soon(f, GATHER_MS);
}

void fts_work_init(struct fts *f)
{
	f->all = true;
	f->work = evtimer_new(f->ctx->base, on_work, f);
	if (f->work == NULL)
		fatalx("event_new failed");
	fts_grams_init(&f->grams);
	search_message_init(&f->message, open_message, f);
	store_on_change(f->store, on_changed, f);
}
