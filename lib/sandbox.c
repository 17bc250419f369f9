/*
 * sandbox.h: the order in which rights go.  Paths for Landlock are opened first, while the ids may still walk there;
 * then ids, then Landlock, then seccomp, after which nothing here could be undone or repeated.
 */
#include "sandbox.h"

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sandbox_impl.h"

static char in_force[64] = "none";
static bool entered;

#ifdef SANDBOX_ASAN
/* The leak check at exit attaches to its own process by ptrace, which a sandbox refuses. */
int __lsan_is_turned_off(void);
int __lsan_is_turned_off(void)
{
	return entered;
}
#endif

/* What is kept of the capabilities, once the ids are others: one, in force; none can be had back by exec. */
static int keep_net_admin(struct error *e)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct caps[_LINUX_CAPABILITY_U32S_3] = { { 0 } };
	const uint32_t wanted = CAP_TO_MASK(CAP_NET_ADMIN);

	if (syscall(SYS_capget, &header, caps) == -1)
		return error_errno(e, "capget");
	for (size_t i = 0; i < _LINUX_CAPABILITY_U32S_3; i++) {
		uint32_t kept = i == CAP_TO_INDEX(CAP_NET_ADMIN) ? caps[i].permitted & wanted : 0;

		caps[i] = (struct __user_cap_data_struct){ .effective = kept, .permitted = kept };
	}
	if (syscall(SYS_capset, &header, caps) == -1)
		return error_errno(e, "capset");
	return prctl(PR_SET_KEEPCAPS, 0) == -1 ? error_errno(e, "prctl") : 0;
}

static int change_ids(uid_t uid, gid_t gid, size_t ngroups, const gid_t *groups, struct error *e)
{
	if (setgroups(ngroups, groups) == -1)
		return error_errno(e, "setgroups");
	if (setresgid(gid, gid, gid) == -1)
		return error_errno(e, "setresgid %u", gid);
	if (setresuid(uid, uid, uid) == -1)
		return error_errno(e, "setresuid %u", uid);
	if (uid != 0 && (setuid(0) == 0 || seteuid(0) == 0))
		return error_set(e, "user id 0 could be taken back after giving it up");
	if (gid != 0 && (setgid(0) == 0 || setegid(0) == 0))
		return error_set(e, "group id 0 could be taken back after giving it up");
	return 0;
}

/* 1: changed; 0: nothing to change; -1. */
static int drop_ids(const struct sandbox *s, struct error *e)
{
	gid_t extra = 0;
	int death = 0;
	pid_t parent = getppid();

	if (geteuid() != 0 || s->user == NULL)
		return 0;
	const struct passwd *pw = getpwnam(s->user);
	if (pw == NULL)
		return error_set(e, "user %s does not exist; make install creates it", s->user);
	uid_t uid = pw->pw_uid;
	gid_t gid = pw->pw_gid;
	if (s->group != NULL) {
		const struct group *gr = getgrnam(s->group);
		if (gr == NULL)
			return error_set(e, "group %s does not exist; make install creates it", s->group);
		extra = gr->gr_gid;
	}
	prctl(PR_GET_PDEATHSIG, &death);
	if ((s->may & SANDBOX_NET_ADMIN) && prctl(PR_SET_KEEPCAPS, 1) == -1)
		return error_errno(e, "prctl");
	if (change_ids(uid, gid, s->group != NULL, &extra, e) == -1)
		return -1;
	if ((s->may & SANDBOX_NET_ADMIN) && keep_net_admin(e) == -1)
		return -1;
	/* A change of ids clears it (prctl(2)). */
	if (death != 0 && (prctl(PR_SET_PDEATHSIG, death) == -1 || getppid() != parent))
		return error_set(e, "the parent process is gone");
	return 1;
}

int sandbox_enter(const struct sandbox *s, struct error *e)
{
	int abi = 0;
	int ruleset = landlock_prepare(s, &abi, e);

	if (ruleset == -2)
		return -1;
	int ids = drop_ids(s, e);
	if (ids == -1 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == -1 || prctl(PR_SET_DUMPABLE, 0) == -1) {
		if (ruleset != -1)
			close(ruleset);
		return ids == -1 ? -1 : error_errno(e, "prctl");
	}
	if (ruleset == -1)
		log_warnx("sandbox: this kernel has no Landlock; files and ports are held by ids and seccomp alone");
	else if (landlock_enforce(ruleset, e) == -1)
		return -1;
	if (abi > 0 && abi < 4 && (s->may & SANDBOX_CONNECT_INET))
		log_info("sandbox: Landlock ABI %d has no port rules; the firewall holds them", abi);
	const char *who = ids != 1 ? "" : s->may & SANDBOX_NET_ADMIN ? "uid cap-net-admin " : "uid ";
	if (abi > 0)
		snprintf(in_force, sizeof(in_force), "%slandlock-%d seccomp", who, abi);
	else
		snprintf(in_force, sizeof(in_force), "%sseccomp", who);
	entered = true;
	return seccomp_enforce(s->may, e);
}

const char *sandbox_describe(void)
{
	return in_force;
}
