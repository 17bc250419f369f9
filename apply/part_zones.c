/* The part `zones`: the zone files and the named.conf fragment of this host's name server; all of it is dnsgen/push.h.
 */
#include "apply/internal.h"
#include "dnsgen/push.h"

static void found(void *arg, const char *name, struct view diff)
{
	size_t lines = 0;

	for (size_t i = 0; i < diff.len; i++)
		lines += diff.ptr[i] == '\n';
	changes_add(
	    arg, "zones", diff, "%s: %zu line%s differ%s", name, lines, lines == 1 ? "" : "s", lines == 1 ? "s" : "");
}

static int plan(const struct site *site, struct changes *changes, struct error *e)
{
	return zones_compare(site, found, changes, e);
}

static int apply(const struct site *site, struct error *e)
{
	struct findings warnings = { 0 };
	int r = zones_push(site, &warnings, e);

	for (size_t i = 0; i < warnings.count; i++)
		log_warnx("event=apply part=zones reason=\"%s\"", warnings.at[i].text);
	findings_free(&warnings);
	return r;
}

const struct part part_zones = { "zones", zones_served_here, plan, zones_capture, apply, zones_restore };
