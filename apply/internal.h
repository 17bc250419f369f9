/* What the parts share, and what apply knows of a part beyond part.h. */
#ifndef APPLY_INTERNAL_H
#define APPLY_INTERNAL_H

#include "apply/part.h"

#define SITE_TEXT_MAX (64u << 20) /* a flattened site */
#define DIFF_LINES 200            /* of each side, in a change */

/* Captured files by name in a part's folder. take: 1, 0 when there is none, -1. */
int capture_put(const char *dir, const char *name, struct view text, struct error *);
int capture_take(const char *dir, const char *name, size_t max, struct buf *text, struct error *);

/* Firewall: the rules of the site as the boot unit loads them, from STATE/firewall.nft, which only a confirmed apply
 * writes. */
int firewall_boot_text(const struct site *, struct buf *text, struct error *);
char *firewall_boot_path(const char *state_dir);
#define FIREWALL_CAPTURED_BOOT "boot.nft"
#define FIREWALL_TEXT_MAX (64u << 20)

/* Daemon: the site the host serves: 1 with its flattened text, 0 when it does not run, -1. */
int daemon_site(const struct site *, struct buf *text, struct error *);
/* Makes the running host serve a flattened site; fine when none runs. */
int daemon_serve(const struct site *, struct view text, struct error *);

/* Timers: the whole of /etc/cron.d/mailadm for the site. */
int timers_cron(const struct site *, const char *mailadm, struct buf *out, struct error *);

/* The machine in front of the host: no mail, no zones. */
bool is_gateway(const struct site *);
/* The path of the site file whatever the current folder is; malloc'd. */
char *site_full_path(const struct site *);

/* May this process change the machine (rules, units), and is the site that of the machine?  Else why. */
bool machine_is_ours(const struct site *, struct buf *why);

#endif
