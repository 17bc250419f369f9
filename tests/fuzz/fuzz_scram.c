/*
 * The messages of SCRAM clients and the text of keys.  What is no client-first-message is refused; of two messages (at
 * the first NUL) the second must never prove a password that nobody knows.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "mailsvc/auth/scram.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct scram_keys keys = { .iterations = 4096, .stored = { 1 }, .server = { 2 } }, parsed;
	const char *text = (const char *)data, *nul = size > 0 ? memchr(text, '\0', size) : NULL;
	struct view first = { text, nul != NULL ? (size_t)(nul - text) : size };
	struct view final = { text + first.len + (nul != NULL), size - first.len - (nul != NULL) };
	char server_first[SCRAM_MESSAGE_MAX], out[SCRAM_MESSAGE_MAX], again[SCRAM_TEXT_MAX];
	struct scram_first f;

	if (scram_keys_parse(first, &parsed) == 0) {
		scram_keys_text(&parsed, again);
		if (scram_keys_parse(view_of(again), &keys) < 0 || memcmp(&keys, &parsed, sizeof(keys)) != 0)
			abort();
	}
	if (scram_client_first(first, NULL, &f) < 0)
		return 0;
	if (f.user[0] == '\0' || f.nonce.len == 0 || f.header.len + f.bare.len != first.len)
		abort();
	scram_server_first(f.nonce, "server", &keys, server_first);
	if (server_first[0] == '\0')
		abort();
	if (scram_client_final(final, first, server_first, &keys, NULL, out) == 1)
		abort();
	return 0;
}
