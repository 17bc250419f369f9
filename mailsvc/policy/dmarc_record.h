/* A DMARC policy record (RFC 9989 4.7, 4.8), and the author's domain of a message.  Pure. */
#ifndef MAILSVC_POLICY_DMARC_RECORD_H
#define MAILSVC_POLICY_DMARC_RECORD_H

#include "mailsvc/policy/dmarc.h"

enum dmarc_psd { DMARC_PSD_UNKNOWN, DMARC_PSD_YES, DMARC_PSD_NO };

struct dmarc_record {
	enum dmarc_policy p, sp, np; /* what holds when others are missing: sp is p then, np is sp */
	bool has_np;                 /* np was given: whether the domain exists matters */
	bool usable; /* false: no valid p, or an invalid sp or np, and nobody to report to: as no record (4.10.1) */
	bool strict_dkim, strict_spf, testing;
	enum dmarc_psd psd;
};

bool dmarc_record_is(struct view txt); /* does it begin with "v=DMARC1"? */
/* Unknown tags and values that make no sense count as not given (4.8).  txt: dmarc_record_is. */
struct dmarc_record dmarc_record_parse(struct view txt);

#endif
