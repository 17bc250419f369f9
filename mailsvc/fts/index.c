/*
 * The index file.  Its tables: mailbox (how far it has been read), body (what is in), unread (which of those could not
 * be read: they may hold anything), and text, an FTS5 table whose rows are bodies.  Our tokenizer takes a text apart
 * into units of three bytes: documents come as their distinct trigrams, and a query as one unit each, joined by AND,
 * since without positions FTS5 knows no phrases.
 *
 * WAL and synchronous=NORMAL: a crash of the machine costs the newest transactions, never the file; each page carries a
 * checksum of ours (pages.c), so that a disk that lies makes an error and not a wrong answer.  The file has one user,
 * this process: no locks.
 */
#include "index.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/clock.h"
#include "pages.h"

#define FTS_TEXT2(x) #x
#define FTS_TEXT(x) FTS_TEXT2(x)
#define GRAM_BITS (1u << 24)
#define UNITS_MAX 24 /* of a needle that are asked for: a longer one is told by its beginning, middle and end */
#define STATEMENTS 8
#define GRAMS_KEEP (1u << 20) /* bytes of memory that stay for the next text */
#define LOOK_STEPS 1000       /* of SQLite's machine, between two looks at the clock */

struct fts_index {
	sqlite3 *db;
	sqlite3_stmt *statement[STATEMENTS];
	bool writing;       /* a transaction is open */
	uint64_t query_end; /* clock_mono_ms; 0: no query runs */
};

enum { GET_UPTO, SET_UPTO, HAS_BODY, ADD_BODY, ADD_TEXT, COUNT_BODIES, QUERY, ADD_UNREAD };
static const char *const sql[STATEMENTS] = {
	"SELECT uid FROM mailbox WHERE id = ?1 AND uid_validity = ?2",
	"INSERT OR REPLACE INTO mailbox(id, uid_validity, uid) VALUES(?1, ?2, ?3)",
	"SELECT 1 FROM body WHERE id = ?1",
	"INSERT INTO body(id) VALUES(?1)",
	"INSERT INTO text(rowid, grams) VALUES(?1, ?2)",
	"SELECT count(*) FROM body",
	"SELECT rowid FROM text WHERE text MATCH ?1 UNION SELECT id FROM unread ORDER BY 1",
	"INSERT OR IGNORE INTO unread(id) VALUES(?1)",
};

/* Trigrams -----------------------------------------------------------------------------------------------------------
 */

void fts_grams_init(struct fts_grams *g)
{
	g->seen = xcalloc(GRAM_BITS / 64, sizeof(*g->seen));
	g->out = BUF_INIT(3 * (size_t)GRAM_BITS);
}

void fts_grams_free(struct fts_grams *g)
{
	free(g->seen);
	buf_free(&g->out);
}

/* NUL would end a query: it counts as another byte, in texts and needles alike. */
static uint32_t gram_at(const char *p)
{
	uint32_t a = (unsigned char)p[0], b = (unsigned char)p[1], c = (unsigned char)p[2];

	return (a ? a : 1) << 16 | (b ? b : 1) << 8 | (c ? c : 1);
}

static void put_gram(uint32_t gram, char out[3])
{
	out[0] = (char)(gram >> 16);
	out[1] = (char)(gram >> 8);
	out[2] = (char)gram;
}

void fts_grams_reset(struct fts_grams *g)
{
	for (size_t i = 0; i + 3 <= g->out.len; i += 3)
		g->seen[gram_at(g->out.data + i) / 64] = 0;
	buf_reset(&g->out);
	if (g->out.cap > GRAMS_KEEP)
		buf_free(&g->out);
}

void fts_grams_add(struct fts_grams *g, struct view text)
{
	char bytes[3];

	for (size_t i = 0; i + 3 <= text.len; i++) {
		uint32_t gram = gram_at(text.ptr + i);

		if (g->seen[gram / 64] >> (gram % 64) & 1)
			continue;
		g->seen[gram / 64] |= (uint64_t)1 << (gram % 64);
		put_gram(gram, bytes);
		buf_add(&g->out, bytes, sizeof(bytes));
	}
}

/* The tokenizer -------------------------------------------------------------------------------------------------------
 */

static int units_create(void *context, const char **args, int count, Fts5Tokenizer **out)
{
	static char nothing;

	(void)context, (void)args, (void)count;
	*out = (Fts5Tokenizer *)(void *)&nothing;
	return SQLITE_OK;
}

static void units_delete(Fts5Tokenizer *t)
{
	(void)t;
}

static int units_split(Fts5Tokenizer *t, void *context, int flags, const char *text, int len,
    int (*token)(void *, int, const char *, int, int, int))
{
	int rc = SQLITE_OK;

	(void)t, (void)flags;
	for (int i = 0; rc == SQLITE_OK && i + 3 <= len; i += 3)
		rc = token(context, 0, text + i, 3, i, i + 3);
	return rc;
}

static int add_tokenizer(sqlite3 *db)
{
	static fts5_tokenizer units = { units_create, units_delete, units_split };
	sqlite3_stmt *s = NULL;
	fts5_api *api = NULL;
	int rc = sqlite3_prepare_v2(db, "SELECT fts5(?1)", -1, &s, NULL);

	if (rc == SQLITE_OK) {
		sqlite3_bind_pointer(s, 1, (void *)&api, "fts5_api_ptr", NULL);
		sqlite3_step(s);
	}
	sqlite3_finalize(s);
	return api != NULL ? api->xCreateTokenizer(api, "units", NULL, &units, NULL) : SQLITE_ERROR;
}

/* The file ------------------------------------------------------------------------------------------------------------
 */

static void file_name(char *out, size_t size, const char *dir, uint32_t account, const char *more)
{
	snprintf(out, size, "%s/%u.fts%s", dir, account, more);
}

void fts_index_remove(const char *dir, uint32_t account)
{
	static const char *const parts[] = { "", "-wal", "-shm", "-journal" };
	char path[4096];

	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		file_name(path, sizeof(path), dir, account, parts[i]);
		unlink(path);
	}
}

static int run(sqlite3 *db, const char *text)
{
	return sqlite3_exec(db, text, NULL, NULL, NULL);
}

static int version_of(sqlite3 *db)
{
	sqlite3_stmt *s = NULL;
	int version = -1;

	if (sqlite3_prepare_v2(db, "PRAGMA user_version", -1, &s, NULL) == SQLITE_OK && sqlite3_step(s) == SQLITE_ROW)
		version = sqlite3_column_int(s, 0);
	sqlite3_finalize(s);
	return version;
}

static int make_tables(sqlite3 *db)
{
	static const char *const steps[] = {
		"BEGIN",
		"CREATE TABLE mailbox(id INTEGER PRIMARY KEY, uid_validity INTEGER, uid INTEGER)",
		"CREATE TABLE body(id INTEGER PRIMARY KEY)",
		"CREATE TABLE unread(id INTEGER PRIMARY KEY)",
		"CREATE VIRTUAL TABLE text USING fts5(grams, content='', detail=none, columnsize=0, tokenize='units')",
		"INSERT INTO text(text, rank) VALUES('hashsize', 8388608)",
		("PRAGMA user_version=" FTS_TEXT(FTS_VERSION)),
		"COMMIT",
	};

	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++)
		if (run(db, steps[i]) != SQLITE_OK)
			return -1;
	return 0;
}

static int on_progress(void *arg)
{
	const struct fts_index *x = arg;

	return x->query_end != 0 && clock_mono_ms() >= x->query_end;
}

/* 0: it is usable; -1: it is not, and why is in e. */
static int open_file(struct fts_index *x, const char *path, struct error *e)
{
	if (fts_pages_register() != 0 ||
	    sqlite3_open_v2(path, &x->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX,
		FTS_PAGES_VFS) != SQLITE_OK ||
	    fts_pages_reserve(x->db) != 0 || run(x->db, "PRAGMA page_size=4096") != SQLITE_OK ||
	    run(x->db, "PRAGMA locking_mode=EXCLUSIVE") != SQLITE_OK || run(x->db, "PRAGMA mmap_size=0") != SQLITE_OK ||
	    run(x->db, "PRAGMA temp_store=MEMORY") != SQLITE_OK ||
	    run(x->db, "PRAGMA cache_size=-2048") != SQLITE_OK || run(x->db, "PRAGMA journal_mode=WAL") != SQLITE_OK ||
	    run(x->db, "PRAGMA synchronous=NORMAL") != SQLITE_OK || add_tokenizer(x->db) != SQLITE_OK)
		goto bad;
	if (version_of(x->db) == 0 && make_tables(x->db) != 0)
		goto bad;
	if (version_of(x->db) != FTS_VERSION)
		return error_set(e, "%s: version %d is not known", path, version_of(x->db));
	for (int i = 0; i < STATEMENTS; i++)
		if (sqlite3_prepare_v3(x->db, sql[i], -1, SQLITE_PREPARE_PERSISTENT, &x->statement[i], NULL) !=
		    SQLITE_OK)
			goto bad;
	sqlite3_progress_handler(x->db, LOOK_STEPS, on_progress, x);
	return 0;
bad:
	return error_set(e, "%s: %s", path, x->db != NULL ? sqlite3_errmsg(x->db) : "out of memory");
}

static void close_file(struct fts_index *x)
{
	for (int i = 0; i < STATEMENTS; i++)
		sqlite3_finalize(x->statement[i]);
	sqlite3_close(x->db);
	memset(x, 0, sizeof(*x));
}

struct fts_index *fts_index_open(const char *dir, uint32_t account, struct error *e)
{
	struct fts_index *x = xcalloc(1, sizeof(*x));
	char path[4096];

	file_name(path, sizeof(path), dir, account, "");
	if (open_file(x, path, e) == 0)
		return x;
	close_file(x);
	log_warnx("event=fts.anew account=%u reason=\"%s\"", account, e->text);
	fts_index_remove(dir, account);
	if (open_file(x, path, e) == 0)
		return x;
	close_file(x);
	free(x);
	return NULL;
}

void fts_index_close(struct fts_index *x)
{
	if (x == NULL)
		return;
	fts_index_commit(x);
	close_file(x);
	free(x);
}

/* Statements ----------------------------------------------------------------------------------------------------------
 */

/* The statement, ready to be bound; results are read before the next use. */
static sqlite3_stmt *use(struct fts_index *x, int which)
{
	sqlite3_reset(x->statement[which]);
	return x->statement[which];
}

/* 1: a row; 0: none (any more); -1. */
static int step(sqlite3_stmt *s)
{
	int rc = sqlite3_step(s);

	return rc == SQLITE_ROW ? 1 : rc == SQLITE_DONE ? 0 : -1;
}

static int begin(struct fts_index *x)
{
	if (x->writing)
		return 0;
	if (run(x->db, "BEGIN") != SQLITE_OK)
		return -1;
	x->writing = true;
	return 0;
}

int fts_index_commit(struct fts_index *x)
{
	if (!x->writing)
		return 0;
	x->writing = false;
	for (int i = 0; i < STATEMENTS; i++)
		sqlite3_reset(x->statement[i]);
	return run(x->db, "COMMIT") == SQLITE_OK ? 0 : -1;
}

int fts_index_upto(struct fts_index *x, uint32_t mailbox, uint32_t uid_validity, uint32_t *uid)
{
	sqlite3_stmt *s = use(x, GET_UPTO);
	int found;

	sqlite3_bind_int64(s, 1, mailbox);
	sqlite3_bind_int64(s, 2, uid_validity);
	found = step(s);
	*uid = found == 1 ? (uint32_t)sqlite3_column_int64(s, 0) : 0;
	sqlite3_reset(s);
	return found < 0 ? -1 : 0;
}

int fts_index_set_upto(struct fts_index *x, uint32_t mailbox, uint32_t uid_validity, uint32_t uid)
{
	sqlite3_stmt *s = use(x, SET_UPTO);
	int rc;

	if (begin(x) != 0)
		return -1;
	sqlite3_bind_int64(s, 1, mailbox);
	sqlite3_bind_int64(s, 2, uid_validity);
	sqlite3_bind_int64(s, 3, uid);
	rc = step(s);
	sqlite3_reset(s);
	return rc;
}

int fts_index_has(struct fts_index *x, uint64_t body)
{
	sqlite3_stmt *s = use(x, HAS_BODY);
	int found;

	sqlite3_bind_int64(s, 1, (sqlite3_int64)body);
	found = step(s);
	sqlite3_reset(s);
	return found;
}

static int add_number(struct fts_index *x, int which, uint64_t body)
{
	sqlite3_stmt *s = use(x, which);
	int rc;

	sqlite3_bind_int64(s, 1, (sqlite3_int64)body);
	rc = step(s);
	sqlite3_reset(s);
	return rc;
}

int fts_index_add_unread(struct fts_index *x, uint64_t body)
{
	return begin(x) != 0 || add_number(x, ADD_UNREAD, body) != 0 ? -1 : add_number(x, ADD_BODY, body);
}

int fts_index_add(struct fts_index *x, uint64_t body, struct view grams)
{
	sqlite3_stmt *s = use(x, ADD_TEXT);
	int rc;

	if (begin(x) != 0)
		return -1;
	sqlite3_bind_int64(s, 1, (sqlite3_int64)body);
	sqlite3_bind_text(s, 2, grams.ptr != NULL ? grams.ptr : "", (int)grams.len, SQLITE_STATIC);
	rc = step(s);
	sqlite3_clear_bindings(s);
	sqlite3_reset(s);
	return rc < 0 ? -1 : add_number(x, ADD_BODY, body);
}

int fts_index_count(struct fts_index *x, uint64_t *bodies)
{
	sqlite3_stmt *s = use(x, COUNT_BODIES);
	int found = step(s);

	*bodies = found == 1 ? (uint64_t)sqlite3_column_int64(s, 0) : 0;
	sqlite3_reset(s);
	return found == 1 ? 0 : -1;
}

/* "abc" AND "bcd"; of a long needle UNITS_MAX of them, evenly. */
static void put_needle(struct buf *out, struct view needle)
{
	size_t all = needle.len - 2, units = all < UNITS_MAX ? all : UNITS_MAX;
	char bytes[3];

	for (size_t i = 0; i < units; i++) {
		put_gram(gram_at(needle.ptr + (units == 1 ? 0 : i * (all - 1) / (units - 1))), bytes);
		buf_puts(out, out->len > 0 ? " AND \"" : "\"");
		for (size_t k = 0; k < sizeof(bytes); k++) {
			if (bytes[k] == '"')
				buf_addc(out, '"');
			buf_addc(out, bytes[k]);
		}
		buf_addc(out, '"');
	}
}

int fts_index_query(struct fts_index *x, const struct view *needles, size_t count, struct buf *bodies)
{
	struct buf match = BUF_INIT(256 * 1024);
	sqlite3_stmt *s;
	size_t found = 0;
	int rc;

	if (fts_index_commit(x) != 0)
		return -1;
	for (size_t i = 0; i < count; i++)
		put_needle(&match, needles[i]);
	s = use(x, QUERY);
	x->query_end = clock_mono_ms() + FTS_QUERY_MS;
	sqlite3_bind_text(s, 1, match.data, (int)match.len, SQLITE_STATIC);
	while ((rc = step(s)) == 1 && found++ < FTS_CANDIDATES_MAX)
		buf_put_u64(bodies, (uint64_t)sqlite3_column_int64(s, 0));
	if (rc < 0 && sqlite3_errcode(x->db) == SQLITE_INTERRUPT)
		rc = 1;
	x->query_end = 0;
	sqlite3_reset(s);
	sqlite3_clear_bindings(s);
	buf_free(&match);
	return rc;
}
