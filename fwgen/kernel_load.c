/*
 * Loading a model: as a batch of our own through netlink, or, where it has what only nft can read (lines of
 * firewall.include), as text through `nft -f`.  Both are one transaction.
 */
#include "fwgen/kernel.h"
#include "fwgen/netlink.h"

#define TEXT_MAX (64u << 20)

/* The text does not know what an older site left behind; that goes first, in the same transaction. */
static int load_text(const struct fw_model *m, struct error *e)
{
	struct buf text = BUF_INIT(TEXT_MAX);
	int r = fw_netlink_clear_text(m, &text, e);

	if (r == 0)
		r = fw_model_text(m, &text) == -1 ? error_set(e, "the firewall is larger than %u bytes", TEXT_MAX)
		                                  : fw_kernel_restore(buf_view(&text), e);
	buf_free(&text);
	return r;
}

int fw_kernel_load(const struct fw_model *m, struct error *e)
{
	return fw_netlink_can(m) ? fw_netlink_load(m, e) : load_text(m, e);
}
