/*
 * Reports of other hosts about mail in our name: DMARC aggregate reports (RFC 9990) and TLS reports (RFC 8460).  Pure:
 * a message in, JSON out.  All of it is hostile; whoever calls does so in a process without rights.
 */
#ifndef MAILSVC_REPORT_REPORT_H
#define MAILSVC_REPORT_REPORT_H

#include <jansson.h>

#include "lib/buf.h"
#include "lib/log.h"

enum report_kind { REPORT_DMARC, REPORT_TLS };

#define REPORT_TEXT_MAX (32u << 20) /* bytes of a report once it is unpacked */
#define REPORT_ROWS_MAX 50000       /* of one report; more is an error, since a sum would be wrong */
#define REPORT_STRING_MAX 255       /* bytes of a name in it; longer ones are cut */

/* May a message with this BODYSTRUCTURE (or header) hold one?  Cheap: looks for the types that reports travel as. */
bool report_likely(enum report_kind, struct view structure);

/*
 * Finds the report in a whole message, or takes a bare file (XML or JSON, as it is, gzip or zip), and unpacks it into
 * text, whose max should be REPORT_TEXT_MAX.  0, or -1: there is none, or it is broken.
 */
int report_extract(enum report_kind, struct view message, struct buf *text, struct error *);

/*
 * {"org","id","begin","end","domain","policy","rows":[{"source","count","disposition","dkim","spf","from",
 * "dkim_domains","spf_domain","reasons"}]}; begin and end are seconds.  NULL: e.
 */
json_t *report_parse_dmarc(struct view xml, struct error *e);
/*
 * {"org","id","begin","end","rows":[{"domain","policy","mx","result","sessions","receiver","detail"}]}: a row for what
 * succeeded of each policy (result "success"), and one for each kind of failure.  NULL: e.
 */
json_t *report_parse_tls(struct view json, struct error *e);

/*
 * Did host, which took the mail, find that its author's domain stands by it?  By DMARC; a TLS report needs a DKIM
 * signature of the domain, or one above or below it (RFC 8460 3).  Then signer is the author's domain, else "".
 */
bool report_signer(enum report_kind, struct view message, const char *host, char signer[256]);

#endif
