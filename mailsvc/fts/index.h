/*
 * One account's full-text index: which bodies hold which three bytes in a row, of their text as SEARCH TEXT folds it,
 * and how far each mailbox has been read.  It answers "these may hold it": whoever asks looks at the messages
 * themselves.
 *
 * An SQLite file, FTS5 without content and positions.  Texts go in as their distinct trigrams (fts_grams), so the size
 * of a message bounds nothing here: at most 2^24 trigrams.  A file that is broken, or of another version, is made anew,
 * empty.
 */
#ifndef MAILSVC_FTS_INDEX_H
#define MAILSVC_FTS_INDEX_H

#include "lib/buf.h"
#include "lib/log.h"

#define FTS_VERSION 1
#define FTS_NEEDLE_MIN 3           /* bytes */
#define FTS_QUERY_MS 500           /* a query that takes longer is given up */
#define FTS_CANDIDATES_MAX 1000000 /* more are no help: the caller scans */

/* The distinct trigrams of a text, gathered piece by piece. */
struct fts_grams {
	uint64_t *seen; /* a bit each */
	struct buf out; /* three bytes each, as the index takes them */
};
void fts_grams_init(struct fts_grams *);
void fts_grams_free(struct fts_grams *);
void fts_grams_reset(struct fts_grams *);
void fts_grams_add(struct fts_grams *, struct view text); /* a trigram does not span two pieces */

struct fts_index;
/* dir: STATE/fts, kept as it is.  NULL: it can be neither opened nor made. */
struct fts_index *fts_index_open(const char *dir, uint32_t account, struct error *);
void fts_index_close(struct fts_index *); /* commits; NULL is ignored */
void fts_index_remove(const char *dir, uint32_t account);

/* Each returns -1 when the file turns out broken: then close, remove and open it again. */
int fts_index_upto(struct fts_index *, uint32_t mailbox, uint32_t uid_validity, uint32_t *uid); /* 0: nothing yet */
int fts_index_has(struct fts_index *, uint64_t body);                                           /* 1, 0 */
/* Changes gather in one transaction until fts_index_commit. */
int fts_index_add(struct fts_index *, uint64_t body, struct view grams);
int fts_index_add_unread(struct fts_index *, uint64_t body); /* cannot be read: every query finds it */
int fts_index_set_upto(struct fts_index *, uint32_t mailbox, uint32_t uid_validity, uint32_t uid);
int fts_index_commit(struct fts_index *);
int fts_index_count(struct fts_index *, uint64_t *bodies); /* ever added */
/*
 * Appends the numbers (u64, rising) of bodies that may hold all needles (folded, FTS_NEEDLE_MIN bytes or more).
 * 1: too many, or it took too long.
 */
int fts_index_query(struct fts_index *, const struct view *needles, size_t count, struct buf *bodies);

#endif
