/* Batches to nftables, what it answers to them and to requests, and the words for its errors. */
#ifndef FWGEN_ANSWER_H
#define FWGEN_ANSWER_H

#include <libmnl/libmnl.h>

#include "lib/log.h"

/*
 * Blocks until the answer is whole; fn sees each message of it.  What earlier requests left in the socket is passed
 * over.  room has size bytes.  0, or an errno; EINTR: others changed what was dumped meanwhile, and fn has seen a part.
 * portid 0: any.
 */
int fw_answer(int fd, char *room, size_t size, uint32_t sequence, unsigned portid, mnl_cb_t fn, void *arg);
/*
 * Sends a batch, whose message last asks for an acknowledgement: 0, or the first errno and the sequence number of the
 * message that it is about.  The kernel has done all of it, or nothing, and has answered when sending returns.
 */
int fw_send_batch(int fd, const void *batch, size_t len, char *room, size_t size, uint32_t last, uint32_t *about);
int fw_netlink_error(int err, const char *about, struct error *); /* of an errno; about may be NULL; returns -1 */

#endif
