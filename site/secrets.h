/*
 * STATE/secrets: what mailadm says to others (a smarthost's password, a TSIG key), and therefore cannot be a hash.
 * Lines `key = "value"`, # begins a comment line.  The file must be 0600; monitor checks that and hands the descriptor
 * to the one role that uses it.
 */
#ifndef SITE_SECRETS_H
#define SITE_SECRETS_H

#include "lib/log.h"
#include "site.h"

struct secrets {
	char *relay_password;  /* "" when there is none */
	char *dns_tsig_secret; /* base64, likewise */
};

/* Reads fd from its start (it stays open). -1 on an error that names the line, never a value. */
int secrets_load(int fd, struct secrets *, struct error *);
void secrets_free(struct secrets *); /* wipes */

#endif
