/*
 * The full-text index: for random messages and needles the answer with the index is the answer without; files that are
 * damaged in any place make no wrong answer; messages between fts and imap.
 */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "mailsvc/fts/index.h"
#include "mailsvc/fts/proto.h"
#include "mailsvc/imap/search.h"

static char dir[] = "/tmp/mailadm-test-fts-XXXXXX";
static const char *text; /* of the message that is open */
static const char prefix[] = "Return-Path: <ab@ba>\r\nDelivered-To: bab@x\r\n";
static bool with_prefix;

static int read_memory(void *arg, uint64_t offset, void *dst, size_t length)
{
	(void)arg;
	memcpy(dst, text + offset, length);
	return 0;
}

static int open_message(struct search_message *m)
{
	m->source = (struct fetch_source){ .length = strlen(text), .read = read_memory };
	if (with_prefix)
		m->source.prefix = VIEW_LIT(prefix);
	return 0;
}

static unsigned pick(unsigned *seed, unsigned n)
{
	return (unsigned)rand_r(seed) % n;
}

/* Words of few letters, so that needles hit, with what folding and quoting make interesting. */
static void put_words(struct buf *out, unsigned *seed, unsigned count)
{
	static const char *const pieces[] = { "ab", "BA", "aba", "bab", "\xc3\xa4", "\xc3\x84", "\xc3\x9f", "ss", "\"",
		"a\"b", " ", "\xef\xac\x81", "fi", "\xe6\x97\xa5\xe6\x9c\xac", "1", "22", "-", "b\xcc\x88", "A", "b" };

	while (count-- > 0)
		buf_puts(out, pieces[pick(seed, sizeof(pieces) / sizeof(pieces[0]))]);
}

static void make_message(struct buf *out, unsigned *seed)
{
	bool multi = pick(seed, 3) == 0;

	buf_reset(out);
	buf_puts(out, "Subject: ");
	put_words(out, seed, pick(seed, 6));
	buf_puts(out, "\r\nFrom: =?utf-8?q?=C3=A4b?= <a@b>\r\nContent-Type: ");
	buf_puts(out, multi ? "multipart/mixed; boundary=q\r\n\r\n--q\r\n" : "text/plain; charset=utf-8\r\n\r\n");
	if (multi)
		buf_puts(out, pick(seed, 2) ? "Content-Type: text/html; charset=utf-8\r\n\r\n<p>"
					    : "Content-Type: message/rfc822\r\n\r\nSubject: inner ab\r\n\r\n");
	put_words(out, seed, pick(seed, 30));
	if (multi) {
		buf_puts(out, "\r\n--q\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n");
		put_words(out, seed, pick(seed, 30));
		buf_puts(out, "\r\n--q--\r\n");
	}
}

#define MESSAGES 60

static void index_messages(struct fts_index *x, char *const *messages)
{
	struct search_message m;
	struct fts_grams grams;
	struct view piece;

	fts_grams_init(&grams);
	search_message_init(&m, open_message, NULL);
	with_prefix = false;
	for (uint64_t i = 0; i < MESSAGES; i++) {
		const struct message_row row = { .uid = (uint32_t)i + 1, .body = i * 3 + 7 };
		int more;

		text = messages[i];
		search_message_reset(&m, &row, false);
		fts_grams_reset(&grams);
		while ((more = search_message_next_text(&m, &piece)) == 1)
			fts_grams_add(&grams, piece);
		assert_int_equal(more, 0);
		assert_int_equal(fts_index_has(x, row.body), 0);
		assert_int_equal(fts_index_add(x, row.body, buf_view(&grams.out)), 0);
		assert_int_equal(fts_index_has(x, row.body), 1);
	}
	assert_int_equal(fts_index_set_upto(x, 1, 9, MESSAGES), 0);
	search_message_free(&m);
	fts_grams_free(&grams);
}

/* As search.c does it with an answer of fts. */
static void ask(struct fts_index *x, struct search_program *g, size_t *candidates)
{
	for (uint32_t i = 0; i < g->count; i++) {
		struct search_key *k = &g->keys[i];
		struct view needle = buf_view(&k->text);
		struct buf bodies = { .max = 1 << 20 };

		if (!search_key_indexable(k))
			continue;
		assert_int_equal(fts_index_query(x, &needle, 1, &bodies), 0);
		k->indexed = true;
		k->upto = MESSAGES - 10; /* the last ones are not known */
		k->body_count = bodies.len / 8;
		k->bodies = xreallocarray(NULL, k->body_count + 1, sizeof(*k->bodies));
		for (size_t b = 0; b < k->body_count; b++)
			memcpy(&k->bodies[b], bodies.data + 8 * b, 8);
		*candidates += k->body_count;
		buf_free(&bodies);
	}
}

static bool matches(const struct search_program *g, struct search_message *m)
{
	enum search_answer a;

	while ((a = search_match(g, m)) == SEARCH_LATER)
		search_look(g, m);
	return a == SEARCH_YES;
}

static bool parse(const char *keys, struct search_program *g)
{
	static struct imap_session session;
	static struct imap_mailbox mailbox;
	char *copy = xasprintf(" %s", keys);
	struct imap_parser p = imap_parser_of(copy, strlen(copy));
	bool taken;

	session.mailbox = &mailbox;
	taken = search_parse(&session, &p, g);
	free(copy);
	return taken;
}

static void compare(struct fts_index *x, char *const *messages, const char *keys, size_t *hits, size_t *candidates)
{
	struct search_program plain, indexed;
	struct search_message m;

	if (!parse(keys, &plain) || !parse(keys, &indexed))
		fail_msg("refused: %s", keys);
	ask(x, &indexed, candidates);
	search_message_init(&m, open_message, NULL);
	with_prefix = true;
	for (uint64_t i = 0; i < MESSAGES; i++) {
		const struct message_row row = {
			.uid = (uint32_t)i + 1, .body = i * 3 + 7, .prefix = VIEW_LIT(prefix)
		};
		bool want, got;

		text = messages[i];
		search_message_reset(&m, &row, false);
		want = matches(&plain, &m);
		search_message_reset(&m, &row, false);
		got = matches(&indexed, &m);
		*hits += want;
		if (got != want)
			fail_msg("%s: the index says %d, the message %d:\n%s", keys, got, want, messages[i]);
	}
	search_message_free(&m);
	search_free(&plain);
	search_free(&indexed);
}

static void put_keys(struct buf *out, unsigned *seed)
{
	static const char *const forms[] = { "TEXT %s", "BODY %s", "NOT TEXT %s", "OR BODY %s TEXT bab",
		"TEXT aba BODY %s" };
	struct buf needle = { .max = 4096 };
	char *literal;

	put_words(&needle, seed, 1 + pick(seed, 4));
	literal = xasprintf("{%zu}\r\n%s", needle.len, buf_str(&needle));
	buf_reset(out);
	/* One form, one string: the compiler cannot see that there is exactly one %s in each. */
	for (const char *f = forms[pick(seed, sizeof(forms) / sizeof(forms[0]))]; *f; f++) {
		if (*f == '%')
			buf_puts(out, literal), f++;
		else
			buf_addc(out, *f);
	}
	free(literal);
	buf_free(&needle);
}

static void finds_what_a_scan_finds(void **state)
{
	const char *given = getenv("SEED");
	unsigned seed = given ? (unsigned)strtoul(given, NULL, 10) : (unsigned)getpid();
	struct buf b = { .max = 1 << 20 };
	size_t hits = 0, candidates = 0;
	struct error e;

	(void)state;
	print_message("# SEED=%u\n", seed);
	for (int round = 0; round < 8; round++) {
		struct fts_index *x = fts_index_open(dir, 1, &e);
		char *messages[MESSAGES];

		if (x == NULL)
			fail_msg("%s", e.text);
		for (size_t i = 0; i < MESSAGES; i++) {
			make_message(&b, &seed);
			messages[i] = xstrdup(buf_str(&b));
		}
		index_messages(x, messages);
		for (int i = 0; i < 60; i++) {
			if (i == 30) { /* from the disk too */
				fts_index_close(x);
				x = fts_index_open(dir, 1, &e);
			}
			put_keys(&b, &seed);
			compare(x, messages, buf_str(&b), &hits, &candidates);
		}
		compare(x, messages, "TEXT return-path", &hits, &candidates); /* in the prefix alone */
		compare(x, messages, "TEXT \"<ab@\"", &hits, &candidates);
		compare(x, messages, "TEXT {6}\r\nab\r\nba", &hits, &candidates); /* a line end is a blank */
		compare(x, messages, "TEXT {6}\r\n\xe6\x97\xa5\xe6\x9c\xac", &hits, &candidates);
		fts_index_close(x);
		fts_index_remove(dir, 1);
		for (size_t i = 0; i < MESSAGES; i++)
			free(messages[i]);
	}
	assert_true(hits > 1000 && candidates > 1000);
	buf_free(&b);
}

static void fill(struct fts_index *x, unsigned count)
{
	struct fts_grams grams;

	fts_grams_init(&grams);
	for (unsigned i = 1; i <= count; i++) {
		char *t = xasprintf("needle%u and more words to fill a page or two %u", i % 50, i * 7919);

		fts_grams_reset(&grams);
		fts_grams_add(&grams, view_of(t));
		assert_int_equal(fts_index_add(x, i, buf_view(&grams.out)), 0);
		free(t);
	}
	fts_index_set_upto(x, 3, 4, count);
	fts_grams_free(&grams);
}

static size_t find(struct fts_index *x, const char *needle)
{
	struct buf bodies = { .max = 1 << 20 };
	struct view v = view_of(needle);
	size_t found = fts_index_query(x, &v, 1, &bodies) == 0 ? bodies.len / 8 : SIZE_MAX;

	buf_free(&bodies);
	return found;
}

/* Either an error, or an empty index made anew, or all that was there: never less. */
static void damage_is_noticed(void **state)
{
	char *path = xasprintf("%s/2.fts", dir);
	unsigned seed = 5;
	size_t noticed = 0;
	struct error e;

	(void)state;
	for (int round = 0; round < 60; round++) {
		struct fts_index *x = fts_index_open(dir, 2, &e);
		struct stat st;
		uint32_t upto;
		size_t found;
		int fd, rc;

		fill(x, 400);
		fts_index_close(x);
		fd = open(path, O_RDWR);
		assert_int_equal(fstat(fd, &st), 0);
		if (round % 3 == 0) {
			assert_int_equal(ftruncate(fd, (off_t)pick(&seed, (unsigned)st.st_size)), 0);
		} else {
			off_t at = (off_t)pick(&seed, (unsigned)st.st_size - 8);
			char bytes[8];

			assert_int_equal(pread(fd, bytes, sizeof(bytes), at), sizeof(bytes));
			bytes[0] = (char)(bytes[0] ^ 1 << pick(&seed, 8));
			if (round % 3 == 2)
				memset(bytes, 0, sizeof(bytes));
			assert_int_equal(pwrite(fd, bytes, sizeof(bytes), at), sizeof(bytes));
		}
		close(fd);
		x = fts_index_open(dir, 2, &e);
		assert_non_null(x);
		rc = fts_index_upto(x, 3, 4, &upto);
		found = rc == 0 && upto == 400 ? find(x, "needle7") : SIZE_MAX;
		noticed += found == SIZE_MAX;
		if (found != SIZE_MAX && found < 8)
			fail_msg("round %d: %zu found of 8", round, found);
		fts_index_close(x);
		fts_index_remove(dir, 2);
	}
	if (noticed < 10)
		fail_msg("damage was noticed %zu times only", noticed);
	free(path);
}

static void keeps_its_marks(void **state)
{
	struct fts_index *x;
	struct error e;
	uint32_t upto;
	uint64_t count;

	(void)state;
	x = fts_index_open(dir, 3, &e);
	fill(x, 100);
	assert_int_equal(fts_index_add_unread(x, 1000), 0);
	assert_int_equal(find(x, "needle7"), 3); /* 7, 57 and what cannot be read */
	assert_int_equal(find(x, "nothing at all"), 1);
	assert_int_equal(fts_index_has(x, 1000), 1);
	assert_int_equal(fts_index_count(x, &count), 0);
	assert_int_equal(count, 101);
	assert_int_equal(fts_index_upto(x, 3, 4, &upto), 0);
	assert_int_equal(upto, 100);
	assert_int_equal(fts_index_upto(x, 3, 5, &upto), 0); /* another UIDVALIDITY */
	assert_int_equal(upto, 0);
	fts_index_close(x);
	fts_index_remove(dir, 3);
	x = fts_index_open(dir, 3, &e);
	assert_int_equal(fts_index_count(x, &count), 0);
	assert_int_equal(count, 0);
	fts_index_close(x);
	fts_index_remove(dir, 3);
}

static void speaks(void **state)
{
	const struct fts_request r = {
		.account = 4, .mailbox = 5, .count = 2, .needles = { VIEW_LIT("abc"), VIEW_LIT("d\0e!") }
	};
	const uint64_t numbers[] = { 1, 5, UINT64_MAX };
	struct buf b = { .max = 4096 }, bodies = { .max = 4096 };
	struct fts_request got;
	struct fts_answer a;
	uint64_t *kept;

	(void)state;
	fts_request_put(&b, &r);
	assert_int_equal(fts_request_get(buf_view(&b), &got), 0);
	assert_int_equal(got.account, 4);
	assert_int_equal(got.mailbox, 5);
	assert_int_equal(got.count, 2);
	assert_memory_equal(got.needles[1].ptr, "d\0e!", 4);
	for (size_t cut = 0; cut < b.len; cut++)
		assert_int_equal(fts_request_get((struct view){ b.data, cut }, &got), -1);
	buf_reset(&b);
	for (size_t i = 0; i < 3; i++)
		buf_put_u64(&bodies, numbers[i]);
	fts_answer_put(&b, true, 77, buf_view(&bodies));
	assert_int_equal(fts_answer_get(buf_view(&b), &a, &kept), 0);
	assert_true(a.known && a.uid_upto == 77 && a.count == 3 && a.bodies[2] == UINT64_MAX);
	free(kept);
	for (size_t cut = 0; cut < b.len; cut++)
		assert_int_equal(fts_answer_get((struct view){ b.data, cut }, &a, &kept), -1);
	memset(b.data + 9, 0xff, 8); /* not rising */
	assert_int_equal(fts_answer_get(buf_view(&b), &a, &kept), -1);
	buf_free(&b);
	buf_free(&bodies);
}

static int set_up(void **state)
{
	(void)state;
	return mkdtemp(dir) == NULL;
}

static int tear_down(void **state)
{
	(void)state;
	return rmdir(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(finds_what_a_scan_finds),
		cmocka_unit_test(damage_is_noticed),
		cmocka_unit_test(keeps_its_marks),
		cmocka_unit_test(speaks),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
