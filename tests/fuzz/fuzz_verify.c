/* What smtp and send say to each other about recipients: what is taken is what was packed, and fits a reply line. */
#include <stdlib.h>
#include <string.h>

#include "mailsvc/send/verify_proto.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct view in = { (const char *)data, size };
	struct buf out = BUF_INIT(IMSG_MAX);
	char sender[VERIFY_ADDRESS_MAX], recipient[VERIFY_ADDRESS_MAX];
	struct verify_answer a;

	if (verify_ask_get(in, sender, recipient) == 0) {
		verify_ask_put(&out, sender, recipient);
		if (out.len != size || memcmp(out.data, data, size) != 0)
			abort();
	}
	buf_reset(&out);
	if (verify_answer_get(in, &a) == 0) {
		verify_answer_put(&out, &a);
		if (out.len != size || memcmp(out.data, data, size) != 0)
			abort();
		if ((a.status == VERIFY_REFUSED) != (a.enhanced[0] == '5'))
			abort();
		for (const char *p = a.text; *p != '\0'; p++) {
			if (*p < ' ' || *p > '~')
				abort();
		}
	}
	buf_free(&out);
	return 0;
}
