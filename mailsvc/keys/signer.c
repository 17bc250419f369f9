/* Which domain signs for whom.  Apart from the client, so that tests can play keys and still use this. */
#include <string.h>

#include "client.h"
#include "site/route.h"

const struct site_domain *dkim_domain(const struct site *site, const char *domain)
{
	const struct site_domain *found = site_find_domain(site, domain);

	if (found != NULL || strcmp(domain, site->host.name) != 0)
		return found;
	for (const char *dot = strchr(domain, '.'); dot != NULL && found == NULL; dot = strchr(dot + 1, '.'))
		found = site_find_domain(site, dot + 1);
	return found;
}
