/* One DNS question on its way to one server: the packet, the socket, and the answer as it comes. Part of lookup.c. */
#ifndef DNSGEN_LOOKUP_NET_H
#define DNSGEN_LOOKUP_NET_H

#include <ldns/ldns.h>

#include "lib/buf.h"

struct exchange {
	uint8_t *wire; /* the question, behind two bytes for TCP's length */
	size_t len;    /* with those */
	ldns_rr_type type;
	ldns_rdf *name;
	char *server;
	int fd; /* -1: none */
	bool tcp;
	size_t sent;    /* TCP */
	struct buf got; /* TCP */
};

/* recurse: RD and DO and AD; else a plain question with DO. -1: the name is none. */
int exchange_init(struct exchange *, const char *name, ldns_rr_type, bool recurse);
int exchange_start(struct exchange *, const char *server); /* -1 with errno */
short exchange_events(const struct exchange *);            /* what to poll for */
/* *answer is set when it is there; an answer that was cut is asked again over TCP.  -1: this try has failed. */
int exchange_step(struct exchange *, ldns_pkt **answer);
void exchange_stop(struct exchange *); /* closes the socket; may be started again */
void exchange_free(struct exchange *);

#endif
