/* Sites of a few rows for the tests of the firewall, and their models. */
#ifndef TESTS_UNIT_FWGEN_HELP_H
#define TESTS_UNIT_FWGEN_HELP_H

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "fwgen/model.h"
#include "lib/proc.h"

#define HEAD                                                                                                           \
	"host = { name = \"mail.example.org\"; ipv4 = \"192.0.2.10\"; ipv6 = \"2001:db8::10\"; };\n"                   \
	"domains = ( { name = \"example.org\"; } ); accounts = ( { address = \"alice@example.org\"; } );\n"

static inline struct site *site_of(const char *more)
{
	struct findings f = { 0 };
	char *whole = xasprintf("%s%s", HEAD, more);
	struct site *site = site_load_memory(view_of(whole), "/nowhere/site.conf", &f);

	for (size_t i = 0; !site && i < f.count; i++)
		printf("# %s\n", f.at[i].text);
	assert_non_null(site);
	findings_free(&f);
	free(whole);
	return site;
}

static inline struct fw_model *model_of(const char *more)
{
	struct error e = { "" };
	struct site *site = site_of(more);
	struct fw_model *m = fw_model_of(site, &e);

	site_unref(site);
	if (m == NULL)
		fail_msg("%s", e.text);
	return m;
}

/* The host's addresses in other words; to be followed by rows. */
static inline struct fw_model *model_with(const char *host, const char *more)
{
	struct findings f = { 0 };
	struct error e = { "" };
	char *whole =
	    xasprintf("host = { name = \"mail.example.org\"; %s };\ndomains = ( { name = \"example.org\"; } ); "
		      "accounts = ( { address = \"alice@example.org\"; } );\n%s",
		host, more);
	struct site *site = site_load_memory(view_of(whole), "/nowhere/site.conf", &f);
	struct fw_model *m;

	for (size_t i = 0; !site && i < f.count; i++)
		printf("# %s\n", f.at[i].text);
	assert_non_null(site);
	m = fw_model_of(site, &e);
	if (m == NULL)
		fail_msg("%s", e.text);
	site_unref(site);
	findings_free(&f);
	free(whole);
	return m;
}

#endif
