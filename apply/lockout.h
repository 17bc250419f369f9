/* Would the site's firewall refuse the administrator a new connection like the one that is used now? */
#ifndef APPLY_LOCKOUT_H
#define APPLY_LOCKOUT_H

#include "apply/caller.h"
#include "site/site.h"

/* 0 no (also without a known ssh connection), 1 it would: the error names the rule; -1 the rules cannot be made. */
int lockout_check(const struct site *, const struct caller *, struct error *);

#endif
