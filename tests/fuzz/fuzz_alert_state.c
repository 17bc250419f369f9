/* Any bytes as STATE/alerts: refused, or within the limits and text that may go into a mail. */
#include <stdlib.h>
#include <string.h>

#include "doctor/alert_state.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct alert_state s;
	struct error e;
	if (alert_state_parse((struct view){ (const char *)data, size }, "alerts", &s, &e) == -1) {
		if (s.count != 0 || s.at != NULL)
			abort();
		return 0;
	}
	if (s.count > ALERT_ITEMS_MAX)
		abort();
	for (size_t i = 0; i < s.count; i++)
		if (strlen(s.at[i].key) > ALERT_KEY_MAX || strlen(s.at[i].text) > ALERT_TEXT_MAX ||
		    strpbrk(s.at[i].text, "\r\n") || !alert_state_find(&s, s.at[i].key))
			abort();
	alert_state_free(&s);
	return 0;
}
