/* Addresses that claim to be rewritten senders, and hosts of routes: whatever the bytes, no address comes out that is
 * none. */
#include <stdlib.h>
#include <string.h>

#include "mailsvc/smtp/srs.h"
#include "site/hop.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const char *text)
{
	struct address a;

	if (address_parse(view_of(text), &a) == -1)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct srs srs = { .key = "fuzz" };
	struct view in = { (const char *)data, size };
	char out[ADDRESS_MAX], back[ADDRESS_MAX], text[ADDRESS_MAX];
	struct hop_host host;

	if (srs_origin(in, out) == 0)
		check(out);
	if (srs_reverse(&srs, in, 86400 * 20000, out) == SRS_OK)
		check(out);
	if (view_copy(in, text, sizeof(text)) == -1)
		return 0;
	if (srs_forward(&srs, text, "mail.example.org", 86400 * 20000, out) == 0) {
		check(out);
		if (srs_reverse(&srs, view_of(out), 86400 * 20001, back) != SRS_OK)
			abort();
		check(back);
	}
	if (hop_host_parse(text, &host) == 0 && host.name[0] == '\0')
		abort();
	return 0;
}
