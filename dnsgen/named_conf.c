/*
 * named_conf.h.  Transfers need the key and one of the addresses: an address match list is an "or", so that the others
 * are turned away by a negated list first.
 */
#include "dnsgen/named_conf.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dnsgen/content.h"
#include "site/secrets.h"

static bool is_base64(const char *s)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=";
	return s[0] && s[strspn(s, digits)] == '\0';
}

int tsig_secret(const struct site *s, char out[TSIG_MAX], struct error *e)
{
	struct secrets secrets;
	int result = 0;
	out[0] = '\0';
	if (!s->dns.tsig_key[0])
		return 0;
	char *path = site_state(s, "secrets");
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd == -1) {
		result = error_errno(e, "%s, where dns.tsig_secret is needed for dns.tsig_key", path);
	} else if (secrets_load(fd, &secrets, e) == -1) {
		result = -1;
	} else {
		if (!is_base64(secrets.dns_tsig_secret) ||
		    view_copy(view_of(secrets.dns_tsig_secret), out, TSIG_MAX) == -1)
			result = error_set(e,
			    "%s has no dns.tsig_secret in base64; make one with tsig-keygen and write it there", path);
		secrets_free(&secrets);
	}
	if (fd != -1)
		close(fd);
	free(path);
	return result;
}

static void put_key(const struct site *s, const char *secret, struct buf *out)
{
	if (secret[0])
		buf_printf(
		    out, "key \"%s\" {\n\talgorithm hmac-sha256;\n\tsecret \"%s\";\n};\n", s->dns.tsig_key, secret);
	else if (s->dns.tsig_key[0])
		buf_printf(
		    out, "// The key \"%s\" is missing: STATE/secrets has no dns.tsig_secret.\n", s->dns.tsig_key);
}

static void put_transfer(const struct site *s, struct buf *out)
{
	const struct strings *lists[] = { &s->dns.transfer, &s->dns.secondaries };
	bool key = s->dns.tsig_key[0] != '\0', anyone = lists[0]->count + lists[1]->count == 0;
	buf_puts(out, "\tallow-transfer { ");
	if (anyone)
		buf_puts(out, "none; ");
	if (key && !anyone)
		buf_puts(out, "!{ !{ ");
	for (size_t l = 0; l < 2; l++)
		for (size_t i = 0; i < lists[l]->count; i++)
			buf_printf(out, "%s; ", lists[l]->at[i]);
	if (key && !anyone)
		buf_printf(out, "}; any; }; key \"%s\"; ", s->dns.tsig_key);
	buf_puts(out, "};\n");
}

static void put_notify(const struct site *s, struct buf *out)
{
	if (s->dns.secondaries.count == 0)
		return;
	buf_puts(out, "\talso-notify { ");
	for (size_t i = 0; i < s->dns.secondaries.count; i++) {
		buf_puts(out, s->dns.secondaries.at[i]);
		if (s->dns.tsig_key[0])
			buf_printf(out, " key \"%s\"", s->dns.tsig_key);
		buf_puts(out, "; ");
	}
	buf_puts(out, "};\n");
}

int zones_named_conf(const struct site *s, const struct zones *zones, const char *dir, const char *secret,
    struct buf *out, struct error *e)
{
	if (strpbrk(dir, "\"\\\n") != NULL)
		return error_set(e, "%s: named.conf cannot name a folder with a quote or backslash; use another", dir);
	buf_puts(out, "// Written by mailadm: include this from named.conf.\n");
	put_key(s, secret, out);
	for (size_t i = 0; i < zones->count; i++) {
		buf_printf(out, "zone \"%s\" {\n\ttype primary;\n\tfile \"%s/%s.zone\";\n", zones->at[i].name, dir,
		    zones->at[i].name);
		put_transfer(s, out);
		put_notify(s, out);
		if (s->dns.sign)
			buf_printf(out,
			    "\tdnssec-policy default;\n\tinline-signing yes;\n\tkey-directory \"%s/keys\";\n", dir);
		buf_puts(out, "};\n");
	}
	return out->full ? error_set(e, "the named.conf fragment is larger than %zu bytes", out->max) : 0;
}

int zones_secondary_conf(const struct site *s, const struct zones *zones, const char *secret, struct buf *out)
{
	const char *addresses[] = { public4(s), public6(s) };
	buf_printf(
	    out, "// Written by mailadm for a secondary of %s: include this from its named.conf.\n", s->host.name);
	put_key(s, secret, out);
	for (size_t i = 0; i < zones->count; i++) {
		buf_printf(out, "zone \"%s\" {\n\ttype secondary;\n\tfile \"mailadm-%s.zone\";\n\tprimaries { ",
		    zones->at[i].name, zones->at[i].name);
		for (size_t a = 0; a < 2; a++)
			if (addresses[a][0])
				buf_printf(out, "%s%s%s%s; ", addresses[a], s->dns.tsig_key[0] ? " key \"" : "",
				    s->dns.tsig_key, s->dns.tsig_key[0] ? "\"" : "");
		buf_puts(out, "};\n\tallow-transfer { none; };\n};\n");
	}
	return out->full ? -1 : 0;
}

void named_options(const struct site *s, struct buf *out)
{
	if (!s->dns.local_resolver)
		return;
	buf_puts(out, "// Written by mailadm: include this inside options { } of named.conf.\n"
		      "recursion yes;\nallow-recursion { 127.0.0.0/8; ::1; };\n"
		      "allow-query-cache { 127.0.0.0/8; ::1; };\n");
	buf_puts(out, s->dns.dnssec ? "dnssec-validation auto;\n" : "dnssec-validation no;\n");
	if (s->dns.forward.count == 0)
		return;
	buf_puts(out, "forward only;\nforwarders { ");
	for (size_t i = 0; i < s->dns.forward.count; i++) {
		const char *at = strchr(s->dns.forward.at[i], '@');
		int len = (int)(at ? (size_t)(at - s->dns.forward.at[i]) : strlen(s->dns.forward.at[i]));
		buf_printf(out, "%.*s%s%s; ", len, s->dns.forward.at[i], at ? " port " : "", at ? at + 1 : "");
	}
	buf_puts(out, "};\n");
}
