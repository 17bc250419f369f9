/*
 * scram.h, on OpenSSL's HMAC, SHA-256 and PBKDF2.  Own and not libgsasl, since a server that has StoredKey needs two
 * small parsers and two HMACs: less than the callbacks of a library that brings GSSAPI and NTLM into the one process
 * that holds credentials.
 */
#include "mailsvc/auth/scram.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>
#include <stdlib.h>
#include <utf8proc.h>

#include "lib/log.h"
#include "lib/text.h"

#define PREFIX "SCRAM-SHA-256$"

static void hmac(const uint8_t key[SCRAM_KEY_LEN], struct view text, uint8_t out[SCRAM_KEY_LEN])
{
	unsigned len = 0;

	if (HMAC(EVP_sha256(), key, SCRAM_KEY_LEN, (const unsigned char *)text.ptr, text.len, out, &len) == NULL)
		fatalx("event=scram reason=\"no HMAC\"");
}

/* Keys ------------------------------------------------------------------------------------------------------------ */

/*
 * SASLprep (RFC 4013): NFKC, and what is commonly mapped to nothing is left out.  ASCII is as it is, and so is what is
 * no UTF-8: a client that sends it has done nothing to it either.  malloc'd.
 */
static char *prepare(struct view password, size_t *len)
{
	utf8proc_uint8_t *out = NULL;
	utf8proc_ssize_t n = -1;
	bool ascii = true;

	for (size_t i = 0; i < password.len; i++)
		ascii = ascii && (unsigned char)password.ptr[i] < 0x80;
	if (!ascii)
		n = utf8proc_map((const utf8proc_uint8_t *)password.ptr, (utf8proc_ssize_t)password.len, &out,
		    UTF8PROC_STABLE | UTF8PROC_COMPAT | UTF8PROC_COMPOSE | UTF8PROC_IGNORE);
	if (n < 0) {
		*len = password.len;
		return view_dup(password);
	}
	*len = (size_t)n;
	return (char *)out;
}

void scram_keys_make(
    struct view password, const uint8_t salt[SCRAM_SALT_LEN], uint32_t iterations, struct scram_keys *out)
{
	uint8_t salted[SCRAM_KEY_LEN], client[SCRAM_KEY_LEN];
	size_t len;
	char *prepared = prepare(password, &len);

	out->iterations = iterations;
	memcpy(out->salt, salt, SCRAM_SALT_LEN);
	if (PKCS5_PBKDF2_HMAC(
		prepared, (int)len, salt, SCRAM_SALT_LEN, (int)iterations, EVP_sha256(), SCRAM_KEY_LEN, salted) != 1)
		fatalx("event=scram reason=\"no PBKDF2\"");
	hmac(salted, VIEW_LIT("Client Key"), client);
	SHA256(client, SCRAM_KEY_LEN, out->stored);
	hmac(salted, VIEW_LIT("Server Key"), out->server);
	explicit_bzero(prepared, len);
	explicit_bzero(salted, sizeof(salted));
	explicit_bzero(client, sizeof(client));
	free(prepared);
}

static void add_base64(struct buf *out, const uint8_t *bytes, size_t len)
{
	text_base64_encode(out, (struct view){ (const char *)bytes, len });
}

void scram_keys_text(const struct scram_keys *keys, char out[SCRAM_TEXT_MAX])
{
	struct buf text = BUF_INIT(SCRAM_TEXT_MAX);

	buf_printf(&text, PREFIX "%u:", keys->iterations);
	add_base64(&text, keys->salt, SCRAM_SALT_LEN);
	buf_addc(&text, '$');
	add_base64(&text, keys->stored, SCRAM_KEY_LEN);
	buf_addc(&text, ':');
	add_base64(&text, keys->server, SCRAM_KEY_LEN);
	view_copy(buf_view(&text), out, SCRAM_TEXT_MAX);
	explicit_bzero(text.data, text.cap);
	buf_free(&text);
}

/* What stands before `end` in *rest, which moves behind it. */
static bool take_until(struct view *rest, char end, struct view *out)
{
	const char *at = rest->len > 0 ? memchr(rest->ptr, end, rest->len) : NULL;

	if (at == NULL)
		return false;
	*out = (struct view){ rest->ptr, (size_t)(at - rest->ptr) };
	rest->ptr += out->len + 1;
	rest->len -= out->len + 1;
	return true;
}

static bool take_prefix(struct view *rest, const char *prefix)
{
	size_t len = strlen(prefix);

	if (rest->len < len || memcmp(rest->ptr, prefix, len) != 0)
		return false;
	rest->ptr += len;
	rest->len -= len;
	return true;
}

static bool get_base64(struct view text, uint8_t *out, size_t len)
{
	struct buf raw = BUF_INIT(128);
	bool fits = text_base64_decode(&raw, text) == 0 && raw.len == len;

	if (fits)
		memcpy(out, raw.data, len);
	if (raw.data != NULL)
		explicit_bzero(raw.data, raw.cap);
	buf_free(&raw);
	return fits;
}

int scram_keys_parse(struct view text, struct scram_keys *out)
{
	struct view iterations, salt, stored;
	uint64_t n;

	if (!take_prefix(&text, PREFIX) || !take_until(&text, ':', &iterations) || !take_until(&text, '$', &salt) ||
	    !take_until(&text, ':', &stored))
		return -1;
	if (view_u64(iterations, SCRAM_ITERATIONS_MAX, &n) < 0 || n < SCRAM_ITERATIONS_MIN ||
	    !get_base64(salt, out->salt, SCRAM_SALT_LEN) || !get_base64(stored, out->stored, SCRAM_KEY_LEN) ||
	    !get_base64(text, out->server, SCRAM_KEY_LEN))
		return -1;
	out->iterations = (uint32_t)n;
	return 0;
}

/* Messages -------------------------------------------------------------------------------------------------------- */

/* saslname: "=2C" is a comma, "=3D" an equals sign, and no other "=" may stand there. */
static int get_name(struct view text, char *out, size_t size)
{
	struct buf name = BUF_INIT(size - 1);
	int r;

	for (size_t i = 0; i < text.len; i++) {
		bool escaped = text.ptr[i] == '=' && text.len - i >= 3;

		if (text.ptr[i] != '=') {
			buf_addc(&name, text.ptr[i]);
		} else if (escaped && memcmp(text.ptr + i, "=2C", 3) == 0) {
			buf_addc(&name, ',');
			i += 2;
		} else if (escaped && memcmp(text.ptr + i, "=3D", 3) == 0) {
			buf_addc(&name, '=');
			i += 2;
		} else {
			buf_free(&name);
			return -1;
		}
	}
	r = name.full || name.len == 0 ? -1 : view_copy(buf_view(&name), out, size);
	buf_free(&name);
	return r;
}

static bool is_nonce(struct view v)
{
	if (v.len == 0 || v.len > SCRAM_NONCE_MAX)
		return false;
	for (size_t i = 0; i < v.len; i++)
		if (v.ptr[i] < 0x21 || v.ptr[i] > 0x7e || v.ptr[i] == ',')
			return false;
	return true;
}

/* gs2-cbind-flag (RFC 5802 6): "n" the client cannot bind; "y" it could, and thinks that we cannot; "p=" it does. */
static bool flag_fits(struct view flag, const struct scram_channel *channel)
{
	switch (channel != NULL ? channel->use : SCRAM_NO_CHANNEL) {
	case SCRAM_NO_CHANNEL:
		return view_eq(flag, "n") || view_eq(flag, "y");
	case SCRAM_CHANNEL_OFFERED:
		return view_eq(flag, "n");
	case SCRAM_CHANNEL_BOUND:
		return view_eq(flag, "p=tls-exporter");
	}
	return false;
}

int scram_client_first(struct view message, const struct scram_channel *channel, struct scram_first *out)
{
	struct view rest = message, flag, other, name;
	char actor[ADDRESS_MAX];

	if (message.len > SCRAM_CLIENT_MAX || !take_until(&rest, ',', &flag) || !take_until(&rest, ',', &other) ||
	    !flag_fits(flag, channel))
		return -1;
	out->header = (struct view){ message.ptr, message.len - rest.len };
	out->bare = rest;
	if (!take_prefix(&rest, "n=") || !take_until(&rest, ',', &name) || !take_prefix(&rest, "r="))
		return -1;
	if (!take_until(&rest, ',', &out->nonce)) /* no optional extension behind it */
		out->nonce = rest;
	if (get_name(name, out->user, sizeof(out->user)) < 0 || !is_nonce(out->nonce))
		return -1;
	if (other.len == 0 || view_eq(other, "a=")) /* the latter from GNU SASL, for none */
		return 0;
	return take_prefix(&other, "a=") && get_name(other, actor, sizeof(actor)) == 0 && strcmp(actor, out->user) == 0
	           ? 0
	           : -1;
}

void scram_server_first(
    struct view client_nonce, const char *server_nonce, const struct scram_keys *keys, char out[SCRAM_MESSAGE_MAX])
{
	struct buf text = BUF_INIT(SCRAM_MESSAGE_MAX - 1);

	buf_puts(&text, "r=");
	buf_addv(&text, client_nonce);
	buf_printf(&text, "%s,s=", server_nonce);
	add_base64(&text, keys->salt, SCRAM_SALT_LEN);
	buf_printf(&text, ",i=%u", keys->iterations);
	view_copy(buf_view(&text), out, SCRAM_MESSAGE_MAX);
	buf_free(&text);
}

/* The proof is ClientKey XOR HMAC(StoredKey, text); StoredKey is the hash of ClientKey. */
static bool proves(const uint8_t proof[SCRAM_KEY_LEN], struct view text, const struct scram_keys *keys)
{
	uint8_t signature[SCRAM_KEY_LEN], hashed[SCRAM_KEY_LEN];
	bool same;

	hmac(keys->stored, text, signature);
	for (size_t i = 0; i < SCRAM_KEY_LEN; i++)
		signature[i] ^= proof[i];
	SHA256(signature, SCRAM_KEY_LEN, hashed);
	same = CRYPTO_memcmp(hashed, keys->stored, SCRAM_KEY_LEN) == 0;
	explicit_bzero(signature, sizeof(signature));
	return same;
}

/* Splits "c=HEADER,r=NONCE[,extensions],p=PROOF"; without_proof is all before ",p=". */
static int split_final(
    struct view message, struct view *header, struct view *nonce, struct view *without_proof, struct view *proof)
{
	struct view rest = message;
	const char *comma = message.len > 0 ? memrchr(message.ptr, ',', message.len) : NULL;

	if (comma == NULL || message.len > SCRAM_CLIENT_MAX)
		return -1;
	*without_proof = (struct view){ message.ptr, (size_t)(comma - message.ptr) };
	*proof = (struct view){ comma + 1, message.len - without_proof->len - 1 };
	rest.len = without_proof->len;
	if (!take_prefix(proof, "p=") || !take_prefix(&rest, "c=") || !take_until(&rest, ',', header) ||
	    !take_prefix(&rest, "r="))
		return -1;
	if (!take_until(&rest, ',', nonce))
		*nonce = rest;
	return 0;
}

/* cbind-input in base64: the header that the client began with, and what it bound to. */
static void put_binding(struct buf *out, struct view header, const struct scram_channel *channel)
{
	struct buf input = BUF_INIT(2 * SCRAM_CLIENT_MAX);

	buf_addv(&input, header);
	if (channel != NULL && channel->use == SCRAM_CHANNEL_BOUND)
		buf_add(&input, channel->data, SCRAM_CHANNEL_LEN);
	text_base64_encode(out, buf_view(&input));
	buf_free(&input);
}

int scram_client_final(struct view message, struct view first, const char *server_first, const struct scram_keys *keys,
    const struct scram_channel *channel, char out[SCRAM_MESSAGE_MAX])
{
	struct view header, nonce, without_proof, proof_text, ours = view_of(server_first), sent;
	struct buf expected = BUF_INIT(4 * SCRAM_CLIENT_MAX), text = BUF_INIT(4 * SCRAM_CLIENT_MAX);
	uint8_t proof[SCRAM_KEY_LEN], signature[SCRAM_KEY_LEN];
	struct scram_first parsed;
	int r = -1;

	if (scram_client_first(first, channel, &parsed) < 0 || !take_prefix(&ours, "r=") || !take_until(&ours, ',', &sent) ||
	    split_final(message, &header, &nonce, &without_proof, &proof_text) < 0)
		goto out;
	put_binding(&expected, parsed.header, channel);
	if (!secret_eq(header.ptr, header.len, expected.data, expected.len) ||
	    !secret_eq(nonce.ptr, nonce.len, sent.ptr, sent.len) || !get_base64(proof_text, proof, SCRAM_KEY_LEN))
		goto out;
	buf_addv(&text, parsed.bare);
	buf_printf(&text, ",%s,", server_first);
	buf_addv(&text, without_proof);
	r = proves(proof, buf_view(&text), keys);
	hmac(keys->server, buf_view(&text), signature);
	buf_reset(&expected);
	buf_puts(&expected, "v=");
	add_base64(&expected, signature, SCRAM_KEY_LEN);
	view_copy(r == 1 ? buf_view(&expected) : VIEW_NONE, out, SCRAM_MESSAGE_MAX);
out:
	buf_free(&expected);
	buf_free(&text);
	return r;
}
