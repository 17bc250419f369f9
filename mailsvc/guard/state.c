/* state.h.  The parser takes nothing for granted: guard's user can write this file, and root reads it. */
#include "mailsvc/guard/state.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define STATE_NEW STATE_FILE ".new"
#define STATE_BAD STATE_FILE ".bad"
#define HEADER "mailadm bans 1"

static void print_one(const struct jail_ban *b, void *arg)
{
	struct buf *out = ((void **)arg)[0];
	size_t *count = ((void **)arg)[1];
	char who[GUARD_SOURCE_TEXT];

	guard_source_text(&b->who, who);
	buf_printf(out, "%s %" PRId64 " %" PRId64 " %u %s\n", who, b->since, b->until, b->times, b->why);
	++*count;
}

void state_print(const struct jail *j, bool past, int64_t now, struct buf *out)
{
	size_t count = 0;
	void *arg[] = { out, &count };

	buf_puts(out, HEADER "\n");
	jail_each(j, past, now, print_one, arg);
	buf_printf(out, "end %zu\n", count);
}

/* The next line without its newline; false at the end, or when the last one has none. */
static bool next_line(struct view *text, struct view *line)
{
	const char *end = text->len > 0 ? memchr(text->ptr, '\n', text->len) : NULL;

	if (end == NULL)
		return false;
	*line = (struct view){ text->ptr, (size_t)(end - text->ptr) };
	text->len -= line->len + 1;
	text->ptr = end + 1;
	return true;
}

/* The next word, up to one space. */
static struct view word(struct view *line)
{
	const char *space = line->len > 0 ? memchr(line->ptr, ' ', line->len) : NULL;
	struct view w = { line->ptr, space != NULL ? (size_t)(space - line->ptr) : line->len };

	line->ptr += w.len + (space != NULL);
	line->len -= w.len + (space != NULL);
	return w;
}

static const char *parse_ban(struct view line, struct jail_ban *b)
{
	static const uint64_t end_of_time = 1ull << 40;
	char who[GUARD_SOURCE_TEXT], again[GUARD_SOURCE_TEXT];
	uint64_t since, until, times;

	if (view_copy(word(&line), who, sizeof(who)) < 0 || guard_source_parse(who, &b->who) < 0 || b->who.family == 0)
		return "it does not begin with an address";
	guard_source_text(&b->who, again);
	if (strcmp(who, again) != 0)
		return "the address is not as it is written here";
	if (view_u64(word(&line), end_of_time, &since) < 0 || view_u64(word(&line), end_of_time, &until) < 0)
		return "it has no two times";
	if (until < since || until - since > JAIL_LONGEST)
		return "it ends before it begins, or after more than a year";
	if (view_u64(word(&line), JAIL_TIMES_MAX, &times) < 0 || times == 0)
		return "it does not say how often";
	if (view_copy(line, b->why, sizeof(b->why)) < 0 || !jail_why_good(b->why))
		return "it does not say why, in one short printable line";
	b->since = (int64_t)since;
	b->until = (int64_t)until;
	b->times = (uint32_t)times;
	return NULL;
}

int state_parse(struct view text, state_fn fn, void *arg, struct error *e)
{
	struct view line, rest;
	struct jail_ban b;
	const char *wrong;
	uint64_t count;
	size_t n = 0;

	if (!next_line(&text, &line) || !view_eq(line, HEADER))
		return error_set(
		    e, "1: it does not begin with \"" HEADER "\": not a file of bans, or one of another version");
	while (next_line(&text, &line)) {
		rest = line;
		if (view_eq(word(&rest), "end")) {
			if (view_u64(rest, STATE_BANS_MAX, &count) < 0 || count != n || text.len > 0)
				return error_set(e, "%zu: \"end\" does not count the %zu lines before it", n + 2, n);
			return 0;
		}
		wrong = n < STATE_BANS_MAX ? parse_ban(line, &b) : "there are too many";
		if (wrong == NULL)
			wrong = fn(&b, arg);
		if (wrong != NULL)
			return error_set(e, "%zu: %s", n + 2, wrong);
		n++;
	}
	return error_set(e, "%zu: it has no line \"end\": it is torn", n + 2);
}

/* Files ----------------------------------------------------------------------------------------------------------- */

struct loading {
	struct jail *jail;
	int64_t now;
};

static const char *load_one(const struct jail_ban *b, void *arg)
{
	struct loading *l = arg;

	return jail_put(l->jail, b, l->now) < 0 ? "the address is there twice, or there are too many" : NULL;
}

static int read_all(int fd, struct buf *out, struct error *e)
{
	struct stat st;
	ssize_t n;

	if (fstat(fd, &st) < 0)
		return error_errno(e, " cannot look at it");
	if (!S_ISREG(st.st_mode))
		return error_set(e, " it is no file");
	if ((uint64_t)st.st_size > STATE_TEXT_MAX)
		return error_set(e, " it has more than %u bytes", STATE_TEXT_MAX);
	for (;;) {
		char *room = buf_reserve(out, 65536);

		if (room == NULL)
			return error_set(e, " it has more than %u bytes", STATE_TEXT_MAX);
		n = read(fd, room, 65536);
		if (n < 0 && errno != EINTR)
			return error_errno(e, " cannot read it");
		if (n == 0)
			return 0;
		if (n > 0)
			out->len += (size_t)n;
	}
}

static void forget_one(const struct jail_ban *b, void *arg)
{
	struct buf *list = arg;

	guard_source_put(list, &b->who);
}

/* Takes out again what was loaded before the line that is wrong. */
static void empty(struct jail *j, int64_t now)
{
	struct buf all = BUF_INIT(STATE_TEXT_MAX);
	struct cursor c;
	struct guard_source who;

	jail_each(j, true, now, forget_one, &all);
	c = cursor_of(all.data, all.len);
	while (c.left > 0 && guard_source_get(&c, &who) == 0)
		jail_unban(j, &who, now);
	buf_free(&all);
}

int guard_state_load(int dir, struct jail *j, int64_t now, struct error *e)
{
	struct buf text = BUF_INIT(STATE_TEXT_MAX + 65536);
	struct loading l = { j, now };
	struct error why;
	int fd = openat(dir, STATE_FILE, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK), r = 0;

	if (fd < 0 && errno == ENOENT)
		return 0;
	if (fd < 0 && errno != ELOOP)
		return error_errno(e, STATE_FOLDER "/" STATE_FILE);
	if (fd < 0)
		r = error_set(&why, " it is a symbolic link");
	else if (read_all(fd, &text, &why) < 0 || state_parse(buf_view(&text), load_one, &l, &why) < 0)
		r = -1;
	if (fd >= 0)
		close(fd);
	buf_free(&text);
	if (r == 0)
		return 0;
	empty(j, now);
	if (renameat(dir, STATE_FILE, dir, STATE_BAD) < 0)
		return error_errno(e, STATE_FOLDER "/" STATE_FILE ":%s; it cannot be put aside either", why.text);
	error_set(e,
	    STATE_FOLDER "/" STATE_FILE ":%s; it is now " STATE_FOLDER "/" STATE_BAD ", and there are no bans from it",
	    why.text);
	return 1;
}

static int write_new(int dir, struct view text, struct error *e)
{
	struct stat owner;
	int fd, r = 0;

	unlinkat(dir, STATE_NEW, 0); /* of one that was killed */
	fd = openat(dir, STATE_NEW, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return error_errno(e, STATE_FOLDER "/" STATE_NEW);
	/* The command line, as root, writes for guard. */
	if (geteuid() == 0 && (fstat(dir, &owner) < 0 || fchown(fd, owner.st_uid, owner.st_gid) < 0))
		r = -1;
	while (r == 0 && text.len > 0) {
		ssize_t n = write(fd, text.ptr, text.len);

		if (n < 0 && errno != EINTR)
			r = -1;
		if (n > 0) {
			text.ptr += n;
			text.len -= (size_t)n;
		}
	}
	if (r < 0 || fsync(fd) < 0)
		r = error_errno(e, STATE_FOLDER "/" STATE_NEW ": cannot write");
	close(fd);
	return r;
}

int guard_state_save(int dir, const struct jail *j, int64_t now, struct error *e)
{
	struct buf text = BUF_INIT(STATE_TEXT_MAX);
	int r = -1;

	state_print(j, true, now, &text);
	if (text.full)
		error_set(e, STATE_FOLDER "/" STATE_FILE ": more than %u bytes", STATE_TEXT_MAX);
	else if (write_new(dir, buf_view(&text), e) == 0)
		r = renameat(dir, STATE_NEW, dir, STATE_FILE) < 0 || fsync(dir) < 0
		        ? error_errno(e, STATE_FOLDER "/" STATE_FILE ": cannot replace")
		        : 0;
	buf_free(&text);
	return r;
}
