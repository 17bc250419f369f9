/* The packets of try.c: one batch of tests at once in a scratch network. */
#ifndef FWGEN_TRY_PACKETS_H
#define FWGEN_TRY_PACKETS_H

#include <sys/types.h>

#include "fwgen/try.h"
#include "fwgen/try_net.h"

struct try_probe {
	bool udp, outgoing; /* outgoing: the source is the sender's choice */
	enum try_place sender;
	struct ip from, to;
	uint16_t port;
	uid_t user; /* who sends */
	gid_t group;
	struct fw_try *result; /* got and note are filled */
};

#define TRY_WAIT_MS 900 /* below TCP's first retransmission */

/* Sends all and waits until each is answered or TRY_WAIT_MS are over. */
int try_packets(const struct try_net *, struct try_probe *, size_t count, struct error *);

#endif
