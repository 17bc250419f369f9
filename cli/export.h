/* mailadm export, by its other names too: store export, account export. */
#ifndef CLI_EXPORT_H
#define CLI_EXPORT_H

#include "cli.h"

/* argv[0]: the command's name, argv[1]: maildir or mbox, then ADDRESS or --all, then DIR. usage: whose to show. */
int export_command(struct cli *, int argc, char **argv, const struct command *usage);

#endif
