/* Inside site/: what libconfig 1.5 gets wrong silently or fatally, looked for before it reads. */
#ifndef SITE_PRESCAN_H
#define SITE_PRESCAN_H

#include "site.h"

/*
 * Reads path (shown as `name` in messages) and what it @includes from dir.  Finds files that cannot be read, which
 * would end the process, and integers that would wrap.  0, or -1 with a finding.
 */
int prescan_file(const char *path, const char *name, const char *dir, struct findings *);
/* The same for a text that must not include anything. */
int prescan_text(struct view text, const char *name, struct findings *);

/*
 * The line where a text in a list stands. libconfig gives the line of what follows it, since adjacent texts are joined:
 * looks upwards from there for the text in quotes. The line given when the file cannot be read or does not have it.
 */
unsigned prescan_line(const char *file, unsigned line, const char *text);

#endif
