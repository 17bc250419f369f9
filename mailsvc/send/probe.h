/*
 * Tries what sending to one address would do, step by step and with every host in order, up to the answer to RCPT; then
 * RSET and QUIT: nothing is sent.  By the role's own state: routes, DNS, TLS policies, the SMTP client.
 */
#ifndef MAILSVC_SEND_PROBE_H
#define MAILSVC_SEND_PROBE_H

#include <stdbool.h>
#include <stdint.h>

struct send;

enum probe_result {
	PROBE_OK,
	PROBE_NOTE,   /* not well, but no obstacle */
	PROBE_FAILED, /* this host, or all, cannot be used */
};

struct probe_step {
	const char *host; /* "mx.example[192.0.2.1]:25"; "" before there is one */
	const char *step; /* "route", "MX", "addresses", "TLS policy", "connect", "greeting", "EHLO" ... */
	unsigned ms;      /* that it took */
	enum probe_result result;
	const char *text;    /* what was found, or said; printable bytes */
	const char *meaning; /* what a failure means, in plain words; "" none */
};

struct probe_ops {
	void (*step)(void *arg, const struct probe_step *);
	void (*done)(void *arg, bool taken); /* some host would take it; the probe is gone */
};

#define PROBE_HOST_S 60 /* for one address, at most */

/* domain: of the recipient, normalised.  Callbacks come from the event loop. */
void probe_start(
    struct send *, const char *sender, const char *recipient, const char *domain, const struct probe_ops *, void *arg);

#endif
