/* What a compromised peer may send to store, and store to its clients: decoded, bounded, and packed again the same. */
#include <stdlib.h>
#include <string.h>

#include "mailsvc/store/proto.h"
#include "mailsvc/store/record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool good)
{
	if (!good)
		abort();
}

static bool inside(struct view v, const uint8_t *data, size_t size)
{
	return v.len == 0 ||
	       (v.ptr >= (const char *)data && v.len <= size && v.ptr <= (const char *)data + size - v.len);
}

/* Each message's part of the body and of the records lies behind the one before, and all of it is somebody's. */
static void check_appends(const struct proto_request *p, const uint8_t *data, size_t size)
{
	uint64_t body = 0, mime = 0;

	if (p->type != STORE_APPEND_MANY)
		return;
	for (size_t i = 0; i < p->append_count; i++) {
		const struct proto_append *a = &p->appends[i];
		body += a->body_len;
		mime += a->mime_len;
		check(body <= p->body.len && mime <= p->mime.len && a->keyword_count <= KEYWORDS_MAX);
		for (size_t j = 0; j < a->keyword_count; j++)
			check(inside(a->keywords[j], data, size) && a->keywords[j].len > 0 &&
			      a->keywords[j].len <= KEYWORD_NAME_MAX);
	}
	check(body == p->body.len && mime == p->mime.len);
}

static void check_request(const struct proto_request *p, const uint8_t *data, size_t size)
{
	struct buf head = BUF_INIT(1u << 26), payload = BUF_INIT(1u << 27);
	struct proto_request again;

	check(p->local_count <= STORE_RECIPIENTS_MAX && p->remote_count <= STORE_RECIPIENTS_MAX &&
	      p->keyword_count <= KEYWORDS_MAX);
	check(ranges_count(p->ranges) <= STORE_RANGES_MAX && ranges_ok(p->ranges));
	check(inside(p->body, data, size) && inside(p->name, data, size) && inside(p->mime, data, size) &&
	      inside(p->ranges, data, size));
	for (size_t i = 0; i < p->local_count; i++)
		check(p->locals[i].account.len < ADDRESS_MAX && p->locals[i].prefix.len <= PROTO_PREFIX_MAX);
	for (size_t i = 0; i < p->remote_count; i++)
		for (size_t j = 0; j < p->remotes[i].recipient_count; j++)
			check(inside(p->remotes[i].recipients[j], data, size) &&
			      p->remotes[i].recipients[j].len < ADDRESS_MAX &&
			      inside(p->remotes[i].dsn[j].orcpt, data, size) && p->remotes[i].dsn[j].notify < 16 &&
			      !memchr(p->remotes[i].recipients[j].ptr, '\n', p->remotes[i].recipients[j].len));
	check(p->append_count <= STORE_APPEND_MAX && inside(p->other, data, size) && inside(p->value, data, size) &&
	      (p->type != STORE_IMPORT || p->key.len == IMPORT_KEY_LEN));
	check_appends(p, data, size);
	/* What was read packs to what reads the same. */
	proto_request_put(&head, p);
	proto_payload_put(&payload, buf_view(&head), p->mime, p->body);
	check(proto_request_get(&again, p->type, buf_view(&payload)) == 0);
	check(again.local_count == p->local_count && again.remote_count == p->remote_count &&
	      again.outcome_count == p->outcome_count && again.body.len == p->body.len &&
	      again.ranges.len == p->ranges.len && again.append_count == p->append_count &&
	      again.unchanged_since == p->unchanged_since && again.uid == p->uid && again.other.len == p->other.len &&
	      again.value.len == p->value.len && again.date == p->date && again.mode == p->mode &&
	      again.flags == p->flags && again.keyword_count == p->keyword_count);
	proto_request_free(&again);
	buf_free(&head);
	buf_free(&payload);
}

/* What the command line means; and it packs to the same. */
static void check_select(const struct proto_request *p, const uint8_t *data, size_t size)
{
	struct buf b = BUF_INIT(1u << 20);

	check(p->name.len < ADDRESS_MAX && inside(p->name, data, size) && inside(p->other, data, size) &&
	      inside(p->value, data, size) && p->mode <= QUEUE_REROUTE);
	proto_select_put(&b, p);
	check(b.len == size && memcmp(b.data, data, size) == 0);
	buf_free(&b);
}

static void check_item(const struct proto_item *item, const uint8_t *data, size_t size)
{
	struct buf b = BUF_INIT(1u << 20);

	check(item->recipient_count <= PROTO_QUEUE_RECIPIENTS && item->priority <= QUEUE_LAST);
	for (size_t i = 0; i < item->recipient_count; i++)
		check(inside(item->dsn[i].orcpt, data, size) && item->dsn[i].orcpt.len <= DSN_ORCPT_MAX &&
		      item->dsn[i].notify < 16 &&
		      !memchr(item->dsn[i].orcpt.ptr ? item->dsn[i].orcpt.ptr : "", '\n', item->dsn[i].orcpt.len));
	proto_item_put(&b, item);
	check(b.len == size && memcmp(b.data, data, size) == 0);
	buf_free(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct view all = { (const char *)data, size };
	struct proto_request request;
	struct proto_reply reply;
	struct proto_item item;
	char name[MAILBOX_NAME_MAX + 1];

	for (uint32_t type = 0; type <= STORE_QUEUE_CREDIT; type++)
		if (proto_request_get(&request, type, all) == 0) {
			check_request(&request, data, size);
			proto_request_free(&request);
		}
	if (proto_reply_get(&reply, all) == 0)
		check(inside(reply.source, data, size) && ranges_ok(reply.destination) &&
		      inside(reply.modseqs, data, size));
	if (proto_item_get(&item, all) == 0)
		check_item(&item, data, size);
	memset(&request, 0, sizeof request);
	if (proto_select_get(&request, all) == 0)
		check_select(&request, data, size);
	if (mailbox_name_normalise(all, name))
		check(strlen(name) == size && strlen(name) <= NAME_MAX_BYTES && name[0] != '/' && !strstr(name, "//"));
	return 0;
}
