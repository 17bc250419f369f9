/* Certificates and keys in PEM, as they lie in files. */
#ifndef LIB_PEM_H
#define LIB_PEM_H

#include <openssl/x509.h>

#include "buf.h"
#include "log.h"

#define PEM_FILE_MAX (1024u * 1024)

/* A whole file of at most PEM_FILE_MAX bytes. What is no regular file is refused: a FIFO would be waited for. */
int pem_file_read(const char *path, struct buf *out, struct error *);
/* The first certificate, or NULL.  chain (may be NULL) gets those behind it, if only none; not written without a first. */
X509 *pem_certificate(struct view text, STACK_OF(X509) **chain);
/* The private key, or NULL: there is none, or it has a passphrase, which nobody is asked for. */
EVP_PKEY *pem_private_key(struct view text);
EVP_PKEY *pem_public_key(struct view text); /* or NULL */
/* buf_free, after what it held was overwritten. */
void pem_wipe(struct buf *);

#endif
