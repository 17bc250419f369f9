/* name.h: names and addresses of the checks.  Pure, but for policy_ask and policy_later. */
#include "mailsvc/policy/name.h"

#include <netinet/in.h>
#include <stdio.h>
#include <strings.h>

#include "lib/ip.h"
#include "lib/text.h"
#include "site/address.h"

#define LABEL_MAX 63

int policy_address(const struct sockaddr *sa, struct policy_address *out)
{
	*out = (struct policy_address){ 0 };
	if (sa == NULL || (sa->sa_family != AF_INET && sa->sa_family != AF_INET6))
		return -1;
	const unsigned char *four = ip_v4(sa);
	out->family = four != NULL ? AF_INET : AF_INET6;
	memcpy(out->bytes, four != NULL ? four : ((const struct sockaddr_in6 *)(const void *)sa)->sin6_addr.s6_addr,
	    policy_address_size(out));
	return 0;
}

size_t policy_address_size(const struct policy_address *a)
{
	return a->family == AF_INET ? 4 : 16;
}

enum dns_type policy_address_type(const struct policy_address *a)
{
	return a->family == AF_INET ? DNS_A : DNS_AAAA;
}

bool policy_address_in(const struct policy_address *a, const void *network, unsigned bits)
{
	const unsigned char *n = network;
	unsigned bytes = bits / 8, rest = bits % 8;

	if (memcmp(a->bytes, n, bytes) != 0)
		return false;
	return rest == 0 || ((a->bytes[bytes] ^ n[bytes]) >> (8 - rest)) == 0;
}

bool policy_address_among(const struct policy_address *a, const struct dns_answer *answer, unsigned bits)
{
	for (size_t i = 0; answer->status == DNS_OK && i < answer->count; i++) {
		struct view data = answer->records[i].data;
		if (data.len == policy_address_size(a) && policy_address_in(a, data.ptr, bits))
			return true;
	}
	return false;
}

int policy_reverse(const struct policy_address *a, const char *suffix, char name[256])
{
	struct buf b = BUF_INIT(POLICY_NAME_MAX);

	for (size_t i = policy_address_size(a); i-- > 0;) {
		if (a->family == AF_INET)
			buf_printf(&b, "%u.", a->bytes[i]);
		else
			buf_printf(&b, "%x.%x.", a->bytes[i] & 15u, a->bytes[i] >> 4);
	}
	if (suffix == NULL || suffix[0] == '\0')
		suffix = a->family == AF_INET ? "in-addr.arpa" : "ip6.arpa";
	buf_puts(&b, suffix);
	int rc = b.full ? -1 : view_copy(buf_view(&b), name, 256);
	buf_free(&b);
	if (rc == -1)
		name[0] = '\0';
	return rc;
}

bool policy_name_ok(const char *name)
{
	size_t len = strlen(name);

	if (len == 0 || len > POLICY_NAME_MAX)
		return false;
	for (const char *p = name;; p++) {
		size_t label = strcspn(p, ".");
		if (label == 0 || label > LABEL_MAX)
			return false;
		p += label;
		if (*p == '\0')
			return true;
	}
}

int policy_domain(struct view v, char out[256])
{
	out[0] = '\0';
	if (v.len > 1 && v.ptr[v.len - 1] == '.')
		v.len--;
	for (size_t i = 0; i < v.len; i++) {
		unsigned char c = (unsigned char)v.ptr[i];
		if (c >= 0x80)
			return domain_normalise(v, out, POLICY_NAME_MAX + 1);
		if (c <= ' ' || c == 0x7f)
			return -1;
	}
	if (v.len > POLICY_NAME_MAX || view_copy(v, out, 256) == -1 || !policy_name_ok(out)) {
		out[0] = '\0';
		return -1;
	}
	text_lower(out);
	return 0;
}

bool policy_below(const char *name, const char *ancestor)
{
	size_t n = strlen(name), a = strlen(ancestor);

	if (a == 0)
		return true;
	return n >= a && strcasecmp(name + n - a, ancestor) == 0 && (n == a || name[n - a - 1] == '.');
}

uint32_t policy_ask(const struct policy_dns *dns, const char *name, enum dns_type type, dns_fn fn, void *arg)
{
	char question[256];
	size_t len = 0;

	if (!policy_name_ok(name))
		return 0;
	for (const char *p = name; *p != '\0'; p++) {
		if (len + 2 >= sizeof(question))
			return 0;
		if (*p == '\\')
			question[len++] = '\\';
		question[len++] = *p;
	}
	question[len] = '\0';
	return dns->query(dns->ctx, question, type, fn, arg);
}

uint32_t policy_ask_host(const struct policy_dns *dns, const char *name, enum dns_type type, dns_fn fn, void *arg)
{
	return policy_name_ok(name) ? dns->query(dns->ctx, name, type, fn, arg) : 0;
}

uint32_t policy_later(const struct policy_dns *dns, dns_fn fn, void *arg)
{
	return dns->query(dns->ctx, "", DNS_TXT, fn, arg); /* no name: the resolver says no at once */
}

struct view policy_behind(struct view v, size_t n)
{
	return (struct view){ v.ptr + n, v.len - n };
}

void policy_clean(char *text)
{
	for (; *text != '\0'; text++) {
		if (*text < ' ' || *text >= 0x7f)
			*text = '?';
	}
}

void policy_say(char *out, size_t size, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	if (vsnprintf(out, size, fmt, ap) < 0)
		out[0] = '\0';
	va_end(ap);
	policy_clean(out);
}
