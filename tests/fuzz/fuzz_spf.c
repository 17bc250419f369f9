/* Any bytes as the live SPF record of a domain, with nobody to ask about its includes; and as a TXT record of tags. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "dnsgen/txttags.h"
#include "dnsgen/verify_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char name[] = "mail.example.org", v4[] = "192.0.2.10", v6[] = "2001:db8::10", none[] = "",
	     resolver[] = "127.0.0.1@9";
	char *forward[] = { resolver };
	struct site site = {
		.host = { name, v4, v6, v4, v6 }, .relay = { .smarthost = none }, .dns = { .forward = { forward, 1 } }
	};
	struct check_results rows = { 0 };
	struct error e;
	struct verify v = { &site, lookup_new(&site, 0, &e), &rows };
	struct view text = { (const char *)data, size };
	struct buf out = BUF_INIT(1 << 20);

	if (v.lookup == NULL)
		abort();
	if (size >= 6 && memcmp(data, "v=spf1", 6) == 0)
		verify_spf(&v, "example.org", text, false);
	txt_same_key(text, VIEW_LIT("v=DKIM1; p=AB"));
	txt_quoted(text, &out);
	for (size_t i = 0; i < out.len; i++)
		if ((unsigned char)out.data[i] < 0x20 || (unsigned char)out.data[i] >= 0x7f)
			abort();
	buf_free(&out);
	check_results_free(&rows);
	lookup_free(v.lookup);
	return 0;
}
