/*
 * The reader: walks a source folder by folder, asks store in batches what it has already, and reads the rest.  What it
 * offers waits for its answer in a window of MIGRATE_UNANSWERED bytes, so that memory stays bounded on both sides.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/imsg.h"
#include "mailsvc/imap/utf7.h"
#include "mailsvc/migrate/migrate.h"
#include "mailsvc/mime/mime.h"
#include "mailsvc/store/proto.h"

#define WINDOW 1024 /* messages on their way */

struct reader {
	int channel;
	const struct reader_options *options;
	uint32_t next_id;
	struct {
		uint32_t id;
		uint64_t bytes;
	} waiting[WINDOW]; /* by id modulo */
	uint32_t waits;
	uint64_t bytes;
	uint32_t asked; /* id of the batch's first question */
	bool *have;     /* its answers */
	size_t asked_count;
	bool gone;
};

static int say(struct reader *r, uint32_t type, uint32_t id, struct view payload)
{
	struct buf data = BUF_INIT(IMSG_MAX);
	int fd = -1, rc = -1;

	if (!r->gone && proto_wrap(payload, &data, &fd) == 0 &&
	    imsg_send(r->channel, type, id, buf_view(&data), fd) == 0)
		rc = 0;
	r->gone |= rc != 0;
	if (fd != -1)
		close(fd);
	buf_free(&data);
	return rc;
}

static int say_text(struct reader *r, uint32_t type, const char *text)
{
	struct buf b = BUF_INIT(8192);
	int rc;

	buf_put_blob(&b, (struct view){ text, strnlen(text, MIGRATE_TEXT_MAX) });
	rc = say(r, type, 0, buf_view(&b));
	buf_free(&b);
	return rc;
}

void reader_problem(struct reader *r, const char *fmt, ...)
{
	char text[MIGRATE_TEXT_MAX + 1];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	say_text(r, MIGRATE_PROBLEM, text);
}

/* One answer. */
static int hear(struct reader *r)
{
	struct buf storage = BUF_INIT(IMSG_MAX + 64);
	struct imsg m = { .fd = -1 };
	int rc = -1;

	if (imsg_recv(r->channel, -1, &m, &storage) == 1 && m.type == MIGRATE_ANSWER && m.data.len == 1 && m.fd == -1 &&
	    r->waits > 0 && r->waiting[m.id % WINDOW].id == m.id) {
		r->bytes -= r->waiting[m.id % WINDOW].bytes;
		r->waiting[m.id % WINDOW].id = 0;
		r->waits--;
		if (r->have != NULL && m.id - r->asked < r->asked_count)
			r->have[m.id - r->asked] = m.data.ptr[0] == STORE_EXISTS;
		rc = 0;
	}
	r->gone |= rc != 0;
	if (m.fd != -1)
		close(m.fd);
	buf_free(&storage);
	return rc;
}

static int wait_for_room(struct reader *r, uint64_t bytes)
{
	while (r->waits > 0 && (r->waits >= WINDOW / 2 || r->waiting[(r->next_id + 1) % WINDOW].id != 0 ||
				   r->bytes + bytes > MIGRATE_UNANSWERED))
		if (hear(r) < 0)
			return -1;
	return r->gone ? -1 : 0;
}

static int wait_for_all(struct reader *r)
{
	while (r->waits > 0)
		if (hear(r) < 0)
			return -1;
	return r->gone ? -1 : 0;
}

static int put_message(struct reader *r, const struct migrate_folder *f, const struct migrate_item *item, uint32_t type,
    struct view mime, struct view body)
{
	struct buf payload = BUF_INIT(PROTO_PAYLOAD_MAX);
	struct migrate_wire w = {
		.uid = item->uid, .flags = item->flags, .date = item->date, .mime = mime, .body = body
	};
	int rc;

	if (wait_for_room(r, body.len) < 0)
		return -1;
	memcpy(w.key, item->key, sizeof(w.key));
	for (unsigned i = 0; i < f->keyword_count; i++)
		if (item->keywords & UINT64_C(1) << i)
			w.keywords[w.keyword_count++] = view_of(f->keywords[i]);
	migrate_wire_put(&payload, &w);
	if (++r->next_id == 0)
		r->next_id = 1;
	rc = say(r, type, r->next_id, buf_view(&payload));
	r->waiting[r->next_id % WINDOW].id = r->next_id;
	r->waiting[r->next_id % WINDOW].bytes = body.len;
	r->waits++;
	r->bytes += body.len;
	buf_free(&payload);
	return rc;
}

int reader_offer(struct reader *r, struct migrate_folder *f, const struct migrate_item *item, struct view message)
{
	struct buf body = BUF_INIT(STORE_BODY_MAX), mime = BUF_INIT(2 * MIME_RECORD_MAX);
	int rc = 0;

	if (migrate_crlf(message, &body) < 0) {
		reader_problem(r, "%s: a message of %zu bytes is too long; it is left out", f->name, message.len);
	} else {
		mime_parse(buf_view(&body), &mime);
		rc = put_message(r, f, item, MIGRATE_OFFER, buf_view(&mime), buf_view(&body));
	}
	buf_free(&body);
	buf_free(&mime);
	return rc;
}

/* Which of these does store not have? */
static int ask(struct reader *r, struct migrate_folder *f, struct migrate_item *items, size_t count, bool *want)
{
	bool have[MIGRATE_BATCH] = { false };

	if (wait_for_all(r) < 0)
		return -1;
	r->have = have;
	r->asked = r->next_id + 1;
	r->asked_count = count;
	if (r->asked + MIGRATE_BATCH < MIGRATE_BATCH) /* ids would wrap among them */
		r->next_id = 0, r->asked = 1;
	for (size_t i = 0; i < count && !r->gone; i++)
		put_message(r, f, &items[i], MIGRATE_ASK, VIEW_NONE, VIEW_NONE);
	wait_for_all(r);
	r->have = NULL;
	for (size_t i = 0; i < count; i++)
		want[i] = !have[i];
	return r->gone ? -1 : 0;
}

static int read_folder(struct reader *r, struct migrate_source *s, struct migrate_folder *f, struct error *e)
{
	struct buf told = BUF_INIT(4096);
	bool want[MIGRATE_BATCH];
	uint64_t bytes = 0;
	int rc;

	for (size_t i = 0; i < f->count; i++)
		bytes += f->items[i].size;
	buf_put_str(&told, f->name);
	buf_put_u32(&told, f->uid_validity);
	buf_put_u64(&told, f->count);
	buf_put_u64(&told, bytes);
	rc = wait_for_all(r) < 0 ? -1 : say(r, MIGRATE_FOLDER, 0, buf_view(&told));
	buf_free(&told);
	for (size_t at = 0; at < f->count && rc == 0 && !r->options->dry_run; at += MIGRATE_BATCH) {
		size_t n = f->count - at < MIGRATE_BATCH ? f->count - at : MIGRATE_BATCH;

		if (ask(r, f, &f->items[at], n, want) < 0 || s->fetch(s, r, f, &f->items[at], want, n, e) < 0 ||
		    wait_for_all(r) < 0)
			rc = -1;
	}
	return rc;
}

/* The name that --map gives it, by itself or through a folder above it. */
static bool mapped(const struct reader_options *o, const char *name, char out[MAILBOX_NAME_MAX + 1])
{
	size_t best = 0;

	view_copy(view_of(name), out, MAILBOX_NAME_MAX + 1);
	for (size_t i = 0; o->map != NULL && o->map[i] != NULL; i += 2) {
		size_t n = strlen(o->map[i]);
		char whole[2 * MAILBOX_NAME_MAX + 2];

		if (strncmp(name, o->map[i], n) != 0 || (name[n] != '\0' && name[n] != '/') || n < best)
			continue;
		best = n;
		snprintf(whole, sizeof(whole), "%s%s", o->map[i + 1], name + n);
		if (!migrate_name(view_of(whole), out))
			return false;
	}
	return true;
}

static bool excluded(const struct reader_options *o, const char *name)
{
	for (size_t i = 0; o->exclude != NULL && o->exclude[i] != NULL; i++)
		if (list_match(view_of(o->exclude[i]), view_of(name)))
			return true;
	return false;
}

static void one_folder(struct reader *r, struct migrate_source *s, struct migrate_folder *f, struct error *e)
{
	char name[MAILBOX_NAME_MAX + 1];
	struct error why = { "" };

	if (excluded(r->options, f->name) || !f->selectable)
		return;
	int rc = s->list(s, r, f, &why);
	if (rc == -2) {
		r->gone = true;
		*e = why;
	} else if (rc < 0) {
		reader_problem(r, "%s: %s", f->name, why.text);
	} else if (!mapped(r->options, f->name, name)) {
		reader_problem(r, "%s: --map makes a name of it that no mailbox can have", f->name);
	} else {
		view_copy(view_of(name), f->name, sizeof(f->name));
		migrate_items_sort(f);
		if (read_folder(r, s, f, e) < 0)
			r->gone = true;
	}
	migrate_items_free(f);
}

static void say_total(struct reader *r, const struct migrate_source *s)
{
	struct buf b = BUF_INIT(8);
	uint64_t folders = 0;

	for (size_t i = 0; i < s->count; i++)
		folders += s->at[i].selectable && !excluded(r->options, s->at[i].name);
	buf_put_u64(&b, folders);
	say(r, MIGRATE_TOTAL, 0, buf_view(&b));
	buf_free(&b);
}

static void say_subscriptions(struct reader *r, const struct migrate_source *s)
{
	char name[MAILBOX_NAME_MAX + 1];

	if (!s->knows_subscriptions)
		return;
	say(r, MIGRATE_SUBSCRIPTIONS, 0, VIEW_NONE);
	for (size_t i = 0; i < s->subscribed_count; i++)
		if (!excluded(r->options, s->subscribed[i]) && mapped(r->options, s->subscribed[i], name))
			say_text(r, MIGRATE_SUBSCRIBED, name);
}

struct reader *reader_new(int channel, const struct reader_options *options)
{
	struct reader *r = xcalloc(1, sizeof(*r));

	r->channel = channel;
	r->options = options;
	return r;
}

int reader_run(struct migrate_source *s, int channel, const struct reader_options *options)
{
	struct reader *r = reader_new(channel, options);
	struct error e = { "" };
	bool failed;

	failed = s->folders(s, r, &e) < 0;
	if (!failed)
		say_total(r, s);
	for (size_t i = 0; !failed && i < s->count && !r->gone; i++)
		one_folder(r, s, &s->at[i], &e);
	if (!failed && !r->gone)
		say_subscriptions(r, s);
	failed |= r->gone;
	r->gone = false; /* the source may be gone and the importer not */
	if (!failed)
		say(r, MIGRATE_DONE, 0, VIEW_NONE);
	else
		say_text(r, MIGRATE_FAILED, e.text[0] != '\0' ? e.text : "the source cannot be read on");
	free(r);
	return failed;
}
