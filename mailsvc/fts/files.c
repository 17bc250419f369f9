/* The accounts' index files: at most FTS_OPEN_MAX are open, those used last. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/clock.h"
#include "mailsvc/fts/internal.h"

void fts_files_close(struct fts *f, struct fts_open *o)
{
	LIST_REMOVE(o, entry);
	f->open_count--;
	fts_index_close(o->index);
	free(o);
}

void fts_files_broken(struct fts *f, struct fts_open *o)
{
	uint32_t account = o->account;

	log_warnx("event=fts.broken account=%u", account);
	fts_files_close(f, o);
	fts_index_remove(f->dir, account);
	numbers_add(&f->accounts, account);
}

void fts_files_close_all(struct fts *f)
{
	struct fts_open *o;

	while ((o = LIST_FIRST(&f->open)) != NULL)
		fts_files_close(f, o);
}

static void close_oldest(struct fts *f)
{
	struct fts_open *o, *oldest = LIST_FIRST(&f->open);

	LIST_FOREACH(o, &f->open, entry)
	if (o->used_ms < oldest->used_ms)
		oldest = o;
	fts_files_close(f, oldest);
}

struct fts_open *fts_files_get(struct fts *f, uint32_t account, bool create)
{
	struct fts_open *o;
	struct fts_index *index;
	struct error e;
	char *path;
	bool there;

	LIST_FOREACH(o, &f->open, entry)
	{
		if (o->account == account) {
			o->used_ms = clock_mono_ms();
			return o;
		}
	}
	path = xasprintf("%s/%u.fts", f->dir, account);
	there = access(path, F_OK) == 0;
	free(path);
	if (!there && !create)
		return NULL;
	if (f->open_count >= FTS_OPEN_MAX)
		close_oldest(f);
	index = fts_index_open(f->dir, account, &e);
	if (index == NULL) {
		log_warnx("event=fts.open account=%u error=\"%s\"", account, e.text);
		return NULL;
	}
	o = xcalloc(1, sizeof(*o));
	*o = (struct fts_open){ .account = account, .index = index, .used_ms = clock_mono_ms() };
	LIST_INSERT_HEAD(&f->open, o, entry);
	f->open_count++;
	return o;
}

static void forget(struct fts *f, uint32_t account)
{
	struct fts_open *o;

	LIST_FOREACH(o, &f->open, entry)
	if (o->account == account)
		break;
	if (o != NULL)
		fts_files_close(f, o);
	fts_index_remove(f->dir, account);
	log_info("event=fts.removed account=%u", account);
}

void fts_files_sweep(struct fts *f)
{
	DIR *dir = opendir(f->dir);
	char address[ADDRESS_MAX];
	struct numbers gone = { 0 };

	for (struct dirent *d; dir != NULL && (d = readdir(dir)) != NULL;) {
		const char *dot = strchr(d->d_name, '.');
		uint64_t account;
		bool orphaned;

		if (dot == NULL || strcmp(dot, ".fts") != 0 ||
		    view_u64((struct view){ d->d_name, (size_t)(dot - d->d_name) }, UINT32_MAX, &account) != 0)
			continue;
		if (view_address(f->view, (uint32_t)account, address, &orphaned) != 1 || orphaned)
			numbers_add(&gone, (uint32_t)account);
	}
	if (dir != NULL)
		closedir(dir);
	/* A store that went away meanwhile knows nobody. */
	for (size_t i = 0; i < gone.count && store_view_ready(f->view); i++)
		forget(f, gone.at[i]);
	free(gone.at);
}
