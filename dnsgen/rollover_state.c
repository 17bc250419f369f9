/*
 * rollover.h, what is on disk: one JSON object with a version and a list of items.  Every value is checked, since names
 * of files are made of them; a file with anything else in it is refused whole.
 */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dnsgen/rollover.h"
#include "lib/proc.h"

#define VERSION 1
#define FILE_MAX (8u << 20)
#define SUBJECT_MAX 253
#define TIME_MAX INT64_C(253402300799) /* the end of the year 9999 */

static bool is_name(const char *s, size_t max, bool dots)
{
	size_t len = strlen(s);
	if (len == 0 || len > max || s[0] == '-' || s[0] == '.')
		return false;
	for (const char *p = s; *p; p++) {
		bool plain = (*p >= 'a' && *p <= 'z') || (*p >= '0' && *p <= '9') || *p == '-' || *p == '_';
		if (!plain && !(dots && *p == '.' && p[1] != '.' && p[1] != '\0'))
			return false;
	}
	return true;
}

static int stage_of(const char *name)
{
	for (int s = 0; s < ROLLOVER_STAGES; s++)
		if (strcmp(rollover_stage_name((enum rollover_stage)s), name) == 0)
			return s;
	return -1;
}

/* NULL when the item is right, else what is wrong with it. */
static const char *read_item(json_t *json, struct rollover *r)
{
	const char *kind, *subject, *current, *next, *stage;
	json_int_t since;
	int done;
	if (json_unpack_ex(json, NULL, JSON_STRICT, "{s:s, s:s, s:s, s:s, s:s, s:b, s:I}", "kind", &kind, "subject",
		&subject, "current", &current, "next", &next, "stage", &stage, "done", &done, "since", &since) != 0)
		return "has not exactly kind, subject, current, next, stage, done and since";
	int s = stage_of(stage);
	if (!is_name(kind, 16, false) || !is_name(subject, SUBJECT_MAX, true))
		return "has no right kind and subject";
	if ((current[0] && !is_name(current, ROLLOVER_ID_MAX, false)) || (next[0] && !is_name(next, ROLLOVER_ID_MAX, false)))
		return "has a name that is no selector";
	if (s == -1)
		return "has an unknown stage";
	if ((s == ROLLOVER_IDLE) != (next[0] == '\0') || strcmp(current, next) == 0 ||
	    (!done && (s == ROLLOVER_IDLE || s == ROLLOVER_VISIBLE)) ||
	    (current[0] == '\0' && (s > ROLLOVER_ACTIVE || (s == ROLLOVER_ACTIVE && done))))
		return "has a stage that does not go with its names";
	if (since < 0 || since > TIME_MAX)
		return "has a time out of range";
	if (rollover_find(r, kind, subject) != NULL)
		return "stands twice";
	struct rollover_item *i = rollover_add(r, kind, subject, current, since);
	if (i == NULL)
		return "is one too many";
	free(i->next);
	i->next = xstrdup(next);
	i->stage = (enum rollover_stage)s;
	i->done = done;
	return NULL;
}

int rollover_parse(struct view text, const char *path, struct rollover *out, struct error *e)
{
	static const char hint[] = "restore it from a backup, or move it away to begin with what is active";
	json_error_t where;
	json_t *top = json_loadb(text.ptr ? text.ptr : "", text.len, JSON_REJECT_DUPLICATES, &where), *items, *item;
	int version = 0;
	size_t index;
	const char *wrong = NULL;
	*out = (struct rollover){ 0 };
	if (top == NULL)
		return error_set(e, "%s:%d: is no JSON: %.100s; %s", path, where.line, where.text, hint);
	if (json_unpack(top, "{s:i}", "version", &version) == 0 && version > VERSION) {
		json_decref(top);
		return error_set(e, "%s: was written by a newer mailadm (version %d); use that", path, version);
	}
	if (json_unpack_ex(top, NULL, JSON_STRICT, "{s:i, s:o}", "version", &version, "items", &items) != 0 ||
	    version != VERSION || !json_is_array(items)) {
		json_decref(top);
		return error_set(e, "%s: has not exactly a version and items; %s", path, hint);
	}
	json_array_foreach(items, index, item)
	{
		if ((wrong = read_item(item, out)) != NULL)
			break;
	}
	json_decref(top);
	if (wrong == NULL)
		return 0;
	rollover_free(out);
	return error_set(e, "%s: item %zu %s; %s", path, index + 1, wrong, hint);
}

int rollover_load(const char *path, struct rollover *out, struct error *e)
{
	struct buf text = BUF_INIT(FILE_MAX);
	int r = 0;
	*out = (struct rollover){ 0 };
	if (access(path, F_OK) == 0)
		r = file_read(path, text.max, &text, e) == -1 ? -1 : rollover_parse(buf_view(&text), path, out, e);
	buf_free(&text);
	return r;
}

int rollover_save(const char *path, const struct rollover *r, struct error *e)
{
	json_t *items = json_array(), *top = json_pack("{s:i, s:o}", "version", VERSION, "items", items);
	for (size_t i = 0; i < r->count; i++) {
		const struct rollover_item *at = &r->at[i];
		json_array_append_new(
		    items, json_pack("{s:s, s:s, s:s, s:s, s:s, s:b, s:I}", "kind", at->kind, "subject", at->subject,
			       "current", at->current, "next", at->next, "stage", rollover_stage_name(at->stage),
			       "done", (int)at->done, "since", (json_int_t)at->since));
	}
	char *text = json_dumps(top, JSON_INDENT(1));
	int result = text == NULL ? error_set(e, "%s: cannot be written as JSON", path)
	                          : file_write_atomic(path, view_of(text), 0600, e);
	free(text);
	json_decref(top);
	return result;
}
