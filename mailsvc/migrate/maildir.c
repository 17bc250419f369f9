/*
 * A Maildir as source: Maildir++ (".A.B" beside cur) or folders as folders, with what Dovecot and Courier keep beside
 * the messages: dovecot-uidlist and courierimapuiddb (UIDVALIDITY, UIDs), dovecot-keywords and courierimapkeywords,
 * and both kinds of lists of subscriptions.
 *
 * A message's date is the time of its file, as for both.  A file that is gone when it is read was renamed by a client
 * meanwhile (its flags changed): its folder is looked through once more.  Files that Dovecot compressed with gzip are
 * inflated.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/inflate.h"
#include "mailsvc/migrate/maildir.h"
#include "mailsvc/migrate/migrate.h"

#define DEPTH_MAX 20
#define LIST_FILE_MAX (512u << 20)

struct maildir {
	struct migrate_source source;
	int root;
};

static int open_below(int dir, const char *name, int flags)
{
	return openat(dir, name, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK | flags);
}

/* A whole small file below a folder. 1, 0: not there, -1: errno. */
static int slurp(int dir, const char *name, size_t max, struct buf *out)
{
	int fd = open_below(dir, name, 0);
	struct stat st;
	ssize_t n = 0;

	if (fd == -1)
		return errno == ENOENT || errno == ENOTDIR ? 0 : -1;
	if (fstat(fd, &st) == -1 || !S_ISREG(st.st_mode) || (uint64_t)st.st_size > max) {
		close(fd);
		errno = EFBIG;
		return -1;
	}
	while (buf_reserve(out, 65536) != NULL && (n = read(fd, out->data + out->len, 65536)) > 0)
		out->len += (size_t)n;
	close(fd);
	return n == 0 ? 1 : -1;
}

/* Folders ------------------------------------------------------------------------------------------------------- */

static bool is_folder(int dir, const char *name)
{
	struct stat st;

	return fstatat(dir, name, &st, 0) == 0 && S_ISDIR(st.st_mode);
}

static void dot_folder(struct migrate_source *s, struct reader *r, const char *entry)
{
	char name[MAILBOX_NAME_MAX + 1];

	if (migrate_name_levels(view_of(entry + 1), '.', name))
		migrate_folder_add(s, r, name, entry);
	else
		reader_problem(r, "%s: its name is none that a mailbox can have; it is left out", entry);
}

static void walk(struct migrate_source *s, struct reader *r, int dir, const char *path, unsigned depth)
{
	int copy = open_below(dir, ".", O_DIRECTORY);
	DIR *d = copy == -1 ? NULL : fdopendir(copy);
	const struct dirent *entry;

	while (d != NULL && (entry = readdir(d)) != NULL) {
		const char *n = entry->d_name;
		char below[PATH_MAX], cur[NAME_MAX + 8], name[MAILBOX_NAME_MAX + 1];

		if (strcmp(n, ".") == 0 || strcmp(n, "..") == 0 || strcmp(n, "cur") == 0 || strcmp(n, "new") == 0 ||
		    strcmp(n, "tmp") == 0 || strncmp(n, "courierimap", 11) == 0 || !is_folder(dir, n))
			continue;
		snprintf(cur, sizeof(cur), "%s/cur", n);
		if (n[0] == '.') {
			if (depth == 0 && is_folder(dir, cur))
				dot_folder(s, r, n);
			continue;
		}
		if ((size_t)snprintf(below, sizeof(below), "%s%s%s", path, *path ? "/" : "", n) >= sizeof(below) ||
		    depth >= DEPTH_MAX)
			continue;
		int fd = open_below(dir, n, O_DIRECTORY | O_NOFOLLOW);
		if (is_folder(dir, cur)) {
			if (migrate_name_levels(view_of(below), '/', name))
				migrate_folder_add(s, r, name, below);
			else
				reader_problem(r, "%s: its name is none that a mailbox can have", below);
		}
		if (fd != -1) {
			walk(s, r, fd, below, depth + 1);
			close(fd);
		}
	}
	if (d == NULL) {
		reader_problem(r, "%s: %s", *path ? path : ".", strerror(errno));
		if (copy != -1)
			close(copy);
	} else
		closedir(d);
}

/* Dovecot's "subscriptions" (version 2: tabs between levels) and Courier's "courierimapsubscribed" (INBOX.A.B). */
static void subscriptions(struct maildir *m)
{
	static const char *const files[] = { "subscriptions", "courierimapsubscribed" };

	for (int i = 0; i < 2; i++) {
		struct buf b = BUF_INIT(16u << 20);
		struct view rest, line;
		bool tabs = false;

		if (slurp(m->root, files[i], 16u << 20, &b) == 1) {
			m->source.knows_subscriptions = true;
			for (rest = buf_view(&b); maildir_line(&rest, &line);) {
				char name[MAILBOX_NAME_MAX + 1];
				if (view_eq(line, "V\t2"))
					tabs = true;
				else if (line.len > 6 && strncasecmp(line.ptr, "INBOX.", 6) == 0)
					line = (struct view){ line.ptr + 6, line.len - 6 };
				if (line.len > 0 && !view_eq(line, "V\t2") &&
				    migrate_name_levels(line, tabs ? '\t' : '.', name))
					migrate_subscribe(&m->source, name);
			}
		}
		buf_free(&b);
	}
}

static int folders(struct migrate_source *s, struct reader *r, struct error *e)
{
	struct maildir *m = (struct maildir *)s;

	if (!is_folder(m->root, "cur") && !is_folder(m->root, "new"))
		error_set(e, "it has no folder cur: no Maildir");
	else
		migrate_folder_add(s, r, "INBOX", ".");
	walk(s, r, m->root, "", 0);
	subscriptions(m);
	return s->count == 0 ? -1 : 0;
}

/* One folder ------------------------------------------------------------------------------------------------------ */

/* Letters a to z are the numbers of keywords. */
static void set_flags(
    struct migrate_folder *f, struct migrate_item *item, const struct maildir_beside *beside, const char *name)
{
	const char *info = strstr(name, ":2,");

	for (const char *p = info ? info + 3 : ""; *p && *p != ','; p++) {
		item->flags |= migrate_flag_letter(*p);
		if (*p == 'P')
			item->keywords |= migrate_keyword(f, VIEW_LIT("$Forwarded"));
		else if (*p >= 'a' && *p <= 'z' && beside->letters[*p - 'a'].ptr != NULL)
			item->keywords |= migrate_keyword(f, beside->letters[*p - 'a']);
	}
}

static void add_message(struct maildir *m, struct migrate_folder *f, const struct maildir_beside *beside, int dir,
    const char *sub, const char *name)
{
	struct view base = { name, strcspn(name, ":") }, numbers = maildir_courier_numbers(beside, base), keyword;
	struct migrate_item *item;
	struct stat st;

	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == -1 || !S_ISREG(st.st_mode) ||
	    f->count >= MIGRATE_MESSAGES_MAX)
		return;
	item = migrate_item_add(f);
	item->date = st.st_mtime;
	item->size = (uint64_t)st.st_size;
	item->locator = xasprintf("%s/%s", sub, name);
	item->uid = maildir_uid(beside, base);
	if (sub[0] == 'c')
		set_flags(f, item, beside, name);
	while (maildir_courier_keyword(beside, &numbers, &keyword))
		item->keywords |= migrate_keyword(f, keyword);
	if (item->uid != 0)
		migrate_key_uid(item->key, m->source.label, f->name, f->uid_validity, item->uid);
	else
		migrate_key(item->key, m->source.label, "maildir", view_of(f->name), base);
}

static int scan(
    struct maildir *m, struct migrate_folder *f, const struct maildir_beside *beside, int dir, const char *sub)
{
	int fd = open_below(dir, sub, O_DIRECTORY);
	DIR *d = fd == -1 ? NULL : fdopendir(fd);
	const struct dirent *entry;

	if (d == NULL) {
		if (fd != -1)
			close(fd);
		return errno == ENOENT ? 0 : -1;
	}
	while ((entry = readdir(d)) != NULL)
		if (entry->d_name[0] != '.')
			add_message(m, f, beside, fd, sub, entry->d_name);
	closedir(d);
	return 0;
}

/* A message that a client renames while we read may be seen under both names: once is enough. */
static void drop_doubles(struct migrate_folder *f)
{
	size_t kept = 0;

	migrate_items_sort(f);
	for (size_t i = 0; i < f->count; i++) {
		if (kept > 0 && memcmp(f->items[kept - 1].key, f->items[i].key, IMPORT_KEY_LEN) == 0)
			free(f->items[i].locator);
		else
			f->items[kept++] = f->items[i];
	}
	f->count = kept;
}

static int list(struct migrate_source *s, struct reader *r, struct migrate_folder *f, struct error *e)
{
	static const char *const uid_files[] = { "dovecot-uidlist", "courierimapuiddb" };
	struct maildir *m = (struct maildir *)s;
	struct buf uids = BUF_INIT(LIST_FILE_MAX), words = BUF_INIT(1u << 20), courier = BUF_INIT(LIST_FILE_MAX);
	struct maildir_beside beside = { 0 };
	int dir = open_below(m->root, f->locator, O_DIRECTORY), rc = -1;

	if (dir == -1)
		return error_errno(e, "cannot open");
	for (int i = 0; i < 2 && beside.uid_validity == 0; i++) {
		buf_reset(&uids);
		if (slurp(dir, uid_files[i], LIST_FILE_MAX, &uids) == -1 ||
		    (uids.len > 0 && maildir_uidlist(&beside, buf_view(&uids)) < 0))
			reader_problem(r, "%s: %s is not understood; its messages get new UIDs", f->name, uid_files[i]);
	}
	if (slurp(dir, "dovecot-keywords", 1u << 20, &words) == 1)
		maildir_keywords(&beside, buf_view(&words));
	if (slurp(dir, "courierimapkeywords/:list", LIST_FILE_MAX, &courier) == 1)
		maildir_courier(&beside, buf_view(&courier));
	f->uid_validity = beside.uid_validity;
	if (scan(m, f, &beside, dir, "cur") < 0 || scan(m, f, &beside, dir, "new") < 0)
		error_errno(e, "cannot be listed");
	else
		rc = 0;
	drop_doubles(f);
	close(dir);
	maildir_beside_free(&beside);
	buf_free(&uids);
	buf_free(&words);
	buf_free(&courier);
	return rc;
}

/* Messages -------------------------------------------------------------------------------------------------------- */

/* Its name may have changed with its flags, or it moved from new to cur. 1, 0: gone, -1. */
static int read_message(int dir, const char *locator, struct buf *out)
{
	const char *slash = strchr(locator, '/');
	size_t base = slash ? strcspn(slash + 1, ":") : 0;
	int rc = slurp(dir, locator, STORE_BODY_MAX, out), fd;
	const struct dirent *entry;
	DIR *d;

	if (rc != 0 || slash == NULL)
		return rc;
	if ((fd = open_below(dir, "cur", O_DIRECTORY)) == -1 || (d = fdopendir(fd)) == NULL) {
		if (fd != -1)
			close(fd);
		return 0;
	}
	while (rc == 0 && (entry = readdir(d)) != NULL)
		if (strncmp(entry->d_name, slash + 1, base) == 0 && strcspn(entry->d_name, ":") == base)
			rc = slurp(fd, entry->d_name, STORE_BODY_MAX, out);
	closedir(d);
	return rc;
}

static int offer(struct reader *r, struct migrate_folder *f, const struct migrate_item *item, const struct buf *message)
{
	static const unsigned char gzip[] = { 0x1f, 0x8b }, zstd[] = { 0x28, 0xb5, 0x2f, 0xfd },
				   lz4[] = "Dovecot-LZ4\x0d\x2a\x9b\xc5";
	struct buf plain = BUF_INIT(STORE_BODY_MAX);
	int rc = 0;

	if (message->len > 18 && memcmp(message->data, gzip, sizeof(gzip)) == 0) {
		if (inflate_all(buf_view(message), INFLATE_GZIP, &plain) < 0)
			reader_problem(r, "%s: %s: cannot be inflated", f->name, item->locator);
		else
			rc = reader_offer(r, f, item, buf_view(&plain));
	} else if (message->len > 16 &&
		   (memcmp(message->data, zstd, sizeof(zstd)) == 0 || memcmp(message->data, lz4, 11) == 0)) {
		reader_problem(r, "%s: %s: compressed in a way that is not read here; take it with mailadm import imap",
		    f->name, item->locator);
	} else
		rc = reader_offer(r, f, item, buf_view(message));
	buf_free(&plain);
	return rc;
}

static int fetch(struct migrate_source *s, struct reader *r, struct migrate_folder *f, struct migrate_item *items,
    const bool *want, size_t count, struct error *e)
{
	struct maildir *m = (struct maildir *)s;
	struct buf message = BUF_INIT(STORE_BODY_MAX);
	int dir = open_below(m->root, f->locator, O_DIRECTORY), rc = 0;

	if (dir == -1)
		return error_errno(e, "%s: cannot open", f->locator);
	for (size_t i = 0; i < count && rc == 0; i++) {
		if (!want[i])
			continue;
		buf_reset(&message);
		switch (read_message(dir, items[i].locator, &message)) {
		case 1:
			rc = offer(r, f, &items[i], &message);
			break;
		case 0:
			reader_problem(r, "%s: %s: gone while it was to be read", f->name, items[i].locator);
			break;
		default:
			reader_problem(r, "%s: %s: %s", f->name, items[i].locator, strerror(errno));
		}
	}
	buf_free(&message);
	close(dir);
	return rc;
}

struct migrate_source *migrate_maildir(int dir, const char *label)
{
	struct maildir *m = xcalloc(1, sizeof(*m));

	m->source = (struct migrate_source){ .label = label, .folders = folders, .list = list, .fetch = fetch };
	m->root = dir;
	return &m->source;
}
