/* DNS packets: what the parser takes from them is encoded, decoded and the same; any message may be decoded. */
#include <stdlib.h>
#include <string.h>

#include "mailsvc/resolver/answer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const enum dns_type types[] = { DNS_A, DNS_CNAME, DNS_PTR, DNS_MX, DNS_TXT, DNS_AAAA, DNS_TLSA };
	struct dns_record records[DNS_RECORDS_MAX];
	struct dns_answer answer;
	struct dns_parsed parsed;
	struct buf msg = BUF_INIT(IMSG_MAX);
	char name[DNS_NAME_MAX + 1];
	enum dns_type type;

	for (size_t t = 0; t < sizeof(types) / sizeof(types[0]); t++) {
		dns_answer_parse(data, size, types[t], &parsed);
		buf_reset(&msg);
		dns_answer_put(&msg, &parsed.answer);
		if (msg.full || dns_answer_get(buf_view(&msg), &answer, records) == -1 ||
		    answer.status != parsed.answer.status || answer.count > parsed.answer.count)
			abort();
		if (answer.canonical.len != parsed.answer.canonical.len ||
		    memcmp(answer.canonical.ptr, parsed.answer.canonical.ptr != NULL ? parsed.answer.canonical.ptr : "", answer.canonical.len) != 0)
			abort();
		for (size_t i = 0; i < answer.count; i++) {
			if (records[i].data.len != parsed.records[i].data.len ||
			    memcmp(records[i].data.ptr, parsed.records[i].data.ptr, records[i].data.len) != 0)
				abort();
		}
		dns_parsed_free(&parsed);
	}
	dns_answer_get((struct view){ (const char *)data, size }, &answer, records);
	dns_query_get((struct view){ (const char *)data, size }, name, &type);
	buf_free(&msg);
	return 0;
}
