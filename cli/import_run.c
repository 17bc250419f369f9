/*
 * The importer: takes what the reader offers, gives it to store, and keeps account.  The account and the limits are
 * ours; the reader only says into which mailbox of it.  Problems with single messages and folders are told and counted;
 * what the store cannot do now (a full disk) ends the run, which may be begun again.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "import.h"
#include "lib/clock.h"
#include "lib/imsg.h"
#include "lib/text.h"
#include "mailsvc/store/proto.h"
#include "session.h"

#define PROBLEMS_KEPT 1000
#define SHOW_MS 100

struct folder {
	char *name;
	uint32_t wanted_validity, validity;
	uint64_t messages, bytes, imported, present, failed, moved_uids;
	bool refused;
};
struct run {
	struct cli *cli;
	struct import *import;
	struct cli_session session;
	struct chan *chan;
	struct folder **folders;
	size_t count;
	uint64_t total_folders;
	uint64_t bytes, problem_count;
	json_t *problems;
	char **subscribed;
	size_t subscribed_count;
	bool knows_subscriptions;
	bool bar, finished, failed; /* failed: stopped before the end */
	uint64_t pending;           /* of store's answers */
	uint64_t begun, shown;
};
struct question { /* one on its way to store */
	struct run *run;
	struct folder *folder;
	uint32_t id, uid;
	uint64_t bytes;
	enum { QUESTION_FOLDER, QUESTION_ASK, QUESTION_OFFER } what;
};

static void clear_bar(struct run *run)
{
	if (run->bar && run->shown)
		fputs("\r\033[K", stderr);
}

static void problem(struct run *run, struct view text)
{
	struct buf b = BUF_INIT(8192);

	if (run->problem_count++ >= PROBLEMS_KEPT)
		return;
	for (size_t i = 0; i < text.len && i < MIGRATE_TEXT_MAX; i++) /* what a terminal would obey */
		buf_addc(&b, (unsigned char)text.ptr[i] < ' ' || text.ptr[i] == 127 ? '?' : text.ptr[i]);
	json_t *t = json_string(buf_str(&b));
	json_array_append_new(run->problems, t ? t : json_string("?"));
	if (!run->cli->json) {
		clear_bar(run);
		fprintf(stderr, "%s\n", buf_str(&b));
	}
	buf_free(&b);
}

static void stop(struct run *run, const char *why)
{
	if (!run->failed) {
		clear_bar(run);
		cli_error("%s; the same command again goes on from here", why);
	}
	run->failed = run->finished = true;
}

static void show(struct run *run)
{
	uint64_t now = clock_mono_ms(), done = 0;
	const struct folder *f = run->count ? run->folders[run->count - 1] : NULL;
	char size[16], rate[16];

	if (!run->bar || f == NULL || (run->shown && now - run->shown < SHOW_MS))
		return;
	run->shown = now;
	done = f->imported + f->present + f->failed;
	text_format_size(run->bytes, size);
	text_format_size(now > run->begun ? run->bytes * 1000 / (now - run->begun) : 0, rate);
	unsigned filled = f->messages ? (unsigned)(done * 20 / f->messages) : 20;
	fprintf(stderr, "\r\033[K[%.*s%.*s] folder %zu of %llu, %s: %llu of %llu messages; %s, %s/s", (int)filled,
	    "####################", (int)(20 - filled), "....................", run->count,
	    (unsigned long long)run->total_folders, f->name, (unsigned long long)done, (unsigned long long)f->messages,
	    size, rate);
	fflush(stderr);
}

static void answer(struct run *run, uint32_t id, enum store_status status)
{
	char byte = (char)status;

	if (run->chan != NULL)
		chan_send(run->chan, MIGRATE_ANSWER, id, (struct view){ &byte, 1 }, -1);
}

/* Store's answers ------------------------------------------------------------------------------------------------- */

static bool ends_the_run(enum store_status s)
{
	return s == STORE_UNAVAILABLE || s == STORE_FULL || s == STORE_IO || s == STORE_NO_ACCOUNT;
}

static void folder_made(struct run *run, struct folder *f, const struct store_result *r)
{
	char *text;

	f->validity = r->uid_validity;
	f->refused = r->status != STORE_OK;
	if (!f->refused)
		return;
	text = xasprintf(
	    "%s: no mailbox can have this name, or there are too many; its messages are left out (see --map)", f->name);
	problem(run, view_of(text));
	free(text);
}

static void offered(struct run *run, const struct question *q, const struct store_result *r)
{
	if (r->status == STORE_OK) {
		q->folder->imported++;
		q->folder->moved_uids +=
		    q->uid != 0 && (r->destination_count == 0 || r->destination[0].first != q->uid);
		run->bytes += q->bytes;
	} else if (r->status == STORE_EXISTS)
		q->folder->present++;
	else {
		char *text = xasprintf("%s: UID %u: %s", q->folder->name, q->uid, cli_store_text(r->status));
		q->folder->failed++;
		problem(run, view_of(text));
		free(text);
	}
}

static void on_store(void *arg, const struct store_result *r)
{
	struct question *q = arg;
	struct run *run = q->run;

	run->pending--;
	if (ends_the_run(r->status))
		stop(run, cli_store_text(r->status));
	else if (q->what == QUESTION_FOLDER)
		folder_made(run, q->folder, r);
	else if (q->what == QUESTION_OFFER)
		offered(run, q, r);
	else if (r->status == STORE_EXISTS)
		q->folder->present++;
	if (q->what != QUESTION_FOLDER)
		answer(run, q->id, r->status);
	free(q);
	show(run);
}

/* What the reader says ----------------------------------------------------------------------------------------------
 */

static void give(struct run *run, struct folder *f, const struct migrate_wire *w, uint32_t id, int what)
{
	struct question *q = xcalloc(1, sizeof(*q));
	char *keywords[KEYWORDS_MAX];
	struct store_import i = {
		.account = run->import->account, .mailbox = f->name, .uid_validity = f->wanted_validity
	};

	*q = (struct question){ .run = run, .folder = f, .id = id, .what = what };
	if (w != NULL) {
		q->uid = i.uid = w->uid;
		q->bytes = w->body.len;
		i.flags = w->flags;
		i.internal_date = w->date;
		memcpy(i.key, w->key, sizeof(i.key));
		for (size_t k = 0; k < w->keyword_count; k++)
			keywords[k] = view_dup(w->keywords[k]);
		i.keywords = (const char *const *)keywords;
		i.keyword_count = w->keyword_count;
	}
	if (what == QUESTION_OFFER)
		i.body = (struct store_body){ { w->body.len ? w->body.ptr : "", w->body.len }, w->mime };
	run->pending++;
	store_import(run->session.client, &i, on_store, q);
	for (size_t k = 0; k < i.keyword_count; k++)
		free(keywords[k]);
}

static int take_folder(struct run *run, struct cursor *c)
{
	struct folder *f = xcalloc(1, sizeof(*f));
	char name[MAILBOX_NAME_MAX + 1];

	cursor_str(c, name, sizeof(name));
	f->wanted_validity = cursor_u32(c);
	f->messages = cursor_u64(c);
	f->bytes = cursor_u64(c);
	if (!cursor_done(c) || run->count >= MIGRATE_FOLDERS_MAX) {
		free(f);
		return -1;
	}
	f->name = xstrdup(name);
	run->folders = xreallocarray(run->folders, run->count + 1, sizeof(struct folder *));
	run->folders[run->count++] = f;
	if (!run->import->options.dry_run)
		give(run, f, NULL, 0, QUESTION_FOLDER);
	show(run);
	return 0;
}

static int take_message(struct run *run, uint32_t id, bool ask, struct view payload)
{
	struct folder *f = run->count ? run->folders[run->count - 1] : NULL;
	struct migrate_wire w;

	if (f == NULL || run->import->options.dry_run || migrate_wire_get(&w, payload) == -1 || (ask && w.body.len > 0))
		return -1;
	if (f->refused && ask) { /* so that it is not read at all */
		f->failed++;
		answer(run, id, STORE_EXISTS);
	} else
		give(run, f, &w, id, ask ? QUESTION_ASK : QUESTION_OFFER);
	return 0;
}

static int take_subscribed(struct run *run, struct cursor *c)
{
	char name[MAILBOX_NAME_MAX + 1];

	cursor_str(c, name, sizeof(name));
	if (!cursor_done(c) || run->subscribed_count >= MIGRATE_FOLDERS_MAX)
		return -1;
	run->subscribed = xreallocarray(run->subscribed, run->subscribed_count + 1, sizeof(char *));
	run->subscribed[run->subscribed_count++] = xstrdup(name);
	return 0;
}

static int take(struct run *run, const struct imsg *m, struct view payload)
{
	struct cursor c = cursor_of(payload.ptr, payload.len);

	switch (m->type) {
	case MIGRATE_TOTAL:
		run->total_folders = cursor_u64(&c);
		return 0;
	case MIGRATE_FOLDER:
		return take_folder(run, &c);
	case MIGRATE_ASK:
	case MIGRATE_OFFER:
		return take_message(run, m->id, m->type == MIGRATE_ASK, payload);
	case MIGRATE_PROBLEM:
		problem(run, cursor_blob(&c, MIGRATE_TEXT_MAX));
		return 0;
	case MIGRATE_SUBSCRIPTIONS:
		run->knows_subscriptions = true;
		return 0;
	case MIGRATE_SUBSCRIBED:
		return take_subscribed(run, &c);
	case MIGRATE_DONE:
		run->finished = true;
		return 0;
	case MIGRATE_FAILED: {
		char *why = view_dup(cursor_blob(&c, MIGRATE_TEXT_MAX));
		for (char *p = why; *p; p++)
			*p = (unsigned char)*p < ' ' || *p == 127 ? '?' : *p;
		stop(run, why);
		free(why);
		return 0;
	}
	default:
		return -1;
	}
}

static void on_message(struct chan *chan, struct imsg *m, void *arg)
{
	struct run *run = arg;
	struct view payload, mapped = VIEW_NONE;

	(void)chan;
	if (run->finished)
		return;
	if (proto_unwrap(m, PROTO_PAYLOAD_MAX, &payload, &mapped) == -1 || take(run, m, payload) == -1)
		stop(run, "the reader says what makes no sense");
	if (mapped.ptr != NULL)
		munmap((void *)(uintptr_t)mapped.ptr, mapped.len);
}

static void on_closed(struct chan *chan, void *arg)
{
	struct run *run = arg;

	chan_free(chan);
	run->chan = NULL;
	if (!run->finished)
		stop(run, "the reader ended before its time");
}

/* The whole
 * ------------------------------------------------------------------------------------------------------------ */

/* Subscriptions as they are at the source (all, where it does not know), of mailboxes that came with this run. */
static void subscribe(struct run *run)
{
	bool all = !run->knows_subscriptions || run->subscribed_count == 0;
	struct account_row account;

	if (cli_session_account(&run->session, run->import->account, &account) != 1)
		return;
	for (size_t i = 0; i < run->count; i++) {
		const struct folder *f = run->folders[i];
		bool is = all;

		if (f->refused || f->present > 0 || strcmp(f->name, "INBOX") == 0)
			continue;
		for (size_t j = 0; j < run->subscribed_count && !is; j++)
			is = strcmp(run->subscribed[j], f->name) == 0;
		store_subscribe(run->session.client, account.id, f->name, is, cli_session_done, &run->session);
		cli_session_wait(&run->session);
	}
}

static void print_json(const struct run *run, uint64_t sums[4])
{
	json_t *o = json_object(), *folders = json_array();

	for (size_t i = 0; i < run->count; i++) {
		const struct folder *f = run->folders[i];
		json_array_append_new(folders,
		    json_pack("{s:s,s:I,s:I,s:I,s:I,s:I,s:b,s:I}", "name", f->name, "messages", (json_int_t)f->messages,
			"bytes", (json_int_t)f->bytes, "imported", (json_int_t)f->imported, "present",
			(json_int_t)f->present, "failed", (json_int_t)f->failed, "uid_validity_kept",
			f->wanted_validity != 0 && f->validity == f->wanted_validity, "uids_changed",
			(json_int_t)f->moved_uids));
	}
	json_object_set_new(o, "account", json_string(run->import->account));
	json_object_set_new(o, "dry_run", json_boolean(run->import->options.dry_run));
	json_object_set_new(o, "complete", json_boolean(!run->failed));
	json_object_set_new(o, "messages", json_integer((json_int_t)sums[0]));
	json_object_set_new(o, "imported", json_integer((json_int_t)sums[1]));
	json_object_set_new(o, "present", json_integer((json_int_t)sums[2]));
	json_object_set_new(o, "failed", json_integer((json_int_t)sums[3]));
	json_object_set_new(o, "bytes", json_integer((json_int_t)run->bytes));
	json_object_set_new(o, "problem_count", json_integer((json_int_t)run->problem_count));
	json_object_set(o, "problems", run->problems);
	json_object_set_new(o, "folders", folders);
	cli_json_print(o);
}

static void print_table(const struct run *run)
{
	static const char *const columns[] = { "mailbox", "messages", "imported", "present", "failed", NULL };
	struct cli_table *t = cli_table_new(run->cli, columns);

	for (size_t i = 0; i < run->count; i++) {
		const struct folder *f = run->folders[i];
		uint64_t numbers[] = { f->messages, f->imported, f->present, f->failed };
		char texts[4][24];
		for (int n = 0; n < 4; n++)
			snprintf(texts[n], sizeof(texts[n]), "%llu", (unsigned long long)numbers[n]);
		cli_table_add(t, (const char *[]){ f->name, texts[0], texts[1], texts[2], texts[3] });
	}
	cli_table_print(t);
}

static int report(struct run *run)
{
	uint64_t sums[4] = { 0 };

	for (size_t i = 0; i < run->count; i++) {
		sums[0] += run->folders[i]->messages;
		sums[1] += run->folders[i]->imported;
		sums[2] += run->folders[i]->present;
		sums[3] += run->folders[i]->failed;
	}
	clear_bar(run);
	if (run->cli->json)
		print_json(run, sums);
	else
		print_table(run);
	if (run->failed)
		return EXIT_USAGE;
	return run->problem_count > 0 || sums[3] > 0 ? EXIT_NO : EXIT_YES;
}

int import_run(struct cli *cli, struct import *import)
{
	static const struct chan_ops ops = { on_message, on_closed };
	struct run *run = xcalloc(1, sizeof(*run));
	struct error e = { "" };
	int channel, status;
	pid_t reader;

	*run = (struct run){ .cli = cli, .import = import, .problems = json_array(), .bar = !cli->json && isatty(2) };
	if (cli_session_open(cli, true, &run->session, &e) == -1)
		return cli_error("%s", e.text);
	run->begun = clock_mono_ms();
	if ((reader = import_start_reader(import, &channel)) == -1) {
		cli_session_close(&run->session);
		return EXIT_USAGE;
	}
	run->chan = chan_new(run->session.base, channel, &ops, run);
	while (!run->finished || (run->pending > 0 && !run->failed))
		if (event_base_loop(run->session.base, EVLOOP_ONCE) != 0)
			break;
	if (run->failed)
		kill(reader, SIGKILL);
	chan_free(run->chan);
	run->chan = NULL;
	waitpid(reader, NULL, 0);
	if (!run->failed && !import->options.dry_run)
		subscribe(run);
	status = report(run);
	cli_session_close(&run->session);
	json_decref(run->problems);
	return status;
}
