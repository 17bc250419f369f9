/*
 * Reads a DNS packet with ldns and keeps what mail needs of it.  The packet comes from libunbound, whose content comes
 * from anywhere: records, names and sizes are bounded here, before they reach another process.
 */
#include "answer.h"

#include <ctype.h>
#include <ldns/ldns.h>
#include <stdlib.h>
#include <string.h>

/* A name that can stand in a log line, a header and a command: letters, digits, hyphen, underscore, dots. */
static bool plain_name(const char *s)
{
	for (; *s != '\0'; s++) {
		if (!isalnum((unsigned char)*s) && strchr("-_.", *s) == NULL)
			return false;
	}
	return true;
}

static bool put_name(struct buf *out, const ldns_rdf *rdf)
{
	char *name = ldns_rdf_get_type(rdf) == LDNS_RDF_TYPE_DNAME ? ldns_rdf2str(rdf) : NULL;
	bool ok = name != NULL;

	if (ok) {
		size_t len = strlen(name);
		if (len > 0 && name[len - 1] == '.')
			name[--len] = '\0';
		ok = len <= DNS_NAME_MAX && plain_name(name) && buf_add(out, name, len) == 0;
	}
	free(name);
	return ok;
}

/* RFC 7208 3.3: the strings of one TXT record are joined without a space. */
static bool put_strings(struct buf *out, const ldns_rr *rr)
{
	for (size_t i = 0; i < ldns_rr_rd_count(rr); i++) {
		const ldns_rdf *rdf = ldns_rr_rdf(rr, i);
		if (ldns_rdf_size(rdf) < 1)
			return false;
		if (buf_add(out, ldns_rdf_data(rdf) + 1, ldns_rdf_size(rdf) - 1) == -1)
			return false;
	}
	return true;
}

static bool put_rdata(struct buf *out, const ldns_rr *rr)
{
	for (size_t i = 0; i < ldns_rr_rd_count(rr); i++) {
		const ldns_rdf *rdf = ldns_rr_rdf(rr, i);
		if (buf_add(out, ldns_rdf_data(rdf), ldns_rdf_size(rdf)) == -1)
			return false;
	}
	return true;
}

/* Appends the record's data to out and fills preference; false drops the record. */
static bool put_record(struct buf *out, enum dns_type type, const ldns_rr *rr, struct dns_record *rec)
{
	size_t count = ldns_rr_rd_count(rr), size = count > 0 ? ldns_rdf_size(ldns_rr_rdf(rr, 0)) : 0;

	switch (type) {
	case DNS_A:
	case DNS_AAAA:
		return count == 1 && size == (type == DNS_A ? 4u : 16u) && put_rdata(out, rr);
	case DNS_PTR:
	case DNS_CNAME:
		return count == 1 && put_name(out, ldns_rr_rdf(rr, 0));
	case DNS_MX:
		if (count != 2 || size != 2)
			return false;
		rec->preference = ldns_rdf2native_int16(ldns_rr_rdf(rr, 0));
		return put_name(out, ldns_rr_rdf(rr, 1));
	case DNS_TXT:
		return put_strings(out, rr);
	case DNS_TLSA:
		return put_rdata(out, rr);
	}
	return false;
}

static void take_records(const ldns_rr_list *list, enum dns_type type, struct dns_parsed *out)
{
	struct dns_answer *a = &out->answer;
	size_t offsets[DNS_RECORDS_MAX + 1] = { 0 };

	a->ttl = UINT32_MAX;
	for (size_t i = 0; i < ldns_rr_list_rr_count(list); i++) {
		const ldns_rr *rr = ldns_rr_list_rr(list, i);
		size_t before = out->data.len;
		if (ldns_rr_ttl(rr) < a->ttl)
			a->ttl = ldns_rr_ttl(rr);
		if (ldns_rr_get_type(rr) != (ldns_rr_type)type || a->count == DNS_RECORDS_MAX)
			continue;
		if (!put_record(&out->data, type, rr, &out->records[a->count]) ||
		    out->data.len - before > DNS_DATA_MAX) {
			out->data.len = before;
			out->data.full = false;
			continue;
		}
		offsets[++a->count] = out->data.len;
	}
	for (size_t i = 0; i < a->count; i++)
		out->records[i].data =
		    (struct view){ out->data.len > 0 ? out->data.data + offsets[i] : "", offsets[i + 1] - offsets[i] };
	if (a->ttl == UINT32_MAX)
		a->ttl = 0;
}

/* The owner of the addresses, where the name that was asked for is an alias. */
static void take_canonical(const ldns_rr_list *list, enum dns_type type, struct dns_parsed *out)
{
	const ldns_rr *last = NULL;
	bool alias = false;

	for (size_t i = 0; i < ldns_rr_list_rr_count(list); i++) {
		const ldns_rr *rr = ldns_rr_list_rr(list, i);
		alias |= ldns_rr_get_type(rr) == LDNS_RR_TYPE_CNAME;
		if (ldns_rr_get_type(rr) == (ldns_rr_type)type)
			last = rr;
	}
	if ((type == DNS_A || type == DNS_AAAA) && alias && last != NULL && put_name(&out->name, ldns_rr_owner(last)))
		out->answer.canonical = buf_view(&out->name);
}

static bool holds_type(const ldns_rr_list *list, enum dns_type type)
{
	for (size_t i = 0; i < ldns_rr_list_rr_count(list); i++) {
		if (ldns_rr_get_type(ldns_rr_list_rr(list, i)) == (ldns_rr_type)type)
			return true;
	}
	return false;
}

void dns_answer_parse(const uint8_t *packet, size_t len, enum dns_type type, struct dns_parsed *out)
{
	ldns_pkt *pkt = NULL;

	memset(out, 0, sizeof(*out));
	out->answer = (struct dns_answer){ .status = DNS_TEMPFAIL, .records = out->records };
	out->data = BUF_INIT(DNS_ANSWER_MAX);
	out->name = BUF_INIT(DNS_NAME_MAX);
	if (ldns_wire2pkt(&pkt, packet, len) != LDNS_STATUS_OK)
		return;
	const ldns_rr_list *list = ldns_pkt_answer(pkt);
	if (ldns_pkt_get_rcode(pkt) == LDNS_RCODE_NXDOMAIN) {
		out->answer.status = DNS_NXDOMAIN;
	} else if (ldns_pkt_get_rcode(pkt) == LDNS_RCODE_NOERROR) {
		take_records(list, type, out);
		if (out->answer.count > 0) {
			out->answer.status = DNS_OK;
			take_canonical(list, type, out);
		} else if (!holds_type(list, type)) {
			out->answer.status = DNS_NODATA;
		}
	}
	ldns_pkt_free(pkt);
}

void dns_parsed_free(struct dns_parsed *p)
{
	buf_free(&p->data);
	buf_free(&p->name);
}
