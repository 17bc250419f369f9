/*
 * others_legacy.h: /proc/net/ip_tables_names says which tables are there, and getsockopt on a raw socket how many
 * entries each has; a table without rules has one for each hook and one that ends it.  Rules are not taken apart: any
 * rule in a table with an input hook counts as a conflict.  Asking for a table that is not there would make it, so only
 * those in the list are asked.
 */
#include "fwgen/others_legacy.h"

#include <netinet/in.h> /* before the kernel's, which knows of it */

#include <linux/netfilter_ipv4/ip_tables.h>
#include <linux/netfilter_ipv6/ip6_tables.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define ENTRIES_MAX (64u << 20)

struct legacy {
	bool rules, conflicts;
};

/* The verdict at a hook's policy entry (its standard target) is -NF_DROP - 1. */
static bool input_drops(int fd, const struct ipt_getinfo *info)
{
	socklen_t len = sizeof(struct ipt_get_entries) + info->size;
	struct ipt_get_entries *all = xcalloc(1, len);
	uint32_t at = info->underflow[NF_INET_LOCAL_IN];
	bool drops = false;

	memcpy(all->name, info->name, sizeof(all->name));
	all->size = info->size;
	if (getsockopt(fd, IPPROTO_IP, IPT_SO_GET_ENTRIES, all, &len) == 0 && at < info->size &&
	    info->size - at >= sizeof(struct ipt_entry) + sizeof(struct xt_standard_target)) {
		struct ipt_entry entry;
		struct xt_standard_target target;
		const char *p = (const char *)all->entrytable + at;
		memcpy(&entry, p, sizeof(entry));
		if (entry.target_offset <= info->size - at - sizeof(target)) {
			memcpy(&target, p + entry.target_offset, sizeof(target));
			drops = target.verdict == -NF_DROP - 1;
		}
	}
	free(all);
	return drops;
}

static void ask(int fd, bool ipv6, const char *name, struct legacy *l)
{
	struct ipt_getinfo info = { 0 }; /* ip6t_getinfo has the same members */
	socklen_t len = sizeof(info);
	unsigned hooks = 0;

	if (view_copy(view_of(name), info.name, sizeof(info.name)) == -1 ||
	    getsockopt(fd, ipv6 ? IPPROTO_IPV6 : IPPROTO_IP, ipv6 ? IP6T_SO_GET_INFO : IPT_SO_GET_INFO, &info, &len) ==
		-1)
		return;
	for (int i = 0; i < NF_INET_NUMHOOKS; i++)
		hooks += (info.valid_hooks & 1u << i) != 0;
	bool rules = info.num_entries > hooks + 1, input = info.valid_hooks & 1u << NF_INET_LOCAL_IN;
	if (!rules && input && !ipv6 && info.size <= ENTRIES_MAX)
		rules = input_drops(fd, &info);
	l->rules |= rules;
	l->conflicts |= rules && input && strcmp(name, "nat") != 0;
}

static void ask_all(bool ipv6, struct legacy *l)
{
	char name[XT_TABLE_MAXNAMELEN + 1];
	FILE *names = fopen(ipv6 ? "/proc/net/ip6_tables_names" : "/proc/net/ip_tables_names", "re");
	int fd = names ? socket(ipv6 ? AF_INET6 : AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW) : -1;

	while (fd != -1 && fgets(name, sizeof(name), names) != NULL) {
		name[strcspn(name, "\n")] = '\0';
		ask(fd, ipv6, name, l);
	}
	if (fd != -1)
		close(fd);
	if (names != NULL)
		fclose(names);
}

bool fw_legacy_iptables(struct fw_other *other)
{
	struct legacy l = { false, false };

	ask_all(false, &l);
	ask_all(true, &l);
	*other = (struct fw_other){ .name = "iptables-legacy", .conflicts = l.conflicts };
	snprintf(other->text, sizeof(other->text),
	    "rules of the old iptables are here too, which nft does not show, and what mailadm accepts has to pass "
	    "them: see "
	    "`iptables-legacy-save`, move them to firewall.extra or firewall.include, and flush them");
	return l.rules;
}
