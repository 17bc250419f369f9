/*
 * HTTPS transfers by libcurl on our event loop.  The addresses of the host are given, so that libcurl asks no DNS and
 * starts no thread; the trust store is memory; nothing is followed, kept or remembered.
 */
#ifndef MAILSVC_FETCH_TRANSFER_H
#define MAILSVC_FETCH_TRANSFER_H

#include <event2/event.h>

#include "client.h"

struct transfers;
/* trust: PEM of the certificates that are trusted; it is not copied and must stay.  curl_api_load comes first. */
struct transfers *transfers_new(struct event_base *, struct view trust);

struct transfer;
/* addresses: "192.0.2.1,[2001:db8::1]".  fn is called once, from the event loop; the answer is valid during the call.
 */
struct transfer *transfer_start(struct transfers *, const char *url, const char *host, uint16_t port,
    const char *addresses, const struct fetch_limits *, fetch_fn fn, void *arg);
void transfer_cancel(struct transfer *); /* fn will not come; NULL is fine */

#endif
