/* What view.c and view_share.c share: a view's inside. */
#ifndef MAILSVC_STORE_VIEW_IMPL_H
#define MAILSVC_STORE_VIEW_IMPL_H

#include <sys/types.h>

#include "body.h"
#include "index.h"
#include "view.h"

#define BODIES_AHEAD 16

struct store_view {
	int dir, log_dir, readers; /* readers: index/readers (epoch.h) */
	struct index index;
	bool open;
	ino_t inode;
	struct tx tx;
	bool active; /* between begin and end */
	bool stale;  /* the store whose snapshot this is went away meanwhile */
	uint64_t until; /* clock_mono_ms: to when store surely keeps the snapshot; UINT64_MAX: to its process's end */
	struct store_client *client;
	const struct epoch_shared *shared;
	struct epoch_reader *page;
	int pending[2]; /* shared, own: pages that came during a snapshot or one by one */
	struct body_reader bodies;
	/* Bodies that are asked for in order are found some at a time, and their records are on their way into the cache. */
	MDB_cursor *body_cursor;
	uint64_t last_body; /* of this snapshot; 0: none */
	struct {
		uint64_t body;
		MDB_val value;
	} ahead[BODIES_AHEAD];
	unsigned ahead_at, ahead_count;
	uint64_t *checked; /* CHECKED_BODIES, by number: view_body_checked */
	uint64_t trim_at; /* ms: when to look for segments that compaction removed */
};

/*
 * Who noticed that the store is gone need not read on, and should not keep the next one waiting.  Nor may a command line
 * that stayed too long: store only closes its channel, and then writes into the pages that it would read.
 */
bool view_usable(struct store_view *);
/* A row of T_MESSAGE or T_EXPUNGED. false: too short. */
bool view_fill(struct message_row *, uint32_t uid, struct view value, uint32_t recent_uid);

#endif
