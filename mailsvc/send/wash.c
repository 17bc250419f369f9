/*
 * wash.h.  smtp refuses every message that holds such a byte, whoever brings it, so none should ever come here; but a
 * host behind us may take a bare CR or LF for the end of a line, and a fault of ours must not become its open door.
 */
#include "mailsvc/send/wash.h"

#include <string.h>

#include "lib/text.h"

static bool stray(struct view m, size_t i)
{
	switch (m.ptr[i]) {
	case '\0':
		return true;
	case '\r':
		return i + 1 == m.len || m.ptr[i + 1] != '\n';
	case '\n':
		return i == 0 || m.ptr[i - 1] != '\r';
	default:
		return false;
	}
}

size_t wash_count(struct view message)
{
	bool eight_bit = false;
	size_t n = 0;

	for (size_t i = 0; i < message.len; i++) {
		i += text_run((struct view){ message.ptr + i, message.len - i }, &eight_bit);
		n += i < message.len && stray(message, i);
	}
	return n;
}

void wash_copy(struct view message, char *out)
{
	for (size_t i = 0; i < message.len; i++)
		out[i] = stray(message, i) ? ' ' : message.ptr[i];
}
