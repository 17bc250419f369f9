/*
 * Before libconfig 1.5 reads a file: it ends the process when it cannot read what is included (a folder, say), and
 * takes 4294967297 for 1.  So the text is walked once, past strings and comments, and such things become findings.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/log.h"
#include "lib/proc.h"
#include "prescan.h"

#define FILE_MAX (64u << 20)
#define DEPTH_MAX 8 /* libconfig allows 10 */

struct scan {
	const char *p, *end;
	const char *name;
	const char *dir; /* NULL: no includes */
	unsigned line, depth;
	bool fresh; /* only blanks since the line began */
	struct findings *findings;
};

static int scan(struct scan *s);

static struct site_origin here(const struct scan *s)
{
	return (struct site_origin){ s->name, s->line };
}

static int read_file(const char *path, const struct site_origin *origin, struct findings *f, struct buf *out)
{
	struct stat st;
	struct error why;
	if (stat(path, &st) < 0) {
		findings_add(f, false, origin, "cannot read %s: %s; %s", path, strerror(errno),
		    origin->line ? "correct the path, which is relative to the site file's folder"
				 : "name the site file with -c FILE, or make one with mailadm init");
		return -1;
	}
	if (!S_ISREG(st.st_mode)) {
		findings_add(f, false, origin, "%s is no file; name a file", path);
		return -1;
	}
	if (file_read(path, FILE_MAX, out, &why) < 0) {
		findings_add(f, false, origin, "%s; make it readable and smaller than 64 MiB", why.text);
		return -1;
	}
	return 0;
}

static int scan_file(const char *path, const char *name, const char *dir, unsigned depth,
    const struct site_origin *origin, struct findings *f)
{
	struct buf text = BUF_INIT(FILE_MAX);
	int result = read_file(path, origin, f, &text);
	if (result == 0) {
		struct scan s = { .p = text.data,
			.end = text.data + text.len,
			.name = name,
			.dir = dir,
			.line = 1,
			.depth = depth,
			.fresh = true,
			.findings = f };
		result = scan(&s);
	}
	buf_free(&text);
	return result;
}

/* The cursor is behind "@include". */
static int include(struct scan *s)
{
	struct site_origin origin = here(s);
	const char *line_end = memchr(s->p, '\n', (size_t)(s->end - s->p));
	line_end = line_end ? line_end : s->end;
	const char *open = memchr(s->p, '"', (size_t)(line_end - s->p));
	const char *close = open ? memchr(open + 1, '"', (size_t)(line_end - open - 1)) : NULL;
	if (!s->dir) {
		findings_add(s->findings, false, &origin, "@include has no place here; write the settings themselves");
		return -1;
	}
	if (s->depth >= DEPTH_MAX) {
		findings_add(s->findings, false, &origin,
		    "files include each other too deeply; look for a file that includes itself");
		return -1;
	}
	if (!close || close == open + 1) {
		findings_add(
		    s->findings, false, &origin, "@include without a file name; write it like @include \"more.conf\"");
		return -1;
	}
	if (open[1] == '/') { /* libconfig 1.5 takes it for relative all the same */
		findings_add(s->findings, false, &origin,
		    "@include %.*s is an absolute path; write it relative to the site file's folder",
		    (int)(close + 1 - open), open);
		return -1;
	}
	char *file = view_dup((struct view){ open + 1, (size_t)(close - open - 1) });
	char *path = !s->dir[0] ? xstrdup(file) : xasprintf("%s/%s", s->dir, file);
	int result = scan_file(path, path, s->dir, s->depth + 1, &origin, s->findings);
	free(path);
	free(file);
	s->p = line_end;
	return result;
}

/* The cursor is at the opening quote. No value holds a line end, so that a text over lines is a quote forgotten. */
static int string(struct scan *s)
{
	struct site_origin origin = here(s);
	for (s->p++; s->p < s->end && *s->p != '"' && *s->p != '\n'; s->p++)
		if (*s->p == '\\' && s->end - s->p > 1 && s->p[1] != '\n')
			s->p++;
	if (s->p < s->end && *s->p == '"') {
		s->p++;
		return 0;
	}
	findings_add(
	    s->findings, false, &origin, "a text in quotes does not end on its line; close it with a double quote");
	s->p = s->end; /* what follows would be read inside out */
	return -1;
}

static bool skip_comment(struct scan *s)
{
	size_t left = (size_t)(s->end - s->p);
	if (*s->p == '#' || (left > 1 && memcmp(s->p, "//", 2) == 0)) {
		const char *end = memchr(s->p, '\n', left);
		s->p = end ? end : s->end;
		return true;
	}
	if (left < 2 || memcmp(s->p, "/*", 2) != 0)
		return false;
	for (s->p += 2; s->p < s->end; s->p++) {
		s->line += *s->p == '\n';
		if (*s->p == '*' && s->end - s->p > 1 && s->p[1] == '/') {
			s->p += 2;
			return true;
		}
	}
	return true;
}

static bool word_byte(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-' ||
	       c == '.';
}

/* A name or a number. */
static int word(struct scan *s)
{
	const char *start = s->p;
	while (s->p < s->end && word_byte(*s->p))
		s->p++;
	size_t len = (size_t)(s->p - start);
	if (*start == '-') {
		start++;
		len--;
	}
	uint64_t n;
	bool digits = len > 0;
	for (size_t i = 0; i < len; i++)
		digits = digits && start[i] >= '0' && start[i] <= '9';
	if (!digits || view_u64((struct view){ start, len }, INT32_MAX, &n) == 0)
		return 0;
	struct site_origin origin = here(s);
	findings_add(s->findings, false, &origin,
	    "%.*s is too large a number; write a smaller one, or a size in quotes, like \"10G\"",
	    (int)(len < 40 ? len : 40), start);
	return -1;
}

static int scan(struct scan *s)
{
	int result = 0;
	while (s->p < s->end) {
		size_t left = (size_t)(s->end - s->p);
		if (*s->p == '\n') {
			s->line++;
			s->fresh = true;
			s->p++;
		} else if (*s->p == ' ' || *s->p == '\t' || *s->p == '\r') {
			s->p++;
		} else if (*s->p == '"') {
			s->fresh = false;
			if (string(s) < 0)
				result = -1;
		} else if (*s->p == '@' && left > 8 && s->fresh && memcmp(s->p, "@include", 8) == 0) {
			s->p += 8;
			if (include(s) < 0)
				result = -1;
		} else if (word_byte(*s->p)) {
			s->fresh = false;
			if (word(s) < 0)
				result = -1;
		} else if (!skip_comment(s)) {
			s->fresh = false;
			s->p++;
		}
	}
	return result;
}

int prescan_file(const char *path, const char *name, const char *dir, struct findings *f)
{
	struct site_origin origin = { name, 0 };
	return scan_file(path, name, dir, 0, &origin, f);
}

int prescan_text(struct view text, const char *name, struct findings *f)
{
	struct scan s = {
		.p = text.ptr, .end = text.ptr + text.len, .name = name, .line = 1, .fresh = true, .findings = f
	};
	return scan(&s);
}

#define LINES_UP 50

unsigned prescan_line(const char *file, unsigned line, const char *text)
{
	struct buf content = BUF_INIT(FILE_MAX);
	struct error why;
	unsigned found = line;
	char *needle = xasprintf("\"%s\"", text);
	if (file_read(file, FILE_MAX, &content, &why) == 0 && content.len) {
		unsigned number = 1;
		const char *p = content.data, *end = content.data + content.len;
		while (number <= line && p < end) {
			const char *eol = memchr(p, '\n', (size_t)(end - p));
			eol = eol ? eol : end;
			if (number + LINES_UP >= line && memmem(p, (size_t)(eol - p), needle, strlen(needle)))
				found = number; /* the last one wins: the nearest above */
			p = eol + (eol < end);
			number++;
		}
	}
	free(needle);
	buf_free(&content);
	return found;
}
