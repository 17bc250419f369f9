/* Cross-checks of `checks`: lists of addresses in DNS, and who is not checked. */
#include <string.h>

#include "check.h"
#include "findings.h"
#include "prefix.h"

static void check_codes(const struct site_dnslist *l, struct findings *f)
{
	static char *answers[] = { "127.0.0.0/8" };
	struct prefix all, code;
	prefix_parse(answers[0], &all);
	for (size_t i = 0; i < l->codes.count; i++)
		if (prefix_parse(l->codes.at[i], &code) == 0 && !prefix_holds(&all, &code))
			findings_add(f, false, &l->origin,
			    "the list %s never answers %s; name addresses of 127.0.0.0/8", l->name, l->codes.at[i]);
}

static void check_dnslists(const struct site_dnslist *lists, size_t count, const struct site_dnslist *others,
    size_t other_count, struct findings *f)
{
	for (size_t i = 0; i < count; i++) {
		if (!lists[i].name)
			continue;
		check_codes(&lists[i], f);
		for (size_t j = 0; j < i; j++)
			if (lists[j].name && strcmp(lists[i].name, lists[j].name) == 0)
				findings_add(f, false, &lists[i].origin, "the list %s is there twice; remove one",
				    lists[i].name);
		for (size_t j = 0; j < other_count; j++)
			if (others[j].name && strcmp(lists[i].name, others[j].name) == 0 && !lists[i].codes.count &&
			    !others[j].codes.count)
				findings_add(f, false, &lists[i].origin,
				    "%s is a block list and an allow list at once; remove one, or tell them apart by "
				    "codes",
				    lists[i].name);
	}
}

void check_lists(const struct site *site, struct findings *f)
{
	struct site_origin at = check_origin(site, "checks.trusted");
	check_dnslists(site->checks.block_lists, site->checks.block_list_count, NULL, 0, f);
	check_dnslists(site->checks.allow_lists, site->checks.allow_list_count, site->checks.block_lists,
	    site->checks.block_list_count, f);
	for (size_t i = 0; i < site->checks.trusted.count; i++) {
		struct prefix p;
		if (prefix_parse(site->checks.trusted.at[i], &p) == 0 && p.length == 0)
			findings_add(f, true, &at,
			    "checks.trusted holds every address, so that no mail is checked; name the hosts you mean");
	}
}
