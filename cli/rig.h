/*
 * Roles of the daemon, run for one command: what is to be tried is then done by the code that does it every day, and
 * what strangers wrote is parsed where it always is, in processes without rights.
 */
#ifndef CLI_RIG_H
#define CLI_RIG_H

#include <sys/types.h>

#include "mailsvc/role.h"

#define RIG_PARTS_MAX 4
#define RIG_CHANNELS_MAX 3

struct rig {
	int alive[2]; /* a pipe: its end ends the parts */
	pid_t parts[RIG_PARTS_MAX];
	size_t count;
};

struct rig_channel {
	enum role_id peer;
	int fd;
};

struct rig_part {
	const struct role *role;
	struct site *site;
	struct rig_channel channels[RIG_CHANNELS_MAX];
	size_t channel_count;
	int srs, secrets;                          /* descriptors for the role, -1 none */
	int out;                                   /* what `run` writes to, -1 none */
	int log;                                   /* where its log goes, from `info` on; -1: errors, to stderr */
	void (*before)(struct role_ctx *, void *); /* after the role's init; NULL: nothing */
	void (*run)(struct role_ctx *, int out, int log,
	    void *); /* it has no rights any more and has begun; NULL: it only serves */
	void *arg;
};

int rig_open(struct rig *, struct error *);
/* Starts one; all descriptors of the part are closed here.  A part that cannot begin says so on stderr and ends. */
int rig_start(struct rig *, const struct rig_part *, struct error *);
void rig_close(struct rig *); /* ends them all */
/* A resolver by the site's dns settings, for `count` askers: their ends go to fds. */
int rig_resolver(struct rig *, struct site *, const enum role_id *askers, int *fds, size_t count, struct error *);
/* Opens a file of the site's state folder for a part: -1 when it cannot be read, or is a link. */
int rig_state_file(const struct site *, const char *name);
/* Takes all that comes until the other side closes: -1 when that takes longer than ms, or is more than out holds. */
int rig_read(int fd, struct buf *out, int ms);

#endif
