/*
 * Tables: one model, three faces.  A terminal gets columns (libsmartcols, which also makes control characters
 * harmless), a pipe gets tab-separated lines, --json an array of objects.
 */
#include <ctype.h>
#include <libsmartcols/libsmartcols.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

struct cli_table {
	struct cli *cli;
	char **columns;
	size_t width;
	char **cells; /* rows * width */
	size_t rows;
};

struct cli_table *cli_table_new(struct cli *cli, const char *const *columns)
{
	struct cli_table *t = xcalloc(1, sizeof(*t));
	t->cli = cli;
	while (columns[t->width])
		t->width++;
	t->columns = xcalloc(t->width + 1, sizeof(char *));
	for (size_t i = 0; i < t->width; i++)
		t->columns[i] = xstrdup(columns[i]);
	return t;
}

void cli_table_add(struct cli_table *t, const char *const *cells)
{
	if ((t->rows & (t->rows - 1)) == 0) /* grows by doubling */
		t->cells = xreallocarray(t->cells, (t->rows ? t->rows * 2 : 1) * t->width, sizeof(char *));
	for (size_t i = 0; i < t->width; i++)
		t->cells[t->rows * t->width + i] = xstrdup(cells[i] ? cells[i] : "");
	t->rows++;
}

static const char *cell(const struct cli_table *t, size_t row, size_t column)
{
	return t->cells[row * t->width + column];
}

static void print_tty(const struct cli_table *t)
{
	struct libscols_table *table = scols_new_table();
	if (!table)
		return;
	for (size_t i = 0; i < t->width; i++) {
		char *name = xstrdup(t->columns[i]);
		for (char *p = name; *p; p++)
			*p = *p == '_' ? ' ' : (char)toupper((unsigned char)*p);
		scols_table_new_column(table, name, 0, 0);
		free(name);
	}
	for (size_t r = 0; r < t->rows; r++) {
		struct libscols_line *line = scols_table_new_line(table, NULL);
		for (size_t i = 0; line && i < t->width; i++)
			scols_line_set_data(line, i, cell(t, r, i));
	}
	scols_print_table(table);
	scols_unref_table(table);
}

static void print_plain(const struct cli_table *t)
{
	for (size_t r = 0; r < t->rows; r++) {
		for (size_t i = 0; i < t->width; i++) {
			if (i)
				putchar('\t');
			cli_put(cell(t, r, i));
		}
		putchar('\n');
	}
}

json_t *cli_json_text(const char *s)
{
	json_t *json = json_string(s);
	if (json)
		return json;
	char *copy = xstrdup(s);
	for (char *p = copy; *p; p++)
		if ((unsigned char)*p >= 0x80)
			*p = '?';
	json = json_string(copy);
	free(copy);
	return json;
}

static void print_json(const struct cli_table *t)
{
	json_t *array = json_array();
	for (size_t r = 0; r < t->rows; r++) {
		json_t *object = json_object();
		for (size_t i = 0; i < t->width; i++)
			json_object_set_new(object, t->columns[i], cli_json_text(cell(t, r, i)));
		json_array_append_new(array, object);
	}
	cli_json_print(array);
}

void cli_table_print(struct cli_table *t)
{
	if (t->cli->json)
		print_json(t);
	else if (t->cli->tty && t->rows)
		print_tty(t);
	else
		print_plain(t);
	for (size_t i = 0; i < t->rows * t->width; i++)
		free(t->cells[i]);
	for (size_t i = 0; i < t->width; i++)
		free(t->columns[i]);
	free(t->cells);
	free(t->columns);
	free(t);
}

void cli_json_print(json_t *json)
{
	json_dumpf(json, stdout, JSON_INDENT(2) | JSON_ENCODE_ANY);
	putchar('\n');
	json_decref(json);
}

const char *cli_json_get(const json_t *object, const char *key)
{
	const char *s = json_string_value(json_object_get(object, key));
	return s ? s : "";
}

void cli_put(const char *s)
{
	for (; *s; s++) {
		bool c1 = (unsigned char)s[0] == 0xc2 && (unsigned char)s[1] >= 0x80 && (unsigned char)s[1] <= 0x9f;
		putchar(c1 || (unsigned char)*s < 0x20 || *s == 0x7f ? '?' : *s);
		s += c1; /* U+009B is an escape sequence to terminals too */
	}
}
