/*
 * selfsigned.h: EC P-256, valid from a day ago (clocks differ) for ten years.  The key is written first: a crash
 * between the two leaves a key without a certificate, and the next start makes both anew.
 */
#include "mailsvc/monitor/selfsigned.h"

#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/proc.h"

#define DAYS 3650

static int add_extension(X509 *x, int nid, const char *value)
{
	X509V3_CTX ctx;
	X509_EXTENSION *extension;
	int ok;

	X509V3_set_ctx_nodb(&ctx);
	X509V3_set_ctx(&ctx, x, x, NULL, NULL, 0);
	extension = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
	ok = extension != NULL && X509_add_ext(x, extension, -1) == 1;
	X509_EXTENSION_free(extension);
	return ok ? 0 : -1;
}

static int add_name(GENERAL_NAMES *names, const char *name)
{
	GENERAL_NAME *general = GENERAL_NAME_new();
	ASN1_IA5STRING *text = ASN1_IA5STRING_new();

	if (general == NULL || text == NULL || ASN1_STRING_set(text, name, -1) != 1) {
		GENERAL_NAME_free(general);
		ASN1_IA5STRING_free(text);
		return -1;
	}
	GENERAL_NAME_set0_value(general, GEN_DNS, text);
	if (sk_GENERAL_NAME_push(names, general) == 0) {
		GENERAL_NAME_free(general);
		return -1;
	}
	return 0;
}

static int add_domain_names(GENERAL_NAMES *names, const struct site *site)
{
	for (size_t i = 0; i < site->domain_count; i++) {
		char *name = xasprintf("mail.%s", site->domains[i].name);
		int r = strcmp(name, site->host.name) == 0 ? 0 : add_name(names, name);

		free(name);
		if (r < 0)
			return -1;
	}
	return 0;
}

static int add_alternative_names(X509 *x, const struct site *site)
{
	GENERAL_NAMES *names = sk_GENERAL_NAME_new_null();
	int r = names == NULL || add_name(names, site->host.name) < 0 || add_name(names, "localhost") < 0 ||
	                add_domain_names(names, site) < 0 ||
	                X509_add1_ext_i2d(x, NID_subject_alt_name, names, 0, X509V3_ADD_DEFAULT) != 1
	            ? -1
	            : 0;

	GENERAL_NAMES_free(names);
	return r;
}

static int set_serial(X509 *x)
{
	BIGNUM *n = BN_new();
	int ok = n != NULL && BN_rand(n, 127, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ANY) == 1 &&
	         BN_to_ASN1_INTEGER(n, X509_get_serialNumber(x)) != NULL;

	BN_free(n);
	return ok ? 0 : -1;
}

/* CN holds at most 64 characters; clients read the alternative names. */
static X509 *make_certificate(const struct site *site, EVP_PKEY *key)
{
	X509 *x = X509_new();
	X509_NAME *name;
	char cn[65];

	if (x == NULL)
		return NULL;
	name = X509_get_subject_name(x);
	if (view_copy(view_of(site->host.name), cn, sizeof(cn)) < 0)
		view_copy(view_of("mailadm"), cn, sizeof(cn));
	if (X509_set_version(x, X509_VERSION_3) != 1 || set_serial(x) < 0 ||
	    X509_gmtime_adj(X509_getm_notBefore(x), -86400) == NULL ||
	    X509_time_adj_ex(X509_getm_notAfter(x), DAYS, 0, NULL) == NULL || X509_set_pubkey(x, key) != 1 ||
	    X509_NAME_add_entry_by_NID(name, NID_commonName, MBSTRING_UTF8, (const unsigned char *)cn, -1, -1, 0) !=
		1 ||
	    X509_set_issuer_name(x, name) != 1 || add_extension(x, NID_basic_constraints, "critical,CA:FALSE") < 0 ||
	    add_extension(x, NID_key_usage, "critical,digitalSignature") < 0 ||
	    add_extension(x, NID_ext_key_usage, "serverAuth") < 0 || add_alternative_names(x, site) < 0 ||
	    X509_sign(x, key, EVP_sha256()) == 0) {
		X509_free(x);
		return NULL;
	}
	return x;
}

static int write_pem(BIO *bio, const char *path, mode_t mode, struct error *e)
{
	char *data;
	long len = BIO_get_mem_data(bio, &data);

	return file_write_atomic(path, (struct view){ data, (size_t)len }, mode, e);
}

static int make_both(const struct site *site, const char *cert_path, const char *key_path, struct error *e)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *x = key != NULL ? make_certificate(site, key) : NULL;
	BIO *kbio = BIO_new(BIO_s_secmem()), *cbio = BIO_new(BIO_s_mem());
	int r;

	if (x == NULL || kbio == NULL || cbio == NULL ||
	    PEM_write_bio_PKCS8PrivateKey(kbio, key, NULL, NULL, 0, NULL, NULL) != 1 ||
	    PEM_write_bio_X509(cbio, x) != 1)
		r = error_set(e, "%s: OpenSSL cannot make a self-signed certificate", cert_path);
	else
		r = write_pem(kbio, key_path, 0600, e) < 0 || write_pem(cbio, cert_path, 0644, e) < 0 ? -1 : 1;
	BIO_free(kbio);
	BIO_free(cbio);
	X509_free(x);
	EVP_PKEY_free(key);
	return r;
}

int selfsigned_ensure(const struct site *site, struct error *e)
{
	char *dir = site_state(site, "tls"), *cert = site_state(site, "tls/cert.pem"),
	     *key = site_state(site, "tls/key.pem");
	int r = 0;

	if (access(cert, F_OK) < 0 || access(key, F_OK) < 0)
		r = file_mkdirs(dir, 0700, e) < 0 ? -1 : make_both(site, cert, key, e);
	free(dir);
	free(cert);
	free(key);
	return r;
}
