/* TXT records that are lists of tags, "v=DKIM1; k=rsa; p=...": DKIM (RFC 6376 3.2), DMARC, MTA-STS, TLS-RPT. */
#ifndef DNSGEN_TXTTAGS_H
#define DNSGEN_TXTTAGS_H

#include "lib/buf.h"

/* The value of a tag with all white space taken out; false when it is not there. */
bool txt_tag(struct view record, const char *tag, struct buf *value);
/* Is the tag there in both with the same value, or in neither? */
bool txt_tag_same(struct view a, struct view b, const char *tag);
/* Do both publish the same DKIM key (k, where rsa is the default, and p)? */
bool txt_same_key(struct view a, struct view b);
/* The value in quotes, as strings of at most 255 bytes: what stands behind TXT in a zone. */
void txt_quoted(struct view value, struct buf *out);

#endif
