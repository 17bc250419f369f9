/* Cross-checks of the machine in front, whose rules come from the same site. Nothing here opens a file. */
#include <string.h>

#include "check.h"
#include "prefix.h"

static void check_interfaces(const struct site *site, struct findings *f)
{
	struct site_origin outside = check_origin(site, "gateway.outside"),
			   inside = check_origin(site, "gateway.inside");
	if (site->gateway.outside[0] && !site->gateway.inside[0])
		findings_add(f, false, &outside,
		    "gateway.outside without gateway.inside; add inside, the interface to the host");
	if (site->gateway.inside[0] && !site->gateway.outside[0])
		findings_add(f, false, &inside,
		    "gateway.inside without gateway.outside; add outside, the interface to the Internet");
	if (site->gateway.outside[0] && strcmp(site->gateway.outside, site->gateway.inside) == 0)
		findings_add(f, false, &inside,
		    "gateway.inside and gateway.outside are both %s; a gateway needs two interfaces",
		    site->gateway.inside);
	if (strcmp(site->gateway.outside, "lo") == 0 || strcmp(site->gateway.inside, "lo") == 0)
		findings_add(f, false, strcmp(site->gateway.outside, "lo") == 0 ? &outside : &inside,
		    "lo leads to no other machine; name the network interface, as ip link prints it");
}

static void check_network(const struct site *site, struct findings *f)
{
	const struct strings *network = &site->gateway.network;
	struct site_origin at = check_origin(site, "gateway.network"), outside = check_origin(site, "gateway.outside");
	const char *own[] = { site->host.ipv4, site->host.ipv6 };
	struct prefix p;
	check_twice(network, "gateway.network", &at, f);
	for (size_t i = 0; i < network->count; i++)
		if (prefix_parse(network->at[i], &p) == 0 && p.length == 0)
			findings_add(f, false, &at,
			    "gateway.network holds %s, which is every address; name the networks behind the gateway",
			    network->at[i]);
	for (size_t i = 0; i < 2; i++)
		if (own[i][0] && !prefix_in(network, own[i]))
			findings_add(f, false, at.line ? &at : &outside,
			    "gateway.network does not hold the host's address %s, so that the host could not connect "
			    "out; add its network",
			    own[i]);
}

void check_gateway(const struct site *site, struct findings *f)
{
	struct site_origin at = check_origin(site, "role"), masquerade = check_origin(site, "gateway.masquerade");
	bool any = site->gateway.outside[0] || site->gateway.inside[0];
	check_interfaces(site, f);
	if (strcmp(site->role, "gateway") == 0 && !any)
		findings_add(f, false, &at,
		    "role = \"gateway\" without a gateway; add gateway = { outside = \"eth0\"; inside = \"eth1\"; "
		    "network = \"10.0.0.0/24\"; };");
	at = check_origin(site, "gateway.network");
	if (site->gateway.network.count && !any)
		findings_add(f, false, &at,
		    "gateway.network has no use without gateway.outside and gateway.inside; add them, or remove it");
	if (site->gateway.outside[0])
		check_network(site, f);
	at = check_origin(site, "gateway.outside");
	if (site->gateway.outside[0] && site->gateway.masquerade && site->host.ipv4[0] &&
	    !prefix_private(site->host.ipv4))
		findings_add(f, true, masquerade.line ? &masquerade : &at,
		    "gateway.masquerade hides %s, the host's public address, so that its mail would come from another; "
		    "set masquerade = false",
		    site->host.ipv4);
}
