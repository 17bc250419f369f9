/* Proving a store: every checksum of the log, every reference and counter of the index. Changes nothing. */
#ifndef MAILSVC_STORE_VERIFY_H
#define MAILSVC_STORE_VERIFY_H

#include "engine.h"

struct verify_ops {
	/* segment 0: in the index. */
	void (*problem)(void *arg, uint32_t segment, uint64_t offset, const char *text);
	void (*progress)(void *arg, size_t done, size_t segments);
	void *arg;
};
struct verify_report {
	uint64_t segments, frames, bodies, bytes; /* of the log */
	uint64_t messages, queue, problems;
	uint64_t torn;       /* bytes at the log's end that the next start cuts off */
	uint64_t unsynced;   /* bytes that a loss of power took before they were relied on (scan.h) */
	uint64_t state_rows; /* of the newest state file */
	bool index_checked;
};
/* running: a store is at work on it: then only the log is checked, as far as it is whole. */
int verify_store(int store_dir, bool running, const struct verify_ops *, struct verify_report *, struct error *);

#endif
