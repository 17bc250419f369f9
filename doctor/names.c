/*
 * The host's name and addresses in the live DNS, there and back, and on block lists: dnsgen/verify.h asks.  Besides,
 * whether an address has the name of one out of a pool.
 */
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "dnsgen/verify.h"
#include "doctor/doctor.h"

/* A provider's name for an address out of a pool says so, or holds the address's numbers. */
static bool looks_dynamic(const char *name, const char *address)
{
	static const char *const words[] = { "dynamic", "dyn.", "dhcp", "pool", "dsl", "dial", "cable", "ppp" };
	unsigned char b[4];
	char numbers[3][16];
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (strstr(name, words[i]))
			return true;
	if (inet_pton(AF_INET, address, b) != 1)
		return false;
	snprintf(numbers[0], sizeof(numbers[0]), "%u-%u-%u-%u", b[0], b[1], b[2], b[3]);
	snprintf(numbers[1], sizeof(numbers[1]), "%u-%u-%u-%u", b[3], b[2], b[1], b[0]);
	snprintf(numbers[2], sizeof(numbers[2]), "%u.%u.%u.%u", b[3], b[2], b[1], b[0]);
	return strstr(name, numbers[0]) || strstr(name, numbers[1]) || strstr(name, numbers[2]);
}

void doctor_names(const struct doctor *d, struct check_results *out)
{
	struct error e = { "" };
	unsigned limit_s = d->limit_ms > 2000 ? d->limit_ms / 1000 - 1 : 1;
	if (dns_verify_host(d->site, limit_s, out, &e) == -1)
		check_results_add(
		    out, CHECK_UNKNOWN, "names", "", "see dns.forward and /etc/resolv.conf", "%s", e.text);
	for (size_t i = 0, count = out->count; i < count; i++) {
		const struct check_result *r = &out->at[i];
		if (strcmp(r->check, "ptr") != 0 || r->state != CHECK_WRONG || !looks_dynamic(r->seen, r->subject))
			continue;
		char *subject = xstrdup(r->subject); /* adding moves the rows */
		check_results_add(out, CHECK_WARNING, "dynamic", subject,
		    "ask for a fixed address with a name of your choice, or send by relay.smarthost",
		    "its name is like one out of a pool: many refuse mail from there");
		free(subject);
	}
}
