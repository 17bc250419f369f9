/* TLSA records of any bytes: what is usable is within bounds, and OpenSSL takes it or not, but does not fall over it.
 */
#include <stdlib.h>

#include "mailsvc/send/dane.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Records of data[0] + 4 bytes each, and what is left over. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static SSL_CTX *ctx;
	struct dns_record records[DNS_RECORDS_MAX];
	struct dns_answer a = { .status = DNS_OK, .secure = true, .records = records };
	struct dane d;

	if (ctx == NULL) {
		ctx = SSL_CTX_new(TLS_client_method());
		if (ctx == NULL || SSL_CTX_dane_enable(ctx) != 1)
			abort();
	}
	while (size > 1 && a.count < DNS_RECORDS_MAX) {
		size_t len = data[0] == 255 ? size - 1 : data[0] + 4u;
		data++, size--;
		if (len > size)
			len = size;
		records[a.count++] = (struct dns_record){ 0, { (const char *)data, len } };
		data += len, size -= len;
	}
	dane_init(&d);
	if (dane_take(&d, &a, "mx.example") != (d.count > 0) || d.count > a.count || d.count > DANE_RECORDS_MAX)
		abort();
	for (size_t i = 0; i < d.count; i++) {
		const struct tlsa *t = &d.at[i];
		if (t->data.ptr < d.data.data || t->data.ptr + t->data.len > d.data.data + d.data.len ||
		    t->data.len == 0)
			abort();
	}
	if (d.count > 0) {
		SSL *ssl = SSL_new(ctx);
		dane_arm(&d, ssl, "example", "mx.example");
		SSL_free(ssl);
	}
	dane_free(&d);
	return 0;
}
