/* MTA-STS texts and copies, TLSA records, counts of TLS, and the URLs that are fetched. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/clock.h"
#include "lib/log.h"
#include "mailsvc/fetch/proto.h"
#include "mailsvc/send/dane.h"
#include "mailsvc/send/sts.h"

static int record(char id[STS_ID_MAX + 1], size_t count, const char *const *texts)
{
	struct dns_record r[4];
	struct dns_answer a = { .status = count > 0 ? DNS_OK : DNS_NODATA, .records = r, .count = count };

	for (size_t i = 0; i < count; i++)
		r[i] = (struct dns_record){ 0, view_of(texts[i]) };
	return sts_record(&a, id);
}

static void test_record(void **state)
{
	static const char *const good[] = { "v=STSv1; id=20160831085700Z;", "v=STSv1;id=20160831085700Z",
		"v=STSv1 ; x=y; id = 20160831085700Z ", "v=STSv1; id=20160831085700Z; more=1;" };
	static const char *const bad[] = { "", "v=STSv1", "v=STSv1;", "v=STSv1; id=;", "v=STSv1; id=a b;",
		"v=STSv1; id=a-b", "v=STSv2; id=1", "id=1; v=STSv1", " id=1", "v=STSv1; id=1; id=2", "v=STSv1; ID=1",
		"v=STSv1; id=123456789012345678901234567890123" };
	static const char *const two[] = { "v=spf1 -all", "v=STSv1; id=1", "v=STSv1; id=2" };
	char id[STS_ID_MAX + 1];

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		if (record(id, 1, &good[i]) != 0 || strcmp(id, "20160831085700Z") != 0)
			fail_msg("\"%s\" gives \"%s\"", good[i], id);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		if (record(id, 1, &bad[i]) != -1)
			fail_msg("\"%s\" gives \"%s\"", bad[i], id);
		assert_string_equal(id, "");
	}
	assert_int_equal(record(id, 2, two), 0); /* other records do not matter */
	assert_string_equal(id, "1");
	assert_int_equal(record(id, 3, two), -1);
	assert_int_equal(record(id, 0, NULL), -1);
}

static int parse(struct sts_policy *p, const char *text)
{
	char reason[120];
	int r = sts_policy_parse(view_of(text), p, reason);

	assert_int_equal(r == 0, reason[0] == '\0');
	return r;
}

static void test_policy(void **state)
{
	static const char *const bad[] = { "", "version: STSv1\n", "version: STSv1\nmode: enforce\nmx: a.example\n",
		"version: STSv1\nmode: enforce\nmax_age: 1\n", "version: STSv2\nmode: none\nmax_age: 1\n",
		"mode: none\nversion: STSv1\nmax_age: 1\n",
		"version: STSv1\nmode: Enforce\nmax_age: 1\nmx: a.example\n",
		"version: STSv1\nmode: none\nmax_age: -1\n", "version: STSv1\nmode: none\nmax_age: 1d\n",
		"version: STSv1\nmode: enforce\nmax_age: 1\nmx: a..example\n",
		"version: STSv1\nmode: enforce\nmax_age: 1\nmx: *\n",
		"version: STSv1\nmode: enforce\nmax_age: 1\nmx: a.*.example\n",
		"version: STSv1\nmode: enforce\nmax_age: 1\nmx:\n",
		"version: STSv1\nmode: enforce\nmax_age: 1\nmx: a b\n",
		"version: STSv1\nmode: none\nmax_age: 1\nno field\n", "<html>\n" };
	struct sts_policy p;

	(void)state;
	assert_int_equal(
	    parse(&p, "version: STSv1\nmode: enforce\nmx: Mail.Example.COM\nmx: *.Example.net.\nmx: b.example\n"
		      "max_age: 604800\nnew-field: x\n"),
	    0);
	assert_int_equal(p.mode, STS_MODE_ENFORCE);
	assert_int_equal(p.max_age, 604800);
	assert_true(sts_policy_names(&p, "mail.example.com"));
	assert_true(sts_policy_names(&p, "MAIL.example.com"));
	assert_true(sts_policy_names(&p, "x.example.NET"));
	assert_true(sts_policy_names(&p, "b.example"));
	assert_false(sts_policy_names(&p, "example.net")); /* one label, not none */
	assert_false(sts_policy_names(&p, "a.b.example.net"));
	assert_false(sts_policy_names(&p, ".example.net"));
	assert_false(sts_policy_names(&p, "xmail.example.com"));
	assert_false(sts_policy_names(&p, ""));
	assert_int_equal(
	    parse(&p, "version:STSv1\r\nmode:testing\r\nmode:none\r\nmx:a.example\r\nmax_age:9999999999\r\n\r\n"), 0);
	assert_int_equal(p.mode, STS_MODE_TESTING); /* the first counts */
	assert_int_equal(p.max_age, STS_AGE_MAX);
	assert_int_equal(parse(&p, "version: STSv1\nmode: none\nmax_age: 0"), 0);
	assert_false(sts_policy_names(&p, "a.example"));
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		if (parse(&p, bad[i]) != -1)
			fail_msg("taken: \"%s\"", bad[i]);
	}
	assert_int_equal(
	    sts_policy_parse(VIEW_LIT("version: STSv1\nmode: none\nmax_age: 1\nx: \0\n"), &p, (char[120]){ "" }), -1);
}

static void test_policy_limits(void **state)
{
	struct buf text = BUF_INIT(1 << 20);
	struct sts_policy p;
	char reason[120];

	(void)state;
	buf_puts(&text, "version: STSv1\nmode: enforce\nmax_age: 1\n");
	for (int i = 0; i < 100; i++)
		buf_printf(&text, "mx: mx%d.some.example\n", i);
	assert_int_equal(sts_policy_parse(buf_view(&text), &p, reason), 0);
	assert_true(sts_policy_names(&p, "mx99.some.example"));
	for (int i = 100; i < 300; i++)
		buf_printf(&text, "mx: mx%d.some.example\n", i);
	assert_int_equal(sts_policy_parse(buf_view(&text), &p, reason), -1); /* never the first half of it */
	buf_reset(&text);
	buf_puts(&text, "version: STSv1\nmode: none\nmax_age: 1\n");
	while (text.len < STS_POLICY_MAX)
		buf_puts(&text, "\n");
	assert_int_equal(sts_policy_parse(buf_view(&text), &p, reason), -1);
	buf_free(&text);
}

static struct sts_policy policy_of(const char *mx, uint32_t max_age)
{
	struct sts_policy p = { .mode = STS_MODE_ENFORCE, .max_age = max_age, .id = "7" };

	p.mx_len = strlen(mx) + 1;
	memcpy(p.mx, mx, p.mx_len);
	return p;
}

static void test_cache(void **state)
{
	int fd = memfd_create("sts", 0);
	struct sts_policy p = policy_of("a.example", 1000), got;
	int64_t fetched;

	(void)state;
	assert_int_equal(ftruncate(fd, STS_CACHE_BYTES), 0);
	struct sts_cache *c = sts_cache_open(fd);
	assert_false(sts_cache_get(c, "one.example", 5000, &got, &fetched));
	sts_cache_put(c, "One.example", &p, 5000);
	sts_cache_close(c);
	c = sts_cache_open(fd); /* another process */
	assert_true(sts_cache_get(c, "one.EXAMPLE", 5999, &got, &fetched));
	assert_int_equal(fetched, 5000);
	assert_int_equal(got.mode, STS_MODE_ENFORCE);
	assert_string_equal(got.id, "7");
	assert_true(sts_policy_names(&got, "a.example"));
	assert_false(sts_cache_get(c, "one.example", 6000, &got, &fetched)); /* it has expired */
	p = policy_of("b.example", 1000);
	sts_cache_put(c, "one.example", &p, 5500);
	assert_true(sts_cache_get(c, "one.example", 6000, &got, &fetched));
	assert_true(sts_policy_names(&got, "b.example"));
	assert_false(sts_policy_names(&got, "a.example"));
	sts_cache_close(c);
	close(fd);
}

static bool asked, kept; /* the verdict came; it had a policy */

static void on_verdict(void *arg, const struct sts_verdict *v)
{
	asked = *(bool *)arg;
	kept = v->policy != NULL && v->policy->mode == STS_MODE_ENFORCE;
}

static void on_others(void *arg, const struct sts_verdict *v)
{
	(void)arg, (void)v;
}

/* Whoever has us look for many policies at once does not make us forget one that we have. */
static void test_crowded(void **state)
{
	struct event_base *base = event_base_new();
	struct dns_client *dns = dns_client_new(base);
	struct fetch_client *fetcher = fetch_client_new(base);
	struct sts_cache *c = sts_cache_open(-1);
	struct sts *s = sts_new(base, dns, fetcher, c, 443);
	struct sts_policy p = policy_of("a.example", 1000);
	struct sts_wait *others[500];
	char name[32];
	int pair[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	dns_client_attach(dns, pair[0]); /* a resolver that does not answer */
	sts_cache_put(c, "kept.example", &p, clock_wall());
	for (size_t i = 0; i < 500; i++) {
		snprintf(name, sizeof(name), "n%zu.example", i);
		others[i] = sts_lookup(s, name, on_others, NULL);
	}
	bool yes = true;
	assert_non_null(sts_lookup(s, "kept.example", on_verdict, &yes));
	event_base_loop(base, EVLOOP_NONBLOCK);
	assert_true(asked);
	assert_true(kept);
	for (size_t i = 0; i < 500; i++)
		sts_cancel(others[i]);
	close(pair[1]);
	event_base_loop(base, EVLOOP_NONBLOCK); /* all searches end */
	sts_cache_close(c);
}

/* More domains than fit: those that were fetched last stay, and every bit of a slot counts. */
static void test_cache_full_and_spoilt(void **state)
{
	int fd = memfd_create("sts", 0);
	struct sts_policy p, got;
	int64_t fetched;
	char domain[64];
	unsigned there = 0, late = 0;

	(void)state;
	assert_int_equal(ftruncate(fd, STS_CACHE_BYTES), 0);
	struct sts_cache *c = sts_cache_open(fd);
	for (int i = 0; i < 6000; i++) {
		p = policy_of("a.example", i < 500 ? 1000 : 1000000); /* a long life is no reason to stay */
		snprintf(domain, sizeof(domain), "d%d.example", i);
		sts_cache_put(c, domain, &p, i < 500 ? 5001 : 5000);
	}
	for (int i = 0; i < 6000; i++) {
		snprintf(domain, sizeof(domain), "d%d.example", i);
		bool is = sts_cache_get(c, domain, 5001, &got, &fetched);
		there += is;
		late += i < 500 && is;
	}
	assert_in_range(there, 1500, 2048);
	assert_true(late >= 450); /* a few may have met in one place */
	char *map = mmap(NULL, STS_CACHE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	for (size_t at = 4096; at < STS_CACHE_BYTES; at += 4096)
		map[at + 8 + at / 4096 % 40] ^= 0x20;
	for (int i = 0; i < 6000; i++) {
		snprintf(domain, sizeof(domain), "d%d.example", i);
		assert_false(sts_cache_get(c, domain, 5001, &got, &fetched));
	}
	munmap(map, STS_CACHE_BYTES);
	sts_cache_close(c);
	close(fd);
}

/* The domains among many that come to stand where one does, as who knows this file's key could choose them. */
static size_t neighbours(const char *domain, char found[][32], size_t max)
{
	int fd = memfd_create("sts", 0);
	struct sts_policy p = policy_of("a.example", 1000);
	size_t n = 0, at = 4096;

	assert_int_equal(ftruncate(fd, STS_CACHE_BYTES), 0);
	struct sts_cache *c = sts_cache_open(fd);
	const char *map = mmap(NULL, STS_CACHE_BYTES, PROT_READ, MAP_SHARED, fd, 0);
	sts_cache_put(c, domain, &p, 5000);
	while (map[at] == 0 && map[at + 3] == 0)
		at += 8 * 4096;
	for (int i = 0; n < max && i < 100000; i++) {
		char before[8 * 8];
		for (size_t s = 0; s < 8; s++)
			memcpy(before + 8 * s, map + at + s * 4096, 8); /* length and checksum */
		snprintf(found[n], 32, "d%d.example", i);
		sts_cache_put(c, found[n], &p, 5001 + i);
		for (size_t s = 0; s < 8; s++) {
			if (memcmp(before + 8 * s, map + at + s * 4096, 8) != 0) {
				n++;
				break;
			}
		}
	}
	munmap((void *)map, STS_CACHE_BYTES);
	sts_cache_close(c);
	close(fd);
	return n;
}

/* Which domains share a place is each file's own secret. */
static void test_cache_key(void **state)
{
	struct sts_policy p = policy_of("a.example", 1000), got;
	char found[16][32];
	int64_t fetched;

	(void)state;
	assert_int_equal(neighbours("victim.example", found, 16), 16);
	struct sts_cache *c = sts_cache_open(-1);
	sts_cache_put(c, "victim.example", &p, 5000);
	for (size_t i = 0; i < 16; i++)
		sts_cache_put(c, found[i], &p, 5001);
	assert_true(sts_cache_get(c, "victim.example", 5002, &got, &fetched));
	sts_cache_close(c);
}

/* What is no such file, or one of another version, begins empty, and is one then. */
static void test_cache_foreign(void **state)
{
	static const size_t spoilt[] = { 0, 7, 8, 39, 40, 43 }; /* magic, version, key, checksum */
	struct sts_policy p = policy_of("a.example", 1000), got;
	int64_t fetched;

	(void)state;
	for (size_t i = 0; i < sizeof(spoilt) / sizeof(spoilt[0]); i++) {
		int fd = memfd_create("sts", 0);
		char byte;
		assert_int_equal(ftruncate(fd, STS_CACHE_BYTES), 0);
		for (int round = 0; round < 3; round++) {
			struct sts_cache *c = sts_cache_open(fd);
			bool kept_on = round > 0 && sts_cache_get(c, "one.example", 5001, &got, &fetched);
			assert_int_equal(kept_on, round == 1);
			sts_cache_put(c, "one.example", &p, 5000);
			assert_true(sts_cache_get(c, "one.example", 5001, &got, &fetched));
			sts_cache_close(c);
			assert_int_equal(pread(fd, &byte, 1, (off_t)spoilt[i]), 1);
			byte ^= 1;
			if (round == 1)
				assert_int_equal(pwrite(fd, &byte, 1, (off_t)spoilt[i]), 1);
		}
		close(fd);
	}
}

static void test_tlsa(void **state)
{
	char rdata[8][80] = { { 0 } };
	static const struct {
		uint8_t usage, selector, matching;
		size_t len; /* of the data */
		bool usable;
	} cases[] = { { 3, 1, 1, 32, true }, { 3, 0, 2, 64, true }, { 2, 0, 1, 32, true }, { 0, 1, 1, 32, false },
		{ 1, 1, 1, 32, false }, { 3, 2, 1, 32, false }, { 3, 1, 3, 32, false }, { 3, 1, 1, 31, false } };
	struct dns_record r[9];
	struct dns_answer a = { .status = DNS_OK, .secure = true, .records = r };
	struct dane d;

	(void)state;
	dane_init(&d);
	for (size_t i = 0; i < 8; i++) {
		rdata[i][0] = (char)cases[i].usage, rdata[i][1] = (char)cases[i].selector,
		rdata[i][2] = (char)cases[i].matching;
		r[0] = (struct dns_record){ 0, { rdata[i], cases[i].len + 3 } };
		a.count = 1;
		if (dane_take(&d, &a, "mx.example") != cases[i].usable)
			fail_msg("%u %u %u with %zu bytes", cases[i].usage, cases[i].selector, cases[i].matching,
			    cases[i].len);
	}
	for (size_t i = 0; i < 8; i++)
		r[i] = (struct dns_record){ 0, { rdata[i], cases[i].len + 3 } };
	r[8] = (struct dns_record){ 0, { "\3\1", 2 } };
	a.count = 9;
	assert_true(dane_take(&d, &a, "mx.example"));
	assert_int_equal(d.count, 3);
	assert_int_equal(d.at[1].data.len, 64);
	r[0] = (struct dns_record){ 0, { "\3\1\0junk", 7 } }; /* a whole key that is none */
	a.count = 1;
	assert_false(dane_take(&d, &a, "mx.example"));
	dane_free(&d);
}

static void test_url(void **state)
{
	static const char *const bad[] = { "", "http://a.example/", "https://a.example", "https://a/",
		"https://192.0.2.1/", "https://[::1]/", "https://a.example:/x", "https://a.example:0/",
		"https://a.example:65536/", "https://u@a.example/", "https://a.example/#x", "https://a.example/a b",
		"https://a..example/", "file:///etc/passwd", "https://a.example/\r\nHost: b", "https://a.example?x",
		"https://a\\.example/", "HTTPS://a.example/" };
	char host[256];
	uint16_t port;

	(void)state;
	assert_int_equal(fetch_url_parse("https://mta-sts.a-b.example/.well-known/mta-sts.txt", host, &port), 0);
	assert_string_equal(host, "mta-sts.a-b.example");
	assert_int_equal(port, 443);
	assert_int_equal(fetch_url_parse("https://x.xn--p1ai:8443/?q", host, &port), 0);
	assert_int_equal(port, 8443);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		if (fetch_url_parse(bad[i], host, &port) != -1)
			fail_msg("taken: %s", bad[i]);
	}
}

static void test_messages(void **state)
{
	struct fetch_answer a = { .status = FETCH_OK, .code = 200, .type = "text/plain", .body = VIEW_LIT("hello") },
			    got;
	struct fetch_limits limits = { 100, 5 }, back;
	char url[FETCH_URL_MAX + 1];
	struct buf b = BUF_INIT(1 << 16);

	(void)state;
	fetch_answer_put(&b, &a);
	assert_int_equal(fetch_answer_get(buf_view(&b), &got), 0);
	assert_int_equal(got.code, 200);
	assert_true(view_eq(got.body, "hello"));
	for (size_t cut = 0; cut < b.len; cut++)
		assert_int_equal(fetch_answer_get((struct view){ b.data, cut }, &got), -1);
	buf_reset(&b);
	a.code = 404; /* with a body */
	fetch_answer_put(&b, &a);
	assert_int_equal(fetch_answer_get(buf_view(&b), &got), -1);
	buf_reset(&b);
	fetch_get_put(&b, "https://a.example/", &limits);
	assert_int_equal(fetch_get_get(buf_view(&b), url, &back), 0);
	assert_string_equal(url, "https://a.example/");
	assert_int_equal(back.seconds, 5);
	limits.bytes = FETCH_BODY_MAX + 1;
	buf_reset(&b);
	fetch_get_put(&b, "https://a.example/", &limits);
	assert_int_equal(fetch_get_get(buf_view(&b), url, &back), -1);
	buf_free(&b);
}

static void test_count(void **state)
{
	struct tls_count *c = tls_count_new();
	struct tls_session s = { .kind = TLS_KIND_NONE,
		.domain = "a.example",
		.host = "mx",
		.address = "192.0.2.1",
		.tls = "none",
		.reason = "" };
	struct buf json = BUF_INIT(2048);
	char domain[300];

	(void)state;
	for (int i = 0; i < 3; i++)
		tls_count_add(c, &s, 86400);
	s.result = TLS_RESULT_STARTTLS;
	tls_count_add(c, &s, 86401);
	tls_count_status(c, 86402, &json);
	assert_non_null(strstr(buf_str(&json), "\"no-policy-found\": {\"ok\": 3, \"failed\": 1}"));
	assert_non_null(
	    strstr(buf_str(&json), "{\"domain\": \"a.example\", \"policy\": \"no-policy-found\", \"ok\": 3, "
				   "\"failed\": 1, \"mostly\": \"starttls-not-supported\"}"));
	for (int i = 0; i < 7000; i++) { /* more than are remembered; long names are not shown */
		snprintf(domain, sizeof(domain), "%s%d.example",
		    i % 2 ? "a-label-that-makes-the-name-of-the-domain-rather-" : "d", i);
		s.domain = domain;
		for (int n = 0; n < (i == 4000 ? 3 : 1); n++)
			tls_count_add(c, &s, 86403);
	}
	buf_reset(&json);
	tls_count_status(c, 86404, &json);
	assert_false(json.full);
	assert_in_range(json.len, 100, 1200);
	assert_non_null(strstr(buf_str(&json), "\"failing\": [{\"domain\": \"d4000.example\""));
	buf_reset(&json);
	tls_count_status(c, 2 * 86400, &json); /* another day */
	assert_non_null(strstr(buf_str(&json), "\"no-policy-found\": {\"ok\": 0, \"failed\": 0}"));
	assert_non_null(strstr(buf_str(&json), "\"failing\": []"));
	buf_free(&json);
	tls_count_free(c);
}

#define DAY 86400

static void count_one(struct tls_count *c, const char *domain, enum tls_result result, int64_t now)
{
	tls_count_add(c,
	    &(struct tls_session){ .kind = TLS_KIND_STS,
		.result = result,
		.domain = domain,
		.host = "mx",
		.address = "192.0.2.1",
		.tls = "none",
		.reason = "" },
	    now);
}

/* What `status` says of the file's counts by another process. */
static const char *counted(int fd, int64_t now)
{
	static char text[2048];
	struct tls_count *c = tls_count_new();
	struct tls_count_file *f = tls_count_file_open(fd, c);
	struct buf json = BUF_INIT(2047);

	assert_non_null(f);
	tls_count_status(c, now, &json);
	snprintf(text, sizeof(text), "%s", buf_str(&json));
	buf_free(&json);
	tls_count_file_close(f);
	tls_count_free(c);
	return text;
}

static void counts(int fd, const char *part)
{
	const char *text = counted(fd, DAY);

	if (strstr(text, part) == NULL)
		fail_msg("\"%s\" is not in %s", part, text);
}

#define NOTHING "\"sts\": {\"ok\": 0, \"failed\": 0}"

static void test_count_file(void **state)
{
	static const size_t spoilt[] = { 0, 7, 8, 15, 16, 19, 20, 23, 24, 31, 40, 100, 260 };
	int fd = memfd_create("counts", 0);
	struct tls_count *c = tls_count_new();

	(void)state;
	assert_null(tls_count_file_open(-1, c));
	assert_null(tls_count_file_open(fd, c)); /* another size */
	tls_count_file_save(NULL, c);
	assert_int_equal(ftruncate(fd, TLS_COUNT_BYTES), 0);
	counts(fd, NOTHING);
	struct tls_count_file *f = tls_count_file_open(fd, c);
	for (int i = 0; i < 3; i++) {
		count_one(c, "a.example", i == 2 ? TLS_RESULT_TRUST : TLS_RESULT_OK, DAY);
		tls_count_file_save(f, c);
	}
	counts(fd, "\"sts\": {\"ok\": 2, \"failed\": 1}");
	counts(fd, "{\"domain\": \"a.example\", \"policy\": \"sts\", \"ok\": 2, \"failed\": 1, \"mostly\": "
	           "\"certificate-not-trusted\"}");
	assert_non_null(strstr(counted(fd, 2 * DAY), NOTHING)); /* another day */
	tls_count_file_close(f);
	char *map = mmap(NULL, TLS_COUNT_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	for (size_t i = 0; i < sizeof(spoilt) / sizeof(spoilt[0]); i++) {
		map[TLS_COUNT_BYTES / 2 + spoilt[i]] ^= 1; /* the third is in the second slot: what was before */
		counts(fd, "\"sts\": {\"ok\": 2, \"failed\": 0}");
		map[spoilt[i]] ^= 1;
		counts(fd, NOTHING);
		map[TLS_COUNT_BYTES / 2 + spoilt[i]] ^= 1;
		map[spoilt[i]] ^= 1;
	}
	for (size_t i = 0; i < TLS_COUNT_BYTES; i++)
		map[i] = (char)(i * 7 + 1); /* anything */
	tls_count_free(c);
	c = tls_count_new();
	f = tls_count_file_open(fd, c);
	counts(fd, NOTHING);
	count_one(c, "b.example", TLS_RESULT_OK, DAY);
	tls_count_file_save(f, c);
	counts(fd, "\"sts\": {\"ok\": 1, \"failed\": 0}");
	tls_count_file_close(f);
	tls_count_free(c);
	munmap(map, TLS_COUNT_BYTES);
	close(fd);
}

/* More than there is room for, and bytes that are none of ours. */
static void test_count_bytes(void **state)
{
	struct tls_count *c = tls_count_new(), *other = tls_count_new();
	struct buf all = BUF_INIT(TLS_COUNT_BYTES / 2), json = BUF_INIT(2047);
	char domain[300];

	(void)state;
	for (int i = 0; i < COUNT_DOMAINS_MAX; i++) {
		if (i == 4000)
			snprintf(domain, sizeof(domain), "failing.example");
		else
			snprintf(domain, sizeof(domain), "%d.%0200d.example", i, i);
		count_one(c, domain, i == 4000 ? TLS_RESULT_NAME : TLS_RESULT_OK, DAY);
	}
	tls_count_pack(c, &all);
	assert_false(all.full);
	assert_true(tls_count_unpack(other, buf_view(&all)));
	tls_count_status(other, DAY, &json);
	assert_non_null(strstr(buf_str(&json), "\"sts\": {\"ok\": 4999, \"failed\": 1}"));
	assert_non_null(strstr(buf_str(&json), "\"failing\": [{\"domain\": \"failing.example\""));
	for (size_t cut = 0; cut < 500; cut++) {
		char *copy = malloc(cut + 1); /* of its own, for the sanitizer */
		memcpy(copy, all.data, cut);
		bool whole = tls_count_unpack(other, (struct view){ copy, cut });
		free(copy);
		buf_reset(&json);
		tls_count_status(other, DAY, &json);
		assert_int_equal(strstr(buf_str(&json), "\"ok\": 4999,") != NULL, whole);
		assert_int_equal(whole, cut == 184 || cut == 184 + 64 || (cut > 248 && (cut - 248) % 263 == 0));
	}
	buf_free(&all);
	buf_free(&json);
	tls_count_free(c);
	tls_count_free(other);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_record), cmocka_unit_test(test_policy),
		cmocka_unit_test(test_policy_limits), cmocka_unit_test(test_cache), cmocka_unit_test(test_crowded),
		cmocka_unit_test(test_cache_full_and_spoilt), cmocka_unit_test(test_cache_key),
		cmocka_unit_test(test_cache_foreign), cmocka_unit_test(test_tlsa), cmocka_unit_test(test_url),
		cmocka_unit_test(test_messages), cmocka_unit_test(test_count), cmocka_unit_test(test_count_file),
		cmocka_unit_test(test_count_bytes) };

	log_set_level(LOG_LEVEL_ERROR);
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
