/*
 * The Sender Rewriting Scheme: forwarded mail leaves with an envelope sender of ours, so that it passes the next host's
 * SPF check, and a bounce to that address finds the way back.
 *
 *   SRS0=HHHHHHHH=TT=domain=local@ours                      first forwarder
 *   SRS1=TTHHHHHHHH=domain==rest-of-its-SRS0-address@ours   behind another forwarder: leads back to that one
 *
 * H is a keyed hash over the rest (40 bits, base32), T the day (modulo 1024, base32).  Pure.
 */
#ifndef MAILSVC_SMTP_SRS_H
#define MAILSVC_SMTP_SRS_H

#include "site/address.h"

#define SRS_KEY_LEN 32
#define SRS_DAYS 21 /* that an address is good for */

struct srs {
	uint8_t key[SRS_KEY_LEN];
};

/* Does the local part claim to be one of these? */
bool srs_looks_like(struct view address);
/* now in seconds. -1: sender is no address, or the result is too long: it stays as it was. */
int srs_forward(const struct srs *, const char *sender, const char *our_domain, int64_t now, char out[ADDRESS_MAX]);
enum srs_status {
	SRS_OK,
	SRS_FORGED, /* not made by us, or changed since */
	SRS_EXPIRED,
};
/* Back to where it came from: the original sender, or the forwarder before us. */
enum srs_status srs_reverse(const struct srs *, struct view address, int64_t now, char out[ADDRESS_MAX]);
/*
 * The same for one of our own queue, whose sender was checked or made when it came: nothing is verified. -1: it is
 * none.
 */
int srs_origin(struct view address, char out[ADDRESS_MAX]);

#endif
