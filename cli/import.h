/* The importer: the half of a migration that talks to store (mailsvc/migrate/migrate.h has the other). */
#ifndef CLI_IMPORT_H
#define CLI_IMPORT_H

#include "cli.h"
#include "mailsvc/migrate/migrate.h"

enum import_kind { IMPORT_MAILDIR, IMPORT_MBOX, IMPORT_IMAP };
struct import {
	enum import_kind kind;
	const char *account; /* normalised */
	const char *from;    /* a path, or HOST[:PORT] */
	const char *mailbox; /* mbox: the folder that a file becomes */
	const char *label;
	struct reader_options options;
	struct migrate_server server; /* host, user and so on; fd is made here */
	const char *port;
};
/* An exit status. */
int import_run(struct cli *, struct import *);
/* Starts the reader of a source, which is opened now: its process, and the importer's end in *channel. -1: said. */
pid_t import_start_reader(struct import *, int *channel);
int import_passwords(struct cli *, const char *path);

#endif
