/* The named counters of the loaded table. */
#ifndef FWGEN_COUNTERS_H
#define FWGEN_COUNTERS_H

#include <stddef.h>
#include <stdint.h>

#include "lib/log.h"

struct fw_counter {
	char name[64];
	uint64_t packets, bytes;
};

/* By name, malloc'd; none when there is no table.  Needs CAP_NET_ADMIN. */
int fw_kernel_counters(struct fw_counter **out, size_t *count, struct error *);

#endif
