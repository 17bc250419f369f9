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
	struct secret {
		char *name, *value;
	} *routes; /* route.NAME.password */
	size_t route_count;
};
#define SECRETS_ROUTES_MAX 1000
/* The password of a route of the site ("relay": relay.password); "" when there is none. */
const char *secrets_route(const struct secrets *, const char *name);

/* Reads fd from its start (it stays open). -1 on an error that names the line, never a value. */
int secrets_load(int fd, struct secrets *, struct error *);
void secrets_free(struct secrets *); /* wipes */

#endif
