/*
 * credentials.h.  The whole file is read and checked at once; changes write it anew and rename, under a lock on its
 * folder, so that auth reads either the old or the new one.
 */
#include "mailsvc/auth/credentials.h"

#include <crypt.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/proc.h"
#include "site/address.h"

/* The next line of *rest without its newline; false at the end. */
static bool next_line(struct view *rest, struct view *line)
{
	const char *end;

	if (rest->len == 0)
		return false;
	end = memchr(rest->ptr, '\n', rest->len);
	line->ptr = rest->ptr;
	line->len = end != NULL ? (size_t)(end - rest->ptr) : rest->len;
	rest->ptr += line->len + (end != NULL);
	rest->len -= line->len + (end != NULL);
	return true;
}

static bool is_comment(struct view line)
{
	return line.len == 0 || line.ptr[0] == '#';
}

/* Splits at the first colon behind the address; a quoted local part may hold one, so the last @ comes first. */
static int split(struct view line, struct view *address, struct view *hash)
{
	const char *at = memrchr(line.ptr, '@', line.len), *colon;

	if (at == NULL)
		return -1;
	colon = memchr(at, ':', line.len - (size_t)(at - line.ptr));
	if (colon == NULL)
		return -1;
	*address = (struct view){ line.ptr, (size_t)(colon - line.ptr) };
	*hash = (struct view){ colon + 1, line.len - address->len - 1 };
	return 0;
}

/*
 * '*' and '!' in front lock an account, as in shadow(5).  Traditional DES has no prefix, so that any word would pass
 * for one: its hashes are exactly 13 characters.
 */
static bool is_hash(const char *hash)
{
	int r;

	if (hash[0] == '*' || hash[0] == '!')
		return true;
	if (hash[0] != '$' && hash[0] != '_' && strlen(hash) != 13)
		return false;
	r = crypt_checksalt(hash);
	return r == CRYPT_SALT_OK || r == CRYPT_SALT_METHOD_LEGACY || r == CRYPT_SALT_TOO_CHEAP;
}

static int parse_line(struct view line, struct credential *out, struct error *e)
{
	struct view address, hash;
	char normal[ADDRESS_MAX], text[CREDENTIALS_HASH_MAX];

	if (split(line, &address, &hash) < 0)
		return error_set(e, "is not `address:hash`");
	if (address_normalise(address, normal, sizeof(normal)) < 0 || !view_eq(address, normal))
		return error_set(e, "does not begin with a normalised address");
	if (view_copy(hash, text, sizeof(text)) < 0 || !is_hash(text))
		return error_set(
		    e, "holds a hash that crypt(5) does not know; set the password anew with mailadm account passwd");
	out->address = xstrdup(normal);
	out->hash = xstrdup(text);
	return 0;
}

static int by_address(const void *a, const void *b)
{
	return strcmp(((const struct credential *)a)->address, ((const struct credential *)b)->address);
}

static int reject_twice(const struct credentials *c, struct error *e)
{
	for (size_t i = 1; i < c->count; i++) {
		if (strcmp(c->at[i - 1].address, c->at[i].address) == 0)
			return error_set(e, "%s has two lines; remove one", c->at[i].address);
	}
	return 0;
}

int credentials_parse(struct view text, struct credentials *out, struct error *e)
{
	struct view line;
	size_t number = 0, room = 0;

	*out = (struct credentials){ NULL, 0 };
	while (next_line(&text, &line)) {
		struct error why;

		number++;
		if (is_comment(line))
			continue;
		if (out->count == CREDENTIALS_MAX) {
			error_set(e, "line %zu: more than %d accounts", number, CREDENTIALS_MAX);
			goto fail;
		}
		if (out->count == room) {
			room = room == 0 ? 64 : room * 2;
			out->at = xreallocarray(out->at, room, sizeof(*out->at));
		}
		if (parse_line(line, &out->at[out->count], &why) < 0) {
			error_set(e, "line %zu %s", number, why.text); /* never the line itself: it holds a hash */
			goto fail;
		}
		out->count++;
	}
	if (out->count > 0)
		qsort(out->at, out->count, sizeof(*out->at), by_address);
	if (reject_twice(out, e) == 0)
		return 0;
fail:
	credentials_free(out);
	return -1;
}

static void wipe(struct buf *b)
{
	if (b->data != NULL)
		explicit_bzero(b->data, b->cap);
	buf_free(b);
}

static int read_all(int fd, struct buf *text, struct error *e)
{
	for (;;) {
		char *room = buf_reserve(text, 16384);
		ssize_t n;

		if (room == NULL)
			return error_set(e, "is longer than %u bytes", CREDENTIALS_FILE_MAX);
		n = pread(fd, room, 16384, (off_t)text->len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return error_errno(e, "cannot be read");
		if (n == 0)
			return 0;
		text->len += (size_t)n;
	}
}

int credentials_load_fd(int fd, struct credentials *out, struct error *e)
{
	struct buf text = BUF_INIT(CREDENTIALS_FILE_MAX + 16384);
	int r;

	*out = (struct credentials){ NULL, 0 };
	r = read_all(fd, &text, e) < 0 ? -1 : credentials_parse(buf_view(&text), out, e);
	wipe(&text);
	return r;
}

int credentials_load(const char *path, struct credentials *out, struct error *e)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW), r;
	struct error why;

	*out = (struct credentials){ NULL, 0 };
	if (fd < 0)
		return errno == ENOENT ? 0 : error_errno(e, "%s", path);
	r = credentials_load_fd(fd, out, &why);
	if (r < 0)
		error_set(e, "%s: %.400s", path, why.text);
	close(fd);
	return r;
}

void credentials_free(struct credentials *c)
{
	for (size_t i = 0; i < c->count; i++) {
		explicit_bzero(c->at[i].hash, strlen(c->at[i].hash));
		free(c->at[i].hash);
		free(c->at[i].address);
	}
	free(c->at);
	*c = (struct credentials){ NULL, 0 };
}

const char *credentials_find(const struct credentials *c, const char *address)
{
	struct credential key = { .address = (char *)(uintptr_t)address };
	const struct credential *found = c->count > 0 ? bsearch(&key, c->at, c->count, sizeof(key), by_address) : NULL;

	return found != NULL ? found->hash : NULL;
}

/* Locks the file's folder, which nobody replaces. */
static int lock_folder(const char *path, struct error *e)
{
	const char *slash = strrchr(path, '/');
	char *folder =
	    slash == NULL ? xstrdup(".") : view_dup((struct view){ path, slash == path ? 1 : (size_t)(slash - path) });
	int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0 || flock(fd, LOCK_EX) < 0) {
		error_errno(e, "cannot lock %s", folder);
		if (fd >= 0)
			close(fd);
		fd = -1;
	}
	free(folder);
	return fd;
}

/* Rewrites the file without address's line and, with a hash, a new one at the end. 1: there was none to remove. */
static int rewrite(const char *path, const char *address, const char *hash, struct error *e)
{
	struct buf old = BUF_INIT(CREDENTIALS_FILE_MAX), new = BUF_INIT(CREDENTIALS_FILE_MAX);
	struct credentials check;
	struct view rest, line, name, ignored;
	bool found = false;
	int r = -1;

	if (access(path, F_OK) == 0 && file_read(path, CREDENTIALS_FILE_MAX, &old, e) < 0)
		goto out;
	rest = buf_view(&old);
	while (next_line(&rest, &line)) {
		if (!is_comment(line) && split(line, &name, &ignored) == 0 && view_eq(name, address)) {
			found = true;
			continue;
		}
		buf_addv(&new, line);
		buf_addc(&new, '\n');
	}
	if (hash == NULL && !found) {
		r = 1;
		goto out;
	}
	if (hash != NULL)
		buf_printf(&new, "%s:%s\n", address, hash);
	if (new.full) {
		error_set(e, "%s: is longer than %u bytes", path, CREDENTIALS_FILE_MAX);
		goto out;
	}
	if (credentials_parse(buf_view(&new), &check, e) < 0) /* what auth would refuse is not written */
		goto out;
	credentials_free(&check);
	r = file_write_atomic(path, buf_view(&new), 0600, e);
out:
	wipe(&old);
	wipe(&new);
	return r;
}

static int locked_rewrite(const char *path, const char *address, const char *hash, struct error *e)
{
	int lock = lock_folder(path, e), r;

	if (lock < 0)
		return -1;
	r = rewrite(path, address, hash, e);
	close(lock);
	return r;
}

int credentials_set(const char *path, const char *address, const char *hash, struct error *e)
{
	return locked_rewrite(path, address, hash, e);
}

int credentials_remove(const char *path, const char *address, struct error *e)
{
	return locked_rewrite(path, address, NULL, e);
}
