/*
 * The drop-in that `account` and `alias` own.  An edit is: lock, read, change, check the whole site with the change in
 * it, write a new file, rename.  The lock is on a file of its own, since the drop-in is replaced.
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
#define HEAD                                                                                                           \
	"# Written by mailadm account and mailadm alias, which replace this file: comments and layout do not stay.\n"  \
	"# What you want to keep by hand belongs into the site file or another drop-in.\n\n"
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
	if (file_mkdirs(d->dir, 0755, &e) < 0) {
		cli_error("%s", e.text);
		d->lock = -1;
	} else if ((d->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600)) < 0 || flock(d->lock, LOCK_EX) < 0) {
		cli_error("cannot lock %s: %s", path, strerror(errno));
	}
	free(path);
	return d->lock < 0 ? -1 : 0;
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
	char *text = NULL;
	size_t size = 0;
	FILE *memory = open_memstream(&text, &size);
	if (!memory)
		return -1;
	config_write(&d->config, memory);
	int result = fclose(memory) == 0 && buf_puts(out, HEAD) == 0 && buf_add(out, text, size) == 0 ? 0 : -1;
	free(text);
	return result;
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
	if (site && file_write_atomic(d->path, buf_view(&text), 0644, &e) < 0)
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
