/*
 * A zone as a list of ldns records, and its text.  Records are added as presentation lines: plain ones are read by
 * record.c, all others by ldns.  What ldns does not check (CNAME beside other data, duplicates, owners outside the
 * zone) is checked here.  A finished zone keeps the sort keys of its records, so that a name is found by bisection.
 */
#include "dnsgen/zone.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "dnsgen/record.h"

#define LINE_MAX_BYTES 8192
#define KEYS_MAX (UINT32_C(1) << 31)

struct zone_key {
	const char *key;
	uint32_t len, owner_len;
	ldns_rr *rr;
};

struct zone_index {
	struct buf bytes;
	struct zone_key *at; /* in the order of the records */
	size_t count;
};

int zone_init(struct zone *z, const char *name)
{
	memset(z, 0, sizeof(*z));
	z->name = xstrdup(name);
	z->records = ldns_rr_list_new();
	z->origin = ldns_dname_new_frm_str(name);
	return z->origin == NULL || z->records == NULL ? -1 : 0;
}

static void index_free(struct zone_index *index)
{
	if (index == NULL)
		return;
	buf_free(&index->bytes);
	free(index->at);
	free(index);
}

void zones_free(struct zones *zones)
{
	for (size_t i = 0; i < zones->count; i++) {
		free(zones->at[i].name);
		ldns_rdf_deep_free(zones->at[i].origin);
		ldns_rr_list_deep_free(zones->at[i].records);
		index_free(zones->at[i].index);
	}
	free(zones->at);
	memset(zones, 0, sizeof(*zones));
}

/* Outside quotes a ';' begins a comment, which nobody wants in a text. */
static bool is_cut_text(const char *line)
{
	bool quoted = false;
	if (strcasestr(line, "txt") == NULL || strchr(line, ';') == NULL)
		return false;
	for (const char *p = line; *p; p++) {
		if (*p == '\\' && p[1])
			p++;
		else if (*p == '"')
			quoted = !quoted;
		else if (*p == ';' && !quoted)
			return true;
	}
	return false;
}

static bool has_quote(const ldns_rdf *name)
{
	const unsigned char *data = ldns_rdf_data(name);
	for (size_t at = 0; at < ldns_rdf_size(name) && data[at]; at += data[at] + 1u)
		if (memchr(data + at + 1, '"', data[at]) != NULL)
			return true;
	return false;
}

/* ldns prints these as they are, and named would take them for the begin of a string or of a directive. */
static bool is_unprintable(const ldns_rr *rr)
{
	const ldns_rdf *owner = ldns_rr_owner(rr);
	bool found = has_quote(owner) || (ldns_rdf_size(owner) > 1 && ldns_rdf_data(owner)[1] == '$');
	for (size_t i = 0; i < ldns_rr_rd_count(rr) && !found; i++)
		found = ldns_rdf_get_type(ldns_rr_rdf(rr, i)) == LDNS_RDF_TYPE_DNAME && has_quote(ldns_rr_rdf(rr, i));
	return found;
}

int zone_add_line(struct zone *z, uint32_t ttl, struct error *e, const char *line)
{
	ldns_rr *rr = record_parse(line, ttl, z->origin);
	ldns_status status = LDNS_STATUS_OK;
	bool plain = rr != NULL;
	if (!plain)
		status = ldns_rr_new_frm_str(&rr, line, ttl, z->origin, NULL);
	if (status != LDNS_STATUS_OK)
		return error_set(e, "zone %s: \"%s\" is no record: %s", z->name, line, ldns_get_errorstr_by_id(status));
	if (ldns_rr_get_type(rr) == LDNS_RR_TYPE_TXT && is_cut_text(line)) {
		ldns_rr_free(rr);
		return error_set(
		    e, "zone %s: \"%s\": what is behind ';' would be a comment; put the text in quotes", z->name, line);
	}
	if (!plain && is_unprintable(rr)) {
		ldns_rr_free(rr);
		return error_set(
		    e, "zone %s: \"%s\": a name with a quote, or that begins with '$'; choose another", z->name, line);
	}
	if (!name_under(ldns_rr_owner(rr), z->origin)) {
		ldns_rr_free(rr);
		return error_set(e, "zone %s: \"%s\" lies outside the zone", z->name, line);
	}
	ldns_rr_list_push_rr(z->records, rr);
	return 0;
}

int zone_add(struct zone *z, uint32_t ttl, struct error *e, const char *fmt, ...)
{
	char line[LINE_MAX_BYTES];
	va_list ap;
	va_start(ap, fmt);
	int len = vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	if (len < 0 || (size_t)len >= sizeof(line))
		return error_set(e, "a record of zone %s is longer than %d bytes", z->name, LINE_MAX_BYTES);
	return zone_add_line(z, ttl, e, line);
}

/* The first record of a type at owner, from place *at on; *at is then behind it. */
static const ldns_rr *next_of(const struct zone *z, const ldns_rdf *owner, ldns_rr_type type, size_t *at)
{
	size_t count = ldns_rr_list_rr_count(z->records);
	while (*at < count) {
		const ldns_rr *rr = ldns_rr_list_rr(z->records, (*at)++);
		if (ldns_rr_get_type(rr) == type && name_equal(ldns_rr_owner(rr), owner))
			return rr;
	}
	return NULL;
}

bool zone_has_txt(const struct zone *z, const char *owner, const char *begins)
{
	ldns_rdf *name = ldns_dname_new_frm_str(owner);
	const ldns_rr *rr = NULL;
	size_t at = 0, len = strlen(begins);
	while (name && (rr = next_of(z, name, LDNS_RR_TYPE_TXT, &at)) != NULL) {
		const ldns_rdf *text = ldns_rr_rdf(rr, 0); /* a length byte, then the text */
		if (text != NULL && ldns_rdf_size(text) > len &&
		    strncasecmp((const char *)ldns_rdf_data(text) + 1, begins, len) == 0)
			break;
	}
	ldns_rdf_deep_free(name);
	return rr != NULL;
}

bool zone_has_type(const struct zone *z, const char *owner, ldns_rr_type type)
{
	ldns_rdf *name = ldns_dname_new_frm_str(owner);
	size_t at = 0;
	bool found = name != NULL && next_of(z, name, type, &at) != NULL;
	ldns_rdf_deep_free(name);
	return found;
}

bool zone_has_address(const struct zone *z, const char *owner)
{
	return zone_has_type(z, owner, LDNS_RR_TYPE_A) || zone_has_type(z, owner, LDNS_RR_TYPE_AAAA);
}

bool zone_has_mx(const struct zone *z)
{
	return zone_has_type(z, z->name, LDNS_RR_TYPE_MX);
}

static int by_key(const void *a, const void *b)
{
	const struct zone_key *x = a, *y = b;
	size_t len = x->len < y->len ? x->len : y->len;
	int order = memcmp(x->key, y->key, len);
	return order ? order : (x->len > y->len) - (x->len < y->len);
}

static int by_key_and_place(const void *a, const void *b)
{
	const struct zone_key *x = a, *y = b;
	int order = by_key(a, b);
	return order ? order : (x->key > y->key) - (x->key < y->key);
}

/* Sorts and drops what is said twice, case aside. The first that was added stays. */
static void sort_records(struct zone *z)
{
	size_t count = ldns_rr_list_rr_count(z->records), kept = 0;
	struct zone_index *index = xcalloc(1, sizeof(*index));
	size_t *offsets = xcalloc(count + 1, sizeof(*offsets));
	index->bytes = BUF_INIT(KEYS_MAX);
	index->at = xcalloc(count + 1, sizeof(*index->at));
	for (size_t i = 0; i < count; i++) {
		offsets[i] = index->bytes.len;
		index->at[i].rr = ldns_rr_list_rr(z->records, i);
		index->at[i].owner_len = (uint32_t)record_key(index->at[i].rr, &index->bytes);
	}
	offsets[count] = index->bytes.len;
	for (size_t i = 0; i < count; i++) {
		index->at[i].key = index->bytes.data + offsets[i];
		index->at[i].len = (uint32_t)(offsets[i + 1] - offsets[i]);
	}
	free(offsets);
	qsort(index->at, count, sizeof(*index->at), by_key_and_place);
	for (size_t i = 0; i < count; i++) {
		if (kept > 0 && by_key(&index->at[kept - 1], &index->at[i]) == 0) {
			ldns_rr_free(index->at[i].rr);
			continue;
		}
		index->at[kept] = index->at[i];
		ldns_rr_list_set_rr(z->records, index->at[kept].rr, kept);
		kept++;
	}
	ldns_rr_list_set_rr_count(z->records, kept);
	index->count = kept;
	z->index = index;
}

/* How the owner's key stands to the one at i: the sign of memcmp. */
static int owner_order(const struct zone_index *index, size_t i, struct view owner)
{
	size_t len = index->at[i].owner_len < owner.len ? index->at[i].owner_len : owner.len;
	int order = memcmp(index->at[i].key, owner.ptr, len);
	return order ? order : (index->at[i].owner_len > owner.len) - (index->at[i].owner_len < owner.len);
}

static size_t lower_bound(const struct zone_index *index, struct view owner)
{
	size_t low = 0, high = index->count;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (owner_order(index, middle, owner) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

size_t zone_find(const struct zone *z, const ldns_rdf *owner, size_t *first)
{
	struct buf key = BUF_INIT(4 * NAME_WIRE_MAX);
	size_t count = 0;
	record_name_key(owner, &key);
	*first = lower_bound(z->index, buf_view(&key));
	while (*first + count < z->index->count && owner_order(z->index, *first + count, buf_view(&key)) == 0)
		count++;
	buf_free(&key);
	return count;
}

static bool same_owner(const struct zone_index *index, size_t i, size_t k)
{
	return index->at[i].owner_len == index->at[k].owner_len &&
	       memcmp(index->at[i].key, index->at[k].key, index->at[i].owner_len) == 0;
}

int zone_finish(struct zone *z, struct error *e)
{
	size_t soas = 0;
	sort_records(z);
	for (size_t i = 0; i < z->index->count; i++) {
		ldns_rr_type type = ldns_rr_get_type(z->index->at[i].rr);
		soas += type == LDNS_RR_TYPE_SOA;
		if (i == 0 ||
		    (type != LDNS_RR_TYPE_CNAME && ldns_rr_get_type(z->index->at[i - 1].rr) != LDNS_RR_TYPE_CNAME) ||
		    !same_owner(z->index, i - 1, i))
			continue;
		char *owner = ldns_rdf2str(ldns_rr_owner(z->index->at[i].rr));
		error_set(e, "zone %s: %s has a CNAME beside other records (RFC 1034 3.6.2); remove one of them",
		    z->name, owner);
		free(owner);
		return -1;
	}
	if (soas > 1)
		return error_set(
		    e, "zone %s has a SOA of its own in records, which mailadm writes; remove it", z->name);
	return 0;
}

static ldns_rr *zone_soa(const struct zone *z)
{
	size_t first, count = zone_find(z, z->origin, &first);
	for (size_t i = 0; i < count; i++)
		if (ldns_rr_get_type(ldns_rr_list_rr(z->records, first + i)) == LDNS_RR_TYPE_SOA)
			return ldns_rr_list_rr(z->records, first + i);
	return NULL;
}

int zone_text(const struct zone *z, struct buf *out)
{
	const ldns_rr *soa = zone_soa(z);
	if (soa != NULL) {
		buf_printf(out, "; %s: written by mailadm from the site file; edit that, not this%s\n", z->name,
		    z->sign ? "; named signs it" : "");
		if (record_print(soa, out) == -1)
			return -1;
	}
	size_t count = ldns_rr_list_rr_count(z->records);
	for (size_t i = 0; i < count; i++) {
		const ldns_rr *rr = ldns_rr_list_rr(z->records, i);
		if (rr != soa && record_print(rr, out) == -1)
			return -1;
	}
	return out->full ? -1 : 0;
}
