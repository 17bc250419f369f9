/*
 * Values: types, ranges and texts of one option.  Every text is valid UTF-8 without control characters, since texts end
 * up in zone files, headers and log lines.  Sizes are texts with a suffix only: libconfig 1.5 wraps large numbers
 * silently.
 */
#include <arpa/inet.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <utf8proc.h>

#include "address.h"
#include "hop.h"
#include "lib/log.h"
#include "lib/text.h"
#include "prescan.h"
#include "value.h"

#define TEXT_MAX 8192
#define STRINGS_MAX 100000

const char *const protocol_names[] = { "imap", "pop3", "submission", NULL };

static void *member(const struct schema_row *row, void *base)
{
	return (char *)base + row->offset;
}

static bool printable(const char *s)
{
	struct view v = view_of(s);
	for (size_t i = 0; i < v.len;) {
		utf8proc_int32_t c;
		utf8proc_ssize_t n =
		    utf8proc_iterate((const utf8proc_uint8_t *)v.ptr + i, (utf8proc_ssize_t)(v.len - i), &c);
		if (n < 1 || c < 0x20 || (c >= 0x7f && c < 0xa0))
			return false;
		i += (size_t)n;
	}
	return true;
}

int prefix_normalise(const char *text, char *out, size_t size)
{
	char address[INET6_ADDRSTRLEN];
	unsigned char bytes[16];
	const char *slash = strchr(text, '/');
	if (view_copy((struct view){ text, slash ? (size_t)(slash - text) : strlen(text) }, address, sizeof(address)) <
	    0)
		return -1;
	int family = strchr(address, ':') ? AF_INET6 : AF_INET;
	uint64_t bits = family == AF_INET6 ? 128 : 32, length = bits;
	if (inet_pton(family, address, bytes) != 1 || (slash && view_u64(view_of(slash + 1), bits, &length) < 0))
		return -1;
	for (uint64_t bit = length; bit < bits; bit++)
		if (bytes[bit / 8] & (0x80 >> bit % 8))
			return -1;
	inet_ntop(family, bytes, address, sizeof(address));
	struct buf b = BUF_INIT(size - 1);
	buf_puts(&b, address);
	if (slash)
		buf_printf(&b, "/%" PRIu64, length);
	int result = b.full ? -1 : view_copy(buf_view(&b), out, size);
	buf_free(&b);
	return result;
}

/* "example.org", ".example.org" or "alice@example.org" */
static int match_normalise(const char *text, char *out, size_t size)
{
	if (strchr(text, '@'))
		return address_normalise(view_of(text), out, size);
	if (text[0] != '.')
		return domain_normalise(view_of(text), out, size);
	out[0] = '.';
	return domain_normalise(view_of(text + 1), out + 1, size - 1);
}

/* The text in its normal form (malloc'd), or NULL with the reason. */
static char *normal_text(const struct schema_row *row, const char *text, struct error *why)
{
	char out[ADDRESS_MAX];
	unsigned char bytes[16];
	if (strlen(text) > TEXT_MAX)
		return error_set(why, "is longer than %d bytes; shorten it", TEXT_MAX), NULL;
	if (!printable(text))
		return error_set(why, "holds a control character or is no UTF-8; retype it"), NULL;
	if (!text[0] && row->optional)
		return xstrdup("");
	if (!text[0])
		return error_set(why, "is empty; write it like %s", schema_example(row)), NULL;
	const char *wrong = NULL;
	switch (row->type) {
	case TYPE_ADDRESS:
	case TYPE_ADDRESSES:
		if (address_normalise(view_of(text), out, sizeof(out)) < 0)
			wrong = "is no mail address; write it like \"alice@example.org\"";
		break;
	case TYPE_DOMAIN:
	case TYPE_DOMAINS:
		if (domain_normalise(view_of(text), out, sizeof(out)) < 0)
			wrong = "is no domain name; write it like \"example.org\"";
		break;
	case TYPE_MATCHES:
		if (match_normalise(text, out, sizeof(out)) < 0)
			wrong = "is no domain and no mail address; write it like \"example.org\", \".example.org\" or "
				"\"alice@example.org\"";
		break;
	case TYPE_IP4:
		if (inet_pton(AF_INET, text, bytes) != 1)
			wrong = "is no IPv4 address; write it like \"192.0.2.10\"";
		else
			inet_ntop(AF_INET, bytes, out, sizeof(out));
		break;
	case TYPE_IP6:
		if (inet_pton(AF_INET6, text, bytes) != 1)
			wrong = "is no IPv6 address; write it like \"2001:db8::10\"";
		else
			inet_ntop(AF_INET6, bytes, out, sizeof(out));
		break;
	case TYPE_PREFIXES:
		if (prefix_normalise(text, out, sizeof(out)) < 0)
			wrong = "is no address or prefix; write it like \"192.0.2.0/24\", with zeros behind the prefix";
		break;
	default: {
		const char *reason = row->check ? row->check(text) : NULL;
		return reason ? (error_set(why, "%s", reason), NULL) : xstrdup(text);
	}
	}
	if (!wrong && row->check)
		wrong = row->check(out);
	return wrong ? (error_set(why, "%s", wrong), NULL) : xstrdup(out);
}

static void list_words(const char *const *words, struct buf *out)
{
	for (size_t i = 0; words[i]; i++)
		buf_printf(out, "%s\"%s\"", i == 0 ? "" : words[i + 1] ? ", " : " or ", words[i]);
}

static int set_word(const struct schema_row *row, void *base, const char *text, struct error *why)
{
	for (size_t i = 0; row->words[i]; i++) {
		if (strcmp(row->words[i], text) == 0) {
			char **at = member(row, base);
			free(*at);
			*at = xstrdup(text);
			return 0;
		}
	}
	struct buf words = BUF_INIT(256);
	list_words(row->words, &words);
	error_set(why, "is not known; use %s", buf_str(&words));
	buf_free(&words);
	return -1;
}

static void store_number(const struct schema_row *row, void *base, uint64_t n)
{
	if (row->size == sizeof(uint64_t))
		*(uint64_t *)member(row, base) = n;
	else if (row->size == sizeof(uint16_t))
		*(uint16_t *)member(row, base) = (uint16_t)n;
	else
		*(int *)member(row, base) = (int)n;
}

uint64_t value_number(const struct schema_row *row, const void *base)
{
	const char *at = (const char *)base + row->offset;
	if (row->size == sizeof(uint64_t))
		return *(const uint64_t *)at;
	if (row->size == sizeof(uint16_t))
		return *(const uint16_t *)at;
	return (uint64_t) * (const int *)at;
}

void value_size_text(uint64_t bytes, char out[24])
{
	const char *suffix = "\0KMGT";
	size_t unit = 0;
	while (bytes && bytes % 1024 == 0 && unit < 4) {
		bytes /= 1024;
		unit++;
	}
	struct buf b = BUF_INIT(23);
	buf_printf(&b, "%" PRIu64, bytes);
	if (unit)
		buf_addc(&b, suffix[unit]);
	view_copy(buf_view(&b), out, 24);
	buf_free(&b);
}

static void number_text(const struct schema_row *row, uint64_t n, char out[24])
{
	if (row->type == TYPE_SIZE) {
		value_size_text(n, out);
	} else if (row->type == TYPE_DURATION) {
		text_format_duration(n, out);
	} else {
		struct buf b = BUF_INIT(23);
		buf_printf(&b, "%" PRIu64, n);
		view_copy(buf_view(&b), out, 24);
		buf_free(&b);
	}
}

static int set_number(const struct schema_row *row, void *base, uint64_t n, struct error *why)
{
	if (row->max && (n < row->min || n > row->max)) {
		char low[24], high[24];
		number_text(row, row->min, low);
		number_text(row, row->max, high);
		return error_set(why, "is out of range; use %s to %s", low, high);
	}
	store_number(row, base, n);
	return 0;
}

static int add_protocol(const char *text, unsigned *bits, struct error *why)
{
	for (unsigned i = 0; protocol_names[i]; i++) {
		if (strcmp(protocol_names[i], text) == 0) {
			*bits |= 1u << i;
			return 0;
		}
	}
	return error_set(why, "is no protocol; use \"imap\", \"pop3\" or \"submission\"");
}

/* A text for any type that is not a list. */
static int set_text(const struct schema_row *row, void *base, const char *text, struct error *why)
{
	uint64_t n;
	switch (row->type) {
	case TYPE_ENUM:
		return set_word(row, base, text, why);
	case TYPE_SIZE:
		if (text_parse_size(text, &n) < 0)
			return error_set(why, "is no size; write it like %s", schema_type_example(TYPE_SIZE));
		return set_number(row, base, n, why);
	case TYPE_DURATION:
		if (text_parse_duration(text, &n) < 0)
			return error_set(why, "is no duration; write it like %s", schema_type_example(TYPE_DURATION));
		return set_number(row, base, n, why);
	default: {
		char *normal = normal_text(row, text, why);
		if (!normal)
			return -1;
		char **at = member(row, base);
		free(*at);
		*at = normal;
		return 0;
	}
	}
}

static void wrong_value(const struct schema_row *row, const char *text, const struct error *why, struct findings *f,
    const struct site_origin *origin)
{
	struct buf shown = BUF_INIT(1024);
	text_escape(&shown, view_of(text), 200);
	findings_add(f, false, origin, "%s = %s%s%s %s", row->path, shown.len && shown.data[0] == '"' ? "" : "\"",
	    buf_str(&shown), shown.len && shown.data[0] == '"' ? "" : "\"", why->text);
	buf_free(&shown);
}

static int wrong_type(const struct schema_row *row, struct findings *f, const struct site_origin *origin)
{
	const char *name = schema_type_name(row->type);
	findings_add(f, false, origin, "%s must be %s %s; write it like %s", row->path,
	    strchr("aeiouI", name[0]) ? "an" : "a", name, schema_example(row));
	return -1;
}

static void strings_free(struct strings *s)
{
	for (size_t i = 0; i < s->count; i++)
		free(s->at[i]);
	free(s->at);
	*s = (struct strings){ 0 };
}

/* One text, or a list of texts, each in its normal form. */
static int set_strings(const struct schema_row *row, void *base, const config_setting_t *setting, struct findings *f,
    const struct site_origin *origin)
{
	bool one = config_setting_type(setting) == CONFIG_TYPE_STRING;
	if (!one && !config_setting_is_list(setting) && !config_setting_is_array(setting))
		return wrong_type(row, f, origin);
	unsigned count = one ? 1 : (unsigned)config_setting_length(setting);
	struct strings list = { xcalloc(count + 1, sizeof(char *)), 0 };
	unsigned bits = 0;
	int result = 0;
	for (unsigned i = 0; i < count && i < STRINGS_MAX; i++) {
		const config_setting_t *item = one ? setting : config_setting_get_elem(setting, i);
		struct site_origin here = { origin->file, config_setting_source_line(item) };
		const char *text = config_setting_get_string(item);
		struct error why;
		char *normal = NULL;
		if (!text) {
			result = wrong_type(row, f, &here);
			continue;
		}
		if (row->type == TYPE_PROTOCOLS ? add_protocol(text, &bits, &why) < 0
						: !(normal = normal_text(row, text, &why))) {
			here.line = prescan_line(here.file, here.line, text);
			wrong_value(row, text, &why, f, &here);
			result = -1;
		}
		if (normal)
			list.at[list.count++] = normal;
	}
	if (row->type == TYPE_PROTOCOLS) {
		*(unsigned *)member(row, base) = bits;
		strings_free(&list);
		return result;
	}
	strings_free(member(row, base));
	*(struct strings *)member(row, base) = list;
	return result;
}

int value_set(const struct schema_row *row, void *base, const config_setting_t *setting, struct findings *f,
    const struct site_origin *origin)
{
	int type = config_setting_type(setting);
	struct error why;
	if (row->type >= TYPE_PROTOCOLS)
		return set_strings(row, base, setting, f, origin);
	if (row->type == TYPE_BOOL) {
		if (type != CONFIG_TYPE_BOOL)
			return wrong_type(row, f, origin);
		*(bool *)member(row, base) = config_setting_get_bool(setting);
		return 0;
	}
	if ((row->type == TYPE_INT || row->type == TYPE_DURATION) &&
	    (type == CONFIG_TYPE_INT || type == CONFIG_TYPE_INT64)) {
		long long n =
		    type == CONFIG_TYPE_INT ? config_setting_get_int(setting) : config_setting_get_int64(setting);
		if (set_number(row, base, n < 0 ? UINT64_MAX : (uint64_t)n, &why) < 0) {
			findings_add(f, false, origin, "%s = %lld %s", row->path, n, why.text);
			return -1;
		}
		return 0;
	}
	if (type != CONFIG_TYPE_STRING || row->type == TYPE_INT)
		return wrong_type(row, f, origin);
	const char *text = config_setting_get_string(setting);
	if (set_text(row, base, text, &why) < 0) {
		wrong_value(row, text, &why, f, origin);
		return -1;
	}
	return 0;
}

void value_default(const struct schema_row *row, void *base)
{
	struct error why;
	uint64_t n;
	if (!row->fallback)
		return;
	switch (row->type) {
	case TYPE_BOOL:
		*(bool *)member(row, base) = strcmp(row->fallback, "true") == 0;
		return;
	case TYPE_INT:
		if (view_u64(view_of(row->fallback), UINT64_MAX, &n) == 0)
			store_number(row, base, n);
		return;
	case TYPE_PROTOCOLS:
		*(unsigned *)member(row, base) = PROTOCOL_IMAP | PROTOCOL_POP3 | PROTOCOL_SUBMISSION;
		return;
	default:
		if (set_text(row, base, row->fallback, &why) < 0)
			fatalx("schema: default of %s %s", row->path, why.text);
	}
}

void value_free(const struct schema_row *row, void *base)
{
	if (row->type >= TYPE_STRINGS) {
		strings_free(member(row, base));
	} else if (row->type >= TYPE_STRING && row->type <= TYPE_ENUM) {
		char **at = member(row, base);
		free(*at);
		*at = NULL;
	}
}

/* ---- checks of single values */

const char *check_fqdn(const char *s)
{
	const char *dot = strrchr(s, '.');
	if (!dot)
		return "has no dot; use the full name, like \"mail.example.org\"";
	if (strspn(dot + 1, "0123456789") == strlen(dot + 1))
		return "ends like an IP address; use a name, like \"mail.example.org\"";
	return NULL;
}

const char *check_host(const char *s)
{
	char out[256];
	unsigned char bytes[16];
	if (inet_pton(AF_INET, s, bytes) == 1 || inet_pton(AF_INET6, s, bytes) == 1 ||
	    domain_normalise(view_of(s), out, sizeof(out)) == 0)
		return NULL;
	return "is no host name; write it like \"mail.example.org\"";
}

const char *check_hop(const char *s)
{
	struct hop_host h;
	return hop_host_parse(s, &h) == 0 ? NULL
					  : "is no host with a port; write it like \"mail.example.net:25\", \"[2001:db8::1]:25\" or "
					    "\"lmtp:127.0.0.1:8024\"";
}

const char *check_percents(const char *s)
{
	unsigned last = 0, count = 0;
	while (*s) {
		size_t digits = strspn(s, "0123456789");
		uint64_t n;
		if (view_u64((struct view){ s, digits }, 99, &n) < 0 || n <= last || ++count > PERCENTS_MAX ||
		    (s[digits] && s[digits] != ' '))
			return "is no list of at most eight rising percents from 1 to 99; write it like \"80 95\"";
		last = (unsigned)n;
		s += digits + strspn(s + digits, " ");
	}
	return NULL;
}

const char *check_ip(const char *s)
{
	unsigned char bytes[16];
	return inet_pton(AF_INET, s, bytes) == 1 || inet_pton(AF_INET6, s, bytes) == 1
	           ? NULL
	           : "is no IP address; write it like \"198.51.100.7\"";
}

const char *check_label(const char *s)
{
	size_t n = strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789-");
	if (s[n] || n > 63 || s[0] == '-' || s[n - 1] == '-')
		return "is no label; use lower-case letters, digits and hyphens";
	return NULL;
}

const char *check_name(const char *s)
{
	size_t n = strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_");
	return s[n] || n > 63 || s[0] == '-' ? "is no name; use up to 63 letters, digits, '-' and '_'" : NULL;
}

const char *check_interface(const char *s)
{
	size_t n = strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.@");
	return s[n] || n > 15 ? "is no interface; use a name such as eth0, as ip link prints it" : NULL;
}

const char *check_line(const char *s)
{
	return s[strspn(s, " ;")] ? NULL : "is an empty record; remove it";
}

const char *check_text(const char *s)
{
	return strlen(s) > 900 ? "is a line of more than 900 bytes; break it into several" : NULL;
}

const char *check_day(const char *s)
{
	struct tm tm = { 0 };
	const char *end = strlen(s) == 10 ? strptime(s, "%Y-%m-%d", &tm) : NULL;
	return end && !*end ? NULL : "is no day; write it like \"2026-12-24\"";
}

const char *check_log(const char *s)
{
	return strcmp(s, "stderr") == 0 || s[0] == '/' ? NULL
	                                               : "is neither \"stderr\" nor an absolute path; use one of them";
}

const char *check_forwarder(const char *s)
{
	char address[INET6_ADDRSTRLEN];
	unsigned char bytes[16];
	uint64_t port = 53;
	const char *at = strchr(s, '@');
	if (view_copy((struct view){ s, at ? (size_t)(at - s) : strlen(s) }, address, sizeof(address)) < 0 ||
	    (inet_pton(AF_INET, address, bytes) != 1 && inet_pton(AF_INET6, address, bytes) != 1) ||
	    (at && (view_u64(view_of(at + 1), 65535, &port) < 0 || port == 0)))
		return "is no resolver; write it like \"192.0.2.53\" or \"192.0.2.53@5353\"";
	return NULL;
}

/* NAME [TTL] [IN] DS number number number hex..., or DNSKEY number number number base64... */
const char *check_anchor(const char *s)
{
	static const char *const why =
	    "is no DS or DNSKEY record; write it like \"corp.example. DS 12345 13 2 49FD46E6...\"";
	const char *type = strstr(s, " DS ");
	size_t plain = strspn(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.+/= ");
	bool ds = type != NULL;

	if (!ds)
		type = strstr(s, " DNSKEY ");
	if (type == NULL || type == s || s[0] == ' ' || s[plain] != '\0')
		return why;
	const char *p = type + (ds ? 4 : 8);
	for (int i = 0; i < 3; i++) {
		size_t digits = strspn(p, "0123456789");
		if (digits == 0 || digits > 5 || p[digits] != ' ')
			return why;
		p += digits + 1;
	}
	return strlen(p) >= 32 && (!ds || strspn(p, "0123456789ABCDEFabcdef ") == strlen(p)) ? NULL : why;
}
