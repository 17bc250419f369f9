/* Which lines two texts do not share. */
#ifndef APPLY_DIFF_H
#define APPLY_DIFF_H

#include "lib/buf.h"

/*
 * "- line" for each line that only old has and "+ line" for each that only new has, in their order; a line that stands
 * twice in one and once in the other counts once.  At most `most` of each, then how many more there are.
 */
void diff_lines(struct view old, struct view new_text, size_t most, struct buf *out);

#endif
