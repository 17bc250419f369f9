/*
 * The base subject that THREAD and SORT compare (RFC 5256 2.1): reply and forward marks, [list] tags and "(fwd)" are
 * taken off, the rest is folded.  At most 64 rounds, so that a subject made of nothing but tags costs no more.
 */
#include <string.h>
#include <strings.h>

#include "internal.h"

#define ROUNDS_MAX 64

static bool starts(struct view v, const char *word)
{
	size_t n = strlen(word);

	return v.len >= n && strncasecmp(v.ptr, word, n) == 0;
}

static struct view skip(struct view v, size_t n)
{
	return (struct view){ v.ptr + n, v.len - n };
}

static struct view skip_space(struct view v)
{
	while (v.len > 0 && (v.ptr[0] == ' ' || v.ptr[0] == '\t'))
		v = skip(v, 1);
	return v;
}

/* *reply: a "(fwd)" was taken off. */
static struct view trim_end(struct view v, bool *reply)
{
	for (;;) {
		if (v.len > 0 && (v.ptr[v.len - 1] == ' ' || v.ptr[v.len - 1] == '\t'))
			v.len--;
		else if (v.len >= 5 && strncasecmp(v.ptr + v.len - 5, "(fwd)", 5) == 0) {
			v.len -= 5;
			*reply = true;
		} else
			return v;
	}
}

/* "[tag] "; unchanged when there is none. */
static struct view skip_blob(struct view v)
{
	size_t i = 1;

	if (v.len == 0 || v.ptr[0] != '[')
		return v;
	while (i < v.len && v.ptr[i] != '[' && v.ptr[i] != ']')
		i++;
	return i < v.len && v.ptr[i] == ']' ? skip_space(skip(v, i + 1)) : v;
}

/* "[tag] Re [2]: "; unchanged when there is none. */
static struct view skip_leader(struct view v)
{
	struct view p = v, next;

	for (int i = 0; i < ROUNDS_MAX; i++) {
		next = skip_blob(p);
		if (next.len == p.len)
			break;
		p = next;
	}
	if (starts(p, "fwd"))
		p = skip(p, 3);
	else if (starts(p, "re") || starts(p, "fw"))
		p = skip(p, 2);
	else
		return v;
	p = skip_blob(skip_space(p));
	return p.len > 0 && p.ptr[0] == ':' ? skip_space(skip(p, 1)) : v;
}

static struct view strip(struct view v, bool *reply)
{
	for (int i = 0; i < ROUNDS_MAX; i++) {
		struct view next;

		v = trim_end(skip_space(v), reply);
		next = skip_leader(v);
		*reply |= next.len != v.len;
		if (next.len == v.len) {
			next = skip_blob(v);
			if (next.len == 0)
				next = v;
		}
		if (next.len == v.len && starts(v, "[fwd:") && v.ptr[v.len - 1] == ']') {
			next = (struct view){ v.ptr + 5, v.len - 6 };
			*reply = true;
		}
		if (next.len == v.len)
			break;
		v = next;
	}
	return v;
}

void mime_base_subject(struct view subject, struct buf *out)
{
	bool reply = false;

	if (subject.len > 0)
		mime_fold(strip(subject, &reply), out);
}

bool mime_subject_is_reply(struct view subject)
{
	bool reply = false;

	if (subject.len > 0)
		strip(subject, &reply);
	return reply;
}
