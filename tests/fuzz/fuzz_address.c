/* Any bytes as an address: parsing borrows from the input, and the normal form is an address and its own normal form.
 */
#include <stdlib.h>
#include <string.h>

#include "site/address.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *copy = malloc(size ? size : 1); /* of its exact size, so that reading past it is seen */
	if (!copy)
		abort();
	if (size)
		memcpy(copy, data, size);
	struct view v = { copy, size };
	struct address a;
	char once[ADDRESS_MAX], twice[ADDRESS_MAX], small[20], domain[256], again[256];
	if (address_parse(v, &a) == 0 && a.local.len + 1 + a.domain.len != size)
		abort();
	if (address_normalise(v, once, sizeof(once)) == 0)
		if (address_normalise(view_of(once), twice, sizeof(twice)) < 0 || strcmp(once, twice) != 0)
			abort();
	address_normalise(v, small, sizeof(small));
	if (domain_normalise(v, domain, sizeof(domain)) == 0)
		if (domain_normalise(view_of(domain), again, sizeof(again)) < 0 || strcmp(domain, again) != 0)
			abort();
	free(copy);
	return 0;
}
