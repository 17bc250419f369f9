/*
 * passwords.h.  Schemes are Dovecot's names: those that are crypt(3)'s lose their name, {SSHA256} and {SSHA512} keep it
 * (password.c verifies them), everything else has to be set anew.
 */
#include "mailsvc/migrate/passwords.h"

#include <string.h>
#include <strings.h>

/* The next '...' of an SQL row, within the line. */
static bool quoted(struct view text, size_t *pos, size_t end, struct view *out)
{
	const char *open = *pos < end ? memchr(text.ptr + *pos, '\'', end - *pos) : NULL;
	size_t at = open ? (size_t)(open - text.ptr) + 1 : end;

	if (open == NULL)
		return false;
	out->ptr = text.ptr + at;
	while (at < end && text.ptr[at] != '\'')
		at += text.ptr[at] == '\\' && at + 1 < end ? 2 : 1;
	out->len = (size_t)(text.ptr + at - out->ptr);
	*pos = at < end ? at + 1 : end;
	return at < end;
}

/* A user's address, and right behind it a hash with its scheme. */
static bool sql_row(struct view text, size_t *pos, size_t end, struct password_entry *out)
{
	struct view before = VIEW_NONE, v;

	while (quoted(text, pos, end, &v)) {
		bool hash = v.len > 2 && (v.ptr[0] == '{' || v.ptr[0] == '$');
		if (hash && before.len > 0 && memchr(before.ptr, '@', before.len) != NULL) {
			*out = (struct password_entry){ before, v };
			return true;
		}
		before = v;
	}
	return false;
}

static bool split_line(struct view line, struct password_entry *out)
{
	const char *tab = memchr(line.ptr, '\t', line.len), *at = memrchr(line.ptr, '@', line.len), *sep, *end;

	sep = tab ? tab : memchr(at ? at : line.ptr, ':', line.len - (at ? (size_t)(at - line.ptr) : 0));
	if (sep == NULL) /* the last @ may be behind the hash, in a comment or a home */
		sep = memchr(line.ptr, ':', line.len);
	if (sep == NULL || sep == line.ptr)
		return false;
	out->user = (struct view){ line.ptr, (size_t)(sep - line.ptr) };
	out->hash = (struct view){ sep + 1, line.len - out->user.len - 1 };
	end = out->hash.len > 0 ? memchr(out->hash.ptr, tab ? '\t' : ':', out->hash.len) : NULL;
	if (end != NULL)
		out->hash.len = (size_t)(end - out->hash.ptr);
	return true;
}

bool passwords_next(struct view text, size_t *pos, size_t *number, struct password_entry *out)
{
	while (*pos < text.len) {
		const char *newline = memchr(text.ptr + *pos, '\n', text.len - *pos);
		size_t start = *pos, end = newline ? (size_t)(newline - text.ptr) : text.len;
		struct view line = { text.ptr + start, end - start };
		bool begins = start == 0 || text.ptr[start - 1] == '\n';
		bool sql = line.len > 0 && (!begins || line.ptr[0] == '(' ||
					       (line.len > 11 && strncasecmp(line.ptr, "INSERT INTO", 11) == 0));

		*number += begins;
		if (sql && sql_row(text, pos, end, out))
			return true;
		*pos = end + 1;
		if (line.len > 0 && line.ptr[line.len - 1] == '\r')
			line.len--;
		if (!sql && line.len > 0 && line.ptr[0] != '#' && split_line(line, out))
			return true;
	}
	return false;
}

/* Schemes -------------------------------------------------------------------------------------------------------------
 */

static bool in(struct view name, const char *const *list)
{
	for (; *list; list++)
		if (view_caseeq(name, *list))
			return true;
	return false;
}

int password_take_over(struct view hash, enum password_kind *kind, char out[CREDENTIALS_HASH_MAX], struct error *e)
{
	static const char *const crypts[] = { "CRYPT", "BLF-CRYPT", "SHA512-CRYPT", "SHA256-CRYPT", "MD5-CRYPT",
		"DES-CRYPT", NULL };
	static const char *const salted[] = { "SSHA256", "SSHA512", "SSHA256.b64", "SSHA512.b64", NULL };
	static const char *const plain[] = { "PLAIN", "CLEARTEXT", "CLEAR", NULL };
	const char *end = hash.len > 0 && hash.ptr[0] == '{' ? memchr(hash.ptr, '}', hash.len) : NULL;
	struct view scheme = end ? (struct view){ hash.ptr + 1, (size_t)(end - hash.ptr) - 1 } : VIEW_LIT("CRYPT");
	struct view rest = end ? (struct view){ end + 1, hash.len - (size_t)(end + 1 - hash.ptr) } : hash;
	struct buf b = BUF_INIT(CREDENTIALS_HASH_MAX - 1);
	int rc;

	*kind = in(scheme, plain) ? PASSWORD_PLAIN : PASSWORD_HASH;
	if (*kind == PASSWORD_HASH && !in(scheme, crypts) && !in(scheme, salted))
		return error_set(e,
		    "the scheme {%.*s} cannot be taken over; set a new password with mailadm account passwd",
		    (int)(scheme.len < 40 ? scheme.len : 40), scheme.ptr);
	if (in(scheme, salted))
		buf_printf(&b, "{SSHA%s}", strncasecmp(scheme.ptr, "SSHA256", 7) == 0 ? "256" : "512");
	buf_addv(&b, rest);
	rc = b.full || rest.len == 0 || view_copy(buf_view(&b), out, CREDENTIALS_HASH_MAX) < 0 ? -1 : 0;
	if (rc == 0 && *kind == PASSWORD_HASH && !credentials_hash_ok(out))
		rc = -1;
	if (b.data != NULL)
		explicit_bzero(b.data, b.cap);
	buf_free(&b);
	return rc < 0
	           ? error_set(e, "this is no hash that is known here; set a new password with mailadm account passwd")
	           : 0;
}
