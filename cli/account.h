/* Parts of mailadm account with files of their own. */
#ifndef CLI_ACCOUNT_H
#define CLI_ACCOUNT_H

#include "dropin.h"

/*
 * The life of an account: suspend, close, resume, rename, hand-over, export, erase, undelete, forward, auto-reply.
 * argv[1] is the verb; *status: the exit status.  false: it is none of these.
 */
bool account_life(struct cli *, int argc, char **argv, int *status);
#define ACCOUNT_LIFE_SYNOPSIS                                                                                          \
	"\n  undelete ADDRESS [--since 2d] [--mailbox NAME] [--list]"                                                  \
	"\n  suspend | close | resume ADDRESS"                                                                         \
	"\n  rename OLD NEW [--alias]"                                                                                 \
	"\n  hand-over LEAVER TO [--folder NAME]"                                                                      \
	"\n  export maildir|mbox ADDRESS DIR"                                                                          \
	"\n  erase ADDRESS [--yes]"                                                                                    \
	"\n  forward ADDRESS TO... [--no-copy]"                                                                        \
	"\n  forward ADDRESS --off"                                                                                    \
	"\n  auto-reply ADDRESS [--text FILE] [--subject S] [--from DAY] [--until DAY]"                                \
	"\n  auto-reply ADDRESS --off"
#define ACCOUNT_LIFE_HELP                                                                                              \
	"undelete    brings expunged mail back, or with --list shows it; limits.undelete says how long it is kept\n"   \
	"suspend     nobody logs in any more, sessions end; mail keeps coming.  close: mail is refused too (550 "      \
	"5.2.1), or,\n"                                                                                                \
	"            with forward, only sent on.  resume: as before; also lets one send that limits.send_stop stopped\n" \
	"rename      the account, its mail, password and rights bear the new address; --alias keeps the old one for "  \
	"mail\n"                                                                                                       \
	"hand-over   a leaver's mailboxes become folders of another account, below --folder (the leaver's local "      \
	"part)\n"                                                                                                      \
	"export      is mailadm export, for the person who asks for his mail\n"                                        \
	"erase       forgets the mail of an account that is suspended, closed or no more in the site, and its "        \
	"password; the\n"                                                                                              \
	"            bytes leave the disk with mailadm store compact --all; asks, unless --yes\n"                      \
	"forward     sends its mail on, and keeps a copy unless --no-copy\n"                                           \
	"auto-reply  answers people, each once in seven days; the text is read from stdin or --text\n"

/* account_undelete.c */
int account_undelete(struct cli *, int argc, char **argv);
/* cmd_account.c.  Takes the address's password out of STATE/credentials, where one may be. -1: said. */
int account_forget_password(const struct site *, const char *address);
/*
 * account_mail.c: what the site says about an account's mail.  account_own is the element of an account that account
 * add made; NULL: said, with what to do where it was written by hand, and *status is the exit status.
 */
config_setting_t *account_own(
    struct cli *, struct dropin *, const char *address, const char *by_hand, unsigned *index, int *status);
int account_set_state(struct cli *, const char *argument, const char *verb);
int account_forward(struct cli *, int argc, char **argv);
int account_auto_reply(struct cli *, int argc, char **argv);

#endif
