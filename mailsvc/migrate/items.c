/* What all sources share: folders and their items, names, keys, line ends, and the wire between reader and importer. */
#include <ctype.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "mailsvc/imap/utf7.h"
#include "mailsvc/migrate/export.h"
#include "mailsvc/migrate/migrate.h"
#include "mailsvc/store/proto.h"

#define LEVEL_MAX (16 * MAILBOX_NAME_MAX) /* of a name as it is written elsewhere */

/* Folders ----------------------------------------------------------------------------------------------------- */

struct migrate_folder *migrate_folder_add(
    struct migrate_source *s, struct reader *r, const char *name, const char *locator)
{
	struct migrate_folder *f;

	if (s->count >= MIGRATE_FOLDERS_MAX) {
		reader_problem(r, "%s: more than %d folders; it is left out", name, MIGRATE_FOLDERS_MAX);
		return NULL;
	}
	s->at = xreallocarray(s->at, s->count + 1, sizeof(*s->at));
	f = &s->at[s->count++];
	*f = (struct migrate_folder){ .locator = xstrdup(locator), .selectable = true };
	view_copy(view_of(name), f->name, sizeof(f->name));
	return f;
}

void migrate_subscribe(struct migrate_source *s, const char *name)
{
	s->knows_subscriptions = true;
	if (s->subscribed_count >= MIGRATE_FOLDERS_MAX)
		return;
	s->subscribed = xreallocarray(s->subscribed, s->subscribed_count + 1, sizeof(*s->subscribed));
	s->subscribed[s->subscribed_count++] = xstrdup(name);
}

struct migrate_item *migrate_item_add(struct migrate_folder *f)
{
	if (f->count == f->size) {
		f->size = f->size ? f->size * 2 : 64;
		f->items = xreallocarray(f->items, f->size, sizeof(*f->items));
	}
	f->items[f->count] = (struct migrate_item){ 0 };
	return &f->items[f->count++];
}

void migrate_items_free(struct migrate_folder *f)
{
	for (size_t i = 0; i < f->count; i++)
		free(f->items[i].locator);
	free(f->items);
	for (unsigned i = 0; i < f->keyword_count; i++)
		free(f->keywords[i]);
	f->items = NULL;
	f->count = f->size = 0;
	f->keyword_count = 0;
}

static int by_uid(const void *pa, const void *pb)
{
	const struct migrate_item *a = pa, *b = pb;

	if (a->uid != b->uid) /* 0 wraps to the end */
		return a->uid - 1 < b->uid - 1 ? -1 : 1;
	if (a->place != b->place)
		return a->place < b->place ? -1 : 1;
	if (a->date != b->date)
		return a->date < b->date ? -1 : 1;
	return a->locator && b->locator ? strcmp(a->locator, b->locator) : 0;
}

void migrate_items_sort(struct migrate_folder *f)
{
	if (f->count > 1)
		qsort(f->items, f->count, sizeof(*f->items), by_uid);
}

static bool keyword_ok(struct view name)
{
	if (name.len == 0 || name.len > KEYWORD_NAME_MAX || name.ptr[0] == '\\')
		return false;
	for (size_t i = 0; i < name.len; i++) /* RFC 9051 9: atom characters */
		if (name.ptr[i] <= ' ' || name.ptr[i] >= 127 || strchr("(){%*\"\\]", name.ptr[i]) != NULL)
			return false;
	return true;
}

uint64_t migrate_keyword(struct migrate_folder *f, struct view name)
{
	if (!keyword_ok(name))
		return 0;
	for (unsigned i = 0; i < f->keyword_count; i++)
		if (view_caseeq(name, f->keywords[i]))
			return UINT64_C(1) << i;
	if (f->keyword_count == KEYWORDS_MAX)
		return 0;
	f->keywords[f->keyword_count] = view_dup(name);
	return UINT64_C(1) << f->keyword_count++;
}

uint32_t migrate_flag_letter(char c)
{
	switch (c) {
	case 'S':
		return FLAG_SEEN;
	case 'R':
		return FLAG_ANSWERED;
	case 'F':
		return FLAG_FLAGGED;
	case 'T':
		return FLAG_DELETED;
	case 'D':
		return FLAG_DRAFT;
	default:
		return 0;
	}
}

uint32_t migrate_flag_name(struct view name)
{
	static const struct {
		const char *name;
		uint32_t flag;
	} all[] = { { "\\Seen", FLAG_SEEN }, { "\\Answered", FLAG_ANSWERED }, { "\\Flagged", FLAG_FLAGGED },
		{ "\\Deleted", FLAG_DELETED }, { "\\Draft", FLAG_DRAFT } };

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		if (view_caseeq(name, all[i].name))
			return all[i].flag;
	return 0;
}

/* Keys and names ------------------------------------------------------------------------------------------------ */

static void hash_part(EVP_MD_CTX *ctx, struct view v)
{
	unsigned char length[8];

	for (int i = 0; i < 8; i++)
		length[i] = (unsigned char)((uint64_t)v.len >> (8 * i));
	EVP_DigestUpdate(ctx, length, sizeof(length));
	EVP_DigestUpdate(ctx, v.ptr, v.len);
}

void migrate_key(uint8_t key[IMPORT_KEY_LEN], const char *label, const char *kind, struct view a, struct view b)
{
	unsigned char digest[EVP_MAX_MD_SIZE];
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();

	if (ctx == NULL || EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) != 1)
		fatalx("SHA-256 is not there");
	hash_part(ctx, view_of(label));
	hash_part(ctx, view_of(kind));
	hash_part(ctx, a);
	hash_part(ctx, b);
	EVP_DigestFinal_ex(ctx, digest, NULL);
	EVP_MD_CTX_free(ctx);
	memcpy(key, digest, IMPORT_KEY_LEN);
	key[0] |= 1; /* all zero would be none */
}

void migrate_key_uid(
    uint8_t key[IMPORT_KEY_LEN], const char *label, const char *folder, uint32_t uid_validity, uint32_t uid)
{
	struct buf b = BUF_INIT(64);

	buf_printf(&b, "%u %u", uid_validity, uid);
	migrate_key(key, label, "uid", view_of(folder), buf_view(&b));
	buf_free(&b);
}

bool migrate_name(struct view utf8, char out[MAILBOX_NAME_MAX + 1])
{
	struct buf b = BUF_INIT(MAILBOX_NAME_MAX);
	bool ok;

	for (size_t i = 0; i < utf8.len; i++) {
		char c = utf8.ptr[i];
		bool doubled = c == '/' && (b.len == 0 || b.data[b.len - 1] == '/');

		if (!doubled)
			buf_addc(&b, (unsigned char)c < ' ' || c == 127 || c == '*' || c == '%' ? '_' : c);
	}
	while (b.len > 0 && b.data[b.len - 1] == '/')
		b.len--;
	ok = !b.full && mailbox_name_normalise(buf_view(&b), out);
	buf_free(&b);
	return ok;
}

bool migrate_name_levels(struct view name, char separator, char out[MAILBOX_NAME_MAX + 1])
{
	struct buf whole = BUF_INIT(LEVEL_MAX);
	size_t at = 0;
	bool ok;

	while (at <= name.len && name.len > 0) {
		const char *end = separator && at < name.len ? memchr(name.ptr + at, separator, name.len - at) : NULL;
		struct view level = { name.ptr + at, end ? (size_t)(end - name.ptr) - at : name.len - at };
		char decoded[LEVEL_MAX];

		if (utf7_decode(level, decoded, sizeof(decoded)) < 0 && view_copy(level, decoded, sizeof(decoded)) < 0)
			decoded[0] = '\0';
		export_unescape(decoded);
		for (char *p = decoded; separator != '/' && *p; p++)
			*p = *p == '/' ? '_' : *p; /* a slash within a level stays within it */
		if (whole.len > 0)
			buf_addc(&whole, '/');
		buf_puts(&whole, decoded);
		at += level.len + 1;
	}
	ok = !whole.full && migrate_name(buf_view(&whole), out);
	buf_free(&whole);
	return ok;
}

int migrate_crlf(struct view in, struct buf *out)
{
	size_t from = 0;

	for (size_t i = 0; i < in.len; i++) {
		char c = in.ptr[i];
		if (c == '\n' && (i == 0 || in.ptr[i - 1] != '\r')) {
			buf_add(out, in.ptr + from, i - from);
			buf_add(out, "\r\n", 2);
			from = i + 1;
		} else if (c == '\0') {
			buf_add(out, in.ptr + from, i - from);
			buf_addc(out, '\x80');
			from = i + 1;
		}
	}
	if (from < in.len)
		buf_add(out, in.ptr + from, in.len - from);
	return out->full ? -1 : 0;
}

/* The wire ----------------------------------------------------------------------------------------------------------
 */

void migrate_wire_put(struct buf *payload, const struct migrate_wire *w)
{
	struct buf head = BUF_INIT(65536);

	buf_put_u32(&head, w->uid);
	buf_put_u32(&head, w->flags);
	buf_add(&head, w->key, IMPORT_KEY_LEN);
	buf_put_u64(&head, (uint64_t)w->date);
	buf_put_u32(&head, (uint32_t)w->keyword_count);
	for (size_t i = 0; i < w->keyword_count; i++)
		buf_put_blob(&head, w->keywords[i]);
	proto_payload_put(payload, buf_view(&head), w->mime, w->body);
	buf_free(&head);
}

int migrate_wire_get(struct migrate_wire *w, struct view payload)
{
	struct cursor c = cursor_of(payload.ptr, payload.len), head;
	struct view v = cursor_blob(&c, 65536);

	*w = (struct migrate_wire){ .mime = cursor_blob(&c, PROTO_MIME_MAX) };
	w->body = cursor_bytes(&c, c.left);
	head = cursor_of(v.ptr, v.len);
	w->uid = cursor_u32(&head);
	w->flags = cursor_u32(&head) & FLAGS_SETTABLE;
	v = cursor_bytes(&head, IMPORT_KEY_LEN);
	if (head.bad)
		return -1;
	memcpy(w->key, v.ptr, IMPORT_KEY_LEN);
	w->date = (int64_t)cursor_u64(&head);
	w->keyword_count = cursor_u32(&head);
	if (w->keyword_count > KEYWORDS_MAX)
		return -1;
	for (size_t i = 0; i < w->keyword_count; i++) {
		w->keywords[i] = cursor_blob(&head, KEYWORD_NAME_MAX);
		if (!keyword_ok(w->keywords[i]))
			return -1;
	}
	return c.bad || !cursor_done(&head) || w->body.len > STORE_BODY_MAX ? -1 : 0;
}
