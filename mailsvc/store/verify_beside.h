/* Proving the index's tables beside messages and bodies: names, ACL, annotations, imports, domains, what was expunged.
 */
#ifndef MAILSVC_STORE_VERIFY_BESIDE_H
#define MAILSVC_STORE_VERIFY_BESIDE_H

#include "index.h"

void verify_beside(struct tx *, void (*problem)(void *arg, const char *text), void *arg);

#endif
