/* The machine under the host: clock, descriptors, users, memory, kernel, and updates that wait. */
#include <dirent.h>
#include <errno.h>
#include <grp.h>
#include <inttypes.h>
#include <linux/landlock.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/timex.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "doctor/doctor.h"
#include "lib/clock.h"
#include "lib/proc.h"
#include "lib/shell.h"
#include "lib/text.h"
#include "mailsvc/role.h"

#define FILES_WANTED 65536
#define PROC_MAX (1u << 20)
#define MAX_ERROR_US 1000000
#define MIB (1024u * 1024)

void doctor_clock(const struct doctor *d, struct check_results *out)
{
	struct timex t = { .modes = 0 };
	int state = adjtimex(&t);
	(void)d;
	if (state == -1)
		check_results_add(out, CHECK_UNKNOWN, "clock", "", "", "adjtimex: %s", strerror(errno));
	else if (t.status & STA_UNSYNC || state == TIME_ERROR)
		check_results_add(out, CHECK_WARNING, "clock", "",
		    "install and start chrony or systemd-timesyncd: certificates, DKIM and greylisting need the time",
		    "not synchronised");
	else if (t.maxerror > MAX_ERROR_US)
		check_results_add(out, CHECK_WARNING, "clock", "",
		    "look whether chrony or systemd-timesyncd reaches its servers",
		    "synchronised, but may be wrong by %ld s", t.maxerror / 1000000);
	else
		check_results_add(
		    out, CHECK_OK, "clock", "", "", "synchronised, wrong by %ld ms at most", t.maxerror / 1000);
}

static uint64_t limit_of(json_int_t pid)
{
	char *path = xasprintf("/proc/%lld/limits", (long long)pid);
	struct buf text = BUF_INIT(65536);
	struct error e;
	uint64_t soft = 0;
	if (file_read(path, 65536, &text, &e) == 0) {
		const char *line = strstr(buf_str(&text), "Max open files");
		if (line && strncmp(line + 14 + strspn(line + 14, " "), "unlimited", 9) == 0)
			soft = UINT64_MAX;
		else if (line)
			soft = strtoull(line + 14, NULL, 10);
	}
	buf_free(&text);
	free(path);
	return soft;
}

void doctor_files(const struct doctor *d, struct check_results *out)
{
	struct error e;
	json_t *status = doctor_host_status(d->site, &e);
	struct rlimit r = { 0 };
	uint64_t files = status ? limit_of(json_integer_value(json_object_get(status, "pid"))) : 0;
	const char *whose = files ? "the running host" : "a process started from here";
	json_decref(status);
	if (files == 0 && getrlimit(RLIMIT_NOFILE, &r) == 0)
		files = r.rlim_max;
	if (files < FILES_WANTED)
		check_results_add(out, CHECK_WARNING, "files", whose,
		    "set LimitNOFILE=65536 in the unit (ulimit -n without systemd)",
		    "%" PRIu64 " open files at most; each connection needs one or two", files);
	else
		check_results_add(out, CHECK_OK, "files", whose, "", "at least %d open files", FILES_WANTED);
}

void doctor_users(const struct doctor *d, struct check_results *out)
{
	uid_t ids[ROLE_COUNT + 1];
	size_t count = 0;
	bool fine = true;
	(void)d;
	if (geteuid() != 0) {
		check_results_add(out, CHECK_OK, "users", "", "", "not root: every role runs as the caller");
		return;
	}
	for (int id = 0; id <= ROLE_COUNT; id++) {
		const struct role *role = id < ROLE_COUNT ? role_by_id((enum role_id)id) : NULL;
		const char *name = id == ROLE_COUNT ? SHELL_USER : role ? role->user : NULL;
		const struct passwd *pw = name ? getpwnam(name) : NULL;
		if (!name)
			continue;
		if (!pw || pw->pw_uid == 0) {
			fine = false;
			check_results_add(out, CHECK_WRONG, "users", name,
			    "/usr/share/mailadm/create-users makes them all",
			    pw ? "it is root" : "there is no such user");
			continue;
		}
		for (size_t i = 0; i < count; i++) {
			if (ids[i] != pw->pw_uid || strcmp(name, "mailadm-auth") == 0)
				continue; /* auth and hash share one by design */
			fine = false;
			check_results_add(out, CHECK_WRONG, "users", name,
			    "give each role's user an id of its own (usermod -u)",
			    "it has the same id as another role's");
		}
		ids[count++] = pw->pw_uid;
	}
	if (fine)
		check_results_add(out, CHECK_OK, "users", "", "", "every role has its own");
}

static uint64_t number_in(const char *path, const char *name)
{
	struct buf text = BUF_INIT(PROC_MAX);
	struct error e;
	uint64_t n = 0;
	if (file_read(path, PROC_MAX, &text, &e) == 0) {
		const char *at = buf_str(&text);
		size_t len = strlen(name);
		while (at && strncmp(at, name, len) != 0)
			at = strchr(at, '\n') ? strchr(at, '\n') + 1 : NULL;
		n = at ? strtoull(at + len, NULL, 10) : 0;
	}
	buf_free(&text);
	return n;
}

void doctor_memory(const struct doctor *d, struct check_results *out)
{
	uint64_t total = number_in("/proc/meminfo", "MemTotal:") * 1024,
		 free_ = number_in("/proc/meminfo", "MemAvailable:") * 1024,
		 swap = number_in("/proc/meminfo", "SwapTotal:") * 1024,
		 killed = number_in("/proc/vmstat", "oom_kill ");
	char all[16], left[16];
	(void)d;
	text_format_size(total, all);
	text_format_size(free_, left);
	if (total == 0)
		check_results_add(out, CHECK_UNKNOWN, "memory", "", "", "/proc/meminfo says nothing");
	else if (killed > 0)
		check_results_add(out, CHECK_WARNING, "memory", "",
		    "see with dmesg which ones, and give the machine more memory or a swap file",
		    "the kernel has ended %" PRIu64 " processes for want of memory since it started", killed);
	else if (free_ < total / 20)
		check_results_add(out, CHECK_WARNING, "memory", "", "see what uses it (top), or give the machine more",
		    "%s left of %s", left, all);
	else if (swap == 0 && total < 1024ull * MIB)
		check_results_add(
		    out, CHECK_WARNING, "memory", "", "make a swap file of 1 GiB", "%s, and no swap", all);
	else
		check_results_add(out, CHECK_OK, "memory", "", "", "%s left of %s", left, all);
}

void doctor_kernel(const struct doctor *d, struct check_results *out)
{
	long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
	struct utsname u = { 0 };
	(void)d;
	uname(&u);
	if (prctl(PR_GET_SECCOMP, 0, 0, 0, 0) == -1)
		check_results_add(out, CHECK_WRONG, "kernel", u.release, "use a kernel with CONFIG_SECCOMP_FILTER",
		    "it has no seccomp, which the roles need");
	else if (abi < 1)
		check_results_add(out, CHECK_WARNING, "kernel", u.release,
		    "boot with lsm=landlock,... (Debian 12 has it), so that roles are held to their folders",
		    "Landlock is off; seccomp and users hold the roles");
	else
		check_results_add(out, CHECK_OK, "kernel", u.release, "", "seccomp, Landlock ABI %ld%s", abi,
		    abi < 4 ? " (no port rules: the firewall holds port 25)" : "");
}

/* Does the process run a file, or use a library, that has been replaced since? */
static bool is_outdated(json_int_t pid)
{
	char *path = xasprintf("/proc/%lld/exe", (long long)pid), link[4096];
	ssize_t len = readlink(path, link, sizeof(link) - 1);
	bool old = len > 10 && memcmp(link + len - 10, " (deleted)", 10) == 0;
	free(path);
	path = xasprintf("/proc/%lld/maps", (long long)pid);
	struct buf text = BUF_INIT(PROC_MAX);
	struct error e;
	if (!old && file_read(path, PROC_MAX, &text, &e) == 0)
		for (const char *at = buf_str(&text); !old && (at = strstr(at, ".so")) != NULL; at++) {
			size_t n = strcspn(at, "\n");
			old = n > 10 && memcmp(at + n - 10, " (deleted)", 10) == 0;
		}
	buf_free(&text);
	free(path);
	return old;
}

void doctor_reboot(const struct doctor *d, struct check_results *out)
{
	struct error e;
	struct utsname u = { 0 };
	json_t *status = doctor_host_status(d->site, &e);
	bool fine = true;
	uname(&u);
	char *modules = xasprintf("/lib/modules/%s", u.release);
	if (access("/run/reboot-required", F_OK) == 0) {
		fine = false;
		check_results_add(out, CHECK_WARNING, "reboot", u.release, "restart the machine when it suits",
		    "an update asks for it (/run/reboot-required)");
	} else if (access("/lib/modules", F_OK) == 0 && access(modules, F_OK) == -1) {
		fine = false;
		check_results_add(out, CHECK_WARNING, "reboot", u.release, "restart the machine when it suits",
		    "the running kernel is no longer installed");
	}
	if (status && is_outdated(json_integer_value(json_object_get(status, "pid")))) {
		fine = false;
		check_results_add(out, CHECK_WARNING, "reboot", "mailsvc", "systemctl restart mailadm",
		    "the running host, or a library that it uses, has been updated since it started");
	}
	if (fine)
		check_results_add(out, CHECK_OK, "reboot", u.release, "", "nothing waits for a restart");
	json_decref(status);
	free(modules);
}
