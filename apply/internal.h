/* What the parts share, and what apply knows of a part beyond part.h. */
#ifndef APPLY_INTERNAL_H
#define APPLY_INTERNAL_H

#include "apply/generation.h"
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
#define FIREWALL_CAPTURED "ruleset.nft" /* what was loaded; not there when there was no table */
#define FIREWALL_CAPTURED_BOOT "boot.nft"
#define FIREWALL_TEXT_MAX (64u << 20)

/* The programs that the changes of a generation start: marked from here on, and ended once who applied it is gone. */
void orphans_mark(const struct apply_dir *, unsigned number);
void orphans_unmark(void);
void orphans_end(const struct apply_dir *, unsigned number);

/* JSON takes UTF-8 alone: what else stands in a text (words on a command line, bytes of a file, what another program
 * said) is replaced by '?'. */
json_t *json_text(const char *);
bool text_is_json(const char *);

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
