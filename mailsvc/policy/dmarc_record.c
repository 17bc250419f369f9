/* dmarc_record.h.  Of a tag that is given twice the first counts. */
#include "mailsvc/policy/dmarc_record.h"

#include <ctype.h>
#include <stdio.h>

#include "mailsvc/mime/mime.h"
#include "mailsvc/policy/name.h"

#define TAGS_MAX 64

static struct view trim(struct view v)
{
	while (v.len > 0 && (v.ptr[0] == ' ' || v.ptr[0] == '\t'))
		v = policy_behind(v, 1);
	while (v.len > 0 && (v.ptr[v.len - 1] == ' ' || v.ptr[v.len - 1] == '\t'))
		v.len--;
	return v;
}

/* Takes the next tag off rest; false at the end.  A piece without '=' has no name. */
static bool next_tag(struct view *rest, struct view *name, struct view *value)
{
	if (rest->len == 0)
		return false;
	const char *end = memchr(rest->ptr, ';', rest->len);
	struct view piece = { rest->ptr, end != NULL ? (size_t)(end - rest->ptr) : rest->len };
	size_t taken = piece.len + (end != NULL);
	*rest = policy_behind(*rest, taken);
	const char *equals = piece.len > 0 ? memchr(piece.ptr, '=', piece.len) : NULL;
	*name = *value = VIEW_NONE;
	if (equals == NULL)
		return true;
	size_t n = (size_t)(equals - piece.ptr);
	*name = trim((struct view){ piece.ptr, n });
	*value = trim(policy_behind(piece, n + 1));
	return true;
}

bool dmarc_record_is(struct view txt)
{
	struct view name, value;

	return next_tag(&txt, &name, &value) && view_caseeq(name, "v") && view_eq(value, "DMARC1");
}

/* 1: a policy, 0: not given, -1: given and wrong. */
static int policy_of(struct view v, enum dmarc_policy *out)
{
	if (v.ptr == NULL)
		return 0;
	if (view_caseeq(v, "none"))
		*out = DMARC_P_NONE;
	else if (view_caseeq(v, "quarantine"))
		*out = DMARC_P_QUARANTINE;
	else if (view_caseeq(v, "reject"))
		*out = DMARC_P_REJECT;
	else
		return -1;
	return 1;
}

/* Is at least one of a list of URIs one: a scheme, a colon, and printable bytes behind it? */
static bool has_uri(struct view list)
{
	while (list.len > 0) {
		const char *comma = memchr(list.ptr, ',', list.len);
		struct view uri =
		    trim((struct view){ list.ptr, comma != NULL ? (size_t)(comma - list.ptr) : list.len });
		size_t taken = comma != NULL ? (size_t)(comma - list.ptr) + 1 : list.len, n = 0;
		list = policy_behind(list, taken);
		while (n < uri.len &&
		       (isalnum((unsigned char)uri.ptr[n]) || (n > 0 && memchr("+-.", uri.ptr[n], 3) != NULL)))
			n++;
		bool good = n > 0 && isalpha((unsigned char)uri.ptr[0]) && n + 1 < uri.len && uri.ptr[n] == ':';
		for (; good && n < uri.len; n++)
			good = uri.ptr[n] > ' ' && (unsigned char)uri.ptr[n] < 0x7f;
		if (good)
			return true;
	}
	return false;
}

struct dmarc_record dmarc_record_parse(struct view txt)
{
	static const char *const names[] = { "p", "sp", "np", "adkim", "aspf", "t", "psd", "rua" };
	enum { P, SP, NP, ADKIM, ASPF, T, PSD, RUA, COUNT };
	struct view given[COUNT] = { { NULL, 0 } }, name, value;
	struct dmarc_record r = { 0 };

	for (size_t n = 0; n < TAGS_MAX && next_tag(&txt, &name, &value); n++)
		for (size_t i = 0; i < COUNT; i++)
			if (view_caseeq(name, names[i]) && given[i].ptr == NULL)
				given[i] = value;
	int p = policy_of(given[P], &r.p);
	int sp = policy_of(given[SP], &r.sp), np = policy_of(given[NP], &r.np);
	r.usable = p == 1 && sp != -1 && np != -1;
	if (!r.usable) { /* then p=none alone, for those who get reports */
		r.usable = has_uri(given[RUA]);
		r.p = DMARC_P_NONE;
		sp = np = 0;
	}
	r.sp = sp == 1 ? r.sp : r.p;
	r.np = np == 1 ? r.np : r.sp;
	r.has_np = np == 1;
	r.strict_dkim = view_caseeq(given[ADKIM], "s");
	r.strict_spf = view_caseeq(given[ASPF], "s");
	r.testing = view_caseeq(given[T], "y");
	r.psd = view_caseeq(given[PSD], "y")   ? DMARC_PSD_YES
	        : view_caseeq(given[PSD], "n") ? DMARC_PSD_NO
	                                       : DMARC_PSD_UNKNOWN;
	return r;
}

/* The author's domain -------------------------------------------------------------------------------------------- */

struct author {
	char domain[256];
	size_t mailboxes;
	bool none, several; /* a mailbox without a domain; of different ones */
	bool unclear;       /* "<a@evil.example> <b@bank.example>", or a route: nobody knows which of them is shown */
};

static void on_mailbox(void *arg, const struct mime_mailbox *m)
{
	struct author *a = arg;
	char domain[256];

	if (m->group_start || m->group_end)
		return;
	a->mailboxes++;
	a->unclear = a->unclear || m->more || m->route.len > 0;
	if (m->domain.len == 0 || m->domain.ptr[0] == '[' || policy_domain(m->domain, domain) == -1) {
		a->none = true;
		return;
	}
	if (a->domain[0] == '\0')
		view_copy(view_of(domain), a->domain, sizeof(a->domain));
	a->several = a->several || strcmp(domain, a->domain) != 0;
}

int dmarc_author(struct view header, char domain[256], char reason[160])
{
	struct mime_header h;
	struct author a = { 0 };
	size_t pos = 0, fields = 0;

	domain[0] = reason[0] = '\0';
	while (mime_header_next(header, &pos, &h)) {
		if (!view_caseeq(h.name, "From"))
			continue;
		if (fields++ == 0)
			mime_addresses(h.value, on_mailbox, &a);
	}
	if (fields != 1)
		policy_say(reason, 160, fields == 0 ? "no From field" : "several From fields");
	else if (a.mailboxes == 0)
		policy_say(reason, 160, "no address in From");
	else if (a.unclear)
		policy_say(reason, 160, "From is no list of addresses");
	else if (a.none)
		policy_say(reason, 160, "an address without a domain in From");
	else if (a.several)
		policy_say(reason, 160, "addresses of several domains in From");
	else
		return view_copy(view_of(a.domain), domain, 256);
	return -1;
}
