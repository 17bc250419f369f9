/* Records and wire messages: what is put is got, what is cut or changed is refused. */
#include "store_help.h"

static void test_round_trip(void **state)
{
	char ranges[16];
	struct record r = { .account = 1,
		.mailbox = 2,
		.source = 3,
		.uid = 4,
		.uid_validity = 5,
		.special = 2,
		.number = 6,
		.references = 7,
		.flags = 8,
		.mode = 1,
		.body = UINT64_MAX,
		.size = 9,
		.keywords = 1ull << 63,
		.modseq = 10,
		.queue = 11,
		.date = -12,
		.when = INT64_MAX,
		.due = 13,
		.name = VIEW_LIT("name"),
		.sender = VIEW_LIT("s"),
		.mime = VIEW_LIT("mime"),
		.text = VIEW_LIT("text") };

	(void)state;
	range_text(ranges, 1, 5);
	range_text(ranges + 8, 7, UINT32_MAX);
	r.ranges = (struct view){ ranges, sizeof ranges };
	for (int type = 1; type < RECORD_TYPES; type++) {
		struct buf b = BUF_INIT(1 << 16), again = BUF_INIT(1 << 16);
		struct record got;
		r.type = (enum record_type)type;
		record_put(&b, &r);
		assert_int_equal(record_get(b.data, b.len, &got), 0);
		record_put(&again, &got);
		assert_int_equal(again.len, b.len);
		assert_memory_equal(again.data, b.data, b.len);
		for (size_t i = 0; i < b.len; i++) {
			b.data[i] ^= 0x10;
			assert_int_equal(record_get(b.data, b.len, &got), -1);
			b.data[i] ^= 0x10;
			assert_int_equal(record_get(b.data, i, &got), -1);
		}
		buf_free(&b);
		buf_free(&again);
	}
}

static void test_ranges(void **state)
{
	struct buf b = BUF_INIT(1 << 10);
	char bad[16];

	(void)state;
	ranges_add(&b, 3);
	ranges_add(&b, 4);
	ranges_add(&b, 6);
	assert_int_equal(ranges_count(buf_view(&b)), 2);
	assert_int_equal(ranges_at(buf_view(&b), 0).last, 4);
	assert_true(ranges_ok(buf_view(&b)));
	assert_false(ranges_ok((struct view){ b.data, b.len - 1 }));
	assert_false(ranges_ok(range_text(bad, 0, 4)));
	assert_false(ranges_ok(range_text(bad, 5, 4)));
	range_text(bad, 1, 5);
	range_text(bad + 8, 5, 6);
	assert_false(ranges_ok((struct view){ bad, sizeof bad }));
	buf_free(&b);
}

static void test_names(void **state)
{
	char name[MAILBOX_NAME_MAX + 1], longest[NAME_MAX_BYTES + 1];

	(void)state;
	assert_true(mailbox_name_normalise(VIEW_LIT("iNbOx"), name));
	assert_string_equal(name, "INBOX");
	assert_true(mailbox_name_normalise(VIEW_LIT("inbox/Sub"), name));
	assert_string_equal(name, "INBOX/Sub");
	assert_true(mailbox_name_normalise(VIEW_LIT("inboxes"), name));
	assert_string_equal(name, "inboxes");
	memset(longest, 'x', sizeof longest);
	assert_true(mailbox_name_normalise((struct view){ longest, NAME_MAX_BYTES }, name));
	assert_false(mailbox_name_normalise((struct view){ longest, NAME_MAX_BYTES + 1 }, name));
	assert_false(mailbox_name_normalise((struct view){ "a\0b", 3 }, name));
	assert_false(mailbox_name_normalise(VIEW_LIT("cut\xe2\x82"), name));
}

/* What a compromised smtp may put into addresses and dates. */
static void test_decoder_refuses(void **state)
{
	static const char *const bad[] = { "a@x\r\nRCPT TO:<b@x>", "a\x7f@x", "a\t@x" };
	struct view to[1] = { VIEW_LIT("x@far.example") };
	struct proto_remote remote = { .sender = VIEW_LIT("a@x"),
		.domain = VIEW_LIT("far.example"),
		.recipients = to,
		.recipient_count = 1 };
	struct proto_local local = { VIEW_LIT("a@x"), VIEW_LIT(""), VIEW_LIT("") };
	struct proto_request p = {
		.type = STORE_DELIVER, .locals = &local, .local_count = 1, .remotes = &remote, .remote_count = 1
	};
	struct view *const places[] = { &to[0], &remote.sender, &remote.domain, &local.account };
	char longest[ADDRESS_MAX + 1];

	(void)state;
	memset(longest, 'a', sizeof longest);
	for (size_t place = 0; place < 4; place++)
		for (size_t i = 0; i < 5; i++) {
			struct view good = *places[place];
			struct buf head = BUF_INIT(4096), payload = BUF_INIT(4096);
			struct proto_request got;
			*places[place] = i < 3    ? view_of(bad[i])
			                 : i == 3 ? (struct view){ longest, ADDRESS_MAX }
			                          : good;
			p.date = INT64_MAX;
			proto_request_put(&head, &p);
			proto_payload_put(&payload, buf_view(&head), VIEW_NONE, VIEW_NONE);
			assert_int_equal(proto_request_get(&got, STORE_DELIVER, buf_view(&payload)), i < 4 ? -1 : 0);
			if (i == 4) {
				assert_true(got.date < INT64_C(1) << 40);
				proto_request_free(&got);
			}
			*places[place] = good;
			buf_free(&head);
			buf_free(&payload);
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_ranges),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_decoder_refuses),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
