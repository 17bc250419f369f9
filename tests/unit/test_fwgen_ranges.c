/* Ranges of addresses and ports, their edges, and block lists. */
#include "fwgen_help.h"

static void ranges(void **state)
{
	static const char *const prefixes[] = { "10.0.0.0/9", "10.128.0.0/9", "10.1.0.0/16", "192.0.2.1",
		"255.255.255.255", "0.0.0.0/32" };
	struct fw_ranges r = { .type = FW_TYPE_IPV4 };
	char shown[128];

	(void)state;
	for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++)
		assert_int_equal(fw_ranges_add_prefix(&r, prefixes[i]), 0);
	assert_int_equal(fw_ranges_add_prefix(&r, "10.0.0.0/33"), -1);
	fw_ranges_merge(&r);
	assert_int_equal(r.count, 4);
	fw_range_text(r.type, &r.at[1], shown, sizeof(shown));
	assert_string_equal(shown, "10.0.0.0/8");
	assert_true(fw_ranges_hold(&r, (const unsigned char[16]){ 10, 200, 3, 4 }));
	assert_true(fw_ranges_hold(&r, (const unsigned char[16]){ 255, 255, 255, 255 }));
	assert_false(fw_ranges_hold(&r, (const unsigned char[16]){ 11, 0, 0, 0 }));
	fw_ranges_free(&r);
}

static void blocklist(void **state)
{
	struct fw_ranges v4 = { .type = FW_TYPE_IPV4 }, v6 = { .type = FW_TYPE_IPV6 };
	struct error e = { "" };
	unsigned line = 0;

	(void)state;
	assert_int_equal(
	    fw_blocklist_parse(view_of("# a list\n1.2.3.0/24 ; SBL1\n\n5.6.7.8-5.6.7.11\n2001:db8:bad::/48 # v6\n"),
		&v4, &v6, &line, &e),
	    0);
	fw_ranges_merge(&v4);
	assert_int_equal(v4.count, 2);
	assert_int_equal(v6.count, 1);
	assert_int_equal(fw_blocklist_parse(view_of("1.2.3.4\nnonsense\n"), &v4, &v6, &line, &e), -1);
	assert_int_equal(line, 2);
	assert_int_equal(fw_blocklist_parse(view_of("5.6.7.8-5.6.7.1\n"), &v4, &v6, &line, &e), -1);
	fw_ranges_free(&v4);
	fw_ranges_free(&v6);
}

static void edges(void **state)
{
	struct fw_ranges r4 = { .type = FW_TYPE_IPV4 }, r6 = { .type = FW_TYPE_IPV6 };
	static const unsigned char last[16] = { 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255,
		255, 255 };
	char shown[128];

	(void)state;
	assert_int_equal(fw_ranges_add_prefix(&r4, "255.255.255.255"), 0);
	assert_int_equal(fw_ranges_add_prefix(&r4, "0.0.0.0"), 0);
	fw_ranges_merge(&r4);
	assert_int_equal(r4.count, 2); /* the last address has none behind it */
	assert_int_equal(fw_ranges_add_prefix(&r4, "0.0.0.0/0"), 0);
	assert_int_equal(fw_ranges_add_prefix(&r6, "ffff::/16"), 0);
	assert_int_equal(fw_ranges_add_prefix(&r6, "::/0"), 0);
	assert_int_equal(fw_ranges_add_prefix(&r6, "192.0.2.1"), 0);
	fw_ranges_merge(&r4);
	fw_ranges_merge(&r6);
	assert_int_equal(r4.count, 1);
	assert_int_equal(r6.count, 1);
	assert_int_equal(fw_range_bits(FW_TYPE_IPV4, &r4.at[0]), 0);
	assert_int_equal(fw_range_bits(FW_TYPE_IPV6, &r6.at[0]), 0);
	fw_range_text(FW_TYPE_IPV4, &r4.at[0], shown, sizeof(shown));
	assert_string_equal(shown, "0.0.0.0/0");
	fw_range_text(FW_TYPE_IPV6, &r6.at[0], shown, sizeof(shown));
	assert_string_equal(shown, "::/0");
	assert_true(fw_ranges_hold(&r4, last) && fw_ranges_hold(&r6, last));
	fw_ranges_free(&r4);
	fw_ranges_free(&r6);
}

/* Adjacent addresses become one, adjacent ports stay two: so nft prints them. */
static void adjacent(void **state)
{
	struct fw_ranges a = { .type = FW_TYPE_IPV4 }, p = { .type = FW_TYPE_PORT };
	struct fw_range other = { { 192, 0, 2, 0 }, { 192, 0, 2, 255 } };
	char shown[128];

	(void)state;
	assert_false(fw_ranges_meet(&a, &other));
	assert_int_equal(fw_ranges_add_prefix(&a, "192.0.2.255"), 0);
	assert_int_equal(fw_ranges_add_prefix(&a, "192.0.3.0"), 0);
	fw_ranges_merge(&a);
	assert_int_equal(a.count, 1);
	assert_int_equal(fw_range_bits(FW_TYPE_IPV4, &a.at[0]), -1);
	fw_range_text(FW_TYPE_IPV4, &a.at[0], shown, sizeof(shown));
	assert_string_equal(shown, "192.0.2.255-192.0.3.0");
	assert_true(fw_ranges_meet(&a, &other));
	fw_ranges_add_number(&p, 26);
	fw_ranges_add_number(&p, 25);
	fw_ranges_add_number(&p, 25);
	fw_ranges_add_number(&p, 65535);
	fw_ranges_merge(&p);
	assert_int_equal(p.count, 3);
	fw_range_text(FW_TYPE_PORT, &p.at[2], shown, sizeof(shown));
	assert_string_equal(shown, "65535");
	fw_ranges_free(&a);
	fw_ranges_free(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(ranges), cmocka_unit_test(edges),
		cmocka_unit_test(adjacent), cmocka_unit_test(blocklist) };

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
