/* The parts of sandbox_enter, in their order; nobody else includes this. */
#ifndef LIB_SANDBOX_IMPL_H
#define LIB_SANDBOX_IMPL_H

#include "sandbox.h"

#ifdef __SANITIZE_ADDRESS__
#define SANDBOX_ASAN /* gcc */
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANDBOX_ASAN /* clang */
#endif
#endif

/* A ruleset descriptor with the paths resolved; -1 when the kernel has no Landlock (*abi is 0 then), -2 on error. */
int landlock_prepare(const struct sandbox *, int *abi, struct error *);
int landlock_enforce(int ruleset, struct error *);
int seccomp_enforce(unsigned may, struct error *);

#endif
