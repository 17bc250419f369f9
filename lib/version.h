/* Which version a program is of: asked by running it. */
#ifndef LIB_VERSION_H
#define LIB_VERSION_H

#include "log.h"

struct version {
	unsigned major, minor, patch;
};

/* The first "N.N" or "N.N.N" in a text. */
bool version_parse(const char *text, struct version *);
bool version_below(struct version, struct version least);
/*
 * Of what argv prints.  1: known; 0: there is no such program, or it prints none, so that nothing can be said; -1: it
 * does not run, which is in the error.
 */
int version_of_program(char *const argv[], struct version *, struct error *);

#endif
