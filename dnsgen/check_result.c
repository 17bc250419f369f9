/* check_result.h: rows that checks add one by one. */
#include "dnsgen/check_result.h"

#include <stdarg.h>
#include <stdlib.h>

#include "lib/buf.h"

#define SEEN_MAX 1024 /* bytes of what was seen that are kept */

static char *harmless(char *s)
{
	for (char *p = s; *p; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			*p = '?';
	return s;
}

void check_results_add(struct check_results *r, int state, const char *check, const char *subject, const char *remedy,
    const char *seen, ...)
{
	struct buf text = BUF_INIT(SEEN_MAX * 16);
	va_list ap;
	va_start(ap, seen);
	buf_vprintf(&text, seen, ap);
	va_end(ap);
	if (text.full || text.len > SEEN_MAX) {
		if (text.len > SEEN_MAX) /* between characters */
			for (text.len = SEEN_MAX; text.len > 0 && ((unsigned char)text.data[text.len] & 0xc0) == 0x80;)
				text.len--;
		text.full = false;
		buf_puts(&text, " ...");
	}
	if ((r->count & (r->count - 1)) == 0) /* grows by doubling */
		r->at = xreallocarray(r->at, r->count ? r->count * 2 : 1, sizeof(*r->at));
	struct check_result *row = &r->at[r->count++];
	row->state = state;
	row->check = xstrdup(check);
	row->subject = harmless(xstrdup(subject));
	row->seen = harmless(xstrdup(buf_str(&text)));
	row->remedy = harmless(xstrdup(remedy ? remedy : ""));
	buf_free(&text);
}

void check_results_free(struct check_results *r)
{
	for (size_t i = 0; i < r->count; i++) {
		free(r->at[i].check);
		free(r->at[i].subject);
		free(r->at[i].seen);
		free(r->at[i].remedy);
	}
	free(r->at);
	*r = (struct check_results){ 0 };
}

const char *check_state_name(int state)
{
	static const char *const names[] = { "ok", "warning", "wrong", "unknown" };
	return state >= CHECK_OK && state <= CHECK_UNKNOWN ? names[state] : "unknown";
}

bool check_results_wrong(const struct check_results *r)
{
	for (size_t i = 0; i < r->count; i++)
		if (r->at[i].state == CHECK_WRONG)
			return true;
	return false;
}
