/* Rows of checks as a table: status, doctor. */
#ifndef CLI_ROWS_H
#define CLI_ROWS_H

#include "cli/cli.h"
#include "dnsgen/check_result.h"

/* What is wrong stands first, then warnings, unknown, ok; within those the order stays. */
void rows_print(struct cli *, const struct check_results *);

#endif
