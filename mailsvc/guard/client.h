/* Telling guard what peers do: nothing is answered, and what it cannot take now is dropped. */
#ifndef MAILSVC_GUARD_CLIENT_H
#define MAILSVC_GUARD_CLIENT_H

#include <event2/event.h>

#include "mailsvc/guard/jail.h"
#include "mailsvc/guard/source.h"

struct guard_client;
struct guard_client *guard_client_new(struct event_base *);
void guard_client_attach(struct guard_client *, int fd);
/* This machine itself and loopback are never told. */
void guard_offence(struct guard_client *, enum offence, const struct sockaddr *);
void guard_offence_of(struct guard_client *, enum offence, const struct guard_source *);
void guard_login(struct guard_client *, const struct guard_source *); /* from auth alone */

#endif
