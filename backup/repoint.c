/*
 * A restored site file says where its state was; it has to say where it is now.  The settings are found by walking the
 * text as libconfig reads it (past comments, texts and groups), because they may share a line or go over several.
 */
#include <stdlib.h>
#include <string.h>

#include "backup/stage.h"

struct scan {
	const char *p, *end;
};

static bool at(const struct scan *s, const char *word)
{
	size_t len = strlen(word);
	return (size_t)(s->end - s->p) >= len && memcmp(s->p, word, len) == 0;
}

static void skip_to(struct scan *s, const char *word)
{
	const char *found = memmem(s->p, (size_t)(s->end - s->p), word, strlen(word));
	s->p = found ? found + strlen(word) : s->end;
}

/* Blanks and comments. */
static void skip_blank(struct scan *s)
{
	while (s->p < s->end) {
		if (*s->p == '#' || at(s, "//"))
			skip_to(s, "\n");
		else if (at(s, "/*"))
			skip_to(s, "*/");
		else if (strchr(" \t\r\n\f", *s->p) && *s->p)
			s->p++;
		else
			return;
	}
}

/* The cursor is at the opening quote. */
static void skip_text(struct scan *s)
{
	for (s->p++; s->p < s->end && *s->p != '"'; s->p++)
		if (*s->p == '\\' && s->end - s->p > 1)
			s->p++;
	s->p += s->p < s->end;
}

static size_t name_length(const struct scan *s)
{
	size_t len = 0, left = (size_t)(s->end - s->p);
	while (len < left && (strchr("-_*.", s->p[len]) ? s->p[len] != '\0'
							: (s->p[len] >= '0' && s->p[len] <= '9') ||
							      ((s->p[len] | 0x20) >= 'a' && (s->p[len] | 0x20) <= 'z')))
		len++;
	return len;
}

/* The cursor is behind a name: past `= "..." ;`, or -1 when something else stands there. */
static int skip_setting(struct scan *s)
{
	struct scan ahead = *s;
	skip_blank(&ahead);
	if (ahead.p == ahead.end || (*ahead.p != '=' && *ahead.p != ':'))
		return -1;
	ahead.p++;
	skip_blank(&ahead);
	if (ahead.p == ahead.end || *ahead.p != '"')
		return -1;
	while (ahead.p < ahead.end && *ahead.p == '"') { /* neighbours are one text */
		skip_text(&ahead);
		s->p = ahead.p;
		skip_blank(&ahead);
	}
	if (ahead.p < ahead.end && (*ahead.p == ';' || *ahead.p == ','))
		s->p = ahead.p + 1;
	return 0;
}

static bool is_wanted(struct view name)
{
	return view_eq(name, "state_dir") || view_eq(name, "run_dir");
}

size_t repoint_remove(struct view text, struct buf *out)
{
	struct scan s = { text.ptr, text.ptr + text.len };
	const char *kept = s.p; /* copied up to here */
	size_t depth = 0, removed = 0, len;
	for (skip_blank(&s); s.p < s.end; skip_blank(&s)) {
		const char *start = s.p;
		if (*s.p == '"') {
			skip_text(&s);
		} else if ((len = name_length(&s)) > 0) {
			s.p += len;
			if (depth > 0 || !is_wanted((struct view){ start, len }) || skip_setting(&s) == -1)
				continue;
			buf_add(out, kept, (size_t)(start - kept));
			kept = s.p;
			removed++;
		} else {
			depth += strchr("{([", *s.p) != NULL && *s.p;
			depth -= depth > 0 && strchr("})]", *s.p) != NULL && *s.p;
			s.p++;
		}
	}
	if (text.len > 0)
		buf_add(out, kept, (size_t)(s.end - kept));
	return removed;
}
