/* Reads reports in a process without rights: what strangers mailed is parsed there and not with the administrator's. */
#ifndef CLI_REPORT_READER_H
#define CLI_REPORT_READER_H

#include <sys/types.h>

#include "mailsvc/report/report.h"

struct report_reader {
	pid_t pid;
	int to, from;
};

/* host: the messages are mail that it took, and report_signer tells of each; NULL: files.  -1: e. */
int report_reader_start(struct report_reader *, enum report_kind, const char *host, struct error *e);
/*
 * The report that is in message (report_extract, then report_parse_*), with "signer" when there is one: 0 with it; 1 with e: there is none, or it is
 * broken; -1 with e: the reader died.
 */
int report_reader_read(struct report_reader *, struct view message, json_t **report, struct error *e);
void report_reader_stop(struct report_reader *); /* also of one that could not be started */

#endif
