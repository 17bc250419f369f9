/* report.h: who stands by a report that came by mail, in the words that the smtp role put in front of it. */
#include "mailsvc/mime/mime.h"
#include "mailsvc/policy/authres.h"
#include "mailsvc/policy/dmarc.h"
#include "mailsvc/policy/name.h"
#include "mailsvc/report/report.h"

struct search {
	const char *author;
	bool found;
};

static void match(void *arg, struct view domain)
{
	struct search *s = arg;
	char d[256];

	if (policy_domain(domain, d) == 0)
		s->found = s->found || policy_below(s->author, d) || policy_below(d, s->author);
}

bool report_signer(enum report_kind kind, struct view message, const char *host, char signer[256])
{
	struct view header = { message.ptr, mime_header_len(message) }, own = authres_own(header, host);
	struct search s = { .author = signer };
	char reason[160];

	signer[0] = '\0';
	if (own.ptr == NULL || dmarc_author(header, signer, reason) == -1)
		return false;
	if (kind == REPORT_DMARC)
		s.found = authres_says(own, "dmarc") == AUTHRES_PASS;
	else
		authres_passed(own, "dkim", "header.d", match, &s);
	if (!s.found)
		signer[0] = '\0';
	return s.found;
}
