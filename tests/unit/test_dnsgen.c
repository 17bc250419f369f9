/* The zones: site -> records -> text.  Records are looked for as "owner type rdata"; real named reads them in
 * generators.t. */
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "dnsgen/named_conf.h"
#include "lib/proc.h"

#define HOST "host = { name = \"mail.example.org\"; ipv4 = \"192.0.2.10\"; ipv6 = \"2001:db8::10\"; };\n"
#define HOST4 "host = { name = \"mail.example.org\"; ipv4 = \"192.0.2.10\"; };\n"
#define DOMAIN "domains = ( { name = \"example.org\"; } );\n"
#define ALICE "accounts = ( { address = \"alice@example.org\"; } );\n"
#define V6_REVERSE "0.1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa"

static struct site *site;
static struct zones zones;
static struct findings found;

static void clear(void)
{
	zones_free(&zones);
	site_unref(site);
	findings_free(&found);
	site = NULL;
	found = (struct findings){ 0 };
}

static int build_at(const char *text, const char *path)
{
	clear();
	site = site_load_memory(view_of(text), path, &found);
	for (size_t i = 0; !site && i < found.count; i++)
		printf("# %s\n", found.at[i].text);
	assert_non_null(site);
	findings_free(&found);
	found = (struct findings){ 0 };
	return dnsgen_zones(site, 1000, &zones, &found);
}

static void build(const char *text)
{
	if (build_at(text, "/srv/test/site.conf") != 0)
		fail_msg("%s", found.count ? found.at[0].text : "no finding");
}

static struct zone *zone(const char *name)
{
	for (size_t i = 0; i < zones.count; i++)
		if (strcmp(zones.at[i].name, name) == 0)
			return &zones.at[i];
	fail_msg("no zone %s", name);
	return NULL;
}

/* The zone's records as lines "owner. ttl IN type rdata" with single blanks. */
static char *lines(const char *name)
{
	struct buf out = BUF_INIT(1 << 20);
	assert_int_equal(zone_text(zone(name), &out), 0);
	char *text = xstrdup(buf_str(&out));
	for (char *p = text; *p; p++)
		*p = *p == '\t' ? ' ' : *p;
	buf_free(&out);
	return text;
}

static size_t count(const char *name, const char *part)
{
	char *text = lines(name);
	size_t n = 0;
	for (const char *p = text; (p = strstr(p, part)) != NULL; p++)
		n++;
	free(text);
	return n;
}

static void has(const char *name, const char *record)
{
	char *text = lines(name), *line = xasprintf("\n%s\n", record);
	if (strstr(text, line) == NULL)
		fail_msg("zone %s has no '%s':\n%s", name, record, text);
	free(text);
	free(line);
}

static void both_families(void **state)
{
	(void)state;
	build(HOST DOMAIN ALICE);
	assert_int_equal(zones.count, 3);
	has("example.org",
	    "example.org. 3600 IN SOA ns1.example.org. postmaster.example.org. 1000 14400 3600 1209600 3600");
	has("example.org", "example.org. 3600 IN NS ns1.example.org.");
	has("example.org", "ns1.example.org. 3600 IN A 192.0.2.10");
	has("example.org", "ns1.example.org. 3600 IN AAAA 2001:db8::10");
	has("example.org", "example.org. 3600 IN MX 10 mail.example.org.");
	has("example.org", "mail.example.org. 3600 IN A 192.0.2.10");
	has("example.org", "mail.example.org. 3600 IN AAAA 2001:db8::10");
	has("example.org", "mail.example.org. 3600 IN TXT \"v=spf1 a -all\"");
	has("example.org", "example.org. 3600 IN TXT \"v=spf1 ip4:192.0.2.10 ip6:2001:db8::10 -all\"");
	has("example.org",
	    "_dmarc.example.org. 3600 IN TXT \"v=DMARC1; p=quarantine; rua=mailto:postmaster@example.org\"");
	has("example.org", "_imaps._tcp.example.org. 3600 IN SRV 0 1 993 mail.example.org.");
	has("example.org", "_submission._tcp.example.org. 3600 IN SRV 10 1 587 mail.example.org.");
	char *text = lines("example.org");
	assert_non_null(strstr(text, "this\nexample.org. 3600 IN SOA ")); /* the SOA comes first */
	free(text);
}

static void reverse(void **state)
{
	(void)state;
	build(HOST DOMAIN ALICE);
	has("10.2.0.192.in-addr.arpa", "10.2.0.192.in-addr.arpa. 3600 IN PTR mail.example.org.");
	has("10.2.0.192.in-addr.arpa", "10.2.0.192.in-addr.arpa. 3600 IN NS mail.example.org.");
	has(V6_REVERSE, V6_REVERSE ". 3600 IN PTR mail.example.org.");
	build(HOST4 DOMAIN ALICE "dns = { nameservers = ( \"ns1.elsewhere.example\", \"ns2.elsewhere.example\" ); };");
	has("10.2.0.192.in-addr.arpa", "10.2.0.192.in-addr.arpa. 3600 IN NS ns2.elsewhere.example.");
}

static void one_family(void **state)
{
	(void)state;
	build(HOST4 DOMAIN ALICE);
	assert_int_equal(zones.count, 2);
	assert_int_equal(count("example.org", " AAAA "), 0);
	has("example.org", "example.org. 3600 IN TXT \"v=spf1 ip4:192.0.2.10 -all\"");
	build("host = { name = \"mail.example.org\"; ipv6 = \"2001:db8::10\"; };" DOMAIN ALICE);
	assert_int_equal(count("example.org", " IN A "), 0);
	has("example.org", "example.org. 3600 IN TXT \"v=spf1 ip6:2001:db8::10 -all\"");
}

static void behind_nat(void **state)
{
	(void)state;
	build("host = { name = \"mail.example.org\"; ipv4 = \"10.0.0.10\"; public_ipv4 = \"192.0.2.10\"; };" DOMAIN
		ALICE);
	has("example.org", "mail.example.org. 3600 IN A 192.0.2.10");
	has("10.2.0.192.in-addr.arpa", "10.2.0.192.in-addr.arpa. 3600 IN PTR mail.example.org.");
	assert_int_equal(count("example.org", "10.0.0.10"), 0);
}

static void host_elsewhere(void **state)
{
	(void)state;
	build("host = { name = \"mx.provider.example\"; ipv4 = \"192.0.2.10\"; };" DOMAIN ALICE);
	has("example.org", "example.org. 3600 IN MX 10 mx.provider.example.");
	assert_int_equal(count("example.org", "mx.provider.example. 3600"), 0);
	build("host = { name = \"notexample.org\"; ipv4 = \"192.0.2.10\"; };" DOMAIN ALICE); /* a suffix, not a child */
	assert_int_equal(count("example.org", "\nnotexample.org."), 0);
	build("host = { name = \"example.org\"; ipv4 = \"192.0.2.10\"; };" DOMAIN ALICE);
	has("example.org", "example.org. 3600 IN A 192.0.2.10");
	assert_int_equal(count("example.org", "v=spf1"), 1);
}

static void several_domains(void **state)
{
	(void)state;
	build(HOST4 "domains = ( { name = \"example.org\"; }, { name = \"example.net\"; dmarc = \"reject\"; }, "
		    "{ name = \"example.com\"; dns = false; } );" ALICE);
	assert_int_equal(zones.count, 3);
	has("example.net", "example.net. 3600 IN MX 10 mail.example.org.");
	has("example.net", "ns1.example.net. 3600 IN A 192.0.2.10");
	has("example.net", "_dmarc.example.net. 3600 IN TXT \"v=DMARC1; p=reject; rua=mailto:postmaster@example.net\"");
	assert_int_equal(count("example.net", "\nmail.example.org."), 0);
}

static void domain_below_domain(void **state)
{
	(void)state;
	build("host = { name = \"mail.in.example.org\"; ipv4 = \"192.0.2.10\"; };"
	      "domains = ( { name = \"example.org\"; }, { name = \"in.example.org\"; }, { name = "
	      "\"deep.in.example.org\"; } );" ALICE);
	has("example.org", "in.example.org. 3600 IN NS ns1.in.example.org.");
	has("example.org", "ns1.in.example.org. 3600 IN A 192.0.2.10"); /* glue */
	has("in.example.org", "mail.in.example.org. 3600 IN A 192.0.2.10");
	has("in.example.org", "deep.in.example.org. 3600 IN NS ns1.deep.in.example.org.");
	assert_int_equal(count("example.org", "\nmail.in.example.org."), 0);
	assert_int_equal(count("example.org", "\ndeep.in.example.org."), 0); /* that is for the zone between */
}

static void smarthost(void **state)
{
	(void)state;
	build(HOST4 DOMAIN ALICE "relay = { smarthost = \"smtp.elsewhere.example\"; };");
	has("example.org", "example.org. 3600 IN TXT \"v=spf1 ip4:192.0.2.10 a:smtp.elsewhere.example ~all\"");
	build(HOST4 DOMAIN ALICE "relay = { smarthost = \"198.51.100.25\"; };");
	has("example.org", "example.org. 3600 IN TXT \"v=spf1 ip4:192.0.2.10 ip4:198.51.100.25 ~all\"");
	build(HOST4 DOMAIN ALICE "relay = { smarthost = \"2001:db8:25::1\"; };");
	has("example.org", "example.org. 3600 IN TXT \"v=spf1 ip4:192.0.2.10 ip6:2001:db8:25::1 ~all\"");
	build(HOST4 DOMAIN ALICE "relay = { smarthost = \"SMTP.bücher.example.\"; };");
	has("example.org", "example.org. 3600 IN TXT \"v=spf1 ip4:192.0.2.10 a:smtp.xn--bcher-kva.example ~all\"");
}

static void no_mail_from_outside(void **state)
{
	(void)state;
	build(HOST4 DOMAIN ALICE "listen = { smtp = false; pop3 = false; };");
	has("example.org", "example.org. 3600 IN MX 0 .");
	has("example.org", "_pop3._tcp.example.org. 3600 IN SRV 0 0 0 .");
	build(HOST4 "domains = ( { name = \"example.org\"; records = ( \"@ MX 10 in.elsewhere.example.\" ); } );" ALICE
		    "listen = { smtp = false; };");
	has("example.org", "example.org. 3600 IN MX 10 in.elsewhere.example.");
	assert_int_equal(count("example.org", " MX "), 1); /* RFC 7505 3: a null MX is alone */
}

static void own_records(void **state)
{
	(void)state;
	build(
	    HOST4 "domains = ( { name = \"example.org\"; records = ( \"www A 192.0.2.80\", \"www 60 IN A 192.0.2.81\", "
		  "\"ftp CNAME www\", \"x234567890123456789012345678901234 CNAME www\", \"mail A 192.0.2.10\" ); } );" ALICE
		  "dns = { caa = \"letsencrypt.org\"; ttl = \"2h\"; };");
	has("example.org", "www.example.org. 7200 IN A 192.0.2.80");
	has("example.org", "www.example.org. 60 IN A 192.0.2.81");
	has("example.org", "ftp.example.org. 7200 IN CNAME www.example.org.");
	has("example.org", "x234567890123456789012345678901234.example.org. 7200 IN CNAME www.example.org.");
	has("example.org", "example.org. 7200 IN CAA 0 issue \"letsencrypt.org\"");
	assert_int_equal(count("example.org", "\nmail.example.org. 7200 IN A "), 1); /* said twice, published once */
}

/* Two SPF records are an error to every receiver, and two DMARC records none at all. */
static void own_policies(void **state)
{
	(void)state;
	build(HOST4
	    "domains = ( { name = \"example.org\"; records = ( \"@ TXT \\\"v=spf1 mx include:news.example ~all\\\"\", "
	    "\"_dmarc TXT \\\"v=DMARC1; p=none\\\"\", \"mail TXT \\\"V=SPF1 mx -all\\\"\", \"@ TXT \\\"other\\\"\" ); "
	    "} );" ALICE);
	has("example.org", "example.org. 3600 IN TXT \"v=spf1 mx include:news.example ~all\"");
	has("example.org", "_dmarc.example.org. 3600 IN TXT \"v=DMARC1; p=none\"");
	assert_int_equal(count("example.org", "v=spf1"), 1);
	assert_int_equal(count("example.org", "V=SPF1"), 1);
	assert_int_equal(count("example.org", "v=DMARC1"), 1);
}

/* An address is a URI in there: what ends a tag, a list or a string is not written as it is. */
static void reports_uri(void **state)
{
	(void)state;
	build("host = { name = \"mail.bücher.example\"; ipv4 = \"192.0.2.10\"; }; domains = ( { name = \"bücher.example\"; "
	      "reports = \"\\\"a; b!,%\\\"@bücher.example\"; }, { name = \"example.net\"; reports = "
	      "\"jörg+x@bücher.example\"; } ); accounts = ( { address = \"\\\"a; b!,%\\\"@bücher.example\"; }, "
	      "{ address = \"jörg@bücher.example\"; } );");
	has("xn--bcher-kva.example",
	    "_dmarc.xn--bcher-kva.example. 3600 IN TXT \"v=DMARC1; p=quarantine; "
	    "rua=mailto:%22a%3B%20b%21%2C%25%22@xn--bcher-kva.example\"");
	has("example.net",
	    "_smtp._tls.example.net. 3600 IN TXT \"v=TLSRPTv1; rua=mailto:j%C3%B6rg+x@xn--bcher-kva.example\"");
}

static void refused(const char *records, const char *why)
{
	char *text =
	    xasprintf("%sdomains = ( { name = \"example.org\"; records = ( \"%s\" ); } );\n%s", HOST4, records, ALICE);
	assert_int_equal(build_at(text, "/srv/test/site.conf"), -1);
	assert_int_equal(found.count, 1);
	if (strstr(found.at[0].text, why) == NULL)
		fail_msg("'%s' is not in '%s'", why, found.at[0].text);
	assert_int_equal(found.at[0].line, 2);
	free(text);
}

static void wrong_records(void **state)
{
	(void)state;
	refused("mail CNAME www", "mail.example.org. has a CNAME beside other records");
	refused("www CNAME a\", \"www CNAME b", "www.example.org. has a CNAME beside other records");
	refused("www.example.net. A 192.0.2.1", "outside the zone");
	refused("www A 192.0.2.300", "is no record");
	refused("$TTL 60", "is no record");
	refused("$INCLUDE TXT x", "begins with '$'");
	refused("a\\\\\\\"b TXT x", "a name with a quote");
	refused("a MX 10 b\\\\\\\"c", "a name with a quote");
	refused("@ SOA a. b. 1 2 3 4 5", "has a SOA of its own");
}

static void name_servers(void **state)
{
	(void)state;
	build(
	    HOST4 "domains = ( { name = \"example.org\"; records = ( \"ns2 A 198.51.100.2\" ); }, { name = "
	          "\"example.net\"; } );" ALICE
		  "dns = { nameservers = ( \"ns1.example.org\", \"ns2.example.org\", \"ns3.elsewhere.example\" ); };");
	has("example.org",
	    "example.org. 3600 IN SOA ns1.example.org. postmaster.example.org. 1000 14400 3600 1209600 3600");
	has("example.org", "ns1.example.org. 3600 IN A 192.0.2.10"); /* this host, for nothing else is said */
	has("example.org", "ns2.example.org. 3600 IN A 198.51.100.2");
	assert_int_equal(count("example.org", "\nns2.example.org."), 1);
	has("example.net", "example.net. 3600 IN NS ns1.example.org.");
	assert_int_equal(count("example.net", "\nns1"), 0);
}

static void international(void **state)
{
	(void)state;
	build("host = { name = \"mail.bücher.example\"; ipv4 = \"192.0.2.10\"; }; domains = ( { name = "
	      "\"Bücher.example\"; } );"
	      "accounts = ( { address = \"jörg@bücher.example\"; } );");
	has("xn--bcher-kva.example", "xn--bcher-kva.example. 3600 IN MX 10 mail.xn--bcher-kva.example.");
	has("xn--bcher-kva.example", "mail.xn--bcher-kva.example. 3600 IN A 192.0.2.10");
}

static void make_key(char *path, const char *type)
{
	EVP_PKEY *key = strcmp(type, "RSA") == 0 ? EVP_RSA_gen(2048) : EVP_EC_gen("P-256");
	FILE *f = fopen(path, "w");
	assert_non_null(f);
	assert_int_equal(PEM_write_PUBKEY(f, key), 1);
	fclose(f);
	EVP_PKEY_free(key);
}

static void dkim(void **state)
{
	char dir[] = "/tmp/mailadm-unit-XXXXXX";
	(void)state;
	assert_non_null(mkdtemp(dir));
	char *conf = xasprintf("%s/site.conf", dir), *keys = xasprintf("%s/dkim", dir),
	     *path = xasprintf("%s/example.org.mail.pub", keys);
	assert_int_equal(mkdir(keys, 0755), 0);
	assert_int_equal(build_at(HOST4 DOMAIN ALICE, conf), 0);
	assert_int_equal(count("example.org", "_domainkey"), 0); /* check warns; the rest is published */
	make_key(path, "RSA");
	assert_int_equal(build_at(HOST4 DOMAIN ALICE, conf), 0);
	char *text = lines("example.org"),
	     *p = strstr(text, "\nmail._domainkey.example.org. 3600 IN TXT \"v=DKIM1; k=rsa; p=MIIB");
	assert_non_null(p);
	p = strchr(p, '"');
	size_t strings = 0;
	while (*p == '"') { /* each string at most 255 bytes */
		size_t len = strcspn(p + 1, "\"");
		assert_in_range(len, 1, 255);
		p += len + 2;
		p += *p == ' ';
		strings++;
	}
	assert_int_equal(strings, 2);
	assert_int_equal(*p, '\n');
	free(text);
	make_key(path, "EC");
	assert_int_equal(build_at(HOST4 DOMAIN ALICE, conf), -1);
	assert_non_null(strstr(found.at[0].text, "neither an RSA nor an Ed25519 key"));
	unlink(path);
	rmdir(keys);
	rmdir(dir);
	free(path);
	free(keys);
	free(conf);
}

static void keep(const char *old, uint32_t serial, bool unchanged)
{
	struct buf out = BUF_INIT(1 << 20);
	build(HOST4 DOMAIN ALICE);
	assert_int_equal(zone_text_keep_serial(zone("example.org"), view_of(old), &out), 0);
	char *want = xasprintf("postmaster.example.org. %u 14400", serial);
	if (strstr(buf_str(&out), want) == NULL)
		fail_msg("'%s' is not in:\n%s", want, buf_str(&out));
	assert_true(!unchanged || strcmp(buf_str(&out), old) == 0);
	buf_free(&out);
	free(want);
}

static void with_serial(
    const char *text, const char *serial, const char *from, const char *to, bool unchanged, uint32_t want)
{
	const char *at = strstr(text, " 1000 ");
	char *old = xasprintf("%.*s %s %s", (int)(at - text), text, serial, at + 6), *hit = strstr(old, from);
	memcpy(hit, to, strlen(to)); /* of one length */
	keep(old, want, unchanged);
	free(old);
}

static void serials(void **state)
{
	struct buf text = BUF_INIT(1 << 20);
	(void)state;
	build(HOST4 DOMAIN ALICE);
	assert_int_equal(zone_text(zone("example.org"), &text), 0);
	keep("", 1000, false);
	keep("no zone at all", 1000, false);
	keep("\tSOA\t", 1000, false);
	keep(buf_str(&text), 1000, true);
	with_serial(buf_str(&text), "900", "MX", "MX", true, 900); /* nothing else differs */
	with_serial(buf_str(&text), "900", "192.0.2.10", "192.0.2.11", false, 1000);
	with_serial(
	    buf_str(&text), "2026112401", "192.0.2.10", "192.0.2.11", false, 2026112402); /* a date from before */
	with_serial(buf_str(&text), "4294967295", "192.0.2.10", "192.0.2.11", false, 1000); /* RFC 1982: above it */
	buf_free(&text);
}

static void named_conf(void **state)
{
	struct buf out = BUF_INIT(1 << 16);
	struct error e;
	(void)state;
	build(HOST4 DOMAIN ALICE);
	assert_int_equal(zones_named_conf(site, &zones, "/etc/bind/mailadm", "", &out, &e), 0);
	assert_non_null(strstr(buf_str(&out),
	    "zone \"example.org\" {\n\ttype primary;\n\tfile \"/etc/bind/mailadm/example.org.zone\";\n"
	    "\tallow-transfer { none; };\n};\n"));
	buf_reset(&out);
	build(HOST4 DOMAIN ALICE "dns = { transfer = ( \"198.51.100.53\", \"2001:db8:1::/48\" ); };");
	assert_int_equal(zones_named_conf(site, &zones, "/z", "", &out, &e), 0);
	assert_non_null(strstr(buf_str(&out), "allow-transfer { 198.51.100.53; 2001:db8:1::/48; };"));
	assert_int_equal(zones_named_conf(site, &zones, "/z\"; }; include \"/x", "", &out, &e), -1);
	assert_non_null(strstr(e.text, "cannot name a folder"));
	buf_free(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(both_families),
		cmocka_unit_test(reverse),
		cmocka_unit_test(one_family),
		cmocka_unit_test(behind_nat),
		cmocka_unit_test(host_elsewhere),
		cmocka_unit_test(several_domains),
		cmocka_unit_test(domain_below_domain),
		cmocka_unit_test(smarthost),
		cmocka_unit_test(no_mail_from_outside),
		cmocka_unit_test(own_records),
		cmocka_unit_test(own_policies),
		cmocka_unit_test(reports_uri),
		cmocka_unit_test(wrong_records),
		cmocka_unit_test(name_servers),
		cmocka_unit_test(international),
		cmocka_unit_test(dkim),
		cmocka_unit_test(serials),
		cmocka_unit_test(named_conf),
	};
	cmocka_set_message_output(CM_OUTPUT_TAP);
	int failed = cmocka_run_group_tests(tests, NULL, NULL);
	clear();
	return failed;
}
