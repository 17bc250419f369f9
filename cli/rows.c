/* rows.h */
#include "cli/rows.h"

void rows_print(struct cli *cli, const struct check_results *rows)
{
	static const char *const columns[] = { "check", "subject", "state", "seen", "remedy", NULL };
	static const int order[] = { CHECK_WRONG, CHECK_WARNING, CHECK_UNKNOWN, CHECK_OK };
	struct cli_table *table = cli_table_new(cli, columns);

	for (size_t o = 0; o < sizeof(order) / sizeof(order[0]); o++) {
		for (size_t i = 0; i < rows->count; i++) {
			const struct check_result *r = &rows->at[i];
			const char *cells[] = { r->check, r->subject, check_state_name((int)r->state), r->seen,
				r->remedy };

			if ((int)r->state == order[o])
				cli_table_add(table, cells);
		}
	}
	cli_table_print(table);
}
