/*
 * The pages through which store and readers agree which snapshots are in use.  Store writes one page that every reader
 * maps read-only; each reader writes one page of its own, which store maps too.
 *
 * A reader announces the epoch it saw and looks again; when store has moved on meanwhile it starts over.  So (both
 * sides sequentially consistent) store either sees the announcement, or the reader sees the new epoch.  Store moves
 * the epoch on only when a newer snapshot is pinned, and lets go of the old pin once nobody announces its epoch.
 *
 * A store that died protects nobody.  So a reader holds a read lock on index/readers while its snapshot is open, and
 * then looks whether the number in that file is still the one on its store's page; a store that starts takes the write
 * lock, which waits for every open snapshot, and writes a number of its own before it changes a page.
 */
#ifndef MAILSVC_STORE_EPOCH_H
#define MAILSVC_STORE_EPOCH_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define EPOCH_PAGE 4096
#define READERS_MAX 64
#define EPOCHS_KEPT 64

struct epoch_shared {
	_Atomic uint64_t epoch;
	_Atomic uint64_t txn;   /* the newest LMDB transaction that is whole in the file */
	_Atomic uint64_t store; /* whose page this is: the number it wrote into index/readers */
};
struct epoch_reader {
	_Atomic uint64_t epoch; /* being read; 0: none */
};

/* The readers' pages, as store keeps them. */
struct readers {
	pthread_mutex_t lock;
	struct {
		struct epoch_reader *page; /* NULL: free */
	} at[READERS_MAX];
	uint64_t begun[EPOCHS_KEPT]; /* when (ms) the epoch of this number, modulo, began */
};
/* A page that others may map read-only: *fd to send (dup it), the mapping to write. NULL: errno. */
struct epoch_shared *epoch_shared_new(int *fd);
/*
 * For a store that starts: waits until no snapshot of a store before it is open, at most wait_ms (then it says so and
 * goes on), and makes the index this one's.  -1: errno.
 */
int epoch_claim(int index_dir, struct epoch_shared *, uint64_t wait_ms);
/* For a reader, with its own descriptor of index/readers: false when its store is not the one that runs. */
bool epoch_hold(int fd, const struct epoch_shared *);
void epoch_release(int fd);
/* A page for one reader. Returns its slot, or -1; *fd is to be sent. */
int readers_add(struct readers *, int *fd);
void readers_remove(struct readers *, int slot);
bool readers_any(struct readers *); /* has anybody a page? */
/* The oldest epoch that is announced, UINT64_MAX when none is. */
uint64_t readers_oldest(struct readers *);
void readers_epoch_begins(struct readers *, uint64_t epoch, uint64_t now_ms);
/* A slot that announces an epoch which ended more than ms ago; -1. */
int readers_laggard(struct readers *, uint64_t current, uint64_t now_ms, uint64_t ms);

#endif
