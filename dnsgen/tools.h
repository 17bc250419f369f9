/* bind9's programs: is named recent enough, do its checkers accept a file, and what rndc answers. */
#ifndef DNSGEN_TOOLS_H
#define DNSGEN_TOOLS_H

#include "dnsgen/install.h"

/* Can the named of this host do what the site asks for?  Asked once a process.  A host without one is not judged. */
int named_is_recent(const struct site *, struct error *);
/* Has named's own checker read the file at path, which is to become f. */
int named_check(const struct file *f, char *path, struct error *);

enum told { TOLD, NOT_RUNNING, UNKNOWN_ZONE, REFUSED };
/* rndc VERB [ZONE]; anything but TOLD fills the error. */
enum told rndc(const struct site *, const char *verb, const char *zone, struct error *why);

#endif
