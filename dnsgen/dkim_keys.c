/* dkim_keys.h: the folder's names, sorted, so that a domain's stand together. */
#include "dnsgen/dkim_keys.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>

#define NAMES_MAX 1000000 /* files in the folder that are looked at */

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool has_ending(const char *name, const char *ending)
{
	size_t n = strlen(name), len = strlen(ending);
	return n > len && strcmp(name + n - len, ending) == 0;
}

void dkim_folder_read(const struct site *s, struct dkim_folder *out)
{
	char *path = xasprintf("%s/dkim", s->dir);
	DIR *dir = opendir(path);
	const struct dirent *entry;
	size_t room = 0;
	*out = (struct dkim_folder){ { NULL, 0 } };
	while (dir && out->names.count < NAMES_MAX && (entry = readdir(dir)) != NULL) {
		if (!has_ending(entry->d_name, ".pub") && !has_ending(entry->d_name, ".revoked"))
			continue;
		if (out->names.count == room) {
			room = room ? room * 2 : 16;
			out->names.at = xreallocarray(out->names.at, room, sizeof(*out->names.at));
		}
		out->names.at[out->names.count++] = xstrdup(entry->d_name);
	}
	if (dir)
		closedir(dir);
	free(path);
	if (out->names.count > 1)
		qsort(out->names.at, out->names.count, sizeof(*out->names.at), by_name);
}

void dkim_folder_free(struct dkim_folder *f)
{
	for (size_t i = 0; i < f->names.count; i++)
		free(f->names.at[i]);
	free(f->names.at);
	*f = (struct dkim_folder){ { NULL, 0 } };
}

/* "SELECTOR.pub" or "SELECTOR.revoked": one label. */
static bool parse_rest(const char *rest, struct dkim_published *out)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_";
	size_t len = strspn(rest, plain);
	bool key = strcmp(rest + len, ".pub") == 0;
	out->revoked = strcmp(rest + len, ".revoked") == 0;
	return (key || out->revoked) && len > 0 && len < sizeof(out->selector) &&
	       view_copy((struct view){ rest, len }, out->selector, sizeof(out->selector)) == 0;
}

/* A key that is there again counts more than that it was revoked. */
static void add(struct dkim_published **at, size_t *count, struct dkim_published *one, char *path)
{
	one->path = path;
	for (size_t i = 0; i < *count; i++) {
		if (strcmp((*at)[i].selector, one->selector) != 0)
			continue;
		if (!one->revoked) {
			free((*at)[i].path);
			(*at)[i] = *one;
		} else {
			free(path);
		}
		return;
	}
	*at = xreallocarray(*at, *count + 1, sizeof(**at));
	(*at)[(*count)++] = *one;
}

void dkim_folder_published(const struct dkim_folder *f, const struct site *s, const struct site_domain *d,
    struct dkim_published **at, size_t *count)
{
	size_t len = strlen(d->name), low = 0, high = f->names.count;
	*at = NULL;
	*count = 0;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (strncmp(f->names.at[middle], d->name, len) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	for (; low < f->names.count && strncmp(f->names.at[low], d->name, len) == 0; low++) {
		struct dkim_published one;
		const char *name = f->names.at[low];
		if (name[len] == '.' && parse_rest(name + len + 1, &one))
			add(at, count, &one, xasprintf("%s/dkim/%s", s->dir, name));
	}
}

int dkim_published(const struct site *s, const struct site_domain *d, struct dkim_published **at, size_t *count)
{
	struct dkim_folder folder;
	dkim_folder_read(s, &folder);
	dkim_folder_published(&folder, s, d, at, count);
	dkim_folder_free(&folder);
	return 0;
}

void dkim_published_free(struct dkim_published *at, size_t count)
{
	for (size_t i = 0; i < count; i++)
		free(at[i].path);
	free(at);
}
