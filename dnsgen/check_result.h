/*
 * What a check of the live world found: one row of `mailadm dns verify` and of `mailadm doctor`.
 */
#ifndef DNSGEN_CHECK_RESULT_H
#define DNSGEN_CHECK_RESULT_H

#include <stdbool.h>
#include <stddef.h>

struct check_result {
	char *check;   /* "mx", "ptr", "disk": one word, stable, for scripts */
	char *subject; /* the domain, address, file ... that was looked at */
	enum {
		CHECK_OK,
		CHECK_WARNING, /* works, but should be better */
		CHECK_WRONG,
		CHECK_UNKNOWN /* could not be asked: never counted as wrong */
	} state;
	char *seen;   /* what was found */
	char *remedy; /* what to do; "" when nothing */
};
struct check_results {
	struct check_result *at;
	size_t count;
};

/* Copies all four strings; seen is formatted. Control characters in them (answers are hostile) become '?'. */
void check_results_add(struct check_results *, int state, const char *check, const char *subject, const char *remedy,
    const char *seen, ...) __attribute__((format(printf, 6, 7)));
void check_results_free(struct check_results *);

const char *check_state_name(int state); /* ok, warning, wrong, unknown */
/* Is one of them wrong? */
bool check_results_wrong(const struct check_results *);

#endif
