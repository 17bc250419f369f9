/* From packets to answers, the messages that carry them, and a client whose resolver is away. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <event2/event.h>
#include <ldns/ldns.h>

#include "mailsvc/resolver/answer.h"

/* A packet with these records in its answer section; NULL ends them. */
static void parse(int rcode, enum dns_type type, const char *const *records, struct dns_parsed *out)
{
	ldns_pkt *pkt =
	    ldns_pkt_query_new(ldns_dname_new_frm_str("example."), (ldns_rr_type)type, LDNS_RR_CLASS_IN, LDNS_RD);
	uint8_t *wire;
	size_t len;

	ldns_pkt_set_qr(pkt, true);
	ldns_pkt_set_rcode(pkt, (uint8_t)rcode);
	for (; *records != NULL; records++) {
		ldns_rr *rr;
		assert_int_equal(ldns_rr_new_frm_str(&rr, *records, 300, NULL, NULL), LDNS_STATUS_OK);
		ldns_pkt_push_rr(pkt, LDNS_SECTION_ANSWER, rr);
	}
	assert_int_equal(ldns_pkt2wire(&wire, pkt, &len), LDNS_STATUS_OK);
	dns_answer_parse(wire, len, type, out);
	free(wire);
	ldns_pkt_free(pkt);
}

static void test_mx(void **state)
{
	const char *const records[] = { "example. 300 IN CNAME other.example.", "other.example. 60 IN MX 20 b.example.",
		"other.example. 60 IN MX 10 A.example.", "other.example. 60 IN A 192.0.2.1", NULL };
	const char *const null_mx[] = { "example. 60 IN MX 0 .", NULL };
	const char *const odd[] = { "example. 60 IN MX 0 a\\032b.example.", NULL };
	struct dns_parsed p;

	(void)state;
	parse(LDNS_RCODE_NOERROR, DNS_MX, records, &p);
	assert_int_equal(p.answer.status, DNS_OK);
	assert_int_equal(p.answer.count, 2);
	assert_int_equal(p.answer.ttl, 60);
	assert_int_equal(p.records[0].preference, 20);
	assert_true(view_eq(p.records[0].data, "b.example"));
	assert_true(view_eq(p.records[1].data, "A.example"));
	dns_parsed_free(&p);
	parse(LDNS_RCODE_NOERROR, DNS_MX, null_mx, &p);
	assert_int_equal(p.answer.status, DNS_OK);
	assert_int_equal(p.answer.count, 1);
	assert_int_equal(p.records[0].data.len, 0);
	dns_parsed_free(&p);
	parse(LDNS_RCODE_NOERROR, DNS_MX, odd, &p);
	assert_int_equal(p.answer.status, DNS_TEMPFAIL);
	dns_parsed_free(&p);
}

/* The name that an alias leads to goes along with addresses, and through the message. */
static void test_alias(void **state)
{
	const char *const chain[] = { "example. 60 IN CNAME b.example.", "b.example. 60 IN CNAME c.example.",
		"c.example. 60 IN A 192.0.2.1", NULL };
	const char *const plain[] = { "example. 60 IN A 192.0.2.1", NULL };
	const char *const alias[] = { "example. 60 IN CNAME b.example.", NULL };
	struct dns_record records[DNS_RECORDS_MAX];
	struct dns_answer got;
	struct dns_parsed p;
	struct buf msg = BUF_INIT(IMSG_MAX);

	(void)state;
	parse(LDNS_RCODE_NOERROR, DNS_A, chain, &p);
	assert_int_equal(p.answer.count, 1);
	assert_true(view_eq(p.answer.canonical, "c.example"));
	dns_answer_put(&msg, &p.answer);
	assert_int_equal(dns_answer_get(buf_view(&msg), &got, records), 0);
	assert_true(view_eq(got.canonical, "c.example"));
	assert_int_equal(got.records[0].data.len, 4);
	dns_parsed_free(&p);
	buf_free(&msg);
	parse(LDNS_RCODE_NOERROR, DNS_A, plain, &p);
	assert_int_equal(p.answer.canonical.len, 0);
	dns_parsed_free(&p);
	parse(LDNS_RCODE_NOERROR, DNS_CNAME, alias, &p);
	assert_int_equal(p.answer.status, DNS_OK);
	assert_true(view_eq(p.records[0].data, "b.example"));
	assert_int_equal(p.answer.canonical.len, 0);
	dns_parsed_free(&p);
}

static void test_others(void **state)
{
	const char *const a[] = { "example. 5 IN A 192.0.2.1", "example. 5 IN A 192.0.2.2", NULL };
	const char *const aaaa[] = { "example. 5 IN AAAA 2001:db8::1", NULL };
	const char *const txt[] = { "example. 5 IN TXT \"v=spf1 \" \"-all\"", "example. 5 IN TXT \"\"", NULL };
	const char *const ptr[] = { "1.2.0.192.in-addr.arpa. 5 IN PTR mx.example.", NULL };
	const char *const none[] = { NULL };
	struct dns_parsed p;

	(void)state;
	parse(LDNS_RCODE_NOERROR, DNS_A, a, &p);
	assert_int_equal(p.answer.count, 2);
	assert_int_equal(p.records[1].data.len, 4);
	assert_memory_equal(p.records[1].data.ptr, "\xc0\x00\x02\x02", 4);
	dns_parsed_free(&p);
	parse(LDNS_RCODE_NOERROR, DNS_AAAA, aaaa, &p);
	assert_int_equal(p.answer.count, 1);
	assert_int_equal(p.records[0].data.len, 16);
	dns_parsed_free(&p);
	parse(LDNS_RCODE_NOERROR, DNS_TXT, txt, &p);
	assert_int_equal(p.answer.count, 2);
	assert_true(view_eq(p.records[0].data, "v=spf1 -all"));
	assert_true(view_eq(p.records[1].data, ""));
	dns_parsed_free(&p);
	parse(LDNS_RCODE_NOERROR, DNS_PTR, ptr, &p);
	assert_true(view_eq(p.records[0].data, "mx.example"));
	dns_parsed_free(&p);
	parse(LDNS_RCODE_NOERROR, DNS_MX, a, &p);
	assert_int_equal(p.answer.status, DNS_NODATA);
	dns_parsed_free(&p);
	parse(LDNS_RCODE_NOERROR, DNS_MX, none, &p);
	assert_int_equal(p.answer.status, DNS_NODATA);
	dns_parsed_free(&p);
	parse(LDNS_RCODE_NXDOMAIN, DNS_MX, none, &p);
	assert_int_equal(p.answer.status, DNS_NXDOMAIN);
	dns_parsed_free(&p);
	parse(LDNS_RCODE_SERVFAIL, DNS_MX, none, &p);
	assert_int_equal(p.answer.status, DNS_TEMPFAIL);
	dns_parsed_free(&p);
	dns_answer_parse((const uint8_t *)"short", 5, DNS_A, &p);
	assert_int_equal(p.answer.status, DNS_TEMPFAIL);
	dns_parsed_free(&p);
}

static void test_messages(void **state)
{
	struct dns_record in[DNS_RECORDS_MAX], out[DNS_RECORDS_MAX];
	struct dns_answer a = { .status = DNS_OK, .secure = true, .ttl = 77, .records = in, .count = 2 }, b;
	struct buf msg = BUF_INIT(IMSG_MAX);
	char name[DNS_NAME_MAX + 1], long_name[300];
	enum dns_type type;
	static char big[DNS_DATA_MAX];

	(void)state;
	dns_query_put(&msg, "example.org", DNS_MX);
	assert_int_equal(dns_query_get(buf_view(&msg), name, &type), 0);
	assert_string_equal(name, "example.org");
	assert_int_equal(type, DNS_MX);
	buf_addc(&msg, 0);
	assert_int_equal(dns_query_get(buf_view(&msg), name, &type), -1);
	buf_reset(&msg);
	memset(long_name, 'x', sizeof(long_name) - 1);
	long_name[sizeof(long_name) - 1] = '\0';
	dns_query_put(&msg, long_name, DNS_MX);
	assert_int_equal(dns_query_get(buf_view(&msg), name, &type), -1);
	buf_reset(&msg);
	dns_query_put(&msg, "x", (enum dns_type)255);
	assert_int_equal(dns_query_get(buf_view(&msg), name, &type), -1);

	buf_reset(&msg);
	in[0] = (struct dns_record){ 10, VIEW_LIT("a.example") };
	in[1] = (struct dns_record){ 20, VIEW_LIT("") };
	dns_answer_put(&msg, &a);
	assert_int_equal(dns_answer_get(buf_view(&msg), &b, out), 0);
	assert_true(b.secure);
	assert_int_equal(b.ttl, 77);
	assert_int_equal(b.count, 2);
	assert_int_equal(out[0].preference, 10);
	assert_true(view_eq(out[0].data, "a.example"));
	for (size_t cut = 0; cut < msg.len; cut++)
		assert_int_equal(dns_answer_get((struct view){ msg.data, cut }, &b, out), -1);
	/* More than a message holds: the rest is dropped. */
	buf_reset(&msg);
	for (int i = 0; i < DNS_RECORDS_MAX; i++)
		in[i] = (struct dns_record){ 0, { big, sizeof(big) } };
	a.count = DNS_RECORDS_MAX;
	dns_answer_put(&msg, &a);
	assert_in_range(msg.len, 1, IMSG_MAX);
	assert_int_equal(dns_answer_get(buf_view(&msg), &b, out), 0);
	assert_int_equal(b.count, 7);
	buf_free(&msg);
}

static void note(void *arg, const struct dns_answer *a)
{
	*(int *)arg = (int)a->status;
}

static void test_away(void **state)
{
	static struct dns_client *d; /* lives as long as its process: static, so that no leak is reported */
	struct event_base *base = event_base_new();
	int first = -1, second = -1;

	(void)state;
	d = dns_client_new(base);
	dns_query(d, "example.org", DNS_MX, note, &first);
	uint32_t id = dns_query(d, "example.org", DNS_MX, note, &second);
	dns_cancel(d, id);
	dns_cancel(d, 12345);
	assert_int_equal(first, -1); /* never from inside the call */
	event_base_loop(base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
	assert_int_equal(first, DNS_TEMPFAIL);
	assert_int_equal(second, -1);
	event_base_free(base);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_mx), cmocka_unit_test(test_alias), cmocka_unit_test(test_others),
		cmocka_unit_test(test_messages), cmocka_unit_test(test_away) };

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
