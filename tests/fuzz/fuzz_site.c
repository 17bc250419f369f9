/* Any text as a site: no crash, and what loads is the same after printing and loading again. */
#include <stdlib.h>
#include <string.h>

#include "site/route.h"
#include "site/site.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
const char *__lsan_default_suppressions(void);

/* libconfig 1.5 forgets the text it was reading when it meets a syntax error. */
const char *__lsan_default_suppressions(void)
{
	return "leak:libconfig\n";
}

static void fixpoint(const struct site *site)
{
	struct buf a = BUF_INIT(16u << 20), b = BUF_INIT(16u << 20);
	struct findings f = { 0 };
	if (site_flatten(site, &a) < 0)
		abort();
	struct site *again = site_load_memory(buf_view(&a), "again.conf", &f);
	if (!again || site_flatten(again, &b) < 0 || a.len != b.len || memcmp(a.data, b.data, a.len) != 0)
		abort();
	site_unref(again);
	findings_free(&f);
	buf_free(&a);
	buf_free(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct findings f = { 0 };
	if (size > 65536)
		return 0;
	struct site *site = site_load_memory((struct view){ (const char *)data, size }, "fuzz.conf", &f);
	if (!site != (f.errors > 0))
		abort();
	if (site) {
		struct route route;
		struct buf json = BUF_INIT(16u << 20);
		fixpoint(site);
		if (site_print_json(site, &json) < 0)
			abort();
		for (size_t i = 0; i < site->alias_count; i++) {
			route_resolve(site, view_of(site->aliases[i].address), &route);
			if (route.status != ROUTE_OK || route.truncated)
				abort(); /* the checks of loading have let it through */
			route_free(&route);
		}
		buf_free(&json);
	}
	site_unref(site);
	findings_free(&f);
	return 0;
}
