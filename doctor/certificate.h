/* The site's certificate, read from its files. */
#ifndef DOCTOR_CERTIFICATE_H
#define DOCTOR_CERTIFICATE_H

#include <openssl/x509.h>

#include "doctor/doctor.h"

struct certificate {
	char *file, *key_file;
	X509 *leaf;
	STACK_OF(X509) * chain; /* what stands behind it in the file */
	bool readable_key;      /* its file */
	EVP_PKEY *key;          /* NULL: not readable, or none */
	int64_t not_before, not_after;
};
/* -1 with why; certificate_free in either case. */
int certificate_load(const struct site *, struct certificate *, struct error *);
void certificate_free(struct certificate *);
void certificate_dates(X509 *, int64_t *not_before, int64_t *not_after);
/* One row "certificate": expired, soon, or fine. */
void certificate_judge_dates(
    const char *subject, int64_t not_before, int64_t not_after, const char *remedy, struct check_results *);

#endif
