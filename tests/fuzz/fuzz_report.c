/* Reports: the first byte says which kind; then a message or a file, and the text by itself. */
#include <stdint.h>
#include <stdlib.h>

#include "mailsvc/report/report.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct view in = { (const char *)data + 1, size - 1 };
	struct buf text = BUF_INIT(1u << 20);
	enum report_kind kind;
	char signer[256];
	struct error e;

	if (size == 0)
		return 0;
	kind = data[0] & 1 ? REPORT_TLS : REPORT_DMARC;
	report_likely(kind, in);
	if (report_signer(kind, in, "mx.example", signer) != (signer[0] != '\0'))
		abort();
	if (report_extract(kind, in, &text, &e) == 0)
		json_decref(kind == REPORT_TLS ? report_parse_tls(buf_view(&text), &e) : report_parse_dmarc(buf_view(&text), &e));
	json_decref(kind == REPORT_TLS ? report_parse_tls(in, &e) : report_parse_dmarc(in, &e));
	buf_free(&text);
	return 0;
}
