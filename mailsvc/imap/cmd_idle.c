/* IDLE (RFC 2177): store's push makes the session run, and a run in this phase reports what changed. */
#include "imap.h"
#include "process.h"

int imap_cmd_idle(struct imap_session *s, struct imap_parser *p)
{
	if (!imap_parse_end(p))
		return IMAP_BAD;
	conn_printf(s->conn, "+ idling\r\n");
	s->phase = IMAP_PHASE_IDLE;
	if (imap_sync(s, true) == 1)
		imap_kick(s);
	return IMAP_WAIT;
}

void idle_line(struct imap_session *s, struct view line)
{
	if (view_caseeq(line, "DONE"))
		imap_finish(s, "OK IDLE terminated.");
	else
		imap_finish(s, "BAD Expected DONE.");
}
