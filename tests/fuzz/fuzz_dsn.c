/* Notifications about hostile messages: no line too long, CRLF only, and ended by the closing boundary. */
#include <stdlib.h>
#include <string.h>

#include "mailsvc/send/dsn.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char end[] = "\r\n--=_1.2--\r\n";
	char given[200] = ""; /* what a sender may have said, if not so much of it */
	memcpy(given, data, size < sizeof(given) - 1 ? size : sizeof(given) - 1);
	const struct dsn_recipient r = { .address = "bob@example.net",
		.status = "5.1.1",
		.remote = "mx.example.net",
		.reply = "550 5.1.1 no",
		.orcpt = given };
	struct dsn d = { .host = "mx.example.org",
		.unique = "1.2",
		.to = "alice@example.org",
		.sender = "alice@example.org",
		.envid = given,
		.full = size % 2 == 1,
		.arrived = 1,
		.now = 2,
		.recipients = &r,
		.count = 1,
		.message = { (const char *)data, size } };
	struct buf out = BUF_INIT(DSN_MAX);
	struct dsn_needs needs;
	size_t line = 0;

	dsn_build(&d, &out, &needs);
	if (out.full || out.len < sizeof(end) ||
	    memcmp(out.data + out.len - (sizeof(end) - 1), end, sizeof(end) - 1) != 0)
		abort();
	for (size_t i = 0; i < out.len; i++) {
		if (out.data[i] == '\0' || (out.data[i] == '\n' && out.data[i - 1] != '\r'))
			abort();
		line = out.data[i] == '\n' ? 0 : line + 1;
		if (line > 999 || ((unsigned char)out.data[i] >= 0x80 && !needs.eight_bit))
			abort();
	}
	buf_free(&out);
	return 0;
}
