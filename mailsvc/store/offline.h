/* The store of a host that does not run, for the command line: one client, requests one after the other. */
#ifndef MAILSVC_STORE_OFFLINE_H
#define MAILSVC_STORE_OFFLINE_H

#include "lib/log.h"
#include "site/site.h"

/*
 * Opens the store (store_dir stays the caller's, who holds the host's lock) and serves channel, a blocking descriptor,
 * until it is closed; ready is written one byte to once the store is open.  0; -1 with a reason when it cannot be
 * opened. Speaks what an administrator's channel does (client.h), the blocking store_admin_* excepted.
 */
int store_offline(int store_dir, const struct site *, int channel, int ready, struct error *);

#endif
