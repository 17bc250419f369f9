/* Both dialogues before login.  Bit 0 of the first byte: POP3; bits 1, 2: TLS, insecure login; the rest: piece size. */
#include <stdlib.h>

#include "mailsvc/login/preauth.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct preauth p;
	size_t pos = 1, used, step;
	bool open = true;

	if (size < 1)
		return 0;
	step = (data[0] >> 3) + 1u;
	preauth_init(&p, data[0] & 1 ? PROTOCOL_POP3 : PROTOCOL_IMAP, data[0] & 2, true, data[0] & 4, 20);
	preauth_greet(&p, "mail.example.org");
	while (open) {
		size_t n = size - pos < step ? size - pos : step;
		enum preauth_action action = preauth_feed(&p, (const char *)data + pos, n, &used);

		if (used > n)
			abort();
		pos += used;
		if (action == PREAUTH_STARTTLS)
			preauth_secured(&p);
		else if (action == PREAUTH_LOGIN) {
			if (!preauth_may_login(&p) || preauth_user(&p).len == 0)
				abort();
			action = preauth_answer(&p, (enum auth_status)(1 + pos % 3));
		} else if (action == PREAUTH_SCRAM_FIRST || action == PREAUTH_SCRAM_FINAL) {
			if (!preauth_may_login(&p) || p.secret.len == 0 || p.secret.len > SCRAM_CLIENT_MAX)
				abort();
			if (pos % 4 == 0)
				action = preauth_answer(&p, AUTH_DENIED);
			else
				preauth_sasl_challenge(&p, "r=challenge", action == PREAUTH_SCRAM_FINAL);
		} else if (action == PREAUTH_PROVED) {
			open = false;
		}
		if (p.out.full)
			abort();
		buf_reset(&p.out);
		open = open && action != PREAUTH_CLOSE && pos < size;
	}
	preauth_free(&p);
	return 0;
}
