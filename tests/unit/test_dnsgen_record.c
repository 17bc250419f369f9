/* record.c against ldns: what it reads is what ldns reads, what it prints is what ldns prints, and its keys sort as RFC
 * 4034 6.1 does. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "dnsgen/record.h"
#include "dnsgen/zone.h"
#include "lib/text.h"

static ldns_rdf *origin;

static void print_alike(const ldns_rr *rr, const char *want, const char *line)
{
	struct buf out = BUF_INIT(1 << 20);
	assert_int_equal(record_print(rr, &out), 0);
	if (strcmp(buf_str(&out), want) != 0)
		fail_msg("\"%s\": printed %s, ldns %s", line, buf_str(&out), want);
	buf_free(&out);
}

/* Was it read without ldns? */
static bool alike(const char *line)
{
	ldns_rr *ours = record_parse(line, 3600, origin), *theirs = NULL;
	bool read = ldns_rr_new_frm_str(&theirs, line, 3600, origin, NULL) == LDNS_STATUS_OK && theirs != NULL;
	char *want = read ? ldns_rr2str(theirs) : NULL;
	bool fast = ours != NULL;
	if (ours && !want)
		fail_msg("\"%s\" is read, and ldns refuses it", line);
	if (ours)
		print_alike(ours, want, line);
	if (want)
		print_alike(theirs, want, line);
	free(want);
	ldns_rr_free(ours);
	if (read)
		ldns_rr_free(theirs);
	return fast;
}

static void plain_lines(void **state)
{
	static const char *const lines[] = { "@ A 192.0.2.1", "mail 60 IN A 192.0.2.1", "mail in 10.0.0.1.", ". NS .",
		"www\tAAAA\t2001:DB8::1", "v4 AAAA ::ffff:192.0.2.1", "v AAAA ::", "@ MX 0 .", "@ MX 010 mail",
		"_imaps._tcp SRV 0 1 993 mail.example.org.", "* CNAME Www", "A A 192.0.2.1", "IN A 192.0.2.1",
		"3600 A 192.0.2.1", "x 0 A 192.0.2.1", "x 2147483647 A 192.0.2.1", "x TXT \"a\" \"b c\"", "x TXT \"\"",
		"0/25.2.0.192.in-addr.arpa. NS a", "x PTR @", "x TXT \"; no comment\"" };
	size_t fast = 0;
	(void)state;
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
		fast += alike(lines[i]);
	assert_true(fast >= 18);
}

static void left_to_ldns(void **state)
{
	static const char *const lines[] = { "", " A 192.0.2.1", "x", "x A", "x A 192.0.2", "x A 192.0.2.1 2",
		"x CH TXT \"a\"", "x 1h A 192.0.2.1", "a\\.b A 192.0.2.1", "a\\032b A 192.0.2.1", "x TXT \"a\\\"b\"",
		"x TXT a", "x TXT \"\\200\"", "x TYPE65280 \\# 2 abcd", "x MX 65536 m", "x MX -1 m", "x MX 1 a..b",
		"x CAA 0 issue \"ca.example\"", "x TXT \"open", "x TXT \"a\"\"b\"", "x A ( 192.0.2.1 )",
		"x A 192.0.2.1 ; comment", "x TXT", "x TLSA 3 1 1 00", "x 4294967296 A 192.0.2.1" };
	(void)state;
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
		if (alike(lines[i]))
			fail_msg("\"%s\" is not plain", lines[i]);
}

static void lengths(void **state)
{
	char text[600], line[700];
	(void)state;
	for (size_t len = 60; len <= 260; len++) {
		memset(text, 'a', len);
		text[len] = '\0';
		snprintf(line, sizeof(line), "x TXT \"%s\"", text);
		assert_int_equal(alike(line), len <= 255);
		snprintf(line, sizeof(line), "%s A 192.0.2.1", text);
		assert_int_equal(alike(line), len <= 63);
		for (size_t i = 50; i < len; i += 51)
			text[i] = '.';
		snprintf(line, sizeof(line), "x CNAME %s", text);
		alike(line);
		snprintf(line, sizeof(line), "x CNAME %s.", text);
		alike(line);
	}
}

/* Pieces put together at random, always in the same way. */
static void generated(void **state)
{
	static const char *const owners[] = { "@", "a", "A.b", "*", "_x._tcp", "a.", ".", "a..b", "\\046", "-",
		"\"a\"" },
				 *const middles[] = { "", "60 ", "IN ", "60 IN ", "IN 60 ", "CH ", "0 in\t", "00 " },
				 *const types[] = { "A", "aaaa", "MX", "SRV", "TXT", "NS", "CNAME", "PTR", "CAA",
					 "TYPE9" },
				 *const data[] = { "192.0.2.1", "::1", "1 a", "0 .", "1 2 3 m.", "\"a\" \"b\"", "\"\"",
					 "m", "m.", "0 issue \"x\"", "\"\\001\"", "\x80", "1\t@", "1 2 3 @ ", "\"a",
					 "01.2.3.4" };
	uint32_t seed = 1;
	size_t fast = 0;
	(void)state;
	for (int i = 0; i < 20000; i++) {
		char line[200];
		unsigned pick[4];
		for (int k = 0; k < 4; k++)
			pick[k] = (seed = seed * 1664525u + 1013904223u) >> 16;
		snprintf(line, sizeof(line), "%s %s%s %s", owners[pick[0] % 11], middles[pick[1] % 8],
		    types[pick[2] % 10], data[pick[3] % 16]);
		fast += alike(line);
	}
	assert_true(fast > 500);
}

static void order(void **state)
{
	static const char *const names[] = { "example.", "a.example.", "yljkjljk.a.example.", "Z.a.example.",
		"zABC.a.EXAMPLE.", "z.example.", "\\001.z.example.", "*.z.example.", "\\200.z.example." };
	struct buf last = BUF_INIT(2048), key = BUF_INIT(2048);
	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		ldns_rdf *name = ldns_dname_new_frm_str(names[i]);
		key.len = 0;
		record_name_key(name, &key);
		size_t len = last.len < key.len ? last.len : key.len;
		int way = i ? memcmp(last.data, key.data, len) : -1;
		if (way > 0 || (way == 0 && last.len >= key.len))
			fail_msg("%s sorts before %s", names[i], names[i - 1]);
		last.len = 0;
		buf_add(&last, key.data, key.len);
		ldns_rdf_deep_free(name);
	}
	buf_free(&last);
	buf_free(&key);
}

static void index_finds(void **state)
{
	struct zone z;
	struct error e = { "" };
	size_t first;
	(void)state;
	assert_int_equal(zone_init(&z, "example.org"), 0);
	for (int i = 0; i < 500; i++)
		assert_int_equal(zone_add(&z, 60, &e, "h%d A 192.0.2.%d", i, i % 250), 0);
	assert_int_equal(zone_add(&z, 60, &e, "H7 A 192.0.2.7"), 0); /* again, in another case */
	assert_int_equal(zone_add(&z, 60, &e, "a.h7 TXT \"x\""), 0);
	assert_int_equal(zone_finish(&z, &e), 0);
	assert_int_equal(ldns_rr_list_rr_count(z.records), 501);
	for (int i = 0; i < 510; i++) {
		char text[40];
		snprintf(text, sizeof(text), "H%d.EXAMPLE.org.", i);
		ldns_rdf *name = ldns_dname_new_frm_str(text);
		assert_int_equal(zone_find(&z, name, &first), i < 500);
		if (i < 500)
			assert_true(name_equal(ldns_rr_owner(ldns_rr_list_rr(z.records, first)), name));
		ldns_rdf_deep_free(name);
	}
	struct zone *heap = malloc(sizeof(*heap));
	assert_non_null(heap);
	*heap = z;
	zones_free(&(struct zones){ heap, 1 });
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(plain_lines), cmocka_unit_test(left_to_ldns),
		cmocka_unit_test(lengths), cmocka_unit_test(generated), cmocka_unit_test(order),
		cmocka_unit_test(index_finds) };
	cmocka_set_message_output(CM_OUTPUT_TAP);
	origin = ldns_dname_new_frm_str("example.org.");
	int result = cmocka_run_group_tests(tests, NULL, NULL);
	ldns_rdf_deep_free(origin);
	return result;
}
