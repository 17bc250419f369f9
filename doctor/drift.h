/* Is the live host what the site file says?  Rows "drift" (a part each, or what differs in it), "apply", "firewall". */
#ifndef DOCTOR_DRIFT_H
#define DOCTOR_DRIFT_H

#include "dnsgen/check_result.h"
#include "site/site.h"

void drift_check(const struct site *, struct check_results *);

#endif
