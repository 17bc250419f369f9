/* SHA-256 in hex, of bytes and of files. */
#ifndef APPLY_DIGEST_H
#define APPLY_DIGEST_H

#include "lib/buf.h"
#include "lib/log.h"

#define DIGEST_HEX 65 /* with its NUL */

void digest_hex(struct view, char out[DIGEST_HEX]);
int digest_file(const char *path, char out[DIGEST_HEX], struct error *);

#endif
