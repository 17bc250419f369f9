/* Any bytes as a kept message: what is read of its envelope can stand in SMTP commands, and no more is taken off than
 * there is. */
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "mailsvc/smtp/kept.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void one_line(const char *s)
{
	for (; *s != '\0'; s++)
		if (strchr("\r\n ", *s) != NULL)
			abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct kept_envelope e;
	unsigned char bytes[16];
	struct address a;
	char *copy = malloc(size ? size : 1);

	if (copy == NULL)
		abort();
	if (size > 0)
		memcpy(copy, data, size);
	e = (struct kept_envelope){ .from_known = false };
	if (kept_envelope_fill((struct view){ copy, size }, "mail.example.org", &e) > size ||
	    e.to_count > KEPT_RECIPIENTS_MAX)
		abort();
	one_line(e.helo);
	one_line(e.from);
	if (e.from[0] != '\0' && address_parse(view_of(e.from), &a) == -1)
		abort();
	for (size_t i = 0; i < e.to_count; i++) {
		one_line(e.to[i]);
		if (address_parse(view_of(e.to[i]), &a) == -1)
			abort();
	}
	if (e.peer[0] != '\0' && inet_pton(AF_INET, e.peer, bytes) != 1 && inet_pton(AF_INET6, e.peer, bytes) != 1)
		abort();
	free(copy);
	return 0;
}
