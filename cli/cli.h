/* The command line: one table of commands, each in its own cmd_*.c. */
#ifndef CLI_CLI_H
#define CLI_CLI_H

#include <jansson.h>
#include <stdbool.h>

#include "lib/log.h"
#include "site/site.h"

enum { EXIT_YES = 0, EXIT_NO = 1, EXIT_USAGE = 2 }; /* fine; the answer is no; usage or cannot */

struct cli {
	const char *site_path; /* -c FILE, default /etc/mailadm/site.conf */
	bool json;             /* --json, before or behind the subcommand */
	bool tty;              /* stdout is a terminal */
	struct site *site;     /* after cli_site */
	bool settles;          /* the command itself deals with an apply that was left behind: cli_site leaves it alone */
};

struct command {
	const char *name;     /* "queue" */
	const char *synopsis; /* "list | show ID | retry [ID] | drop ID" */
	const char *summary;  /* one line */
	const char *help;     /* options and at least one example, shown by --help below the synopsis */
	int (*run)(struct cli *, int argc, char **argv); /* argv[0] is the command's name; returns an exit status */
};

extern const struct command *const commands[]; /* in the order of the help, NULL-terminated */
extern const struct command cmd_plan, cmd_apply, cmd_confirm, cmd_rollback;
extern const struct command cmd_account, cmd_alias, cmd_backup, cmd_check, cmd_client, cmd_dns, cmd_doctor, cmd_export, cmd_fw, cmd_import, cmd_init,
    cmd_explain, cmd_log, cmd_mailq, cmd_queue, cmd_replay, cmd_report, cmd_reload, cmd_send, cmd_sendmail, cmd_serve, cmd_site, cmd_status, cmd_store;

/* Loads the site once; prints its errors (warnings are for `check`); NULL (and the caller returns EXIT_USAGE) when it
 * has some. */
struct site *cli_site(struct cli *);
/* "mailadm: text" on stderr; returns EXIT_USAGE so that callers can return it. */
int cli_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* Prints usage of the command on stderr; returns EXIT_USAGE. */
int cli_usage(const struct command *);
bool cli_wants_help(
    struct cli *, const struct command *, int argc, char **argv); /* --help or -h: prints it to stdout */

/* A table: on a terminal aligned with a header, in a pipe plain tab-separated lines without one, with --json an array
 * of objects. */
struct cli_table;
struct cli_table *cli_table_new(
    struct cli *, const char *const *columns); /* NULL-terminated; names are the JSON keys, shown in capitals */
void cli_table_add(struct cli_table *, const char *const *cells); /* as many as columns; NULL is empty */
void cli_table_print(struct cli_table *);                         /* and frees it */
void cli_json_print(json_t *);                                    /* steals it */
json_t *cli_json_text(const char *);                              /* one that is no UTF-8 has its high bytes replaced */
const char *cli_json_get(const json_t *object, const char *key);  /* the text there, or "" */
void cli_put(const char *);                                       /* a text from outside, for people: no control characters */

/* Connects to the running host's control socket (run_dir/control.sock). -1 with a message that says what to do. */
int cli_control(struct cli *, struct error *);
/* Asks monitor for a channel to store over a control connection: the fd for store_admin_*. */
int cli_store(struct cli *, struct error *);

/* Provided by the commands of these names, for init, check, account and alias. */
int dns_print_records(struct cli *);                               /* what to publish */
int dns_check_with_tools(struct cli *, struct findings *);         /* named-checkzone; -1 when it adds an error */
int fw_bans_command(struct cli *, int argc, char **argv);            /* argv[0]: ban, unban or bans */
int fw_check_with_tools(struct cli *, struct findings *);          /* nft -c */
int cli_reload_if_running(struct cli *);                           /* EXIT_YES also when nothing runs */
json_t *client_settings(const struct site *, const char *address); /* an array; address may be NULL */
void client_print(struct cli *, const char *address);

/* Reads one line from fd 0 without its newline, or asks on the terminal without echo (twice when `twice`). -1 on
 * failure. */
int cli_read_password(const char *prompt, bool twice, char *out, size_t size);

#endif
