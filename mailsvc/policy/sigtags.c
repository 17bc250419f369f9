/*
 * The tag list parser (RFC 6376 3.2): one pass, nothing copied.  Folding is not checked closely: where white space may
 * stand any run of space, tab, CR and LF is taken, since the field came out of a header that had been split into
 * fields.
 */
#include "sigtags.h"

#include "lib/text.h"

#define BASE64_MAX (16 * 1024)

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static struct view trim(struct view v)
{
	while (v.len > 0 && is_space(v.ptr[0])) {
		v.ptr++;
		v.len--;
	}
	while (v.len > 0 && is_space(v.ptr[v.len - 1]))
		v.len--;
	return v;
}

/* Cuts rest at the first sep: what is before it; rest.ptr is NULL when there was none. */
static struct view cut(struct view *rest, char sep)
{
	struct view head = *rest;
	const char *at = rest->len > 0 ? memchr(rest->ptr, sep, rest->len) : NULL;

	if (at == NULL) {
		*rest = VIEW_NONE;
		return head;
	}
	head.len = (size_t)(at - head.ptr);
	*rest = (struct view){ at + 1, rest->len - head.len - 1 };
	return head;
}

static bool is_name(struct view v)
{
	for (size_t i = 0; i < v.len; i++) {
		char c = v.ptr[i];
		bool alpha = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
		if (!alpha && (i == 0 || (c != '_' && (c < '0' || c > '9'))))
			return false;
	}
	return v.len > 0;
}

static bool is_value(struct view v)
{
	for (size_t i = 0; i < v.len; i++)
		if (((unsigned char)v.ptr[i] < 0x21 || v.ptr[i] == 0x7f) && !is_space(v.ptr[i]))
			return false;
	return true;
}

int sigtags_parse(struct sigtags *t, struct view list, const char **problem)
{
	t->count = 0;
	do {
		struct view spec = cut(&list, ';'), raw = spec, name = cut(&raw, '=');

		if (trim(spec).len == 0 && list.ptr == NULL && t->count > 0)
			break; /* the last ';' may have nothing behind it */
		name = trim(name);
		if (raw.ptr == NULL || !is_name(name) || !is_value(raw)) {
			*problem = "it is no list of tags";
			return -1;
		}
		for (size_t i = 0; i < t->count; i++) {
			if (t->tags[i].name.len == name.len && memcmp(t->tags[i].name.ptr, name.ptr, name.len) == 0) {
				*problem = "a tag is there twice";
				return -1;
			}
		}
		if (t->count == SIGTAGS_MAX) {
			*problem = "it has too many tags";
			return -1;
		}
		t->tags[t->count++] = (struct sigtag){ name, trim(raw), raw };
	} while (list.ptr != NULL);
	return 0;
}

const struct sigtag *sigtags_find(const struct sigtags *t, const char *name)
{
	for (size_t i = 0; i < t->count; i++)
		if (view_eq(t->tags[i].name, name))
			return &t->tags[i];
	return NULL;
}

struct view sigtags_value(const struct sigtags *t, const char *name)
{
	const struct sigtag *tag = sigtags_find(t, name);

	return tag != NULL ? tag->value : VIEW_NONE;
}

int sigtags_base64(struct view value, struct buf *out)
{
	struct buf text = BUF_INIT(BASE64_MAX);
	char *to = buf_reserve(&text, value.len);
	int rc;

	if (to == NULL)
		return -1;
	for (size_t i = 0; i < value.len; i++)
		if (!is_space(value.ptr[i]))
			to[text.len++] = value.ptr[i];
	rc = text.len == 0 ? -1 : text_base64_decode(out, buf_view(&text));
	buf_free(&text);
	return rc;
}

bool sigtags_word(struct view *rest, struct view *word)
{
	if (rest->ptr == NULL)
		return false;
	*word = trim(cut(rest, ':'));
	return true;
}

bool sigtags_has(struct view list, const char *word)
{
	struct view w;

	while (sigtags_word(&list, &w))
		if (view_caseeq(w, word))
			return true;
	return false;
}

void sigtags_text(struct view value, char *out, size_t size)
{
	size_t n = 0;

	for (size_t i = 0; i < value.len && n + 1 < size; i++)
		if (!is_space(value.ptr[i]))
			out[n++] = value.ptr[i] > 0x20 && value.ptr[i] < 0x7f ? value.ptr[i] : '?';
	out[n] = '\0';
}
