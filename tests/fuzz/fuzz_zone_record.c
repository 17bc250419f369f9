/* Any line as a zone's record: what record.c reads itself ldns reads too and as the same; what it prints is what ldns
 * prints. */
#include <stdlib.h>
#include <string.h>

#include "dnsgen/record.h"

#define INPUT_MAX 4096

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void print_alike(const ldns_rr *rr, const char *want)
{
	struct buf out = BUF_INIT(1 << 20);
	if (record_print(rr, &out) != 0 || strcmp(buf_str(&out), want) != 0)
		abort();
	buf_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size > INPUT_MAX)
		return 0;
	char *line = malloc(size + 1);
	ldns_rdf *origin = ldns_dname_new_frm_str("example.org.");
	if (!line || !origin)
		abort();
	if (size)
		memcpy(line, data, size);
	line[size] = '\0';
	ldns_rr *ours = record_parse(line, 3600, origin), *theirs = NULL;
	bool read = ldns_rr_new_frm_str(&theirs, line, 3600, origin, NULL) == LDNS_STATUS_OK && theirs != NULL;
	char *text = read ? ldns_rr2str(theirs) : NULL;
	if (ours && !text)
		abort();
	if (ours)
		print_alike(ours, text);
	if (text)
		print_alike(theirs, text);
	free(text);
	ldns_rr_free(ours);
	if (read)
		ldns_rr_free(theirs);
	ldns_rdf_deep_free(origin);
	free(line);
	return 0;
}
