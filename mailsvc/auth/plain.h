/* SASL PLAIN (RFC 4616), the server's side: what login and smtp take apart alike. */
#ifndef MAILSVC_AUTH_PLAIN_H
#define MAILSVC_AUTH_PLAIN_H

#include "lib/buf.h"

/*
 * "identity NUL user NUL password" in parts, which borrow it.  -1: it is of another form, or the password holds a NUL;
 * 1: the client wants to act for another than the user, which is not offered.
 */
int plain_parse(struct view message, struct view *user, struct view *password);

#endif
