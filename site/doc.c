/* The schema as documentation: text, JSON, and the option list of mailadm-site(5) in mdoc. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "lib/text.h"
#include "schema.h"
#include "value.h"

static bool documented(const struct schema_row *row)
{
	return row->type != TYPE_SECRET;
}

static void number_text(const struct schema_row *row, uint64_t n, char out[24])
{
	if (row->type == TYPE_DURATION)
		text_format_duration(n, out);
	else if (row->type == TYPE_SIZE)
		value_size_text(n, out);
	else
		view_copy(view_of("?"), out, 24);
}

/* ", 1 to 100" or ", one of a, b" or nothing. */
static void put_limits(const struct schema_row *row, struct buf *out)
{
	if (row->words) {
		buf_puts(out, ", one of ");
		for (size_t i = 0; row->words[i]; i++)
			buf_printf(out, "%s%s", i ? ", " : "", row->words[i]);
	} else if (row->max && row->type == TYPE_INT) {
		buf_printf(out, ", %llu to %llu", (unsigned long long)row->min, (unsigned long long)row->max);
	} else if (row->max) {
		char low[24], high[24];
		number_text(row, row->min, low);
		number_text(row, row->max, high);
		buf_printf(out, ", %s to %s", low, high);
	}
}

int site_schema_text(struct buf *out)
{
	for (size_t i = 0; i < schema_count; i++) {
		const struct schema_row *row = &schema[i];
		if (!documented(row))
			continue;
		if (row->type == TYPE_GROUP || row->type == TYPE_GROUPS) {
			buf_printf(out, "%s%s (%s)\n    %s\n", i ? "\n" : "", row->path, schema_type_name(row->type),
			    row->doc);
			continue;
		}
		buf_printf(out, "%s (%s", row->path, schema_type_name(row->type));
		put_limits(row, out);
		buf_puts(out, row->required ? "; " : "; default ");
		schema_default_text(row, out);
		buf_printf(out, ")\n    %s\n", row->doc);
	}
	return out->full ? -1 : 0;
}

static json_t *row_json(const struct schema_row *row)
{
	json_t *object = json_object();
	json_object_set_new(object, "key", json_string(row->path));
	json_object_set_new(object, "type", json_string(schema_type_name(row->type)));
	json_object_set_new(object, "required", json_boolean(row->required));
	json_object_set_new(object, "default", row->fallback ? json_string(row->fallback) : json_null());
	if (row->shown)
		json_object_set_new(object, "default_text", json_string(row->shown));
	if (row->max) {
		json_object_set_new(object, "min", json_integer((json_int_t)row->min));
		json_object_set_new(object, "max", json_integer((json_int_t)row->max));
	}
	if (row->words) {
		json_t *words = json_array();
		for (size_t i = 0; row->words[i]; i++)
			json_array_append_new(words, json_string(row->words[i]));
		json_object_set_new(object, "values", words);
	}
	json_object_set_new(object, "doc", json_string(row->doc));
	return object;
}

int site_schema_json(struct buf *out)
{
	json_t *array = json_array();
	for (size_t i = 0; i < schema_count; i++)
		if (documented(&schema[i]))
			json_array_append_new(array, row_json(&schema[i]));
	char *text = json_dumps(array, JSON_INDENT(2));
	if (!text || buf_puts(out, text) < 0 || buf_addc(out, '\n') < 0)
		out->full = true;
	free(text);
	json_decref(array);
	return out->full ? -1 : 0;
}

#define MDOC_COLUMNS 78

/* mdoc text: a sentence a line, and no line longer than a page is wide. A backslash becomes an escape. */
static void put_mdoc(const char *s, struct buf *out)
{
	size_t column = 0;
	while (*s) {
		size_t n = strcspn(s, " ");
		if (column && column + 1 + n > MDOC_COLUMNS) {
			buf_addc(out, '\n');
			column = 0;
		} else if (column) {
			buf_addc(out, ' ');
			column++;
		}
		for (size_t i = 0; i < n; i++)
			buf_puts(out, s[i] == '\\' ? "\\e" : (char[]){ s[i], 0 });
		column += n;
		s += n;
		if (*s == ' ' && s[-1] == '.') {
			buf_addc(out, '\n');
			column = 0;
		}
		s += *s == ' ';
	}
	buf_addc(out, '\n');
}

static void put_mdoc_row(const struct schema_row *row, struct buf *out)
{
	buf_printf(out, ".It Ic %s\n", row->path);
	put_mdoc(row->doc, out);
	if (row->type == TYPE_GROUPS)
		return;
	struct buf line = BUF_INIT(1024);
	buf_printf(&line, "%s", schema_type_name(row->type));
	put_limits(row, &line);
	buf_puts(&line, row->required ? "; " : "; default: ");
	schema_default_text(row, &line);
	buf_puts(&line, ".");
	if (line.len && line.data[0] >= 'a' && line.data[0] <= 'z')
		line.data[0] = (char)(line.data[0] - 'a' + 'A');
	put_mdoc(buf_str(&line), out);
	buf_free(&line);
}

int site_schema_mdoc(struct buf *out)
{
	bool open = false;
	for (size_t i = 0; i < schema_count; i++) {
		const struct schema_row *row = &schema[i];
		if (!documented(row))
			continue;
		bool top = !strchr(row->path, '.');
		bool group = top && (row->type == TYPE_GROUP || row->type == TYPE_GROUPS);
		if (group || (top && strcmp(row->path, "admin") == 0)) {
			if (open)
				buf_puts(out, ".El\n");
			buf_printf(out, ".Ss %s\n", group ? row->path : "Others");
			if (group)
				put_mdoc(row->doc, out);
			buf_puts(out, ".Bl -tag -width Ds\n");
			open = true;
		}
		if (!group)
			put_mdoc_row(row, out);
	}
	if (open)
		buf_puts(out, ".El\n");
	return out->full ? -1 : 0;
}
