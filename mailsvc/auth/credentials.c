/*
 * credentials.h.  The whole file is read and checked at once; changes write it anew and rename, under a lock on its
 * folder, so that auth reads either the old or the new one.
 */
#include "mailsvc/auth/credentials.h"

#include <crypt.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/proc.h"
#include "lib/text.h"
#include "site/address.h"

#define SECRET_PREFIX "#scram-secret "

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

/*
 * Splits at the first colon behind the address; a quoted local part may hold one, so the last @ comes first.  keys is
 * what stands behind the hash's colon, which no hash of crypt(5) holds; none: empty at NULL.
 */
static int split(struct view line, struct view *address, struct view *hash, struct view *keys)
{
	const char *at = memrchr(line.ptr, '@', line.len), *colon;

	if (at == NULL)
		return -1;
	colon = memchr(at, ':', line.len - (size_t)(at - line.ptr));
	if (colon == NULL)
		return -1;
	*address = (struct view){ line.ptr, (size_t)(colon - line.ptr) };
	*hash = (struct view){ colon + 1, line.len - address->len - 1 };
	*keys = VIEW_NONE;
	colon = hash->len > 0 ? memchr(hash->ptr, ':', hash->len) : NULL;
	if (colon != NULL) {
		*keys = (struct view){ colon + 1, hash->len - (size_t)(colon - hash->ptr) - 1 };
		hash->len = (size_t)(colon - hash->ptr);
	}
	return 0;
}

static bool take_secret(struct view line, uint8_t out[CREDENTIALS_SECRET_LEN])
{
	struct buf raw = BUF_INIT(CREDENTIALS_SECRET_LEN);
	size_t len = strlen(SECRET_PREFIX);
	bool found = false;

	if (line.len <= len || memcmp(line.ptr, SECRET_PREFIX, len) != 0)
		return false;
	if (text_base64_decode(&raw, (struct view){ line.ptr + len, line.len - len }) == 0 &&
	    raw.len == CREDENTIALS_SECRET_LEN) {
		memcpy(out, raw.data, raw.len);
		found = true;
	}
	buf_free(&raw);
	return found;
}

/*
 * '*' and '!' in front lock an account, as in shadow(5).  Traditional DES has no prefix, so that any word would pass
 * for one: its hashes are exactly 13 characters.
 */
bool credentials_hash_ok(const char *hash)
{
	int r;

	if (hash[0] == '*' || hash[0] == '!' || password_salted(hash))
		return true;
	if (hash[0] != '$' && hash[0] != '_' && strlen(hash) != 13)
		return false;
	r = crypt_checksalt(hash);
	return r == CRYPT_SALT_OK || r == CRYPT_SALT_METHOD_LEGACY || r == CRYPT_SALT_TOO_CHEAP;
}

static int parse_line(struct view line, struct credential *out, struct error *e)
{
	struct view address, hash, keys;
	char normal[ADDRESS_MAX], text[CREDENTIALS_HASH_MAX];

	if (split(line, &address, &hash, &keys) < 0)
		return error_set(e, "is not `address:hash`");
	if (address_normalise(address, normal, sizeof(normal)) < 0 || !view_eq(address, normal))
		return error_set(e, "does not begin with a normalised address");
	if (view_copy(hash, text, sizeof(text)) < 0 || !credentials_hash_ok(text))
		return error_set(
		    e, "holds a hash that crypt(5) does not know; set the password anew with mailadm account passwd");
	*out = (struct credential){ .has_keys = keys.ptr != NULL };
	if (out->has_keys && scram_keys_parse(keys, &out->keys) < 0)
		return error_set(
		    e, "holds SCRAM keys of another form; set the password anew with mailadm account passwd");
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

	*out = (struct credentials){ .at = NULL };
	while (next_line(&text, &line)) {
		struct error why;

		number++;
		if (!out->has_secret) /* the first, as find_secret */
			out->has_secret = take_secret(line, out->secret);
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

	*out = (struct credentials){ .at = NULL };
	r = read_all(fd, &text, e) < 0 ? -1 : credentials_parse(buf_view(&text), out, e);
	wipe(&text);
	return r;
}

int credentials_load(const char *path, struct credentials *out, struct error *e)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW), r;
	struct error why;

	*out = (struct credentials){ .at = NULL };
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
		explicit_bzero(&c->at[i], sizeof(c->at[i]));
	}
	free(c->at);
	explicit_bzero(c, sizeof(*c));
	*c = (struct credentials){ .at = NULL };
}

struct credential *credentials_entry(const struct credentials *c, const char *address)
{
	struct credential key = { .address = (char *)(uintptr_t)address };

	return c->count > 0 ? bsearch(&key, c->at, c->count, sizeof(key), by_address) : NULL;
}

const char *credentials_find(const struct credentials *c, const char *address)
{
	const struct credential *found = credentials_entry(c, address);

	return found != NULL ? found->hash : NULL;
}

bool credentials_locked(const char *hash)
{
	return hash[0] == '*' || hash[0] == '!';
}

void credentials_salt(const uint8_t secret[CREDENTIALS_SECRET_LEN], const char *address, uint8_t salt[SCRAM_SALT_LEN])
{
	uint8_t out[EVP_MAX_MD_SIZE];

	if (HMAC(EVP_sha256(), secret, CREDENTIALS_SECRET_LEN, (const unsigned char *)address, strlen(address), out,
		NULL) == NULL)
		fatalx("event=credentials reason=\"no HMAC\"");
	memcpy(salt, out, SCRAM_SALT_LEN);
}

/* Locks the file's folder, which nobody replaces. */
static int lock_folder(const char *path, int how, struct error *e)
{
	const char *slash = strrchr(path, '/');
	char *folder =
	    slash == NULL ? xstrdup(".") : view_dup((struct view){ path, slash == path ? 1 : (size_t)(slash - path) });
	int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0 || flock(fd, how) < 0) {
		error_errno(e, "cannot lock %s", folder);
		if (fd >= 0)
			close(fd);
		fd = -1;
	}
	free(folder);
	return fd;
}

/* Changes ------------------------------------------------------------------------------------------------------- */

/* What takes the place of an account's line, or of the line with old_hash only; hash NULL: nothing does. */
struct change {
	const char *address, *old_hash, *hash;
	const struct scram_keys *keys;
};

static const struct change *change_of(const struct change *changes, size_t count, struct view line)
{
	struct view name, hash, keys;

	if (is_comment(line) || split(line, &name, &hash, &keys) < 0)
		return NULL;
	for (size_t i = 0; i < count; i++)
		if (view_eq(name, changes[i].address) &&
		    (changes[i].old_hash == NULL || view_eq(hash, changes[i].old_hash)))
			return &changes[i];
	return NULL;
}

static void put_line(struct buf *out, const struct change *c)
{
	char keys[SCRAM_TEXT_MAX] = "";

	if (c->hash == NULL)
		return;
	if (c->keys != NULL)
		scram_keys_text(c->keys, keys);
	buf_printf(out, "%s:%s%s%s\n", c->address, c->hash, keys[0] != '\0' ? ":" : "", keys);
	explicit_bzero(keys, sizeof(keys));
}

/*
 * old with the changes: an account's new line stands at the end; one with old_hash stands only where that was.  In
 * front the secret, when the file needs one and has none.
 */
static void apply_changes(
    struct view old, const struct change *changes, size_t count, const uint8_t *secret, struct buf *new)
{
	struct view line;
	const struct change *c;

	if (secret != NULL) {
		buf_puts(new, SECRET_PREFIX);
		text_base64_encode(new, (struct view){ (const char *)secret, CREDENTIALS_SECRET_LEN });
		buf_addc(new, '\n');
	}
	while (next_line(&old, &line)) {
		c = change_of(changes, count, line);
		if (c == NULL) {
			buf_addv(new, line);
			buf_addc(new, '\n');
		} else if (c->old_hash != NULL) {
			put_line(new, c);
		}
	}
	for (size_t i = 0; i < count; i++)
		if (changes[i].old_hash == NULL)
			put_line(new, &changes[i]);
}

static int read_old(const char *path, struct buf *old, struct error *e)
{
	return file_read_there(path, CREDENTIALS_FILE_MAX, old, e) < 0 ? -1 : 0;
}

/* The lock is held.  secret: NULL, or what is written in front. */
static int write_changes(const char *path, struct view old, const struct change *changes, size_t count,
    const uint8_t *secret, struct error *e)
{
	struct buf new = BUF_INIT(CREDENTIALS_FILE_MAX);
	struct credentials check;
	int r = -1;

	apply_changes(old, changes, count, secret, &new);
	if (new.full) {
		error_set(e, "%s: is longer than %u bytes", path, CREDENTIALS_FILE_MAX);
	} else if (credentials_parse(buf_view(&new), &check, e) == 0) { /* what auth would refuse is not written */
		credentials_free(&check);
		r = file_write_atomic(path, buf_view(&new), 0600, e);
	}
	wipe(&new);
	return r;
}

/* 1: there was nothing to remove. */
static int change_one(const char *path, const char *address, const char *hash, struct error *e)
{
	struct change change = { .address = address, .hash = hash };
	struct buf old = BUF_INIT(CREDENTIALS_FILE_MAX);
	int lock = lock_folder(path, LOCK_EX, e), r;

	if (lock < 0)
		return -1;
	r = read_old(path, &old, e);
	if (r == 0 && hash == NULL) {
		struct view rest = buf_view(&old), line;

		r = 1;
		while (r == 1 && next_line(&rest, &line))
			r = change_of(&change, 1, line) != NULL ? 0 : 1;
	}
	if (r == 0)
		r = write_changes(path, buf_view(&old), &change, 1, NULL, e);
	close(lock);
	wipe(&old);
	return r;
}

int credentials_set(const char *path, const char *address, const char *hash, struct error *e)
{
	return change_one(path, address, hash, e);
}

int credentials_remove(const char *path, const char *address, struct error *e)
{
	return change_one(path, address, NULL, e);
}

static bool find_secret(struct view text, uint8_t out[CREDENTIALS_SECRET_LEN])
{
	struct view line;

	while (next_line(&text, &line))
		if (take_secret(line, out))
			return true;
	return false;
}

int credentials_set_password(const char *path, const char *address, struct view password, struct error *e)
{
	char hash[CREDENTIALS_HASH_MAX];
	uint8_t secret[CREDENTIALS_SECRET_LEN], salt[SCRAM_SALT_LEN];
	struct buf old = BUF_INIT(CREDENTIALS_FILE_MAX);
	struct scram_keys keys;
	struct change change = { .address = address, .hash = hash, .keys = &keys };
	int lock, r = -1;

	if (password_hash(password, hash, e) < 0 || (lock = lock_folder(path, LOCK_EX, e)) < 0)
		return -1;
	if (read_old(path, &old, e) == 0) {
		bool found = find_secret(buf_view(&old), secret);

		if (!found && RAND_bytes(secret, sizeof(secret)) != 1) {
			error_set(e, "no random bytes");
		} else {
			credentials_salt(secret, address, salt);
			scram_keys_make(password, salt, SCRAM_ITERATIONS, &keys);
			r = write_changes(path, buf_view(&old), &change, 1, found ? NULL : secret, e);
		}
	}
	close(lock);
	wipe(&old);
	explicit_bzero(hash, sizeof(hash));
	explicit_bzero(&keys, sizeof(keys));
	explicit_bzero(secret, sizeof(secret));
	return r;
}

int credentials_improve(const char *path, const struct credentials_better *better, size_t count,
    const uint8_t secret[CREDENTIALS_SECRET_LEN], struct error *e)
{
	struct change *changes = xcalloc(count + 1, sizeof(*changes));
	uint8_t found[CREDENTIALS_SECRET_LEN];
	struct buf old = BUF_INIT(CREDENTIALS_FILE_MAX);
	int lock = lock_folder(path, LOCK_EX | LOCK_NB, e), r = -1;

	for (size_t i = 0; i < count; i++)
		changes[i] = (struct change){ .address = better[i].address,
			.old_hash = better[i].old_hash,
			.hash = better[i].hash,
			.keys = &better[i].keys };
	if (lock >= 0 && read_old(path, &old, e) == 0)
		r = write_changes(
		    path, buf_view(&old), changes, count, find_secret(buf_view(&old), found) ? NULL : secret, e);
	if (lock >= 0)
		close(lock);
	wipe(&old);
	explicit_bzero(found, sizeof(found));
	free(changes);
	return r;
}
