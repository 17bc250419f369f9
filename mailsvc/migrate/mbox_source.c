/*
 * mbox files as source.  A file is mapped and read twice: for what is in it, then for what store does not have.  A
 * message is known by its X-UID with the file's UIDVALIDITY, or by a hash of what it holds and how often that came
 * before in the file, so that a file that grew is taken from where it was left.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mailsvc/migrate/mbox.h"
#include "mailsvc/migrate/migrate.h"
#include "mailsvc/mime/mime.h"

#define DEPTH_MAX 20

struct mbox {
	struct migrate_source source;
	int fd;
	const char *name; /* of a single file; else NULL */
	struct view map;  /* the folder that is read now */
};

static void unmap(struct mbox *m)
{
	if (m->map.ptr != NULL && m->map.len > 0)
		munmap((void *)(uintptr_t)m->map.ptr, m->map.len);
	m->map = VIEW_NONE;
}

static int map_file(struct mbox *m, const struct migrate_folder *f, struct error *e)
{
	int fd = m->name != NULL ? m->fd : openat(m->fd, f->locator, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	struct stat st = { 0 };
	void *p = MAP_FAILED;

	unmap(m);
	if (fd == -1)
		return error_errno(e, "cannot open");
	if (fstat(fd, &st) == -1 || !S_ISREG(st.st_mode))
		error_set(e, "is no file");
	else if (st.st_size > 0 && (p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0)) == MAP_FAILED)
		error_errno(e, "cannot read");
	if (fd != m->fd)
		close(fd);
	if (p == MAP_FAILED)
		return S_ISREG(st.st_mode) && st.st_size == 0 ? 0 : -1;
	m->map = (struct view){ p, (size_t)st.st_size };
	return 0;
}

/* Folders ------------------------------------------------------------------------------------------------------- */

static bool begins_as_mbox(int dir, const char *name)
{
	int fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	struct stat st;
	char head[5];
	bool is = false;

	if (fd == -1)
		return false;
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
		is = st.st_size == 0 || (read(fd, head, sizeof(head)) == sizeof(head) && memcmp(head, "From ", 5) == 0);
	close(fd);
	return is;
}

static void add_file(struct mbox *m, struct reader *r, const char *file)
{
	const char *path = file;
	char name[MAILBOX_NAME_MAX + 1], folder[PATH_MAX];
	size_t n;

	/* Thunderbird keeps what is below folder X in X.sbd. */
	for (n = 0; path[n] && n + 1 < sizeof(folder);) {
		if (strncmp(path + n, ".sbd/", 5) == 0)
			path += 4;
		folder[n] = path[n];
		n++;
	}
	folder[n] = '\0';
	if (n > 5 && strcmp(folder + n - 5, ".mbox") == 0)
		folder[n - 5] = '\0';
	if (migrate_name_levels(view_of(folder), '/', name))
		migrate_folder_add(&m->source, r, name, file);
	else
		reader_problem(r, "%s: its name is none that a mailbox can have; it is left out", file);
}

static void walk(struct mbox *m, struct reader *r, int dir, const char *path, unsigned depth)
{
	int copy = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = copy == -1 ? NULL : fdopendir(copy);
	const struct dirent *entry;

	while (d != NULL && (entry = readdir(d)) != NULL) {
		char below[PATH_MAX];
		struct stat st;

		if (entry->d_name[0] == '.' || fstatat(dir, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == -1 ||
		    (size_t)snprintf(below, sizeof(below), "%s%s%s", path, *path ? "/" : "", entry->d_name) >=
			sizeof(below))
			continue;
		if (S_ISDIR(st.st_mode) && depth < DEPTH_MAX) {
			int fd = openat(dir, entry->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
			if (fd != -1) {
				walk(m, r, fd, below, depth + 1);
				close(fd);
			}
		} else if (S_ISREG(st.st_mode) && begins_as_mbox(dir, entry->d_name))
			add_file(m, r, below);
	}
	if (d != NULL)
		closedir(d);
	else if (copy != -1)
		close(copy);
}

static int folders(struct migrate_source *s, struct reader *r, struct error *e)
{
	struct mbox *m = (struct mbox *)s;

	if (m->name != NULL)
		migrate_folder_add(s, r, m->name, "");
	else
		walk(m, r, m->fd, "", 0);
	return s->count > 0 ? 0 : error_set(e, "there is no mbox file in it");
}

/* Messages -------------------------------------------------------------------------------------------------------- */

static int digest_order(const void *pa, const void *pb)
{
	const struct migrate_item *a = pa, *b = pb;
	int c = memcmp(a->key, b->key, IMPORT_KEY_LEN);

	return c != 0 ? c : a->place < b->place ? -1 : a->place > b->place;
}

/* Without UIDs: equal messages are told apart by their order. */
static void number_doubles(const struct mbox *m, struct migrate_folder *f)
{
	uint8_t last[IMPORT_KEY_LEN] = { 0 };
	uint64_t nth = 0;

	if (f->count > 1)
		qsort(f->items, f->count, sizeof(*f->items), digest_order);
	for (size_t i = 0; i < f->count; i++) {
		struct migrate_item *item = &f->items[i];
		char number[24];

		nth = i > 0 && memcmp(last, item->key, IMPORT_KEY_LEN) == 0 ? nth + 1 : 0;
		memcpy(last, item->key, IMPORT_KEY_LEN);
		if (item->uid != 0)
			continue;
		snprintf(number, sizeof(number), "%llu", (unsigned long long)nth);
		migrate_key(item->key, m->source.label, number, view_of(f->name),
		    (struct view){ (const char *)last, sizeof(last) });
	}
}

static void set_keywords(struct migrate_folder *f, struct migrate_item *item, struct view words)
{
	size_t at = 0;

	while (at < words.len) {
		size_t n = 0;
		while (at < words.len && strchr(" \t\r\n", words.ptr[at]) != NULL)
			at++;
		while (at + n < words.len && strchr(" \t\r\n", words.ptr[at + n]) == NULL)
			n++;
		item->keywords |= migrate_keyword(f, (struct view){ words.ptr + at, n });
		at += n;
	}
}

static void set_date(struct migrate_item *item, const struct mbox_message *message)
{
	struct view header = { message->text.ptr, mime_header_len(message->text) };
	struct view date = mime_header_find(header, "Date");
	int16_t zone;

	if (mbox_from_date(message->from, &item->date) < 0 &&
	    (date.ptr == NULL || mime_parse_date(date, &item->date, &zone) < 0))
		item->date = 0;
}

static int list(struct migrate_source *s, struct reader *r, struct migrate_folder *f, struct error *e)
{
	struct mbox *m = (struct mbox *)s;
	struct buf plain = BUF_INIT(STORE_BODY_MAX);
	struct mbox_message message;
	struct mbox_state state;
	size_t at = 0;

	if (map_file(m, f, e) < 0)
		return -1;
	while (mbox_next(m->map, &at, &message)) {
		buf_reset(&plain);
		if (mbox_take(message.text, &state, &plain) < 0) {
			reader_problem(r, "%s: the message at byte %zu is too long; it is left out", f->name,
			    (size_t)(message.from.ptr - m->map.ptr));
			continue;
		}
		if (state.uid_validity != 0 && f->uid_validity == 0)
			f->uid_validity = state.uid_validity;
		if (state.internal || state.expunged || f->count >= MIGRATE_MESSAGES_MAX)
			continue;
		struct migrate_item *item = migrate_item_add(f);
		item->place = (uint64_t)(message.from.ptr - m->map.ptr);
		item->size = plain.len;
		item->flags = state.flags;
		item->uid = f->uid_validity != 0 ? state.uid : 0;
		set_keywords(f, item, state.keywords);
		set_date(item, &message);
		if (item->uid != 0)
			migrate_key_uid(item->key, s->label, f->name, f->uid_validity, item->uid);
		else
			migrate_key(item->key, "", "mbox", VIEW_NONE, buf_view(&plain));
	}
	buf_free(&plain);
	if (at == 0 && m->map.len > 0)
		return error_set(e, "is no mbox file: there is no line \"From \" in it");
	number_doubles(m, f);
	return 0;
}

static int fetch(struct migrate_source *s, struct reader *r, struct migrate_folder *f, struct migrate_item *items,
    const bool *want, size_t count, struct error *e)
{
	struct mbox *m = (struct mbox *)s;
	struct buf plain = BUF_INIT(STORE_BODY_MAX);
	struct mbox_message message;
	struct mbox_state state;
	int rc = 0;

	(void)e;
	for (size_t i = 0; i < count && rc == 0; i++) {
		size_t at = items[i].place;

		buf_reset(&plain);
		if (want[i] && mbox_next(m->map, &at, &message) && mbox_take(message.text, &state, &plain) == 0)
			rc = reader_offer(r, f, &items[i], buf_view(&plain));
	}
	buf_free(&plain);
	return rc;
}

struct migrate_source *migrate_mbox(int fd, const char *name, const char *label)
{
	struct mbox *m = xcalloc(1, sizeof(*m));

	m->source = (struct migrate_source){ .label = label, .folders = folders, .list = list, .fetch = fetch };
	m->fd = fd;
	m->name = name;
	return &m->source;
}
