/* Any bytes as STATE/rollover and as STATE/keys/active: refused with a reason, or read so that names cannot leave their
 * folder. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "dnsgen/rollover.h"
#include "mailsvc/monitor/dkimkeys.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must_be_a_name(const char *s)
{
	if (s[0] == '.' || strchr(s, '/') != NULL || strstr(s, "..") != NULL)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct view text = { (const char *)data, size };
	struct rollover table;
	struct dkim_active active;
	struct error e;

	if (rollover_parse(text, "rollover", &table, &e) == 0) {
		for (size_t i = 0; i < table.count; i++) {
			must_be_a_name(table.at[i].subject);
			must_be_a_name(table.at[i].current);
			must_be_a_name(table.at[i].next);
			if (rollover_find(&table, table.at[i].kind, table.at[i].subject) != &table.at[i])
				abort();
		}
		rollover_free(&table);
	}
	if (dkim_active_parse(text, "active", &active, &e) == 0) {
		for (size_t i = 0; i < active.count; i++) {
			must_be_a_name(active.at[i].domain);
			must_be_a_name(active.at[i].active);
			must_be_a_name(active.at[i].other);
		}
		dkim_active_free(&active);
	}
	return 0;
}
