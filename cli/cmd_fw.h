/* The subcommands of `mailadm fw`, in the table of cmd_fw.c; argv[0] is the subcommand's name. */
#ifndef CLI_CMD_FW_H
#define CLI_CMD_FW_H

#include "cli/cli.h"
#include "fwgen/fwgen.h"

#define FW_TEXT_MAX (64u << 20)
#define FW_OTHERS_MAX 64

int fw_diff_command(struct cli *, int argc, char **argv); /* cmd_fw_kernel.c */
int fw_load_command(struct cli *, int argc, char **argv);
int fw_status_command(struct cli *, int argc, char **argv); /* cmd_fw_status.c */
int fw_test_command(struct cli *, int argc, char **argv);   /* cmd_fw_test.c */

/* The model of the site for its role; NULL with the error printed: return EXIT_USAGE. */
struct fw_model *fw_model_of_cli(struct cli *);
/* Only the options of `mailadm fw NAME` itself: none.  EXIT_USAGE with a usage line when there are words behind. */
int fw_no_arguments(int argc, char **argv);
json_t *fw_lines_json(struct view);             /* an array of its lines */
void fw_warn_of_notes(const struct fw_model *); /* its notes, as warnings */

#endif
