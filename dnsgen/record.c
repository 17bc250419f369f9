/*
 * record.h.  Only letters, digits, '-', '_', '*' and '/' count as plain in a name, and strings without backslash, quote
 * and control bytes in a text, so that nothing here has to unescape or escape.
 */
#include "dnsgen/record.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdlib.h>
#include <strings.h>

#define LABEL_MAX 63
#define STRING_MAX 255
#define DIGITS_MAX 10 /* ldns refuses a TTL of more than 20, were they all 0 */

static bool plain_in_name(unsigned char c)
{
	return c < 0x80 && (isalnum(c) || c == '-' || c == '_' || c == '*' || c == '/');
}

static bool next_word(const char **line, struct view *out)
{
	const char *p = *line + strspn(*line, " \t");
	size_t len = strcspn(p, " \t");
	*out = (struct view){ p, len };
	*line = p + len;
	return len > 0;
}

static ldns_rdf *parse_name(struct view text, const ldns_rdf *origin)
{
	unsigned char wire[NAME_WIRE_MAX];
	size_t at = 0;
	if (view_eq(text, "."))
		return ldns_rdf_new_frm_data(LDNS_RDF_TYPE_DNAME, 1, "");
	if (view_eq(text, "@"))
		return ldns_rdf_new_frm_data(LDNS_RDF_TYPE_DNAME, ldns_rdf_size(origin), ldns_rdf_data(origin));
	while (text.len > 0) {
		size_t len = 0;
		while (len < text.len && plain_in_name((unsigned char)text.ptr[len]))
			len++;
		if (len == 0 || len > LABEL_MAX || len + 1 > sizeof(wire) - at ||
		    (len < text.len && text.ptr[len] != '.'))
			return NULL;
		wire[at++] = (unsigned char)len;
		memcpy(wire + at, text.ptr, len);
		at += len;
		if (len == text.len) { /* relative */
			if (ldns_rdf_size(origin) > sizeof(wire) - at)
				return NULL;
			memcpy(wire + at, ldns_rdf_data(origin), ldns_rdf_size(origin));
			at += ldns_rdf_size(origin);
			return ldns_rdf_new_frm_data(LDNS_RDF_TYPE_DNAME, at, wire);
		}
		text = (struct view){ text.ptr + len + 1, text.len - len - 1 };
	}
	if (at == sizeof(wire) || at == 0)
		return NULL;
	wire[at++] = 0;
	return ldns_rdf_new_frm_data(LDNS_RDF_TYPE_DNAME, at, wire);
}

static bool push(ldns_rr *rr, ldns_rdf *field)
{
	return field != NULL && ldns_rr_push_rdf(rr, field);
}

static bool push_name(ldns_rr *rr, const char **line, const ldns_rdf *origin)
{
	struct view word;
	return next_word(line, &word) && push(rr, parse_name(word, origin));
}

static bool push_number(ldns_rr *rr, const char **line)
{
	struct view word;
	uint64_t value;
	return next_word(line, &word) && word.len <= DIGITS_MAX && view_u64(word, UINT16_MAX, &value) == 0 &&
	       push(rr, ldns_native2rdf_int16(LDNS_RDF_TYPE_INT16, (uint16_t)value));
}

static bool push_address(ldns_rr *rr, const char **line, int family)
{
	struct view word;
	char text[INET6_ADDRSTRLEN];
	unsigned char bytes[16];
	return next_word(line, &word) && view_copy(word, text, sizeof(text)) == 0 &&
	       inet_pton(family, text, bytes) == 1 &&
	       push(rr, family == AF_INET ? ldns_rdf_new_frm_data(LDNS_RDF_TYPE_A, 4, bytes)
					  : ldns_rdf_new_frm_data(LDNS_RDF_TYPE_AAAA, 16, bytes));
}

static bool plain_in_text(unsigned char c)
{
	return c >= 0x20 && c < 0x7f && c != '"' && c != '\\';
}

static bool push_strings(ldns_rr *rr, const char **line)
{
	const char *p = *line + strspn(*line, " \t");
	if (*p != '"')
		return false;
	while (*p == '"') {
		unsigned char wire[1 + STRING_MAX];
		size_t len = 0;
		while (plain_in_text((unsigned char)p[1 + len]))
			len++;
		if (p[1 + len] != '"' || len > STRING_MAX)
			return false;
		wire[0] = (unsigned char)len;
		memcpy(wire + 1, p + 1, len);
		if (!push(rr, ldns_rdf_new_frm_data(LDNS_RDF_TYPE_STR, len + 1, wire)))
			return false;
		p += len + 2;
		if (*p && *p != ' ' && *p != '\t')
			return false;
		p += strspn(p, " \t");
	}
	*line = p;
	return true;
}

static bool parse_data(ldns_rr *rr, struct view type, const char **line, const ldns_rdf *origin)
{
	static const struct {
		const char *name;
		ldns_rr_type type;
	} types[] = { { "A", LDNS_RR_TYPE_A }, { "AAAA", LDNS_RR_TYPE_AAAA }, { "TXT", LDNS_RR_TYPE_TXT },
		{ "MX", LDNS_RR_TYPE_MX }, { "SRV", LDNS_RR_TYPE_SRV }, { "NS", LDNS_RR_TYPE_NS },
		{ "CNAME", LDNS_RR_TYPE_CNAME }, { "PTR", LDNS_RR_TYPE_PTR } };
	size_t i = 0;
	while (i < sizeof(types) / sizeof(types[0]) && !view_caseeq(type, types[i].name))
		i++;
	if (i == sizeof(types) / sizeof(types[0]))
		return false;
	ldns_rr_set_type(rr, types[i].type);
	switch (types[i].type) {
	case LDNS_RR_TYPE_A:
		return push_address(rr, line, AF_INET);
	case LDNS_RR_TYPE_AAAA:
		return push_address(rr, line, AF_INET6);
	case LDNS_RR_TYPE_TXT:
		return push_strings(rr, line);
	case LDNS_RR_TYPE_MX:
		return push_number(rr, line) && push_name(rr, line, origin);
	case LDNS_RR_TYPE_SRV:
		return push_number(rr, line) && push_number(rr, line) && push_number(rr, line) &&
		       push_name(rr, line, origin);
	default:
		return push_name(rr, line, origin);
	}
}

ldns_rr *record_parse(const char *line, uint32_t ttl, const ldns_rdf *origin)
{
	struct view owner, word;
	uint64_t own_ttl;
	if (*line == ' ' || *line == '\t' || !next_word(&line, &owner) || !next_word(&line, &word))
		return NULL;
	if (isdigit((unsigned char)word.ptr[0])) {
		if (word.len > DIGITS_MAX || view_u64(word, INT32_MAX, &own_ttl) == -1 || !next_word(&line, &word))
			return NULL;
		ttl = (uint32_t)own_ttl;
	}
	if (view_caseeq(word, "IN") && !next_word(&line, &word))
		return NULL;
	ldns_rdf *name = parse_name(owner, origin);
	if (name == NULL)
		return NULL;
	ldns_rr *rr = ldns_rr_new();
	ldns_rr_set_owner(rr, name);
	ldns_rr_set_ttl(rr, ttl);
	ldns_rr_set_class(rr, LDNS_RR_CLASS_IN);
	if (!parse_data(rr, word, &line, origin) || line[strspn(line, " \t")] != '\0') {
		ldns_rr_free(rr);
		return NULL;
	}
	return rr;
}

/* false: something in it would have to be escaped. */
static bool print_name(const ldns_rdf *name, struct buf *out)
{
	const unsigned char *p = ldns_rdf_data(name), *end = p + ldns_rdf_size(name);
	if (p == end)
		return false;
	if (*p == 0)
		buf_addc(out, '.');
	while (p < end && *p) {
		size_t len = *p++;
		if (len > (size_t)(end - p))
			return false;
		for (size_t i = 0; i < len; i++)
			if (!plain_in_name(p[i]))
				return false;
		buf_add(out, p, len);
		buf_addc(out, '.');
		p += len;
	}
	return true;
}

static void print_number(uint32_t value, struct buf *out)
{
	char digits[10];
	size_t at = sizeof(digits);
	do {
		digits[--at] = (char)('0' + value % 10);
		value /= 10;
	} while (value);
	buf_add(out, digits + at, sizeof(digits) - at);
}

static bool print_field(const ldns_rdf *field, struct buf *out)
{
	char text[INET6_ADDRSTRLEN];
	const unsigned char *data = ldns_rdf_data(field);
	switch (ldns_rdf_get_type(field)) {
	case LDNS_RDF_TYPE_DNAME:
		return print_name(field, out);
	case LDNS_RDF_TYPE_INT16:
		print_number(ldns_rdf2native_int16(field), out);
		return true;
	case LDNS_RDF_TYPE_A:
		for (int i = 0; i < 4; i++) {
			if (i)
				buf_addc(out, '.');
			print_number(data[i], out);
		}
		return true;
	case LDNS_RDF_TYPE_AAAA:
		buf_puts(out, inet_ntop(AF_INET6, data, text, sizeof(text)));
		return true;
	case LDNS_RDF_TYPE_STR:
		for (size_t i = 1; i < ldns_rdf_size(field); i++)
			if (!plain_in_text(data[i]))
				return false;
		buf_addc(out, '"');
		buf_add(out, data + 1, ldns_rdf_size(field) - 1);
		buf_addc(out, '"');
		return true;
	default:
		return false;
	}
}

static const char *plain_type(const ldns_rr *rr)
{
	switch (ldns_rr_get_type(rr)) {
	case LDNS_RR_TYPE_A:
		return "\tIN\tA\t";
	case LDNS_RR_TYPE_AAAA:
		return "\tIN\tAAAA\t";
	case LDNS_RR_TYPE_TXT:
		return "\tIN\tTXT\t";
	case LDNS_RR_TYPE_MX:
		return "\tIN\tMX\t";
	case LDNS_RR_TYPE_SRV:
		return "\tIN\tSRV\t";
	case LDNS_RR_TYPE_NS:
		return "\tIN\tNS\t";
	case LDNS_RR_TYPE_CNAME:
		return "\tIN\tCNAME\t";
	case LDNS_RR_TYPE_PTR:
		return "\tIN\tPTR\t";
	default:
		return NULL;
	}
}

static bool print_plain(const ldns_rr *rr, const char *type, struct buf *out)
{
	if (!print_name(ldns_rr_owner(rr), out))
		return false;
	buf_addc(out, '\t');
	print_number(ldns_rr_ttl(rr), out);
	buf_puts(out, type);
	for (size_t i = 0; i < ldns_rr_rd_count(rr); i++) {
		if (i)
			buf_addc(out, ' ');
		if (!print_field(ldns_rr_rdf(rr, i), out))
			return false;
	}
	return buf_addc(out, '\n') == 0;
}

int record_print(const ldns_rr *rr, struct buf *out)
{
	const char *type = ldns_rr_get_class(rr) == LDNS_RR_CLASS_IN ? plain_type(rr) : NULL;
	size_t before = out->len;
	if (type != NULL && print_plain(rr, type, out))
		return 0;
	if (out->full)
		return -1;
	out->len = before;
	char *line = ldns_rr2str(rr);
	int result = line == NULL ? -1 : buf_puts(out, line);
	free(line);
	return result;
}

/* 0 ends a label and is below all that may be in one: 0 and 1 are written as two bytes. */
static void put_key_label(const unsigned char *label, size_t len, struct buf *out)
{
	for (size_t i = 0; i < len; i++) {
		unsigned char c = label[i];
		if (c <= 1)
			buf_addc(out, 1);
		buf_addc(out, (char)(c <= 1 ? c + 1 : c >= 'A' && c <= 'Z' ? c | 0x20 : c));
	}
	buf_addc(out, 0);
}

void record_name_key(const ldns_rdf *name, struct buf *out)
{
	const unsigned char *data = ldns_rdf_data(name), *labels[128];
	size_t count = 0, size = ldns_rdf_size(name);
	for (size_t at = 0; at < size && data[at] && count < 128; at += data[at] + 1u)
		labels[count++] = data + at;
	while (count > 0) {
		count--;
		put_key_label(labels[count] + 1, labels[count][0], out);
	}
	buf_addc(out, 0);
}

size_t record_key(const ldns_rr *rr, struct buf *out)
{
	size_t before = out->len, owner;
	unsigned type = ldns_rr_get_type(rr);
	record_name_key(ldns_rr_owner(rr), out);
	owner = out->len - before;
	buf_addc(out, (char)(type >> 8));
	buf_addc(out, (char)(type & 0xff));
	for (size_t i = 0; i < ldns_rr_rd_count(rr); i++) {
		const ldns_rdf *field = ldns_rr_rdf(rr, i);
		const unsigned char *data = ldns_rdf_data(field);
		bool name = ldns_rdf_get_type(field) == LDNS_RDF_TYPE_DNAME;
		for (size_t b = 0; name && b < ldns_rdf_size(field); b++)
			buf_addc(out, (char)(data[b] >= 'A' && data[b] <= 'Z' ? data[b] | 0x20 : data[b]));
		if (!name)
			buf_add(out, data, ldns_rdf_size(field));
	}
	return owner;
}

/* A length byte is at most 63 and so no letter. */
bool name_equal(const ldns_rdf *a, const ldns_rdf *b)
{
	size_t size = ldns_rdf_size(a);
	const unsigned char *x = ldns_rdf_data(a), *y = ldns_rdf_data(b);
	if (size != ldns_rdf_size(b))
		return false;
	for (size_t i = 0; i < size; i++)
		if (x[i] != y[i] && (tolower(x[i]) != tolower(y[i]) || x[i] < 'A' || y[i] < 'A'))
			return false;
	return true;
}

bool name_under(const ldns_rdf *name, const ldns_rdf *above)
{
	const unsigned char *data = ldns_rdf_data(name);
	size_t size = ldns_rdf_size(name), want = ldns_rdf_size(above), at = 0;
	while (size - at > want && data[at])
		at += data[at] + 1u;
	return size - at == want &&
	       name_equal(
		   &(ldns_rdf){ ._size = want, ._type = LDNS_RDF_TYPE_DNAME, ._data = (void *)(uintptr_t)(data + at) },
		   above);
}
