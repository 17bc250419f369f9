/*
 * The drop-in that `account` and `alias` own.  An edit is: lock, read, change, check the whole site with the change in
 * it, write a new file, rename.  The lock is on a file of its own, since the drop-in is replaced.
 *
 * A file that does not begin with our mark, or that holds what writing it again would lose (comments, includes), is not
 * edited: the site may be kept in git, and what somebody wrote by hand there is his.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dropin.h"
#include "lib/proc.h"
#include "site/address.h"

#define NAME "90-mailadm.conf"
#define MARK                                                                                                           \
	"# Written by mailadm account and mailadm alias, which replace this file: comments and layout do not stay.\n"
#define HEAD MARK "# What you want to keep by hand belongs into the site file or another drop-in.\n\n"
#define FILE_MAX (64u << 20)

int cli_address(const char *argument, char *out, size_t size)
{
	if (address_normalise(view_of(argument), out, size) == 0)
		return 0;
	cli_error("%s is no mail address; write it like alice@example.org", argument);
	return -1;
}

static int take_lock(struct dropin *d)
{
	struct error e;
	char *path = xasprintf("%s/.lock", d->dir);
	int result = file_mkdirs(d->dir, 0755, &e);
	if (result < 0) {
		cli_error("%s", e.text);
	} else if ((d->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600)) < 0 ||
		   flock(d->lock, LOCK_EX) < 0) {
		cli_error("cannot lock %s: %s", path, strerror(errno));
		result = -1;
	}
	free(path);
	return result;
}

/* The configuration as libconfig writes it. */
static int config_text(const config_t *config, struct buf *out)
{
	char *text = NULL;
	size_t size = 0;
	FILE *memory = open_memstream(&text, &size);
	if (!memory)
		return -1;
	config_write(config, memory);
	int result = fclose(memory) == 0 ? buf_add(out, text, size) : -1;
	free(text);
	return result;
}

/* The next byte that is no blank, with ':' and '=' the same; 0 at the end.  Counts lines. */
static char next_byte(struct view *v, unsigned *line)
{
	while (v->len > 0) {
		char c = *v->ptr++;
		v->len--;
		if (c == '\n')
			(*line)++;
		else if (c != ' ' && c != '\t' && c != '\r')
			return c == ':' ? '=' : c;
	}
	return 0;
}

/* The line of `there` from which on writing `ours` would lose something; 0: nothing but blanks would change. */
static unsigned first_lost(struct view there, struct view ours)
{
	const char *end;
	unsigned line = 1, ignored = 0;
	for (const char *head = HEAD; *head && (end = strchr(head, '\n')); head = end + 1, line++) {
		size_t n = (size_t)(end + 1 - head);
		if (there.len < n || memcmp(there.ptr, head, n) != 0)
			break;
		there = (struct view){ there.ptr + n, there.len - n };
	}
	for (;;) {
		char a = next_byte(&there, &line), b = next_byte(&ours, &ignored);
		if (a != b)
			return line;
		if (a == 0)
			return 0;
	}
}

/* Is it ours, and nothing in it that we would lose?  Else which file, and what to do. */
static int check_owner(const struct dropin *d, struct buf *text)
{
	struct buf ours = BUF_INIT(FILE_MAX);
	const char *there = buf_str(text);
	int result = 0;
	if (strncmp(there, MARK, sizeof(MARK) - 1) != 0) {
		cli_error(
		    "%s:1: this file is not mailadm's own (its first line is not \"%.48s...\"), so it is not edited; "
		    "give it another name in %s, and mailadm begins its own",
		    d->path, MARK, d->dir);
		result = -1;
	} else if (config_text(&d->config, &ours) < 0) {
		cli_error("%s is larger than %u bytes", d->path, FILE_MAX);
		result = -1;
	} else {
		unsigned line = first_lost(buf_view(text), buf_view(&ours));
		if (line) {
			cli_error("%s:%u: edited by hand, and mailadm would lose that when it writes the file anew; "
				  "move what is "
				  "yours to another file in %s, or give this one another name and keep it as yours",
			    d->path, line, d->dir);
			result = -1;
		}
	}
	buf_free(&ours);
	return result;
}

bool dropin_owns(const char *site_path, const char *file)
{
	char *dir = site_drop_in_dir(site_path), *path = xasprintf("%s/" NAME, dir);
	struct buf text = BUF_INIT(FILE_MAX);
	struct error e;
	bool owns = strcmp(path, file) == 0 && file_read(path, FILE_MAX, &text, &e) == 0 &&
	            strncmp(buf_str(&text), MARK, sizeof(MARK) - 1) == 0;
	buf_free(&text);
	free(path);
	free(dir);
	return owns;
}

static int read_config(struct dropin *d)
{
	struct buf text = BUF_INIT(FILE_MAX);
	struct error e;
	struct stat st;
	int result = 0;
	config_init(&d->config);
	if (stat(d->path, &st) < 0 && errno == ENOENT)
		return 0;
	if (file_read(d->path, FILE_MAX, &text, &e) < 0) {
		cli_error("%s", e.text);
		result = -1;
	} else if (!config_read_string(&d->config, buf_str(&text))) {
		cli_error("%s:%d: %s; correct it by hand, or remove the file", d->path, config_error_line(&d->config),
		    config_error_text(&d->config));
		result = -1;
	} else if (text.len > 0) {
		result = check_owner(d, &text);
	}
	buf_free(&text);
	return result;
}

int dropin_open(struct cli *cli, struct dropin *d)
{
	*d = (struct dropin){ .lock = -1 };
	if (access(cli->site_path, R_OK) < 0) {
		cli_error("cannot read %s: %s; name the site file with -c FILE, or make one with mailadm init",
		    cli->site_path, strerror(errno));
		return -1;
	}
	d->dir = site_drop_in_dir(cli->site_path);
	d->path = xasprintf("%s/" NAME, d->dir);
	if (take_lock(d) < 0 || read_config(d) < 0) {
		dropin_close(d);
		return -1;
	}
	return 0;
}

void dropin_close(struct dropin *d)
{
	config_destroy(&d->config);
	if (d->lock >= 0)
		close(d->lock);
	free(d->path);
	free(d->dir);
	*d = (struct dropin){ .lock = -1 };
}

static int write_text(struct dropin *d, struct buf *out)
{
	return buf_puts(out, HEAD) == 0 ? config_text(&d->config, out) : -1;
}

int dropin_commit(struct cli *cli, struct dropin *d)
{
	struct buf text = BUF_INIT(FILE_MAX);
	struct findings f = { 0 };
	struct error e;
	struct site *site = NULL;
	int result = -1;
	if (write_text(d, &text) < 0)
		cli_error("%s would be larger than %u bytes; nothing was changed", d->path, FILE_MAX);
	else
		site = site_load_with(cli->site_path, d->path, buf_view(&text), &f);
	for (size_t i = 0; i < f.count; i++)
		if (!f.at[i].warning)
			fprintf(stderr, "%s\n", f.at[i].text);
	if (!site && f.errors)
		cli_error("the site would have errors; nothing was changed");
	struct stat st;
	mode_t mode = stat(d->path, &st) == 0 ? st.st_mode & 0777 : 0644; /* as the administrator wants it read */
	if (site && file_write_atomic(d->path, buf_view(&text), mode, &e) < 0)
		cli_error("%s; nothing was changed", e.text);
	else if (site)
		result = 0;
	if (result == 0) {
		site_unref(cli->site);
		cli->site = site;
	} else {
		site_unref(site);
	}
	findings_free(&f);
	buf_free(&text);
	return result;
}

static config_setting_t *list_of(struct dropin *d, const char *group)
{
	config_setting_t *root = config_root_setting(&d->config);
	config_setting_t *list = config_setting_get_member(root, group);
	if (list && config_setting_is_list(list))
		return list;
	if (list)
		config_setting_remove(root, group);
	return config_setting_add(root, group, CONFIG_TYPE_LIST);
}

config_setting_t *dropin_find(struct dropin *d, const char *group, const char *normalised, unsigned *index)
{
	config_setting_t *list = config_setting_get_member(config_root_setting(&d->config), group);
	unsigned count = list && config_setting_is_list(list) ? (unsigned)config_setting_length(list) : 0;
	for (unsigned i = 0; i < count; i++) {
		config_setting_t *element = config_setting_get_elem(list, i);
		const char *address;
		char normal[ADDRESS_MAX];
		if (!config_setting_is_group(element) || !config_setting_lookup_string(element, "address", &address) ||
		    address_normalise(view_of(address), normal, sizeof(normal)) < 0 || strcmp(normal, normalised) != 0)
			continue;
		if (index)
			*index = i;
		return element;
	}
	return NULL;
}

config_setting_t *dropin_add(struct dropin *d, const char *group, const char *normalised)
{
	config_setting_t *element = config_setting_add(list_of(d, group), NULL, CONFIG_TYPE_GROUP);
	dropin_set(element, "address", normalised);
	return element;
}

void dropin_remove(struct dropin *d, const char *group, unsigned index)
{
	config_setting_remove_elem(list_of(d, group), index);
}

void dropin_set(config_setting_t *element, const char *name, const char *value)
{
	config_setting_t *setting = config_setting_get_member(element, name);
	if (!setting)
		setting = config_setting_add(element, name, CONFIG_TYPE_STRING);
	config_setting_set_string(setting, value);
}

void dropin_set_bool(config_setting_t *element, const char *name, bool value)
{
	config_setting_t *setting = config_setting_get_member(element, name);
	if (!setting)
		setting = config_setting_add(element, name, CONFIG_TYPE_BOOL);
	config_setting_set_bool(setting, value);
}

void dropin_append(config_setting_t *element, const char *name, const char *value)
{
	config_setting_t *list = config_setting_get_member(element, name);
	if (list && !config_setting_is_list(list)) { /* one text, or an array: becomes a list */
		const char *only = config_setting_get_string(list);
		char *kept = only ? xstrdup(only) : NULL;
		config_setting_remove(element, name);
		list = config_setting_add(element, name, CONFIG_TYPE_LIST);
		if (kept)
			config_setting_set_string_elem(list, -1, kept);
		free(kept);
	}
	if (!list)
		list = config_setting_add(element, name, CONFIG_TYPE_LIST);
	for (int i = 0; i < config_setting_length(list); i++) {
		const char *there = config_setting_get_string_elem(list, i);
		if (there && strcmp(there, value) == 0)
			return;
	}
	config_setting_set_string_elem(list, -1, value);
}
