/* alert_state.h */
#include "doctor/alert_state.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/proc.h"

#define FILE_MAX (8u << 20)

void alert_state_add(struct alert_state *s, const char *key, const char *text, int64_t since)
{
	if (s->count == ALERT_ITEMS_MAX)
		return;
	s->at = xreallocarray(s->at, s->count + 1, sizeof(*s->at));
	s->at[s->count++] = (struct alert_item){ view_dup((struct view){ key, strnlen(key, ALERT_KEY_MAX) }),
		view_dup((struct view){ text, strnlen(text, ALERT_TEXT_MAX) }), since };
}

const struct alert_item *alert_state_find(const struct alert_state *s, const char *key)
{
	for (size_t i = 0; i < s->count; i++)
		if (strncmp(s->at[i].key, key, ALERT_KEY_MAX) == 0)
			return &s->at[i];
	return NULL;
}

void alert_state_free(struct alert_state *s)
{
	for (size_t i = 0; i < s->count; i++) {
		free(s->at[i].key);
		free(s->at[i].text);
	}
	free(s->at);
	*s = (struct alert_state){ 0 };
}

/* It goes into a mail and onto terminals. */
static bool is_text(const char *s, size_t max)
{
	size_t len = strlen(s);
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)s[i] < 0x20 || s[i] == 0x7f)
			return false;
	return len > 0 && len <= max;
}

/* NULL, or what is not as it should be. */
static const char *unpack(json_t *top, struct alert_state *out)
{
	json_int_t version = 0, told = 0, since;
	json_t *list = NULL, *item;
	const char *key, *text;
	size_t i;
	if (!top)
		return "no JSON";
	if (json_unpack(top, "{s:I}", "version", &version) < 0)
		return "no version";
	if (version != ALERT_STATE_VERSION)
		return "a version that this mailadm does not know";
	if (json_unpack_ex(
		top, NULL, JSON_STRICT, "{s:I, s:I, s:o}", "version", &version, "told", &told, "wrong", &list) < 0 ||
	    !json_is_array(list) || told < 0)
		return "not the right keys";
	if (json_array_size(list) > ALERT_ITEMS_MAX)
		return "too long a list";
	json_array_foreach(list, i, item)
	{
		if (json_unpack_ex(
			item, NULL, JSON_STRICT, "{s:s, s:s, s:I}", "key", &key, "text", &text, "since", &since) < 0 ||
		    !is_text(key, ALERT_KEY_MAX) || !is_text(text, ALERT_TEXT_MAX) || since < 0)
			return "a wrong entry in its list";
		alert_state_add(out, key, text, since);
	}
	out->told = told;
	return NULL;
}

int alert_state_parse(struct view text, const char *path, struct alert_state *out, struct error *e)
{
	*out = (struct alert_state){ 0 };
	json_t *top = json_loadb(text.ptr ? text.ptr : "", text.len, JSON_REJECT_DUPLICATES, NULL);
	const char *why = unpack(top, out);
	json_decref(top);
	if (!why)
		return 0;
	alert_state_free(out);
	return error_set(e, "%s is not what mailadm writes: %s", path, why);
}

int alert_state_read(const char *path, struct alert_state *out, struct error *e)
{
	struct buf text = BUF_INIT(FILE_MAX);
	*out = (struct alert_state){ 0 };
	if (access(path, F_OK) == -1 && errno == ENOENT)
		return 0;
	int r = file_read(path, FILE_MAX, &text, e);
	if (r == 0)
		r = alert_state_parse(buf_view(&text), path, out, e);
	buf_free(&text);
	return r;
}

int alert_state_write(const char *path, const struct alert_state *s, struct error *e)
{
	json_t *list = json_array();
	for (size_t i = 0; i < s->count; i++)
		json_array_append_new(list, json_pack("{s:s, s:s, s:I}", "key", s->at[i].key, "text", s->at[i].text,
						"since", (json_int_t)s->at[i].since));
	json_t *top =
	    json_pack("{s:i, s:I, s:o}", "version", ALERT_STATE_VERSION, "told", (json_int_t)s->told, "wrong", list);
	char *text = top ? json_dumps(top, JSON_INDENT(1)) : NULL;
	int r = text ? file_write_atomic(path, view_of(text), 0600, e) : error_set(e, "%s: a text is not UTF-8", path);
	free(text);
	json_decref(top);
	return r;
}
