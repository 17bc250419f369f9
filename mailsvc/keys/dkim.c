/*
 * DKIM signing, relaxed/relaxed with rsa-sha256 (RFC 6376) or ed25519-sha256 (RFC 8463).  Everything but the private key operation is here.
 *
 * The canonicaliser holds back what may turn out not to count: white space before the end of a line, and empty lines
 * before the end of the body.  Lines of the signature field are at most 78 bytes, but for one single longer domain.
 */
#include "dkim.h"

#include <openssl/evp.h>
#include <stdio.h>

#include "lib/log.h"
#include "lib/text.h"
#include "mailsvc/mime/mime.h"

#define FIELD_COLUMNS 78
#define SIGNED_FIELDS_MAX 100 /* instances in all */

/* 5.4.1, in the order they are listed in h=. */
static const char *const signed_names[] = { "From", "Reply-To", "Sender", "To", "Cc", "Subject", "Date", "Message-ID",
	"In-Reply-To", "References", "MIME-Version", "Content-Type", "Content-Transfer-Encoding", "List-Id",
	"List-Post", "List-Unsubscribe", "List-Unsubscribe-Post" };

/* Body -------------------------------------------------------------------------------------------------------- */

void dkim_body_init(struct dkim_body *b, dkim_emit_fn emit, void *arg)
{
	*b = (struct dkim_body){ .emit = emit, .arg = arg };
}

/* What was held back counts now: text follows. */
static void release(struct dkim_body *b)
{
	for (; b->line_ends > 0; b->line_ends--)
		b->emit(b->arg, "\r\n", 2);
	if (b->space)
		b->emit(b->arg, " ", 1);
	b->space = false;
	b->text = true;
}

static void end_line(struct dkim_body *b)
{
	b->space = false;
	b->line_ends++;
}

static bool is_wsp(char c)
{
	return c == ' ' || c == '\t';
}

void dkim_body_add(struct dkim_body *b, struct view v)
{
	const char *p = v.ptr, *end = v.len > 0 ? v.ptr + v.len : v.ptr;

	while (p < end) {
		if (b->cr) {
			b->cr = false;
			if (*p == '\n') {
				end_line(b);
				p++;
				continue;
			}
			release(b); /* a bare CR is text */
			b->emit(b->arg, "\r", 1);
		} else if (*p == '\r') {
			b->cr = true;
			p++;
		} else if (is_wsp(*p)) {
			b->space = true;
			p++;
		} else {
			const char *from = p;
			while (p < end && *p != '\r' && !is_wsp(*p))
				p++;
			release(b);
			b->emit(b->arg, from, (size_t)(p - from));
		}
	}
}

void dkim_body_end(struct dkim_body *b)
{
	if (b->cr) {
		release(b);
		b->emit(b->arg, "\r", 1);
	}
	/* However many line ends are held back: the last line that holds something has one, and empty ones have none.
	 */
	if (b->text)
		b->emit(b->arg, "\r\n", 2);
}

static void hash_update(void *arg, const char *data, size_t len)
{
	if (EVP_DigestUpdate(arg, data, len) != 1)
		fatalx("SHA-256 failed");
}

static EVP_MD_CTX *hash_new(void)
{
	EVP_MD_CTX *md = EVP_MD_CTX_new();

	if (md == NULL || EVP_DigestInit_ex(md, EVP_sha256(), NULL) != 1)
		fatalx("SHA-256 is not available");
	return md;
}

static void hash_final(EVP_MD_CTX *md, uint8_t hash[32])
{
	if (EVP_DigestFinal_ex(md, hash, NULL) != 1)
		fatalx("SHA-256 failed");
	EVP_MD_CTX_free(md);
}

void dkim_body_hash(struct view body, uint8_t hash[32])
{
	struct dkim_body b;
	EVP_MD_CTX *md = hash_new();

	dkim_body_init(&b, hash_update, md);
	dkim_body_add(&b, body);
	dkim_body_end(&b);
	hash_final(md, hash);
}

/* Header ------------------------------------------------------------------------------------------------------ */

void dkim_header(struct view field, struct buf *out)
{
	size_t i = 0, name_end;
	bool space = false;

	while (i < field.len && field.ptr[i] != ':')
		i++;
	for (name_end = i; name_end > 0 && is_wsp(field.ptr[name_end - 1]);)
		name_end--;
	for (size_t k = 0; k < name_end; k++) {
		char c = field.ptr[k];
		buf_addc(out, c >= 'A' && c <= 'Z' ? (char)(c + 32) : c);
	}
	buf_addc(out, ':');
	size_t start = out->len;
	for (i++; i < field.len; i++) {
		char c = field.ptr[i];
		if (c == '\r' || c == '\n')
			continue;
		if (is_wsp(c)) {
			space = true;
			continue;
		}
		if (space && out->len > start)
			buf_addc(out, ' ');
		space = false;
		buf_addc(out, c);
	}
	buf_puts(out, "\r\n");
}

struct chosen { /* fields in the order of h= */
	struct view fields[SIGNED_FIELDS_MAX];
	const char *names[SIGNED_FIELDS_MAX + 1];
	size_t count;
};

/* Every instance, from the bottom up as a verifier takes them (5.4.2). */
static void choose(struct view headers, struct chosen *out)
{
	out->count = 0;
	for (size_t n = 0; n < sizeof(signed_names) / sizeof(signed_names[0]); n++) {
		struct mime_header h;
		size_t first = out->count;
		for (size_t pos = 0; mime_header_next(headers, &pos, &h);) {
			if (!view_caseeq(h.name, signed_names[n]))
				continue;
			if (out->count == SIGNED_FIELDS_MAX) {
				out->count =
				    first; /* only all of them verify: too many of one name are left unsigned */
				break;
			}
			out->names[out->count] = signed_names[n];
			out->fields[out->count++] = h.field;
		}
		for (size_t i = first, j = out->count; i + 1 < j; i++, j--) {
			struct view swap = out->fields[i];
			out->fields[i] = out->fields[j - 1];
			out->fields[j - 1] = swap;
		}
	}
}

/* Adds a token to a folded field; *column is where the line stands. */
static void fold(struct buf *out, size_t *column, const char *token, size_t len)
{
	if (*column + len > FIELD_COLUMNS && *column > 1) {
		buf_puts(out, "\r\n\t");
		*column = 8;
	}
	buf_add(out, token, len);
	*column += len;
}

static void fold_base64(struct buf *out, size_t *column, struct view binary)
{
	struct buf text = BUF_INIT(4096);

	text_base64_encode(&text, binary);
	for (size_t i = 0; i < text.len;) {
		size_t room = *column < FIELD_COLUMNS ? FIELD_COLUMNS - *column : 0;
		size_t take = room < 4 ? FIELD_COLUMNS - 8 : room;
		if (take > text.len - i)
			take = text.len - i;
		fold(out, column, text.data + i, take);
		i += take;
	}
	buf_free(&text);
}

static void fold_tag(struct buf *out, size_t *column, const char *tag, const char *value)
{
	char text[512];
	int len = snprintf(text, sizeof(text), " %s=%s;", tag, value);

	fold(out, column, text, len > 0 && (size_t)len < sizeof(text) ? (size_t)len : 0);
}

static void fold_names(struct buf *out, size_t *column, const struct chosen *chosen)
{
	char text[64];
	size_t total = chosen->count + 1; /* and From again, which is not there: nobody can add a second one (5.4.2) */

	for (size_t i = 0; i < total; i++) {
		const char *name = i < chosen->count ? chosen->names[i] : "From";
		int len = snprintf(text, sizeof(text), "%s%s%s", i == 0 ? " h=" : "", name, i + 1 < total ? ":" : ";");
		fold(out, column, text, (size_t)len);
	}
}

void dkim_prepare(const struct dkim_signer *signer, struct view message, const uint8_t body_hash[32],
    struct buf *field, uint8_t hash[32])
{
	struct chosen chosen;
	struct buf canonical = BUF_INIT(64 * 1024 * 1024);
	char when[24];
	size_t header_len = mime_header_len(message), start = field->len, column;

	choose((struct view){ message.ptr, header_len }, &chosen);
	snprintf(when, sizeof(when), "%lld", (long long)signer->now);

	buf_puts(field, "DKIM-Signature:");
	column = field->len - start;
	fold_tag(field, &column, "v", "1");
	fold_tag(field, &column, "a", signer->algorithm == DKIM_RSA ? "rsa-sha256" : "ed25519-sha256");
	fold_tag(field, &column, "c", "relaxed/relaxed");
	fold_tag(field, &column, "d", signer->domain);
	fold_tag(field, &column, "s", signer->selector);
	fold_tag(field, &column, "t", when);
	fold_names(field, &column, &chosen);
	fold(field, &column, " bh=", 4);
	fold_base64(field, &column, (struct view){ (const char *)body_hash, 32 });
	buf_puts(field, ";\r\n\tb=");

	for (size_t i = 0; i < chosen.count; i++)
		dkim_header(chosen.fields[i], &canonical);
	dkim_header((struct view){ field->data + start, field->len - start }, &canonical);
	canonical.len -= 2; /* the signature field itself goes in without its CRLF (3.7) */

	EVP_MD_CTX *md = hash_new();
	hash_update(md, canonical.data, canonical.len);
	hash_final(md, hash);
	buf_free(&canonical);
}

void dkim_finish(struct buf *field, struct view signature)
{
	size_t column = 10; /* of the b= that dkim_prepare ended with */

	fold_base64(field, &column, signature);
	buf_puts(field, "\r\n");
}
