/* conn.h: TLS contexts.  One place decides on versions, ciphers and memory; nothing is loaded from files later. */
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>

#include "conn.h"
#include "log.h"

#define CA_FILE "/etc/ssl/certs/ca-certificates.crt"
#define CIPHERS "ECDHE+AESGCM:ECDHE+CHACHA20:DHE+AESGCM:!aNULL:!eNULL:!PSK:!SRP:!CAMELLIA:!ARIA:!CCM"

static int tls_error(struct error *e, const char *what)
{
	unsigned long code = ERR_peek_last_error();
	const char *reason = code != 0 ? ERR_reason_error_string(code) : NULL;

	error_set(e, "%s: %s", what, reason != NULL ? reason : "not usable");
	ERR_clear_error();
	return -1;
}

static SSL_CTX *new_ctx(const SSL_METHOD *method, struct error *e)
{
	SSL_CTX *ctx = SSL_CTX_new(method);

	if (ctx == NULL) {
		tls_error(e, "TLS context");
		return NULL;
	}
	SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
	SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_IGNORE_UNEXPECTED_EOF);
	/* Partial writes from a moving buffer: what is not yet written stays in an evbuffer. */
	SSL_CTX_set_mode(
	    ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	SSL_CTX_clear_mode(ctx, SSL_MODE_AUTO_RETRY);
	SSL_CTX_set_read_ahead(ctx, 1);
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	if (SSL_CTX_set_cipher_list(ctx, CIPHERS) != 1 || SSL_CTX_set1_groups_list(ctx, "X25519:P-256") != 1) {
		tls_error(e, "TLS ciphers");
		SSL_CTX_free(ctx);
		return NULL;
	}
	return ctx;
}

static int no_password(char *buf, int size, int writing, void *arg)
{
	(void)buf;
	(void)size;
	(void)writing;
	(void)arg;
	return -1; /* an encrypted key is an error, not a prompt */
}

static int use_chain(SSL_CTX *ctx, struct view pem)
{
	BIO *bio = BIO_new_mem_buf(pem.ptr, (int)pem.len);
	X509 *cert = bio == NULL ? NULL : PEM_read_bio_X509_AUX(bio, NULL, no_password, NULL);
	int r = -1;

	if (cert == NULL || SSL_CTX_use_certificate(ctx, cert) != 1)
		goto out;
	for (;;) {
		X509 *next = PEM_read_bio_X509(bio, NULL, no_password, NULL);
		if (next == NULL) {
			unsigned long code = ERR_peek_last_error();
			if (ERR_GET_LIB(code) == ERR_LIB_PEM && ERR_GET_REASON(code) == PEM_R_NO_START_LINE) {
				ERR_clear_error(); /* the end */
				r = 0;
			}
			goto out;
		}
		if (SSL_CTX_add0_chain_cert(ctx, next) != 1) {
			X509_free(next);
			goto out;
		}
	}
out:
	X509_free(cert);
	BIO_free(bio);
	return r;
}

static int use_key(SSL_CTX *ctx, struct view pem)
{
	BIO *bio = BIO_new_mem_buf(pem.ptr, (int)pem.len);
	EVP_PKEY *key = bio == NULL ? NULL : PEM_read_bio_PrivateKey(bio, NULL, no_password, NULL);
	int r = key != NULL && SSL_CTX_use_PrivateKey(ctx, key) == 1 ? 0 : -1;

	EVP_PKEY_free(key);
	BIO_free(bio);
	return r;
}

struct alpn {
	unsigned len;
	unsigned char list[];
};

static int alpn_index = -1;

static void alpn_free(void *parent, void *ptr, CRYPTO_EX_DATA *ad, int idx, long argl, void *argp)
{
	(void)parent;
	(void)ad;
	(void)idx;
	(void)argl;
	(void)argp;
	free(ptr);
}

static int alpn_select(
    SSL *ssl, const unsigned char **out, unsigned char *outlen, const unsigned char *in, unsigned inlen, void *arg)
{
	const struct alpn *ours = arg;
	unsigned char *chosen;

	(void)ssl;
	if (SSL_select_next_proto(&chosen, outlen, ours->list, ours->len, in, inlen) != OPENSSL_NPN_NEGOTIATED)
		return SSL_TLSEXT_ERR_ALERT_FATAL;
	*out = chosen;
	return SSL_TLSEXT_ERR_OK;
}

static int set_alpn(SSL_CTX *ctx, struct view list)
{
	if (alpn_index == -1)
		alpn_index = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, alpn_free);
	struct alpn *a = xmalloc(sizeof(*a) + list.len);
	a->len = (unsigned)list.len;
	memcpy(a->list, list.ptr, list.len);
	if (alpn_index == -1 || SSL_CTX_set_ex_data(ctx, alpn_index, a) != 1) {
		free(a);
		return -1;
	}
	SSL_CTX_set_alpn_select_cb(ctx, alpn_select, a);
	return 0;
}

SSL_CTX *tls_server_ctx(struct view cert_pem, struct view key_pem, struct view alpn, struct error *e)
{
	static const unsigned char context[] = "mailadm";

	ERR_clear_error();
	if (cert_pem.len > INT32_MAX || key_pem.len > INT32_MAX || alpn.len > UINT16_MAX) {
		error_set(e, "certificate, key or ALPN list too large");
		return NULL;
	}
	SSL_CTX *ctx = new_ctx(TLS_server_method(), e);
	if (ctx == NULL)
		return NULL;
	SSL_CTX_set_options(ctx, SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
	SSL_CTX_set_session_id_context(ctx, context, sizeof(context) - 1);
	SSL_CTX_set_num_tickets(ctx, 1);
	SSL_CTX_set_dh_auto(ctx, 1);
	if (use_chain(ctx, cert_pem) == -1)
		tls_error(e, "certificate");
	else if (use_key(ctx, key_pem) == -1)
		tls_error(e, "private key");
	else if (SSL_CTX_check_private_key(ctx) != 1)
		tls_error(e, "private key does not belong to the certificate");
	else if (alpn.len > 0 && set_alpn(ctx, alpn) == -1)
		tls_error(e, "ALPN");
	else
		return ctx;
	SSL_CTX_free(ctx);
	return NULL;
}

int tls_server_set_ticket_key(SSL_CTX *ctx, const unsigned char key[TLS_TICKET_KEY_BYTES])
{
	return SSL_CTX_set_tlsext_ticket_keys(ctx, (void *)(uintptr_t)key, TLS_TICKET_KEY_BYTES) == 1 ? 0 : -1;
}

SSL_CTX *tls_client_ctx(bool verify, struct error *e)
{
	if (verify)
		return tls_client_ctx_trusting(tls_trust_file(), e);
	ERR_clear_error();
	SSL_CTX *ctx = new_ctx(TLS_client_method(), e);

	if (ctx == NULL)
		return NULL;
	SSL_CTX_set_verify(ctx, SSL_VERIFY_NONE, NULL);
	return ctx;
}

const char *tls_trust_file(void)
{
	const char *file = getenv(X509_get_default_cert_file_env());

	return file != NULL ? file : CA_FILE;
}

SSL_CTX *tls_client_ctx_trusting(const char *file, struct error *e)
{
	ERR_clear_error();
	SSL_CTX *ctx = new_ctx(TLS_client_method(), e);

	if (ctx == NULL)
		return NULL;
	if (SSL_CTX_load_verify_file(ctx, file) != 1) {
		error_set(e, "%s: cannot load trusted certificates; install ca-certificates", file);
		ERR_clear_error();
		SSL_CTX_free(ctx);
		return NULL;
	}
	SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
	return ctx;
}
