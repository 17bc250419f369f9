/* Signing whatever a test wants signed, right or wrong: keys made anew, key records in a zone, fields as they are
 * given. */
#ifndef TESTS_UNIT_POLICY_SIGN_H
#define TESTS_UNIT_POLICY_SIGN_H

#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include "lib/text.h"
#include "mailsvc/keys/dkim.h"
#include "mailsvc/mime/mime.h"
#include "tests/unit/policy_zone.h"

static EVP_PKEY *sign_rsa, *sign_rsa_small, *sign_ed25519;

static void sign_keys(void)
{
	sign_rsa = EVP_RSA_gen(2048);
	sign_rsa_small = EVP_RSA_gen(768);
	sign_ed25519 = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
}

static void sign_keys_free(void)
{
	EVP_PKEY_free(sign_rsa);
	EVP_PKEY_free(sign_rsa_small);
	EVP_PKEY_free(sign_ed25519);
}

/* "tags p=<the key>" as the key record of name. */
static void sign_publish(struct zone *zone, const char *name, const char *tags, EVP_PKEY *key)
{
	struct buf text = BUF_INIT(4096);
	unsigned char *der = NULL, raw[32];
	size_t raw_len = sizeof(raw);
	int len;

	buf_printf(&text, "%sp=", tags);
	if (EVP_PKEY_is_a(key, "RSA")) {
		len = i2d_PUBKEY(key, &der);
		text_base64_encode(&text, (struct view){ (const char *)der, (size_t)len });
		OPENSSL_free(der);
	} else {
		EVP_PKEY_get_raw_public_key(key, raw, &raw_len);
		text_base64_encode(&text, (struct view){ (const char *)raw, raw_len });
	}
	zone_put(zone, name, DNS_TXT, buf_str(&text));
	buf_free(&text);
}

static void sign_hash(EVP_PKEY *key, const uint8_t hash[32], struct buf *base64)
{
	uint8_t signature[1024];
	size_t len = sizeof(signature);

	if (EVP_PKEY_is_a(key, "RSA")) {
		EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(key, NULL);
		if (EVP_PKEY_sign_init(ctx) != 1 || EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PADDING) != 1 ||
		    EVP_PKEY_CTX_set_signature_md(ctx, EVP_sha256()) != 1 ||
		    EVP_PKEY_sign(ctx, signature, &len, hash, 32) != 1)
			abort();
		EVP_PKEY_CTX_free(ctx);
	} else {
		EVP_MD_CTX *ctx = EVP_MD_CTX_new();
		if (EVP_DigestSignInit(ctx, NULL, NULL, NULL, key) != 1 ||
		    EVP_DigestSign(ctx, signature, &len, hash, 32) != 1)
			abort();
		EVP_MD_CTX_free(ctx);
	}
	text_base64_encode(base64, (struct view){ (const char *)signature, len });
}

/* The fields of h=, from the bottom up. */
static void sign_fields(struct view header, const char *names, enum dkim_canon canon, struct buf *canonical)
{
	struct mime_header fields[128], h;
	bool used[128] = { false };
	size_t count = 0;

	for (size_t pos = 0; count < 128 && mime_header_next(header, &pos, &h);)
		fields[count++] = h;
	for (const char *p = names; *p != '\0';) {
		size_t len = strcspn(p, ":");
		for (size_t i = count; i-- > 0;) {
			if (used[i] || fields[i].name.len != len || strncasecmp(fields[i].name.ptr, p, len) != 0)
				continue;
			used[i] = true;
			dkim_header(canon, fields[i].field, canonical);
			break;
		}
		p += len + (p[len] == ':');
	}
}

/*
 * Puts "begin h=names; bh=...; b=...\r\n" in front of message: begin is the field's name and its first tags.  limit: of
 * the canonical body, for l=, which is the caller's to write into begin.
 */
__attribute__((unused)) static void sign_message(struct buf *message, const char *begin, const char *names,
    EVP_PKEY *key, enum dkim_canon header_canon, enum dkim_canon body_canon, uint64_t limit)
{
	struct buf field = BUF_INIT(1 << 16), canonical = BUF_INIT(1 << 20), signed_message = BUF_INIT(1 << 20);
	struct dkim_body_hash body = { .limit = limit };
	size_t header_len = mime_header_len(buf_view(message));
	uint8_t hash[32];

	dkim_body_hashes(body_canon, (struct view){ message->data + header_len, message->len - header_len }, &body, 1);
	buf_printf(&field, "%s h=%s;\r\n\tbh=", begin, names);
	text_base64_encode(&field, (struct view){ (const char *)body.hash, 32 });
	buf_puts(&field, ";\r\n\tb=");
	sign_fields((struct view){ message->data, header_len }, names, header_canon, &canonical);
	dkim_header(header_canon, buf_view(&field), &canonical);
	canonical.len -= 2;
	dkim_hash(buf_view(&canonical), hash);
	sign_hash(key, hash, &field);
	buf_puts(&field, "\r\n");
	buf_addv(&signed_message, buf_view(&field));
	buf_addv(&signed_message, buf_view(message));
	buf_reset(message);
	buf_addv(message, buf_view(&signed_message));
	buf_free(&field);
	buf_free(&canonical);
	buf_free(&signed_message);
}

#endif
