/* Any bytes as a credentials file: refused with a reason, or read so that every account is found. */
#include <stdint.h>
#include <stdlib.h>

#include "mailsvc/auth/credentials.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct credentials c;
	struct error e;

	if (credentials_parse((struct view){ (const char *)data, size }, &c, &e) < 0)
		return 0;
	for (size_t i = 0; i < c.count; i++) {
		if (credentials_find(&c, c.at[i].address) != c.at[i].hash)
			abort();
	}
	credentials_free(&c);
	return 0;
}
