/* TXT records as text: whether two publish the same DKIM key, and how a zone writes one. */
#ifndef DNSGEN_TXTTAGS_H
#define DNSGEN_TXTTAGS_H

#include "lib/buf.h"

/* Do both publish the same DKIM key (k, where rsa is the default, and p), as a receiver reads them; or are they equal? */
bool txt_same_key(struct view a, struct view b);
/* The value in quotes, as strings of at most 255 bytes: what stands behind TXT in a zone. */
void txt_quoted(struct view value, struct buf *out);

#endif
