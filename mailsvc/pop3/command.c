/* command.h. */
#include "command.h"

/* The next word of line, which moves on; empty at the end. */
static struct view next_word(struct view *line)
{
	struct view word;
	size_t n = 0;

	while (line->len > 0 && line->ptr[0] == ' ') {
		line->ptr++;
		line->len--;
	}
	while (n < line->len && line->ptr[n] != ' ')
		n++;
	word = (struct view){ line->ptr, n };
	line->ptr += n;
	line->len -= n;
	return word;
}

bool pop3_split(struct view line, struct view *name, struct args *a)
{
	struct view word;

	*name = next_word(&line);
	a->count = 0;
	while ((word = next_word(&line)).len > 0) {
		if (a->count == POP3_WORDS_MAX)
			return false;
		a->word[a->count++] = word;
	}
	return true;
}
