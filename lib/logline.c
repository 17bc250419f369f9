/* logline.h: "2026-11-24T18:46:31+00:00 INFO smtp[123]: key=value key=\"a value\" ...". */
#include "lib/logline.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static const char *const levels[] = { [LOG_LEVEL_ERROR] = "ERROR",
	[LOG_LEVEL_WARN] = "WARN",
	[LOG_LEVEL_INFO] = "INFO",
	[LOG_LEVEL_DEBUG] = "DEBUG" };

const char *log_level_name(enum log_level level)
{
	return levels[level];
}

int log_level_parse(struct view name, enum log_level *out)
{
	for (size_t i = 0; i < sizeof(levels) / sizeof(levels[0]); i++) {
		if (view_caseeq(name, levels[i])) {
			*out = (enum log_level)i;
			return 0;
		}
	}
	return -1;
}

/* Takes what stands before the first `end`; -1: there is none. */
static int take(struct view *line, char end, struct view *out)
{
	const char *p = line->len > 0 ? memchr(line->ptr, end, line->len) : NULL;

	if (p == NULL)
		return -1;
	*out = (struct view){ line->ptr, (size_t)(p - line->ptr) };
	*line = (struct view){ p + 1, line->len - out->len - 1 };
	return 0;
}

/* RFC 3339, without fractions. */
static int parse_when(struct view text, int64_t *out)
{
	char s[32], sign;
	struct tm tm = { 0 };
	int hours, minutes, end = 0;

	if (view_copy(text, s, sizeof(s)) == -1 ||
	    sscanf(s, "%4d-%2d-%2dT%2d:%2d:%2d%c%2d:%2d%n", &tm.tm_year, &tm.tm_mon, &tm.tm_mday, &tm.tm_hour,
	        &tm.tm_min, &tm.tm_sec, &sign, &hours, &minutes, &end) != 9 ||
	    (size_t)end != text.len || (sign != '+' && sign != '-'))
		return -1;
	tm.tm_year -= 1900;
	tm.tm_mon -= 1;
	*out = (int64_t)timegm(&tm) - (sign == '+' ? 60 : -60) * (hours * 60 + minutes);
	return 0;
}

int log_line_parse(struct view line, struct log_line *out)
{
	struct view when, level, pid;

	if (take(&line, ' ', &when) == -1 || parse_when(when, &out->when) == -1 || take(&line, ' ', &level) == -1 ||
	    log_level_parse(level, &out->level) == -1 || take(&line, '[', &out->ident) == -1 ||
	    take(&line, ']', &pid) == -1 || line.len < 2 || memcmp(line.ptr, ": ", 2) != 0)
		return -1;
	out->text = (struct view){ line.ptr + 2, line.len - 2 };
	return 0;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* At *pos behind the opening quote; leaves it behind the closing one, and behind the "..." of a value that was cut. */
static void take_quoted(struct view text, size_t *pos, struct buf *value)
{
	size_t i = *pos;

	for (; i < text.len && text.ptr[i] != '"'; i++) {
		bool escape = text.ptr[i] == '\\' && text.len - i > 3 && text.ptr[i + 1] == 'x' &&
		              hex_digit(text.ptr[i + 2]) >= 0 && hex_digit(text.ptr[i + 3]) >= 0;

		if (!escape) {
			buf_addc(value, text.ptr[i]);
			continue;
		}
		buf_addc(value, (char)(hex_digit(text.ptr[i + 2]) << 4 | hex_digit(text.ptr[i + 3])));
		i += 3;
	}
	for (i = i < text.len ? i + 1 : i; i < text.len && text.ptr[i] != ' '; i++)
		buf_addc(value, text.ptr[i]);
	*pos = i;
}

/* Printable, as all that log.h writes: what a process that was taken over writes reaches a terminal, too. */
static bool is_key(struct view v)
{
	for (size_t i = 0; i < v.len; i++)
		if (v.ptr[i] <= ' ' || v.ptr[i] >= 0x7f)
			return false;
	return v.len > 0;
}

bool log_pair_next(struct view text, size_t *pos, struct view *key, struct buf *value)
{
	size_t i = *pos, start;

	while (i < text.len) {
		while (i < text.len && text.ptr[i] == ' ')
			i++;
		for (start = i; i < text.len && text.ptr[i] != ' ' && text.ptr[i] != '='; i++)
			continue;
		if (i == text.len || text.ptr[i] == ' ')
			continue;
		*key = (struct view){ text.ptr + start, i - start };
		buf_reset(value);
		i++;
		if (i < text.len && text.ptr[i] == '"') {
			i++;
			take_quoted(text, &i, value);
		} else {
			for (; i < text.len && text.ptr[i] != ' '; i++)
				buf_addc(value, text.ptr[i]);
		}
		if (is_key(*key)) {
			*pos = i;
			return true;
		}
	}
	*pos = i;
	return false;
}

bool log_pair_find(struct view text, const char *key, struct buf *value)
{
	struct view found;
	size_t pos = 0;

	while (log_pair_next(text, &pos, &found, value))
		if (view_eq(found, key))
			return true;
	return false;
}
