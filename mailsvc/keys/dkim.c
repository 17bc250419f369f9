/*
 * The text of signature fields: DKIM, relaxed/relaxed with rsa-sha256 (RFC 6376) or ed25519-sha256 (RFC 8463), and ARC
 * (RFC 8617).  Everything but the private key operation is here.  Lines are at most 78 bytes, but for one single longer
 * domain.
 */
#include "dkim.h"

#include <stdio.h>

#include "lib/text.h"
#include "mailsvc/mime/mime.h"

#define FIELD_COLUMNS 78
#define SIGNED_FIELDS_MAX 100 /* instances in all */

/* 5.4.1, in the order they are listed in h=. */
static const char *const signed_names[] = { "From", "Reply-To", "Sender", "To", "Cc", "Subject", "Date", "Message-ID",
	"In-Reply-To", "References", "MIME-Version", "Content-Type", "Content-Transfer-Encoding", "List-Id",
	"List-Post", "List-Unsubscribe", "List-Unsubscribe-Post", "DKIM-Signature" };
#define SIGNED_NAMES (sizeof(signed_names) / sizeof(signed_names[0]))
#define SIGNED_NAMES_DKIM                                                                                              \
	(SIGNED_NAMES - 1) /* a DKIM signature does not cover others (5.4); that of ARC does (4.1.2) */

struct chosen { /* fields in the order of h= */
	struct view fields[SIGNED_FIELDS_MAX];
	const char *names[SIGNED_FIELDS_MAX + 1];
	size_t count;
};

/* Every instance, from the bottom up as a verifier takes them (5.4.2). */
static void choose(struct view headers, size_t names, struct chosen *out)
{
	out->count = 0;
	for (size_t n = 0; n < names; n++) {
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

/* What the fields of all kinds begin with. */
static size_t begin(const struct dkim_signer *signer, struct buf *field, const char *name, const char *cv)
{
	size_t column = strlen(name);
	char number[24];

	buf_puts(field, name);
	snprintf(number, sizeof(number), "%u", signer->arc_instance);
	fold_tag(field, &column, signer->arc_instance > 0 ? "i" : "v", signer->arc_instance > 0 ? number : "1");
	fold_tag(field, &column, "a", signer->algorithm == DKIM_RSA ? "rsa-sha256" : "ed25519-sha256");
	if (cv != NULL)
		fold_tag(field, &column, "cv", cv);
	else
		fold_tag(field, &column, "c", "relaxed/relaxed");
	fold_tag(field, &column, "d", signer->domain);
	fold_tag(field, &column, "s", signer->selector);
	snprintf(number, sizeof(number), "%lld", (long long)signer->now);
	fold_tag(field, &column, "t", number);
	return column;
}

static void end_without_signature(struct buf *field)
{
	buf_puts(field, "\r\n\tb=");
}

void dkim_prepare(const struct dkim_signer *signer, struct view message, const uint8_t body_hash[DKIM_HASH_LEN],
    struct buf *field, uint8_t hash[DKIM_HASH_LEN])
{
	struct chosen chosen;
	struct buf canonical = BUF_INIT(64 * 1024 * 1024);
	size_t header_len = mime_header_len(message), start = field->len, column;
	bool arc = signer->arc_instance > 0;

	choose((struct view){ message.ptr, header_len }, arc ? SIGNED_NAMES : SIGNED_NAMES_DKIM, &chosen);
	column = begin(signer, field, arc ? "ARC-Message-Signature:" : "DKIM-Signature:", NULL);
	fold_names(field, &column, &chosen);
	fold(field, &column, " bh=", 4);
	fold_base64(field, &column, (struct view){ (const char *)body_hash, DKIM_HASH_LEN });
	buf_addc(field, ';');
	end_without_signature(field);

	for (size_t i = 0; i < chosen.count; i++)
		dkim_header(DKIM_RELAXED, chosen.fields[i], &canonical);
	dkim_header(DKIM_RELAXED, (struct view){ field->data + start, field->len - start }, &canonical);
	canonical.len -= 2; /* the signature field itself goes in without its CRLF (3.7) */
	dkim_hash(buf_view(&canonical), hash);
	buf_free(&canonical);
}

void dkim_prepare_seal(const struct dkim_signer *signer, const char *cv, struct buf *field)
{
	begin(signer, field, "ARC-Seal:", cv);
	end_without_signature(field);
}

void dkim_finish(struct buf *field, struct view signature)
{
	size_t column = 10; /* of the b= that the field ended with */

	fold_base64(field, &column, signature);
	buf_puts(field, "\r\n");
}
