/* part.h: the table of parts, and plan over all of them. */
#include "apply/part.h"

#include <stdlib.h>

#define LINE_MAX 4096

const struct part *const parts[] = { &part_keys, &part_zones, &part_daemon, &part_firewall, &part_timers, NULL };

void changes_add(struct changes *c, const char *part, struct view diff, const char *fmt, ...)
{
	struct buf what = BUF_INIT(LINE_MAX);
	va_list ap;

	va_start(ap, fmt);
	buf_vprintf(&what, fmt, ap);
	va_end(ap);
	c->at = xreallocarray(c->at, c->count + 1, sizeof(*c->at));
	c->at[c->count++] = (struct change){ part, xstrdup(buf_str(&what)), view_dup(diff) };
	buf_free(&what);
}

void changes_free(struct changes *c)
{
	for (size_t i = 0; i < c->count; i++) {
		free(c->at[i].what);
		free(c->at[i].diff);
	}
	free(c->at);
	*c = (struct changes){ NULL, 0 };
}

bool part_applies(const struct part *p, const struct site *site, char **why)
{
	struct buf text = BUF_INIT(LINE_MAX);
	bool yes = p->applies(site, &text);

	if (why != NULL)
		*why = yes ? NULL : xstrdup(buf_str(&text));
	buf_free(&text);
	return yes;
}

int parts_plan(const struct site *site, struct changes *changes, struct error *e)
{
	for (size_t i = 0; parts[i] != NULL; i++) {
		struct error why = { "" };

		if (part_applies(parts[i], site, NULL) && parts[i]->plan(site, changes, &why) < 0)
			return error_set(e, "%s: %.480s", parts[i]->name, why.text);
	}
	return 0;
}
