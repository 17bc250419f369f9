/* kernel.h: what the rules need of the nft and the kernel here. */
#include <stdio.h>
#include <sys/utsname.h>

#include "fwgen/kernel.h"
#include "lib/version.h"

/* Of Debian 11, the oldest that has all: NAT in an inet table, named priorities, close_range. */
static const struct version nft_least = { 0, 9, 8 }, kernel_least = { 5, 10, 0 };

static int kernel_is_recent(struct error *e)
{
	struct utsname name;
	struct version is;

	if (uname(&name) == -1 || !version_parse(name.release, &is) || !version_below(is, kernel_least))
		return 0;
	return error_set(e,
	    "this kernel is Linux %s, but the firewall needs %u.%u; boot a newer one (nothing was changed)",
	    name.release, kernel_least.major, kernel_least.minor);
}

int fw_is_recent(struct error *e)
{
	static struct version is;
	static int known = -1;
	char *argv[] = { "nft", "--version", NULL };

	if (kernel_is_recent(e) == -1 || (known == -1 && (known = version_of_program(argv, &is, e)) == -1))
		return -1;
	if (known == 0 || !version_below(is, nft_least))
		return 0;
	return error_set(e,
	    "nft is %u.%u.%u, but the firewall needs %u.%u.%u; install a newer nftables (nothing was changed)",
	    is.major, is.minor, is.patch, nft_least.major, nft_least.minor, nft_least.patch);
}
