/* EXPUNGE and UID EXPUNGE (RFC 4315). The untagged EXPUNGEs come from the synchronisation before the reply. */
#include <stdlib.h>

#include "imap.h"
#include "namespace.h"
#include "slices.h"

static uint32_t send_expunge(
    struct imap_session *s, struct slices *x, const struct uid_range *ranges, size_t count, store_fn fn, void *arg)
{
	(void)x;
	return store_expunge(imap_store(s), s->mailbox->id, true, ranges, count, fn, arg);
}

static void on_expunged(struct imap_session *s, struct slices *x)
{
	s->landing_modseq = x->modseq;
	if (x->status != STORE_OK)
		imap_finish_store(s, x->status);
	else if ((s->enabled & ENABLED_QRESYNC) && x->source_count > 0)
		imap_finish(s, "OK [HIGHESTMODSEQ %llu] EXPUNGE completed.", (unsigned long long)x->modseq);
	else
		imap_finish(s, "OK EXPUNGE completed.");
}

int imap_cmd_expunge(struct imap_session *s, struct imap_parser *p, bool uid)
{
	struct uid_range *ranges = NULL;
	size_t count = 0;

	if (uid && (!imap_parse_sp(p) || !imap_parse_uids(s, p, true, &ranges, &count)))
		return IMAP_BAD;
	if (!imap_parse_end(p)) {
		free(ranges);
		return IMAP_BAD;
	}
	if (namespace_need(s, ACL_EXPUNGE) < 0) {
		free(ranges);
		return IMAP_DONE;
	}
	if (!uid && s->mailbox->map.count > 0) {
		count = 1;
		ranges = xmalloc(sizeof(*ranges));
		*ranges = (struct uid_range){ 1, uidmap_last(&s->mailbox->map) };
	}
	if (count == 0) {
		imap_finish(s, "OK Nothing to expunge.");
		return IMAP_DONE;
	}
	return slices_start(s, ranges, count, send_expunge, on_expunged, NULL);
}
