/*
 * A zone as a list of ldns records, and its text.  Records are added as presentation lines, so that ldns checks their
 * syntax; what ldns does not check (CNAME beside other data, duplicates, owners outside the zone) is checked here.
 */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "dnsgen/zone.h"

int zone_init(struct zone *z, const char *name)
{
	memset(z, 0, sizeof(*z));
	z->name = xstrdup(name);
	z->records = ldns_rr_list_new();
	z->origin = ldns_dname_new_frm_str(name);
	return z->origin == NULL || z->records == NULL ? -1 : 0;
}

void zones_free(struct zones *zones)
{
	for (size_t i = 0; i < zones->count; i++) {
		free(zones->at[i].name);
		ldns_rdf_deep_free(zones->at[i].origin);
		ldns_rr_list_deep_free(zones->at[i].records);
	}
	free(zones->at);
	memset(zones, 0, sizeof(*zones));
}

int zone_add(struct zone *z, uint32_t ttl, struct error *e, const char *fmt, ...)
{
	struct buf line = BUF_INIT(8192);
	va_list ap;
	va_start(ap, fmt);
	buf_vprintf(&line, fmt, ap);
	va_end(ap);
	if (line.full) {
		buf_free(&line);
		return error_set(e, "a record of zone %s is longer than 8192 bytes", z->name);
	}
	ldns_rr *rr = NULL;
	ldns_status status = ldns_rr_new_frm_str(&rr, buf_str(&line), ttl, z->origin, NULL);
	if (status != LDNS_STATUS_OK)
		error_set(
		    e, "zone %s: \"%s\" is no record: %s", z->name, buf_str(&line), ldns_get_errorstr_by_id(status));
	buf_free(&line);
	if (status != LDNS_STATUS_OK)
		return -1;
	if (!ldns_dname_is_subdomain(ldns_rr_owner(rr), z->origin) &&
	    ldns_dname_compare(ldns_rr_owner(rr), z->origin) != 0) {
		ldns_rr_free(rr);
		return error_set(e, "zone %s: a record lies outside the zone", z->name);
	}
	ldns_rr_list_push_rr(z->records, rr);
	return 0;
}

static bool has_owner(const ldns_rr *rr, const char *owner)
{
	ldns_rdf *name = ldns_dname_new_frm_str(owner);
	bool same = name != NULL && ldns_dname_compare(ldns_rr_owner(rr), name) == 0;
	ldns_rdf_deep_free(name);
	return same;
}

/* The first record of a type at owner, from place *at on; *at is then behind it. */
static const ldns_rr *next_of(const struct zone *z, const char *owner, ldns_rr_type type, size_t *at)
{
	while (*at < ldns_rr_list_rr_count(z->records)) {
		const ldns_rr *rr = ldns_rr_list_rr(z->records, (*at)++);
		if (ldns_rr_get_type(rr) == type && has_owner(rr, owner))
			return rr;
	}
	return NULL;
}

bool zone_has_txt(const struct zone *z, const char *owner, const char *begins)
{
	const ldns_rr *rr;
	size_t at = 0, len = strlen(begins);
	while ((rr = next_of(z, owner, LDNS_RR_TYPE_TXT, &at)) != NULL) {
		const ldns_rdf *text = ldns_rr_rdf(rr, 0); /* a length byte, then the text */
		if (text != NULL && ldns_rdf_size(text) > len &&
		    strncasecmp((const char *)ldns_rdf_data(text) + 1, begins, len) == 0)
			return true;
	}
	return false;
}

bool zone_has_address(const struct zone *z, const char *owner)
{
	size_t a = 0, aaaa = 0;
	return next_of(z, owner, LDNS_RR_TYPE_A, &a) != NULL || next_of(z, owner, LDNS_RR_TYPE_AAAA, &aaaa) != NULL;
}

bool zone_has_mx(const struct zone *z)
{
	size_t at = 0;
	return next_of(z, z->name, LDNS_RR_TYPE_MX, &at) != NULL;
}

/* The list is sorted, so what shares an owner stands together and equal records are neighbours. */
static void drop_duplicates(struct zone *z)
{
	ldns_rr_list *kept = ldns_rr_list_new();
	ldns_rr *last = NULL;
	for (size_t i = 0; i < ldns_rr_list_rr_count(z->records); i++) {
		ldns_rr *rr = ldns_rr_list_rr(z->records, i);
		if (last != NULL && ldns_rr_compare(last, rr) == 0) {
			ldns_rr_free(rr);
			continue;
		}
		ldns_rr_list_push_rr(kept, rr);
		last = rr;
	}
	ldns_rr_list_free(z->records);
	z->records = kept;
}

int zone_finish(struct zone *z, struct error *e)
{
	size_t at = 0;
	ldns_rr_list_sort(z->records);
	drop_duplicates(z);
	next_of(z, z->name, LDNS_RR_TYPE_SOA, &at);
	if (next_of(z, z->name, LDNS_RR_TYPE_SOA, &at) != NULL)
		return error_set(
		    e, "zone %s has a SOA of its own in records, which mailadm writes; remove it", z->name);
	for (size_t i = 1; i < ldns_rr_list_rr_count(z->records); i++) {
		const ldns_rr *a = ldns_rr_list_rr(z->records, i - 1), *b = ldns_rr_list_rr(z->records, i);
		if ((ldns_rr_get_type(a) != LDNS_RR_TYPE_CNAME && ldns_rr_get_type(b) != LDNS_RR_TYPE_CNAME) ||
		    ldns_dname_compare(ldns_rr_owner(a), ldns_rr_owner(b)) != 0)
			continue;
		char *owner = ldns_rdf2str(ldns_rr_owner(a));
		error_set(e, "zone %s: %s has a CNAME beside other records (RFC 1034 3.6.2); remove one of them",
		    z->name, owner);
		free(owner);
		return -1;
	}
	return 0;
}

static ldns_rr *zone_soa(const struct zone *z)
{
	for (size_t i = 0; i < ldns_rr_list_rr_count(z->records); i++)
		if (ldns_rr_get_type(ldns_rr_list_rr(z->records, i)) == LDNS_RR_TYPE_SOA)
			return ldns_rr_list_rr(z->records, i);
	fatalx("zone %s has no SOA", z->name);
}

static int put_record(const ldns_rr *rr, struct buf *out)
{
	char *line = ldns_rr2str(rr);
	int result = line == NULL ? -1 : buf_puts(out, line);
	free(line);
	return result;
}

int zone_text(const struct zone *z, struct buf *out)
{
	const ldns_rr *soa = zone_soa(z);
	buf_printf(out, "; %s: written by mailadm from the site file; edit that, not this\n", z->name);
	if (put_record(soa, out) == -1)
		return -1;
	for (size_t i = 0; i < ldns_rr_list_rr_count(z->records); i++) {
		const ldns_rr *rr = ldns_rr_list_rr(z->records, i);
		if (rr != soa && put_record(rr, out) == -1)
			return -1;
	}
	return 0;
}

static ldns_rdf **soa_serial(struct zone *z)
{
	return &zone_soa(z)->_rdata_fields[2];
}

static void set_serial(struct zone *z, uint32_t serial)
{
	ldns_rdf **field = soa_serial(z);
	ldns_rdf_deep_free(*field);
	*field = ldns_native2rdf_int32(LDNS_RDF_TYPE_INT32, serial);
}

/* The serial in a zone text that zone_text wrote: the seventh word of the line that holds SOA. */
static bool text_serial(struct view text, uint32_t *serial)
{
	const char *soa = text.len ? memmem(text.ptr, text.len, "\tSOA\t", 5) : NULL;
	if (soa == NULL)
		return false;
	unsigned value;
	struct view line = { soa + 5, (size_t)(text.ptr + text.len - (soa + 5)) };
	char head[1024];
	size_t len = line.len < sizeof(head) - 1 ? line.len : sizeof(head) - 1;
	memcpy(head, line.ptr, len);
	head[len] = '\0';
	if (sscanf(head, "%*s %*s %u", &value) != 1)
		return false;
	*serial = value;
	return true;
}

int zone_text_keep_serial(struct zone *z, struct view old, struct buf *out)
{
	uint32_t fresh = ldns_rdf2native_int32(*soa_serial(z)), before;
	if (text_serial(old, &before)) {
		struct buf same = BUF_INIT(out->max);
		set_serial(z, before);
		bool unchanged =
		    zone_text(z, &same) == 0 && same.len == old.len && memcmp(same.data, old.ptr, old.len) == 0;
		buf_free(&same);
		/* RFC 1982 arithmetic is not needed: both are below 2^31 seconds ahead of each other for decades. */
		if (!unchanged)
			set_serial(z, fresh > before ? fresh : before + 1);
	}
	return zone_text(z, out);
}
