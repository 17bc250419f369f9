/* Where a site leads an address, and by which hosts what leaves here leaves. */
#include "cli/replay.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "site/hop.h"
#include "site/route.h"

/* What the address is: the entry of the site that leads on from it. */
static const char *entry_of(const struct site *site, const char *normalised, const struct route *r)
{
	const char *at = strrchr(normalised, '@');
	const struct site_domain *d = at != NULL ? site_find_domain(site, at + 1) : NULL;

	if (site_find_account(site, normalised) != NULL)
		return "account";
	for (size_t i = 0; i < site->alias_count; i++)
		if (strcmp(site->aliases[i].address, normalised) == 0)
			return site->aliases[i].list ? "list" : "alias";
	if (r->status != ROUTE_OK)
		return "";
	if (r->count == 1 && r->targets[0].tag != NULL)
		return "account, with a tag";
	if (r->count == 1 && r->targets[0].account == NULL && d != NULL)
		return d->deliver[0] != '\0' ? "kept by other software (deliver)" : "known elsewhere";
	return d != NULL && d->catch_all != NULL && d->catch_all[0] != '\0' ? "catch-all" : "address of the host";
}

json_t *replay_route(const struct site *site, const char *recipient)
{
	static const char *const words[] = { [ROUTE_OK] = "ours",
		[ROUTE_UNKNOWN] = "unknown here",
		[ROUTE_FOREIGN] = "not ours",
		[ROUTE_INVALID] = "no address",
		[ROUTE_CLOSED] = "closed" };
	json_t *out = json_object(), *targets = json_array();
	char normalised[ADDRESS_MAX];
	struct route r;

	route_resolve(site, view_of(recipient), &r);
	json_object_set_new(out, "status", json_string(words[r.status]));
	if (address_normalise(view_of(recipient), normalised, sizeof(normalised)) == 0)
		json_object_set_new(out, "by", json_string(entry_of(site, normalised, &r)));
	for (size_t i = 0; i < r.count; i++)
		json_array_append_new(targets,
		    json_string(r.targets[i].account != NULL ? r.targets[i].account->address : r.targets[i].address));
	json_object_set_new(out, "leads_to", targets);
	route_free(&r);
	return out;
}

json_t *replay_leaves(const struct site *site, const char *sender, struct view recipient)
{
	json_t *out = json_object(), *hosts = json_array();
	char *address = view_dup(recipient), name[300];
	const char *at = strrchr(address, '@');
	struct next_hop h;

	site_next_hop(site, sender, address, &h);
	for (size_t i = 0; i < h.host_count; i++) {
		snprintf(name, sizeof(name), "%s:%u", h.hosts[i].name, h.hosts[i].port);
		json_array_append_new(hosts, json_string(name));
	}
	if (h.host_count == 0) {
		snprintf(name, sizeof(name), "MX of %s", at != NULL ? at + 1 : address);
		json_array_append_new(hosts, json_string(name));
	}
	json_object_set_new(out, "sender", json_string(sender));
	json_object_set_new(out, "route", json_string(h.route));
	json_object_set_new(out, "hosts", hosts);
	json_object_set_new(out, "protocol", json_string(h.lmtp ? "lmtp" : "smtp"));
	json_object_set_new(out, "tls", json_string(hop_tls_words(h.tls)));
	free(address);
	return out;
}
