/* A POP3 command line: words are inside of it, in order, without spaces, and nothing else but spaces is left out. */
#include <stdint.h>
#include <stdlib.h>

#include "mailsvc/pop3/command.h"
#include "mailsvc/pop3/common.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *check(struct view word, const char *at)
{
	for (; at < word.ptr; at++)
		if (*at != ' ')
			abort();
	if (word.len > 0 && memchr(word.ptr, ' ', word.len) != NULL)
		abort();
	return word.ptr + word.len;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct view line = { (const char *)data, size }, name;
	const char *at, *end = line.ptr + size;
	struct args a;
	uint64_t n;

	if (size == 0)
		return 0;
	if (!pop3_split(line, &name, &a))
		return 0;
	at = check(name, line.ptr);
	for (size_t i = 0; i < a.count; i++) {
		if (a.word[i].len == 0)
			abort();
		at = check(a.word[i], at);
		if (view_u64(a.word[i], UINT32_MAX, &n) == 0 && n > UINT32_MAX)
			abort();
		if (pop3_lang(a.word[i])[0] == '\0')
			abort();
	}
	for (; at < end; at++)
		if (*at != ' ')
			abort();
	return 0;
}
