/*
 * Loading: libconfig lexes, the schema table says what each name means, then defaults, the index and the cross-checks.
 *
 * Files: the site file, what it @includes, and drop-ins: `site.d/ *.conf` beside site.conf (for NAME.conf: NAME.d), in
 * name order, which may add to lists only.  Everything that is wrong is collected and sorted in file order; only a
 * file that does not parse ends the reading early, since nothing in it can be trusted.
 */
#include <dirent.h>
#include <errno.h>
#include <libconfig.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "findings.h"
#include "index.h"
#include "lib/log.h"
#include "lib/text.h"
#include "prescan.h"
#include "value.h"

struct loader {
	struct site *site;
	struct findings *findings;
	const char *file;    /* being read, as shown; includes show their own */
	const char *include; /* the folder of @include, as shown; "" for the current one */
	bool drop_in;
	const char *edited; /* the drop-in that is read from edited_text instead, or NULL */
	struct view edited_text;
};

const struct service_info services[SERVICE_COUNT] = {
	[SERVICE_SMTP] = { "smtp", 25, false },
	[SERVICE_SUBMISSION] = { "submission", 587, false },
	[SERVICE_SUBMISSIONS] = { "submissions", 465, true },
	[SERVICE_IMAP] = { "imap", 143, false },
	[SERVICE_IMAPS] = { "imaps", 993, true },
	[SERVICE_POP3] = { "pop3", 110, false },
	[SERVICE_POP3S] = { "pop3s", 995, true },
};

/* The folder of a path as shown: "" for a plain name, so that joined paths look as typed. */
static char *folder_of(const char *path)
{
	const char *slash = strrchr(path, '/');
	if (!slash)
		return xstrdup("");
	return view_dup((struct view){ path, slash == path ? 1 : (size_t)(slash - path) });
}

static char *join(const char *dir, const char *name)
{
	if (name[0] == '/' || !dir[0])
		return xstrdup(name);
	return xasprintf("%s%s%s", dir, dir[strlen(dir) - 1] == '/' ? "" : "/", name);
}

/* One copy of each file name, which origins point to. */
static const char *intern(struct site *site, const char *file)
{
	struct strings *files = &site->files;
	for (size_t i = files->count; i > 0; i--)
		if (strcmp(files->at[i - 1], file) == 0)
			return files->at[i - 1];
	files->at = xreallocarray(files->at, files->count + 1, sizeof(char *));
	return files->at[files->count++] = xstrdup(file);
}

/* libconfig names the file it was given, and of an @include what stands there. */
static const char *shown_file(struct loader *l, const char *file)
{
	if (!file || strcmp(file, l->file) == 0)
		return intern(l->site, l->file);
	char *path = join(l->include, file);
	const char *shown = intern(l->site, path);
	free(path);
	return shown;
}

static struct site_origin origin_of(struct loader *l, const config_setting_t *setting)
{
	return (struct site_origin){ shown_file(l, config_setting_source_file(setting)),
		config_setting_source_line(setting) };
}

static void unknown_key(struct loader *l, const config_setting_t *setting, int parent, const struct site_origin *origin)
{
	const char *name = config_setting_name(setting);
	const char *near = schema_nearest(parent, name);
	struct buf where = BUF_INIT(256);
	if (parent >= 0)
		buf_printf(&where, "%s%s.", schema[parent].path, schema[parent].type == TYPE_GROUPS ? "[]" : "");
	if (near)
		findings_add(l->findings, false, origin, "unknown key %s%.100s; did you mean '%s'?", buf_str(&where),
		    name, near);
	else
		findings_add(l->findings, false, origin,
		    "unknown key %s%.100s; mailadm site schema lists what there is", buf_str(&where), name);
	buf_free(&where);
}

static void load_group(struct loader *l, const config_setting_t *group, int parent, void *base, bool *seen);

static void element_defaults(
    struct loader *l, int parent, void *element, const bool *seen, const struct site_origin *origin)
{
	const char *what = schema[parent].what;
	for (int row = schema_next_child(parent, parent); row >= 0; row = schema_next_child(parent, row)) {
		if (schema[row].type == TYPE_GROUP) /* whose settings are the element's, too */
			element_defaults(l, row, element, seen, origin);
		if (seen[row] || schema[row].type == TYPE_GROUP)
			continue;
		if (schema[row].required)
			findings_add(l->findings, false, origin, "%s %s has no %s; add %s = %s;",
			    strchr("aeiou", what[0]) ? "an" : "a", what, schema_name(row), schema_name(row),
			    schema_example(&schema[row]));
		value_default(&schema[row], element);
	}
}

static void load_groups(struct loader *l, const config_setting_t *list, int row)
{
	const struct schema_row *r = &schema[row];
	char *base = (char *)l->site;
	void **array = (void **)(void *)(base + r->offset);
	size_t *count = (size_t *)(void *)(base + r->count_offset);
	unsigned length = (unsigned)config_setting_length(list);
	*array = xreallocarray(*array, *count + length + 1, r->element_size);
	for (unsigned i = 0; i < length; i++) {
		const config_setting_t *item = config_setting_get_elem(list, i);
		struct site_origin origin = origin_of(l, item);
		if (!config_setting_is_group(item)) {
			findings_add(l->findings, false, &origin, "%s holds groups only; write each %s as { ... }",
			    r->path, r->what);
			continue;
		}
		bool seen[SCHEMA_MAX] = { false };
		char *element = (char *)*array + (*count)++ * r->element_size;
		memset(element, 0, r->element_size);
		if (r->begin)
			r->begin(element);
		*(struct site_origin *)(void *)(element + r->origin_offset) = origin;
		load_group(l, item, row, element, seen);
		element_defaults(l, row, element, seen, &origin);
	}
}

static void load_setting(struct loader *l, const config_setting_t *setting, int row, void *base, bool *seen,
    const struct site_origin *origin)
{
	const struct schema_row *r = &schema[row];
	bool group = config_setting_is_group(setting), list = config_setting_is_list(setting);
	if (r->type == TYPE_GROUP && group)
		load_group(l, setting, row, base, seen);
	else if (r->type == TYPE_GROUPS && list)
		load_groups(l, setting, row);
	else if (r->type == TYPE_GROUP || r->type == TYPE_GROUPS)
		findings_add(l->findings, false, origin, "%s must be a %s; write it like %s = %s;", r->path,
		    schema_type_name(r->type), schema_name(row), schema_example(r));
	else if (r->type == TYPE_SECRET)
		findings_add(l->findings, false, origin, "%s must not stand in the site; %s", r->path, r->doc);
	else if (l->drop_in && base == (void *)l->site)
		findings_add(l->findings, false, origin,
		    "%s cannot stand in a drop-in, which only adds to lists; move it to %s", r->path, l->site->path);
	else if (value_set(r, base, setting, l->findings, origin) < 0)
		value_default(r, base); /* so that the checks see something sane */
}

static void load_group(struct loader *l, const config_setting_t *group, int parent, void *base, bool *seen)
{
	unsigned length = (unsigned)config_setting_length(group);
	for (unsigned i = 0; i < length; i++) {
		const config_setting_t *setting = config_setting_get_elem(group, i);
		struct site_origin origin = origin_of(l, setting);
		int row = schema_find(parent, config_setting_name(setting));
		if (row < 0) {
			unknown_key(l, setting, parent, &origin);
			continue;
		}
		if (base == (void *)l->site && (!l->drop_in || l->site->origins[row].line == 0))
			l->site->origins[row] = origin;
		if (seen)
			seen[row] = true;
		load_setting(l, setting, row, base, seen, &origin);
	}
}

/* libconfig's words into ours. */
static void syntax_error(struct loader *l, const config_t *config)
{
	static const struct {
		const char *theirs, *ours;
	} words[] = {
		{ "syntax error",
		    "syntax error; look here and on the line before for a missing ';', quote or bracket" },
		{ "duplicate setting name", "this name is set a second time in its group; keep one of the two" },
		{ "mismatched element type in array", "values of different types in [ ]; use a list ( ) of one type" },
		{ "cannot open include file", "cannot open what @include names; correct the path" },
		{ "include file nesting too deep",
		    "files include each other too deeply; look for a file that includes itself" },
	};
	const char *text = config_error_text(config) ? config_error_text(config) : "unreadable";
	struct site_origin origin = { shown_file(l, config_error_file(config)), (unsigned)config_error_line(config) };
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (strcmp(words[i].theirs, text) == 0) {
			findings_add(l->findings, false, &origin, "%s", words[i].ours);
			return;
		}
	}
	findings_add(l->findings, false, &origin, "%s; correct the syntax", text);
}

static void read_parsed(struct loader *l, config_t *config, int parsed)
{
	if (parsed)
		load_group(l, config_root_setting(config), -1, l->site, NULL);
	else
		syntax_error(l, config);
	config_destroy(config);
}

static int read_file(struct loader *l, const char *path)
{
	l->file = path;
	intern(l->site, path);
	if (prescan_file(path, path, l->include, l->findings) < 0)
		return -1;
	config_t config;
	config_init(&config);
	config_set_include_dir(&config, l->include[0] ? l->include : ".");
	int parsed = config_read_file(&config, path);
	read_parsed(l, &config, parsed);
	return parsed ? 0 : -1;
}

static int is_drop_in(const struct dirent *e)
{
	size_t n = strlen(e->d_name);
	return n > 5 && e->d_name[0] != '.' && strcmp(e->d_name + n - 5, ".conf") == 0;
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name); /* whatever the locale */
}

char *site_drop_in_dir(const char *path)
{
	size_t n = strlen(path);
	bool conf = n > 5 && strcmp(path + n - 5, ".conf") == 0;
	return xasprintf("%.*s.d", (int)(conf ? n - 5 : n), path);
}

static int read_text(struct loader *l, const char *path, struct view text)
{
	l->file = path;
	intern(l->site, path);
	if (prescan_text(text, path, l->findings) < 0)
		return -1;
	char *copy = view_dup(text);
	config_t config;
	config_init(&config);
	int parsed = config_read_string(&config, copy);
	read_parsed(l, &config, parsed);
	free(copy);
	return parsed ? 0 : -1;
}

static int read_drop_in(struct loader *l, const char *path)
{
	if (l->edited && strcmp(path, l->edited) == 0)
		return read_text(l, path, l->edited_text);
	return read_file(l, path);
}

/* The paths of the drop-ins, sorted, with the edited one even where it does not exist yet. -1: the folder cannot be
 * read. */
static int list_drop_ins(struct loader *l, struct strings *paths)
{
	char *dir = site_drop_in_dir(l->site->path);
	struct dirent **entries = NULL;
	int count = scandir(dir, &entries, is_drop_in, by_name), result = 0;
	bool edited = l->edited != NULL;
	if (count < 0 && errno != ENOENT) {
		struct site_origin origin = { intern(l->site, dir), 0 };
		findings_add(l->findings, false, &origin, "cannot read the drop-ins: %s; make the folder readable",
		    strerror(errno));
		result = -1;
	}
	paths->at = xcalloc(count > 0 ? (size_t)count + 1 : 1, sizeof(char *));
	for (int i = 0; i < count; i++) {
		char *path = join(dir, entries[i]->d_name);
		int order = edited ? strcmp(l->edited, path) : 1;
		if (edited && order <= 0) {
			if (order < 0)
				paths->at[paths->count++] = xstrdup(l->edited);
			edited = false;
		}
		paths->at[paths->count++] = path;
		free(entries[i]);
	}
	if (edited)
		paths->at[paths->count++] = xstrdup(l->edited);
	free(entries);
	free(dir);
	return result;
}

/* 0, or -1 when one could not be read. */
static int read_drop_ins(struct loader *l)
{
	struct strings paths = { 0 };
	int result = list_drop_ins(l, &paths);
	l->drop_in = true;
	for (size_t i = 0; i < paths.count; i++) {
		if (read_drop_in(l, paths.at[i]) < 0)
			result = -1;
		free(paths.at[i]);
	}
	free(paths.at);
	return result;
}

static void required_missing(struct loader *l)
{
	struct site *site = l->site;
	struct site_origin nowhere = { site->files.at[0], 0 };
	for (int row = 0; row < (int)schema_count; row++) {
		const struct schema_row *r = &schema[row];
		if (strchr(r->path, '[') || !r->required || site->origins[row].line)
			continue;
		int group = schema_find(-1, "host"); /* the only group with a required member */
		struct site_origin *at = site->origins[group].line ? &site->origins[group] : &nowhere;
		if (!(at->line && check_said(l->findings, at)))
			findings_add(l->findings, false, at, "%s is missing; add %s = %s; to %s", r->path,
			    schema_name(row), schema_example(r), schema_name(group));
	}
}

static char *absolute(const struct site *site, const char *path)
{
	char *whole = path[0] == '/' ? xstrdup(path) : join(site->dir, path);
	size_t n = strlen(whole);
	while (n > 1 && whole[n - 1] == '/')
		whole[--n] = 0;
	return whole;
}

static void set_if_none(char **at, const char *value)
{
	if (!*at)
		*at = xstrdup(value ? value : "");
}

static void site_defaults(struct loader *l)
{
	struct site *site = l->site;
	for (size_t row = 0; row < schema_count; row++)
		if (!strchr(schema[row].path, '[') && site->origins[row].line == 0)
			value_default(&schema[row], site);
	set_if_none(&site->host.ipv4, "");
	set_if_none(&site->host.ipv6, "");
	set_if_none(&site->host.public_ipv4, site->host.ipv4);
	set_if_none(&site->host.public_ipv6, site->host.ipv6);
	for (size_t i = 0; i < site->account_count; i++)
		if (site->accounts[i].shared || (site->accounts[i].state && strcmp(site->accounts[i].state, "active") != 0))
			site->accounts[i].protocols = 0;
	if (!site->admin.contact && site->account_count && site->accounts[0].address)
		site->admin.contact = xstrdup(site->accounts[0].address);
	set_if_none(&site->state_dir, "/var/lib/mailadm");
	char *state = absolute(site, site->state_dir);
	free(site->state_dir);
	site->state_dir = state;
	char *run = site->run_dir                            ? absolute(site, site->run_dir)
	            : strcmp(state, "/var/lib/mailadm") == 0 ? xstrdup("/run/mailadm")
	                                                     : join(state, "run");
	free(site->run_dir);
	site->run_dir = run;
	if (site->dns.local_resolver && site->dns.forward.count == 0) {
		free(site->dns.forward.at);
		site->dns.forward.at = xcalloc(1, sizeof(char *));
		site->dns.forward.at[site->dns.forward.count++] = xstrdup("127.0.0.1");
	}
	int lists = schema_find(schema_find(-1, "dns"), "block_lists");
	if (site->origins[lists].line == 0) {
		site->dns.block_lists.at = xcalloc(1, sizeof(char *));
		site->dns.block_lists.at[site->dns.block_lists.count++] = xstrdup("zen.spamhaus.org");
	}
	char *zones = site->dns.zone_dir                       ? absolute(site, site->dns.zone_dir)
	              : strcmp(state, "/var/lib/mailadm") == 0 ? xstrdup("/var/lib/bind/mailadm")
	                                                       : join(state, "zones");
	free(site->dns.zone_dir);
	site->dns.zone_dir = zones;
	for (size_t i = 0; i < site->alias_count; i++)
		if (site->aliases[i].list && !site->aliases[i].owner && site->admin.contact)
			site->aliases[i].owner = xstrdup(site->admin.contact);
	for (size_t i = 0; i < site->backup_count; i++)
		if (!site->backups[i].password_file && site->backups[i].name)
			site->backups[i].password_file =
			    xasprintf("%s/backup-%s.password", state, site->backups[i].name);
}

static struct site *site_new(const char *path)
{
	struct site *site = xcalloc(1, sizeof(*site));
	char *folder = folder_of(path);
	char *real = realpath(folder[0] ? folder : ".", NULL);
	site->references = 1;
	site->path = xstrdup(path);
	site->dir = real ? real : xstrdup(folder[0] ? folder : ".");
	site->origins = xcalloc(schema_count, sizeof(*site->origins));
	for (size_t i = 0; i < schema_count; i++)
		site->origins[i].file = "default";
	free(folder);
	return site;
}

/* Defaults and checks; readable is false when a file did not parse, and what is missing may stand there. */
static struct site *finish(struct loader *l, size_t first, bool readable, bool files)
{
	struct site *site = l->site;
	if (readable) {
		required_missing(l);
		site_defaults(l);
		index_build(site, l->findings);
		check_routes(site, l->findings);
		check_machine(site, l->findings);
		check_firewall(site, l->findings);
		check_gateway(site, l->findings);
		check_dns(site, l->findings);
		check_lists(site, l->findings);
		if (files)
			check_files(site, l->findings);
	}
	bool wrong = !readable;
	for (size_t i = first; i < l->findings->count; i++)
		wrong = wrong || !l->findings->at[i].warning;
	if (!wrong)
		check_advice(site, files, l->findings);
	findings_sort(l->findings, first, &site->files);
	if (!wrong)
		return site;
	site_unref(site);
	return NULL;
}

struct site *site_load_with(const char *path, const char *drop_in, struct view text, struct findings *findings)
{
	char *include = folder_of(path);
	struct loader l = {
		.site = site_new(path), .findings = findings, .include = include, .edited = drop_in, .edited_text = text
	};
	size_t first = findings->count;
	bool readable = read_file(&l, path) == 0;
	if (readable)
		readable = read_drop_ins(&l) == 0;
	struct site *site = finish(&l, first, readable, true);
	free(include);
	return site;
}

struct site *site_load(const char *path, struct findings *findings)
{
	return site_load_with(path, NULL, VIEW_NONE, findings);
}

struct site *site_load_memory(struct view text, const char *path, struct findings *findings)
{
	struct loader l = { .site = site_new(path), .findings = findings, .include = "" };
	size_t first = findings->count;
	bool readable = false;
	intern(l.site, path);
	if (text.len && memchr(text.ptr, 0, text.len)) {
		struct site_origin origin = { path, 0 };
		findings_add(findings, false, &origin, "holds a NUL byte; it is no site");
	} else {
		readable = read_text(&l, path, text) == 0;
	}
	return finish(&l, first, readable, false);
}

struct site *site_ref(struct site *site)
{
	site->references++;
	return site;
}

static void free_members(int row, char *element)
{
	for (int child = schema_next_child(row, row); child >= 0; child = schema_next_child(row, child)) {
		if (schema[child].type == TYPE_GROUP)
			free_members(child, element);
		else
			value_free(&schema[child], element);
	}
}

static void free_elements(struct site *site, int row)
{
	const struct schema_row *r = &schema[row];
	char *base = (char *)site;
	char *array = *(char **)(void *)(base + r->offset);
	size_t count = *(size_t *)(void *)(base + r->count_offset);
	for (size_t i = 0; i < count; i++)
		free_members(row, array + i * r->element_size);
}

void site_unref(struct site *site)
{
	if (!site || --site->references > 0)
		return;
	for (int row = 0; row < (int)schema_count; row++) { /* `aliases` and `lists` share an array: members first */
		if (schema[row].type == TYPE_GROUPS)
			free_elements(site, row);
		else if (!strchr(schema[row].path, '['))
			value_free(&schema[row], site);
	}
	free(site->domains);
	free(site->accounts);
	free(site->aliases);
	free(site->backups);
	free(site->routes);
	free(site->checks.allow_lists);
	free(site->checks.block_lists);
	free(site->submission.trusted);
	free(site->firewall.extra);
	free(site->firewall.out);
	free(site->firewall.tests);
	index_free(site->index);
	for (size_t i = 0; i < site->files.count; i++)
		free(site->files.at[i]);
	free(site->files.at);
	free(site->origins);
	free(site->path);
	free(site->dir);
	free(site);
}

char *site_state(const struct site *site, const char *name)
{
	return xasprintf("%s/%s", site->state_dir, name);
}

char *site_path(const struct site *site, const char *name)
{
	return name[0] == '/' ? xstrdup(name) : join(site->dir, name);
}

uint16_t site_port(const struct site *site, enum service service)
{
	return (uint16_t)(services[service].port + site->port_offset);
}
