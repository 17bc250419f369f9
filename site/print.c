/*
 * A loaded site as text, from the schema: one libconfig text with every value, for roles, for people (with origins),
 * and as JSON. What is printed loads back to the same site.
 */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "lib/text.h"
#include "schema.h"
#include "value.h"

static void put_string(struct buf *out, const char *s)
{
	buf_addc(out, '"');
	for (; *s; s++) {
		if (*s == '"' || *s == '\\')
			buf_addc(out, '\\');
		buf_addc(out, *s);
	}
	buf_addc(out, '"');
}

static void put_strings(struct buf *out, const struct strings *list)
{
	buf_puts(out, "( ");
	for (size_t i = 0; i < list->count; i++) {
		if (i)
			buf_puts(out, ", ");
		put_string(out, list->at[i]);
	}
	buf_puts(out, list->count ? " )" : ")");
}

static void put_protocols(struct buf *out, unsigned bits)
{
	const char *comma = "";
	buf_puts(out, "( ");
	for (unsigned i = 0; protocol_names[i]; i++) {
		if (bits & 1u << i) {
			buf_printf(out, "%s\"%s\"", comma, protocol_names[i]);
			comma = ", ";
		}
	}
	buf_puts(out, bits ? " )" : ")");
}

static const void *member(const struct schema_row *row, const void *base)
{
	return (const char *)base + row->offset;
}

static void put_value(struct buf *out, const struct schema_row *row, const void *base)
{
	char text[24];
	switch (row->type) {
	case TYPE_BOOL:
		buf_puts(out, *(const bool *)member(row, base) ? "true" : "false");
		break;
	case TYPE_INT:
		buf_printf(out, "%llu", (unsigned long long)value_number(row, base));
		break;
	case TYPE_SIZE:
		value_size_text(value_number(row, base), text);
		put_string(out, text);
		break;
	case TYPE_DURATION:
		text_format_duration(value_number(row, base), text);
		put_string(out, text);
		break;
	case TYPE_PROTOCOLS:
		put_protocols(out, *(const unsigned *)member(row, base));
		break;
	case TYPE_STRINGS:
	case TYPE_ADDRESSES:
	case TYPE_DOMAINS:
	case TYPE_PREFIXES:
	case TYPE_MATCHES:
		put_strings(out, member(row, base));
		break;
	default:
		put_string(out, *(char *const *)member(row, base));
	}
}

/* A text that is not set is not printed: it has no value that could be written. */
static bool has_value(const struct schema_row *row, const void *base)
{
	if (row->type == TYPE_SECRET)
		return false;
	if (row->type >= TYPE_STRING && row->type <= TYPE_ENUM)
		return *(char *const *)member(row, base) != NULL;
	return true;
}

struct elements {
	const char *array;
	size_t count;
};

static struct elements elements_of(const struct site *site, const struct schema_row *row)
{
	const char *base = (const char *)site;
	return (struct elements){ *(const char *const *)(const void *)(base + row->offset),
		*(const size_t *)(const void *)(base + row->count_offset) };
}

struct printer {
	const struct site *site;
	struct buf *out;
	bool origin;
};

static void indent(struct printer *p, int depth)
{
	for (int i = 0; i < depth; i++)
		buf_addc(p->out, '\t');
}

static void put_origin(struct printer *p, const struct site_origin *origin)
{
	if (p->origin && origin->line)
		buf_printf(p->out, " # %s:%u", origin->file, origin->line);
	else if (p->origin)
		buf_puts(p->out, " # default");
}

/* The settings of an element, groups of it included, on one line. */
static void put_members(struct buf *out, int row, const char *element)
{
	for (int child = schema_next_child(row, row); child >= 0; child = schema_next_child(row, child)) {
		const struct schema_row *r = &schema[child];
		if (r->type != TYPE_GROUP && !has_value(r, element))
			continue;
		buf_printf(out, " %s = ", schema_name(child));
		if (r->type == TYPE_GROUP) {
			buf_addc(out, '{');
			put_members(out, child, element);
			buf_puts(out, " }");
		} else
			put_value(out, r, element);
		buf_addc(out, ';');
	}
}

static void print_elements(struct printer *p, int row, int depth)
{
	const struct schema_row *r = &schema[row];
	struct elements e = elements_of(p->site, r);
	size_t left = 0;
	for (size_t i = 0; i < e.count; i++)
		left += !r->holds || r->holds(e.array + i * r->element_size);
	indent(p, depth);
	buf_printf(p->out, "%s = (%s", schema_name(row), left ? "" : " );");
	if (!left)
		put_origin(p, &p->site->origins[row]);
	buf_addc(p->out, '\n');
	for (size_t i = 0; left && i < e.count; i++) {
		const char *element = e.array + i * r->element_size;
		if (r->holds && !r->holds(element))
			continue;
		indent(p, depth + 1);
		buf_puts(p->out, "{");
		put_members(p->out, row, element);
		buf_puts(p->out, --left ? " }," : " }");
		put_origin(p, (const struct site_origin *)(const void *)(element + r->origin_offset));
		buf_addc(p->out, '\n');
		if (!left) {
			indent(p, depth);
			buf_puts(p->out, ");\n");
		}
	}
}

static void print_group(struct printer *p, int parent, int depth)
{
	for (int row = schema_next_child(parent, parent); row >= 0; row = schema_next_child(parent, row)) {
		const struct schema_row *r = &schema[row];
		if (r->type == TYPE_GROUPS) {
			print_elements(p, row, depth);
			continue;
		}
		if (r->type != TYPE_GROUP && !has_value(r, p->site))
			continue;
		indent(p, depth);
		buf_printf(p->out, "%s = ", schema_name(row));
		if (r->type == TYPE_GROUP) {
			buf_puts(p->out, "{\n");
			print_group(p, row, depth + 1);
			indent(p, depth);
			buf_puts(p->out, "};\n");
			continue;
		}
		put_value(p->out, r, p->site);
		buf_addc(p->out, ';');
		put_origin(p, &p->site->origins[row]);
		buf_addc(p->out, '\n');
	}
}

int site_print(const struct site *site, bool origin, struct buf *out)
{
	struct printer p = { site, out, origin };
	print_group(&p, -1, 0);
	return out->full ? -1 : 0;
}

int site_flatten(const struct site *site, struct buf *out)
{
	return site_print(site, false, out);
}

/* ---- JSON */

static json_t *json_strings(const struct strings *list)
{
	json_t *array = json_array();
	for (size_t i = 0; i < list->count; i++)
		json_array_append_new(array, json_string(list->at[i]));
	return array;
}

static json_t *json_value(const struct schema_row *row, const void *base)
{
	switch (row->type) {
	case TYPE_BOOL:
		return json_boolean(*(const bool *)member(row, base));
	case TYPE_INT:
	case TYPE_SIZE:
	case TYPE_DURATION:
		return json_integer((json_int_t)value_number(row, base));
	case TYPE_PROTOCOLS: {
		json_t *array = json_array();
		for (unsigned i = 0; protocol_names[i]; i++)
			if (*(const unsigned *)member(row, base) & 1u << i)
				json_array_append_new(array, json_string(protocol_names[i]));
		return array;
	}
	case TYPE_STRINGS:
	case TYPE_ADDRESSES:
	case TYPE_DOMAINS:
	case TYPE_PREFIXES:
	case TYPE_MATCHES:
		return json_strings(member(row, base));
	default:
		return json_string(*(char *const *)member(row, base));
	}
}

static json_t *json_members(int row, const char *element)
{
	json_t *object = json_object();
	for (int child = schema_next_child(row, row); child >= 0; child = schema_next_child(row, child)) {
		if (schema[child].type == TYPE_GROUP)
			json_object_set_new(object, schema_name(child), json_members(child, element));
		else if (has_value(&schema[child], element))
			json_object_set_new(object, schema_name(child), json_value(&schema[child], element));
	}
	return object;
}

static json_t *json_elements(const struct site *site, int row)
{
	const struct schema_row *r = &schema[row];
	struct elements e = elements_of(site, r);
	json_t *array = json_array();
	for (size_t i = 0; i < e.count; i++) {
		const char *element = e.array + i * r->element_size;
		if (r->holds && !r->holds(element))
			continue;
		json_array_append_new(array, json_members(row, element));
	}
	return array;
}

static json_t *json_group(const struct site *site, int parent)
{
	json_t *object = json_object();
	for (int row = schema_next_child(parent, parent); row >= 0; row = schema_next_child(parent, row)) {
		json_t *value = NULL;
		if (schema[row].type == TYPE_GROUP)
			value = json_group(site, row);
		else if (schema[row].type == TYPE_GROUPS)
			value = json_elements(site, row);
		else if (has_value(&schema[row], site))
			value = json_value(&schema[row], site);
		if (value)
			json_object_set_new(object, schema_name(row), value);
	}
	return object;
}

int site_print_json(const struct site *site, struct buf *out)
{
	json_t *object = json_group(site, -1);
	char *text = json_dumps(object, JSON_INDENT(2));
	if (!text || buf_puts(out, text) < 0 || buf_addc(out, '\n') < 0)
		out->full = true;
	free(text);
	json_decref(object);
	return out->full ? -1 : 0;
}
