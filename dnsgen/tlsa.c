/* TLSA 3 1 1 (RFC 6698, RFC 7672 3.1.1): digests of the public keys of the certificate in use and of the next one. */
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dnsgen/content.h"
#include "lib/pem.h"
#include "lib/proc.h"

#define PEM_MAX (256u * 1024)

static EVP_PKEY *read_key(struct view pem)
{
	X509 *certificate = pem_certificate(pem, NULL);
	EVP_PKEY *key = certificate ? X509_get_pubkey(certificate) : NULL;

	X509_free(certificate);
	if (key == NULL)
		key = pem_public_key(pem);
	return key != NULL ? key : pem_private_key(pem);
}

int tlsa_digest(struct view pem, char out[TLSA_HEX])
{
	unsigned char *der = NULL, sum[EVP_MAX_MD_SIZE];
	EVP_PKEY *key = pem.len > 0 && pem.len <= PEM_MAX ? read_key(pem) : NULL;
	int len = key ? i2d_PUBKEY(key, &der) : -1;
	unsigned size = 0;
	bool made = len > 0 && EVP_Digest(der, (size_t)len, sum, &size, EVP_sha256(), NULL) == 1 && size == 32;
	for (unsigned i = 0; made && i < size; i++)
		snprintf(out + 2 * i, 3, "%02x", sum[i]);
	OPENSSL_free(der);
	EVP_PKEY_free(key);
	return made ? 0 : -1;
}

/* A site that is rendered elsewhere has no certificate at hand: then there is no record, and DANE is not announced. */
static void add(char *path, char *out[2], size_t *count)
{
	struct buf pem = BUF_INIT(PEM_MAX);
	struct error none;
	char hex[TLSA_HEX];
	if (*count < 2 && file_read(path, PEM_MAX, &pem, &none) == 0 && tlsa_digest(buf_view(&pem), hex) == 0 &&
	    (*count == 0 || strcmp(out[0], hex) != 0))
		out[(*count)++] = xstrdup(hex);
	pem_wipe(&pem);
	free(path);
}

size_t tlsa_digests(const struct site *s, char *out[2])
{
	size_t count = 0;
	if (!s->dns.sign)
		return 0;
	add(s->tls.certificate[0] ? site_path(s, s->tls.certificate) : site_state(s, "tls/cert.pem"), out, &count);
	add(site_state(s, "tls/next.pem"), out, &count);
	add(site_state(s, "tls/next.pub"), out, &count);
	return count;
}
