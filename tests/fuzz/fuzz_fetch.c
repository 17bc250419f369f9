/* What send and fetch say to each other, and the URLs: what is taken is what was packed, and a host is a plain name. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "mailsvc/fetch/proto.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct view in = { (const char *)data, size };
	struct buf out = BUF_INIT(IMSG_MAX);
	struct fetch_limits limits;
	struct fetch_answer a;
	char url[FETCH_URL_MAX + 1], host[256];
	uint16_t port;

	if (fetch_get_get(in, url, &limits) == 0) {
		fetch_get_put(&out, url, &limits);
		if (out.len != size || memcmp(out.data, data, size) != 0)
			abort();
	}
	buf_reset(&out);
	if (fetch_answer_get(in, &a) == 0) {
		fetch_answer_put(&out, &a);
		if (out.len != size || memcmp(out.data, data, size) != 0)
			abort();
	}
	buf_free(&out);
	if (view_copy(in, url, sizeof(url)) == 0 && fetch_url_parse(url, host, &port) == 0) {
		if (port == 0 || strlen(host) > 253 || strchr(host, '.') == NULL)
			abort();
		for (const char *p = host; *p != '\0'; p++) {
			if (!isalnum((unsigned char)*p) && strchr("-_.", *p) == NULL)
				abort();
		}
		for (const char *p = url; *p != '\0'; p++) {
			if (*p <= ' ' || *p > '~')
				abort();
		}
	}
	return 0;
}
