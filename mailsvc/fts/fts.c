/*
 * fts: the full-text index.  It reads the store as imap does, writes files in STATE/fts and nothing else, and answers
 * imap which bodies may hold a text.  It parses strangers' mail, so it has no sockets and no other files; what it says
 * is never more than a hint: imap looks at the messages themselves, and without an answer at all of them.
 */
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mailsvc/fts/internal.h"
#include "mailsvc/fts/proto.h"
#include "mailsvc/store/proto.h"

#define NICE 10
#define UNSENT_MAX (64u << 20)

struct asker { /* one channel to an imap process */
	LIST_ENTRY(asker) entry;
	struct fts *fts;
	enum role_id role;
	unsigned instance;
	struct chan *chan;
};

static struct fts *fts_of(struct role_ctx *ctx)
{
	struct fts *f = ctx->state;

	if (f != NULL)
		return f;
	f = ctx->state = xcalloc(1, sizeof(*f));
	f->ctx = ctx;
	LIST_INIT(&f->askers);
	LIST_INIT(&f->open);
	f->store = store_client_new(ctx->base);
	return f;
}

/* Answers
 * -------------------------------------------------------------------------------------------------------------- */

static bool query(struct fts *f, const struct fts_request *r, uint32_t *upto, struct buf *bodies)
{
	struct mailbox_row *row = xmalloc(sizeof(*row));
	struct fts_open *open;
	bool known = view_begin(f->view) == 0;
	int rc;

	if (known) {
		known = view_mailbox(f->view, r->mailbox, row) == 1 && row->account == r->account;
		view_end(f->view);
	}
	open = known ? fts_files_get(f, r->account, false) : NULL;
	known = open != NULL;
	if (known) {
		open->added = 0; /* asking commits */
		rc = fts_index_upto(open->index, r->mailbox, row->uid_validity, upto);
		if (*upto >= row->uid_next)
			*upto = 0; /* not made from this store */
		if (rc == 0 && *upto > 0)
			rc = fts_index_query(open->index, r->needles, r->count, bodies);
		known = rc == 0 && *upto > 0;
		if (rc < 0) {
			f->looking = false;
			fts_files_broken(f, open);
			fts_work_soon(f, 1000);
		}
	}
	free(row);
	return known;
}

static void answer(struct asker *a, uint32_t id, const struct fts_request *r)
{
	struct buf bodies = BUF_INIT(8 * FTS_CANDIDATES_MAX), payload = BUF_INIT(FTS_ANSWER_MAX),
		   data = BUF_INIT(IMSG_MAX);
	uint32_t upto = 0;
	bool known = query(a->fts, r, &upto, &bodies);
	int fd;

	a->fts->asked++;
	a->fts->answered += known;
	if (!known)
		buf_reset(&bodies);
	fts_answer_put(&payload, known, known ? upto : 0, buf_view(&bodies));
	if (proto_wrap(buf_view(&payload), &data, &fd) == 0)
		chan_send(a->chan, FTS_MESSAGE_ANSWER, id, buf_view(&data), fd);
	buf_free(&bodies);
	buf_free(&payload);
	buf_free(&data);
}

static void asker_free(struct asker *a)
{
	chan_free(a->chan);
	LIST_REMOVE(a, entry);
	free(a);
}

static void asker_kill(struct asker *a, const char *why)
{
	role_kill_peer(a->fts->ctx, a->role, a->instance, why);
	asker_free(a);
}

static void asker_message(struct chan *chan, struct imsg *m, void *arg)
{
	struct asker *a = arg;
	struct fts_request r;

	if (m->type != FTS_MESSAGE_QUERY || m->id == 0 || fts_request_get(m->data, &r) != 0) {
		log_warnx("event=peer peer=%s error=\"malformed request\"", role_name(a->role));
		asker_kill(a, "malformed request");
	} else if (chan_queued(chan) > UNSENT_MAX) {
		asker_kill(a, "it does not read its answers");
	} else {
		answer(a, m->id, &r);
	}
}

static void asker_closed(struct chan *chan, void *arg)
{
	if (chan_broken(chan))
		asker_kill(arg, "malformed message");
	else
		asker_free(arg);
}

static void add_asker(struct fts *f, enum role_id role, unsigned instance, int fd)
{
	static const struct chan_ops ops = { .message = asker_message, .closed = asker_closed };
	struct asker *a;

	LIST_FOREACH(a, &f->askers, entry)
	{
		if (a->role == role && a->instance == instance) {
			asker_free(a);
			break;
		}
	}
	a = xcalloc(1, sizeof(*a));
	*a = (struct asker){ .fts = f, .role = role, .instance = instance };
	a->chan = chan_new(f->ctx->base, fd, &ops, a);
	LIST_INSERT_HEAD(&f->askers, a, entry);
}

/* The role
 * ------------------------------------------------------------------------------------------------------------- */

static void role_peer(struct role_ctx *ctx, enum role_id role, unsigned instance, int fd)
{
	struct fts *f = fts_of(ctx);

	if (role == ROLE_STORE) {
		store_client_attach(f->store, fd);
		f->all = true; /* what an earlier one did not tell */
		if (f->work != NULL)
			fts_work_soon(f, 1000);
	} else if (role == ROLE_IMAP) {
		add_asker(f, role, instance, fd);
	} else {
		close(fd);
	}
}

static int role_init(struct role_ctx *ctx, struct error *e)
{
	struct fts *f = fts_of(ctx);

	mime_charsets_preload();
	umask(077);
	if (setpriority(PRIO_PROCESS, 0, NICE) != 0)
		log_warn("event=fts.nice");
	f->dir = xasprintf("/proc/self/fd/%d", ctx->fds[ROLE_FD_FTS_DIR]); /* our user may not walk there */
	f->view = store_view_open(ctx->fds[ROLE_FD_STORE_DIR], e);
	if (f->view == NULL)
		return -1;
	store_view_follow(f->view, f->store);
	fts_work_init(f);
	return 0;
}

static void role_sandbox(struct role_ctx *ctx, struct sandbox *sb)
{
	static const char *reads[2], *writes[2];

	reads[0] = site_state(ctx->site, "store");
	writes[0] = fts_of(ctx)->dir;
	sb->group = "mailadm-store";
	sb->may |= SANDBOX_MEMFD | SANDBOX_OPEN_READ | SANDBOX_OPEN_WRITE;
	sb->read_paths = reads;
	sb->write_paths = writes;
}

static void role_start(struct role_ctx *ctx)
{
	fts_work_soon(fts_of(ctx), 100);
}

/* Accounts may have come or gone. */
static void role_reload(struct role_ctx *ctx)
{
	struct fts *f = fts_of(ctx);

	f->all = true;
	f->removed_ms = 0;
	f->sweeps = FTS_SWEEPS;
	fts_work_soon(f, 1000);
}

static void role_drain(struct role_ctx *ctx)
{
	fts_files_close_all(fts_of(ctx));
	role_exit(ctx);
}

static void role_status(struct role_ctx *ctx, struct buf *json)
{
	const struct fts *f = fts_of(ctx);

	buf_printf(json, "\"indexed\": %llu, \"waiting\": %zu, \"asked\": %llu, \"answered\": %llu",
	    (unsigned long long)f->indexed, f->accounts.count + f->changed.count + f->all, (unsigned long long)f->asked,
	    (unsigned long long)f->answered);
}

const struct role role_fts = {
	.id = ROLE_FTS,
	.name = "fts",
	.user = "mailadm-fts",
	.init = role_init,
	.sandbox = role_sandbox,
	.start = role_start,
	.reload = role_reload,
	.peer = role_peer,
	.drain = role_drain,
	.status = role_status,
};
