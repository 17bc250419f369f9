/*
 * The verdicts of the checks, each with its reason, as the smtp role logs them: its line event=checked of the message,
 * or of the last recipient that was refused.
 */
#include "cli/replay.h"

#include <string.h>
#include <unistd.h>

#include "cli/log_source.h"

#define LOG_MAX (4u << 20)
#define FIELD_MAX 65536

/* A line of the role's log: that of the checks is kept in last. */
static void read_log_line(struct view text_line, struct buf *last)
{
	struct buf event = BUF_INIT(FIELD_MAX);
	struct log_line line;

	if (log_line_parse(text_line, &line) == 0 && log_pair_find(line.text, "event", &event) &&
	    view_eq(buf_view(&event), "checked")) {
		buf_reset(last);
		buf_addv(last, line.text);
	}
	buf_free(&event);
}

/* Every verdict with its reason. */
static json_t *checks_of(struct view line)
{
	static const char *const known[] = { "id", "event", "peer", "from", NULL }; /* or said elsewhere */
	json_t *checks = json_object();

	log_pairs_json(line, checks);
	for (size_t i = 0; known[i] != NULL; i++)
		json_object_del(checks, known[i]);
	return checks;
}

json_t *replay_checks(int log)
{
	struct buf all = BUF_INIT(LOG_MAX), last = BUF_INIT(LOG_MAX);
	char *room = buf_reserve(&all, LOG_MAX - 1);
	ssize_t n = room != NULL ? pread(log, room, LOG_MAX - 1, 0) : -1;
	json_t *checks;

	all.len = n > 0 ? (size_t)n : 0;
	for (size_t at = 0, end; at < all.len; at = end + 1) {
		const char *lf = memchr(all.data + at, '\n', all.len - at);

		end = lf != NULL ? (size_t)(lf - all.data) : all.len;
		read_log_line((struct view){ all.data + at, end - at }, &last);
	}
	checks = checks_of(buf_view(&last));
	buf_free(&all);
	buf_free(&last);
	return checks;
}
