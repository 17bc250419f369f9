/*
 * Backups: a consistent copy of a running host, handed to restic, and its way back.
 *
 * What is copied is the log (segments that will never change again, hard-linked), the site file with its drop-ins and
 * public keys, the private keys, certificates, credentials and secrets.  The index is left out: it is derived from the
 * log at the first start after a restore.
 */
#ifndef BACKUP_BACKUP_H
#define BACKUP_BACKUP_H

#include "lib/log.h"
#include "site/site.h"

const struct site_backup *backup_find(const struct site *, const char *name); /* NULL: none of that name */

/*
 * Makes one snapshot.  store is a channel to a running store (store_admin_snapshot), or -1 when the host is stopped;
 * the caller holds it until this returns.  The repository and its password are made at the first run.  restic's summary
 * line (JSON) is appended to summary.
 */
int backup_run(const struct site *, const struct site_backup *, int store, struct buf *summary, struct error *);
/* Snapshots of one backup as restic's JSON array. */
int backup_list(const struct site *, const struct site_backup *, struct buf *json, struct error *);
/* Restores a snapshot ("latest" or an id) into dir, which must not exist or be empty: dir/site.conf, ready to serve
 * from there with its state in dir/state. */
int backup_restore(
    const struct site *, const struct site_backup *, const char *snapshot, const char *dir, struct error *);

#endif
