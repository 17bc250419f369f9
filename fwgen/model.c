/*
 * A site's rule model: sets, then what comes in, passes through or goes out by the machine's role (model_input.c,
 * model_gateway.c, model_output.c).  Here: the files that the site names, and the whole.
 */
#include <stdlib.h>
#include <string.h>

#include "fwgen/model.h"
#include "lib/proc.h"

#define BLOCKLIST_MAX (64u << 20)
#define INCLUDE_MAX (1u << 20)
#define PATH_SHOWN 90 /* bytes of it in a rule's comment, so that the line's number fits too */

static struct fw_set *add_set(struct fw_model *m, const char *name, enum fw_type type, const char *why)
{
	struct fw_set *set = fw_set_add(m, name, type, why);

	set->interval = true;
	return set;
}

static void add_bans(struct fw_model *m, const char *name, enum fw_type type)
{
	struct fw_set *set = fw_set_add(m, name, type, "sources of failed logins and abuse, firewall.ban");

	set->timeouts = true;
	set->size = FW_BANS_MAX;
}

static int add_blocklists(struct fw_model *m, const struct site *s, struct error *e)
{
	struct fw_ranges v4 = { .type = FW_TYPE_IPV4 }, v6 = { .type = FW_TYPE_IPV6 };
	int r = 0;

	for (size_t i = 0; r == 0 && i < s->firewall.block_lists.count; i++) {
		char *path = site_path(s, s->firewall.block_lists.at[i]);
		struct buf text = BUF_INIT(BLOCKLIST_MAX);
		struct error why;
		unsigned line;

		if (file_read(path, BLOCKLIST_MAX, &text, &why) == -1)
			r = error_set(e, "firewall.block_lists: %s", why.text);
		else if (fw_blocklist_parse(buf_view(&text), &v4, &v6, &line, &why) == -1)
			r = error_set(e, "%s:%u: %s", path, line, why.text);
		buf_free(&text);
		free(path);
	}
	if (v4.count > 0)
		add_set(m, FW_SET_BLOCKED4, FW_TYPE_IPV4, "firewall.block_lists")->elements = v4;
	if (v6.count > 0)
		add_set(m, FW_SET_BLOCKED6, FW_TYPE_IPV6, "firewall.block_lists")->elements = v6;
	return r;
}

/* Does what a chain may also hold begin here, which is no rule: its hook, a constant, another file? */
static bool begins_other(struct view line)
{
	static const char *const words[] = { "comment", "define", "devices", "flags", "include", "policy", "redefine",
		"type", "undefine" };
	size_t n = 0;

	while (n < line.len && line.ptr[n] >= 'a' && line.ptr[n] <= 'z')
		n++;
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (n == strlen(words[i]) && memcmp(line.ptr, words[i], n) == 0)
			return true;
	return false;
}

/* Is it text that JSON can show? */
static bool is_utf8(struct view line)
{
	json_t *string = json_stringn(line.ptr, line.len);

	json_decref(string);
	return string != NULL;
}

/* A line of an include is a rule of its own: nothing in it may end the chain and begin something else. */
static int check_line(struct view line)
{
	int depth = 0;
	bool quoted = false, comment = false;

	if (begins_other(line) || !is_utf8(line))
		return -1;
	for (size_t i = 0; i < line.len; i++) {
		char c = line.ptr[i];

		if (((unsigned char)c < ' ' && c != '\t') || c == 0x7f)
			return -1;
		comment = comment || (c == '#' && !quoted);
		if (comment)
			continue;
		if (c == '"')
			quoted = !quoted;
		else if (!quoted && (c == '{' || c == '}'))
			depth += c == '{' ? 1 : -1;
		else if (!quoted && (c == ';' || (c == '\\' && i + 1 == line.len)))
			return -1;
		if (depth < 0)
			return -1;
	}
	return depth == 0 && !quoted ? 0 : -1;
}

static int add_include(struct fw_model *m, const char *path, struct view text, struct error *e)
{
	size_t n = strlen(path);
	const char *end_of_path = path + (n > PATH_SHOWN ? n - PATH_SHOWN : 0);

	for (unsigned number = 1; text.len > 0; number++) {
		const char *end = memchr(text.ptr, '\n', text.len);
		struct view line = { text.ptr, end != NULL ? (size_t)(end - text.ptr) : text.len };

		text.ptr += line.len + (end != NULL);
		text.len -= line.len + (end != NULL);
		while (line.len > 0 && (*line.ptr == ' ' || *line.ptr == '\t')) {
			line.ptr++;
			line.len--;
		}
		while (line.len > 0 && strchr(" \t\r", line.ptr[line.len - 1]) != NULL)
			line.len--;
		if (line.len == 0 || *line.ptr == '#')
			continue;
		if (check_line(line) == -1)
			return error_set(e,
			    "%s:%u: this is not one nft rule; write one rule a line, in UTF-8, without ';'", path,
			    number);
		fw_rule_add(m, "custom", FW_CONTINUE, "firewall.include, %s:%u", end_of_path, number)->custom =
		    view_dup(line);
		m->includes = true;
	}
	return 0;
}

static int add_includes(struct fw_model *m, const struct site *s, struct error *e)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < s->firewall.include.count; i++) {
		char *path = site_path(s, s->firewall.include.at[i]);
		struct buf text = BUF_INIT(INCLUDE_MAX);
		struct error why;

		if (file_read(path, INCLUDE_MAX, &text, &why) == -1)
			r = error_set(e, "firewall.include: %s", why.text);
		else
			r = add_include(m, path, buf_view(&text), e);
		buf_free(&text);
		free(path);
	}
	return r;
}

/* Where the log is off, what was dropped is counted only. */
static void drop_logs(struct fw_model *m)
{
	for (size_t i = 0; i < m->chain_count; i++) {
		struct fw_chain *c = &m->chains[i];

		if (c->reason == NULL || c->count != 2)
			continue;
		c->rules[0] = c->rules[1];
		c->count = 1;
	}
}

struct fw_model *fw_model_of(const struct site *s, struct error *e)
{
	struct fw_model *m = xcalloc(1, sizeof(*m));

	m->gateway = strcmp(s->role, "gateway") == 0;
	if (m->gateway && (s->gateway.outside[0] == '\0' || s->gateway.inside[0] == '\0')) {
		fw_model_free(m);
		error_set(e,
		    "%s: role is gateway, but gateway.outside or gateway.inside is not set; name both interfaces",
		    s->path);
		return NULL;
	}
	if (m->gateway)
		fw_model_behind(m, s);
	add_bans(m, FW_SET_BANS4, FW_TYPE_IPV4);
	add_bans(m, FW_SET_BANS6, FW_TYPE_IPV6);
	if (add_blocklists(m, s, e) == -1 || add_includes(m, s, e) == -1) {
		fw_model_free(m);
		return NULL;
	}
	fw_model_input(m, s);
	if (m->gateway)
		fw_model_gateway(m, s);
	else
		fw_model_output(m, s);
	if (!s->firewall.log)
		drop_logs(m);
	return m;
}

static void free_rule(struct fw_rule *r)
{
	for (size_t i = 0; i < r->term_count; i++)
		fw_ranges_free(&r->terms[i].values);
	free(r->custom);
}

void fw_model_free(struct fw_model *m)
{
	if (m == NULL)
		return;
	for (size_t i = 0; i < m->set_count; i++)
		fw_ranges_free(&m->sets[i].elements);
	for (size_t i = 0; i < m->chain_count; i++) {
		for (size_t j = 0; j < m->chains[i].count; j++)
			free_rule(&m->chains[i].rules[j]);
		free(m->chains[i].rules);
	}
	free(m->notes);
	fw_ranges_free(&m->behind4);
	fw_ranges_free(&m->behind6);
	free(m->sets);
	free(m->chains);
	free(m);
}
