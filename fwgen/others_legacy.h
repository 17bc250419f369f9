/* iptables as it was before nftables, which has its own tables in the kernel. */
#ifndef FWGEN_OTHERS_LEGACY_H
#define FWGEN_OTHERS_LEGACY_H

#include "fwgen/kernel.h"

/* True when a table of iptables-legacy or ip6tables-legacy holds rules, or its policy for input is to drop. */
bool fw_legacy_iptables(struct fw_other *);

#endif
