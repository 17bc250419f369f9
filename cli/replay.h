/* mailadm replay: the parts of it. */
#ifndef CLI_REPLAY_H
#define CLI_REPLAY_H

#include "cli/cli.h"
#include "mailsvc/role.h"
#include "mailsvc/smtp/kept.h"

#define REPLAY_MESSAGE_MAX (1u << 30)
#define REPLAY_RESULT_MAX (64u << 20)

struct replay {
	const struct kept_envelope *given;
	struct view message;   /* with CRLF */
	const char *host_name; /* of the site in use: whose fields on top of the message are taken off */
	bool dns;
};

/*
 * replay_run.c.  What the site would do, in a process without rights: an object with "envelope", "recipients",
 * "checks", "reply", "accounts", "leaves" ..., or NULL with e.
 */
json_t *replay_run(struct site *, const struct replay *, struct error *e);

/* replay_checks.c: what a file with the role's log says of the checks, an object. */
json_t *replay_checks(int log);
/* replay_story.c, pure: where the site leads a recipient; how what leaves for one leaves. */
json_t *replay_route(const struct site *, const char *recipient);
json_t *replay_leaves(const struct site *, const char *sender, struct view recipient);

#endif
