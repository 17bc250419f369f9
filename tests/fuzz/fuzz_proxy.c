/* PROXY v2 headers and xtext: nothing is read beyond the header; what decodes encodes and decodes to the same again. */
#include <netinet/in.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "lib/proxy.h"
#include "lib/xtext.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void header(const uint8_t *data, size_t size)
{
	struct sockaddr_storage peer = { 0 };
	int rest, r;

	if (size < PROXY_FIXED || (rest = proxy_rest(data)) < 0 || size - PROXY_FIXED < (size_t)rest)
		return;
	/* A copy of exactly its size: one byte too many is seen. */
	uint8_t *body = malloc((size_t)rest + 1);
	memcpy(body, data + PROXY_FIXED, (size_t)rest);
	body = realloc(body, rest > 0 ? (size_t)rest : 1);
	r = proxy_parse(data, body, (size_t)rest, &peer);
	if ((r == 0) != (peer.ss_family == AF_INET || peer.ss_family == AF_INET6))
		abort();
	free(body);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf plain = BUF_INIT(1 << 20), text = BUF_INIT(1 << 20), again = BUF_INIT(1 << 20);

	header(data, size);
	if (xtext_decode(&plain, (struct view){ (const char *)data, size }) == 0) {
		xtext_encode(&text, buf_view(&plain));
		if (xtext_decode(&again, buf_view(&text)) != 0 || again.len != plain.len ||
		    (plain.len > 0 && memcmp(again.data, plain.data, plain.len) != 0))
			abort();
	}
	buf_free(&plain);
	buf_free(&text);
	buf_free(&again);
	return 0;
}
