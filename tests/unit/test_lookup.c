/* What is taken from DNS answers: records of the name and of its aliases, and none that is cut short. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "dnsgen/lookup.h"

/* Header: an answer with one question and `count` records; the question a.b A; records follow. */
#define HEAD(count) "\x12\x34\x81\x80\0\1\0" count "\0\0\0\0" "\1a\1b\0\0\1\0\1"
#define NAME "\xc0\x0c"
#define TTL "\0\0\0\x3c"

static size_t records(const char *wire, size_t len, ldns_rr_type type, bool *cname)
{
	struct lookup_answer a = { .status = LOOKUP_OK };

	assert_int_equal(ldns_wire2pkt(&a.packet, (const uint8_t *)wire, len), LDNS_STATUS_OK);
	ldns_rr_list *list = lookup_records(&a, "a.b.", type, cname);
	size_t count = ldns_rr_list_rr_count(list);
	for (size_t i = 0; i < count; i++)
		assert_true(ldns_rr_rd_count(ldns_rr_list_rr(list, i)) > 0);
	ldns_rr_list_free(list);
	ldns_pkt_free(a.packet);
	return count;
}
#define RECORDS(wire, type, cname) records(wire, sizeof(wire) - 1, type, cname)

static void test_records(void **state)
{
	static const char whole[] = HEAD("\2") NAME "\0\1\0\1" TTL "\0\4\1\2\3\4" NAME "\0\1\0\1" TTL "\0\4\1\2\3\5";
	/* A without an address, DS without a digest, MX without a host, CNAME without a name. */
	static const char address[] = HEAD("\2") NAME "\0\1\0\1" TTL "\0\0" NAME "\0\1\0\1" TTL "\0\4\1\2\3\5";
	static const char ds[] = HEAD("\1") NAME "\0\x2b\0\1" TTL "\0\2\1\2";
	static const char mx[] = HEAD("\1") NAME "\0\x0f\0\1" TTL "\0\2\0\1";
	static const char alias[] = HEAD("\1") NAME "\0\5\0\1" TTL "\0\0";
	/* a.b CNAME c., c. A; and an alias of itself. */
	static const char chain[] = HEAD("\2") NAME "\0\5\0\1" TTL "\0\3\1c\0" "\1c\0\0\1\0\1" TTL "\0\4\1\2\3\4";
	static const char circle[] = HEAD("\1") NAME "\0\5\0\1" TTL "\0\2" NAME;
	bool cname;

	(void)state;
	assert_int_equal(RECORDS(whole, LDNS_RR_TYPE_A, &cname), 2);
	assert_false(cname);
	assert_int_equal(RECORDS(address, LDNS_RR_TYPE_A, NULL), 1);
	assert_int_equal(RECORDS(ds, LDNS_RR_TYPE_DS, NULL), 0);
	assert_int_equal(RECORDS(mx, LDNS_RR_TYPE_MX, NULL), 0);
	assert_int_equal(RECORDS(alias, LDNS_RR_TYPE_A, &cname), 0);
	assert_false(cname);
	assert_int_equal(RECORDS(chain, LDNS_RR_TYPE_A, &cname), 1);
	assert_true(cname);
	assert_int_equal(RECORDS(circle, LDNS_RR_TYPE_A, NULL), 0);
}

static void test_txt(void **state)
{
	ldns_rr *rr = NULL;
	struct buf out = BUF_INIT(4096);

	(void)state;
	assert_int_equal(ldns_rr_new_frm_str(&rr, "a. 1 IN TXT \"v=\" \"\" \"DKIM1\"", 0, NULL, NULL), LDNS_STATUS_OK);
	lookup_txt(rr, &out);
	assert_string_equal(buf_str(&out), "v=DKIM1");
	ldns_rr_free(rr);
	buf_free(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_records), cmocka_unit_test(test_txt) };

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
