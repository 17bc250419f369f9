/* Inside site/: putting findings into the order of the files. */
#ifndef SITE_FINDINGS_H
#define SITE_FINDINGS_H

#include "site.h"

/* Sorts what was added since `from` by file (in the order of `files`), line, and order of adding. */
void findings_sort(struct findings *, size_t from, const struct strings *files);

#endif
