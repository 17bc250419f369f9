/*
 * install.h.  The old file is kept as a hard link beside the new one until all went well, so that putting it back needs
 * no space.  Serials are written before the first rename: they never fall.
 */
#include "dnsgen/tools.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/proc.h"

#define LOCK_LIMITS 5 /* as long as so many hanging programs take */
#define LOCK_POLL_MS 20
#define RELOAD_EACH_MAX 50 /* more zones than this are reloaded together */

struct file *files_add(struct files *f, const char *name, const char *zone, mode_t mode)
{
	if ((f->count & (f->count - 1)) == 0)
		f->at = xreallocarray(f->at, f->count ? f->count * 2 : 1, sizeof(*f->at));
	struct file *one = &f->at[f->count++];
	*one = (struct file){ .name = xstrdup(name), .zone = zone ? xstrdup(zone) : NULL, .mode = mode };
	one->want = BUF_INIT(ZONE_TEXT_MAX);
	one->now = BUF_INIT(ZONE_TEXT_MAX);
	return one;
}

void files_free(struct files *f)
{
	for (size_t i = 0; i < f->count; i++) {
		free(f->at[i].name);
		free(f->at[i].zone);
		buf_free(&f->at[i].want);
		buf_free(&f->at[i].now);
	}
	free(f->at);
	*f = (struct files){ 0 };
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Folders and the like of such a name are not ours. */
static int only_files(const struct dirent *d)
{
	return d->d_type == DT_REG || d->d_type == DT_UNKNOWN;
}

static int add_stale_in(const char *dir, const char *below, const char *ending, struct files *f, char **known,
    size_t count, struct error *e)
{
	char *path = xasprintf("%s/%s", dir, below);
	struct dirent **names = NULL;
	int n = scandir(path, &names, only_files, alphasort), result = 0;
	if (n == -1 && errno != ENOENT)
		result = error_errno(e, "%s: cannot be read", path);
	for (int i = 0; i < n; i++) {
		char *name = xasprintf("%s%s", below, names[i]->d_name);
		size_t len = strlen(name), end = strlen(ending);
		if (names[i]->d_name[0] != '.' && len > end && strcmp(name + len - end, ending) == 0 &&
		    (count == 0 || bsearch(&name, known, count, sizeof(*known), by_name) == NULL)) {
			struct file *stale = files_add(f, name, NULL, 0644);
			stale->remove = true;
			if (strcmp(ending, ".zone") == 0)
				stale->zone = xasprintf("%.*s", (int)(len - end), name);
		}
		free(name);
		free(names[i]);
	}
	free(names);
	free(path);
	return result;
}

int files_add_stale(const char *dir, struct files *f, struct error *e)
{
	size_t count = f->count;
	char **known = xcalloc(count + 1, sizeof(*known));
	for (size_t i = 0; i < count; i++)
		known[i] = f->at[i].name;
	qsort(known, count, sizeof(*known), by_name);
	int result = add_stale_in(dir, "", ".zone", f, known, count, e);
	if (result == 0)
		result = add_stale_in(dir, "mta-sts/", ".txt", f, known, count, e);
	if (result == 0)
		result = add_stale_in(dir, "", &OPTIONS_FRAGMENT[strlen("named.conf")], f, known, count, e);
	free(known);
	return result;
}

static char *place(const char *dir, const struct file *f, const char *ending)
{
	const char *slash = strrchr(f->name, '/');
	return slash ? xasprintf("%s/%.*s/%s%s%s", dir, (int)(slash - f->name), f->name, ending[0] ? "." : "",
			   slash + 1, ending)
	             : xasprintf("%s/%s%s%s", dir, ending[0] ? "." : "", f->name, ending);
}

/*
 * What stands in the folder and is not ours stays there.  A zone or a fragment says so in its first line; a policy
 * cannot (RFC 8461), it is ours when a zone of that name was.
 */
static bool is_ours(struct file *f, const struct serials *known)
{
	static const char mark[] = "ritten by mailadm", policies[] = "mta-sts/";
	if (strncmp(f->name, policies, sizeof(policies) - 1) != 0)
		return memmem(buf_str(&f->now), strcspn(buf_str(&f->now), "\n"), mark, sizeof(mark) - 1) != NULL;
	const char *name = f->name + sizeof(policies) - 1;
	char *zone = xasprintf("%.*s", (int)(strlen(name) - strlen(".txt")), name);
	bool ours = known == NULL || serials_find(known, zone) != NULL;
	free(zone);
	return ours;
}

static int look(const char *path, struct file *f, const struct serials *known, struct error *e)
{
	int there = file_read_there(path, ZONE_TEXT_MAX, &f->now, e);
	f->there = there == 1;
	f->foreign = f->there && f->now.len > 0 && !is_ours(f, known);
	if (f->remove)
		f->there = f->there && !f->foreign && f->now.len > 0;
	f->differs = f->remove   ? f->there
	             : !f->there ? true
	             : f->zone   ? !zone_text_same(buf_view(&f->want), buf_view(&f->now))
	                         : f->want.len != f->now.len ||
	                             (f->want.len && memcmp(f->want.data, f->now.data, f->want.len) != 0);
	return there == -1 ? -1 : 0;
}

int files_look(const char *dir, struct files *files, const struct serials *known, struct error *e)
{
	int result = 0;
	for (size_t i = 0; i < files->count && result == 0; i++) {
		char *path = place(dir, &files->at[i], "");
		result = look(path, &files->at[i], known, e);
		free(path);
	}
	return result;
}

/* A zone or fragment of the administrator's own is not written over. (A policy is: the site says what it is.) */
static int refuse_foreign(const char *dir, const struct files *files, struct error *e)
{
	for (size_t i = 0; i < files->count; i++) {
		const struct file *f = &files->at[i];
		if (f->foreign && !f->remove && f->differs && strchr(f->name, '/') == NULL)
			return error_set(e,
			    "%s/%s was not written by mailadm; move it away, or give dns.zone_dir another folder", dir,
			    f->name);
	}
	return 0;
}

/* Gives each zone that differs its serial: above the file's and the remembered one. */
static void number(struct files *files, struct serials *serials)
{
	uint32_t now = (uint32_t)clock_wall();
	for (size_t i = 0; i < files->count; i++) {
		struct file *f = &files->at[i];
		struct view digits;
		uint32_t last = 0, other;
		char digest[SERIALS_DIGEST];
		if (f->zone == NULL || f->remove)
			continue;
		bool known = zone_text_serial(buf_view(&f->now), &digits, &last);
		const struct serial *kept = serials_find(serials, f->zone);
		zone_text_digest(buf_view(&f->want), digest);
		if (!f->differs && known && (kept == NULL || !serial_above(kept->value, last))) {
			if (kept == NULL || serial_above(last, kept->value))
				serials_set(serials, f->zone, last, digest);
			continue;
		}
		f->differs = true; /* named may have seen the remembered serial, with other content */
		bool lost = !f->there && kept && strcmp(kept->digest, digest) == 0;
		if (kept && (!known || serial_above(kept->value, last)))
			last = kept->value;
		other = lost ? kept->value : known || kept ? serial_next(last, now) : now;
		struct buf text = BUF_INIT(ZONE_TEXT_MAX);
		zone_text_with_serial(buf_view(&f->want), other, &text);
		buf_free(&f->want);
		f->want = text;
		serials_set(serials, f->zone, other, digest);
	}
}

/*
 * To the group that named runs with.  Named may write in these folders, and who has taken it over must not lead us to
 * another file or folder by a link.  A mode of 0 stays as it is.
 */
static int give(const char *path, gid_t group, mode_t mode, struct error *e)
{
	int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC), result = -1;
	struct stat st;
	if (fd == -1 && errno == ELOOP)
		error_set(e, "%s: is a link; with dns.sign it has to be the folder itself", path);
	else if (fd == -1 || fstat(fd, &st) == -1)
		error_errno(e, "%s", path);
	else if (!S_ISDIR(st.st_mode) && (!S_ISREG(st.st_mode) || st.st_nlink != 1 || st.st_uid != geteuid()))
		error_set(e, "%s: is not what mailadm made; move it away", path);
	else if (fchown(fd, (uid_t)-1, group) == -1 || (mode && fchmod(fd, mode) == -1))
		error_errno(e, "%s: cannot be given to the group bind", path);
	else
		result = 0;
	if (fd != -1)
		close(fd);
	return result;
}

/* The new files beside the old ones, and checked there. */
static int stage(const char *dir, struct files *files, bool check, struct error *e)
{
	const struct group *bind = getgrnam("bind");
	int result = 0;
	for (size_t i = 0; i < files->count && result == 0; i++) {
		struct file *f = &files->at[i];
		if (!f->differs || f->remove)
			continue;
		char *path = place(dir, f, ".new");
		result = file_write_atomic(path, buf_view(&f->want), f->mode, e);
		if (result == 0 && (f->mode & 04) == 0 && bind && geteuid() == 0)
			result = give(path, bind->gr_gid, 0, e);
		if (result == 0 && check)
			result = named_check(f, path, e);
		free(path);
	}
	return result;
}

static void unlink_all(const char *dir, const struct files *files, const char *ending)
{
	for (size_t i = 0; i < files->count; i++) {
		char *path = place(dir, &files->at[i], ending);
		unlink(path);
		free(path);
	}
}

static void put_back(const char *dir, struct files *files)
{
	for (size_t i = files->count; i-- > 0;) {
		struct file *f = &files->at[i];
		char *path = place(dir, f, ""), *old = place(dir, f, ".old");
		if (f->placed && (f->kept ? rename(old, path) : unlink(path)) == -1)
			log_warn("event=zone file=%s reason=\"the old one cannot be put back\"", path);
		free(path);
		free(old);
	}
}

static int switch_over(const char *dir, struct files *files, struct error *e)
{
	int result = 0;
	for (size_t i = 0; i < files->count && result == 0; i++) {
		struct file *f = &files->at[i];
		if (!f->differs)
			continue;
		char *path = place(dir, f, ""), *new = place(dir, f, ".new"), *old = place(dir, f, ".old");
		f->kept = f->there && link(path, old) == 0;
		if (f->there && !f->kept)
			result = error_errno(e, "%s: cannot be kept", path);
		else if (f->remove ? unlink(path) == -1 : rename(new, path) == -1)
			result = error_errno(e, "%s: cannot be replaced", path);
		else
			f->placed = true;
		free(path);
		free(new);
		free(old);
	}
	return result;
}

/* all: also what does not differ, since an earlier push ended before it told named. */
static enum told tell_each(const struct site *s, const struct files *files, bool all, bool conf, struct error *why)
{
	size_t zones = 0;
	const char *last = NULL;
	enum told result = conf ? rndc(s, "reconfig", NULL, why) : TOLD;
	for (size_t i = 0; i < files->count; i++)
		if ((all || files->at[i].differs) && files->at[i].zone && !files->at[i].remove) {
			zones++;
			last = files->at[i].zone;
		}
	if (result == TOLD && zones > RELOAD_EACH_MAX) {
		result = rndc(s, "reload", NULL, why);
		return result == TOLD ? rndc(s, "zonestatus", last, why) : result; /* is the fragment included? */
	}
	for (size_t i = 0; i < files->count && result == TOLD; i++)
		if ((all || files->at[i].differs) && files->at[i].zone && !files->at[i].remove)
			result = rndc(s, "reload", files->at[i].zone, why);
	return result;
}

/* A fragment that is new cannot have been included: that is a warning, later it is an error. */
static int tell_named(
    const struct site *s, const struct files *files, bool all, struct findings *warnings, struct error *e)
{
	const struct site_origin whole = { s->path, 0 };
	bool conf = all, first = false;
	struct error why = { "" };
	for (size_t i = 0; i < files->count; i++) {
		const struct file *f = &files->at[i];
		conf = conf || (f->differs && strncmp(f->name, "named.conf", 10) == 0);
		first = first || (!f->there && !f->remove && strcmp(f->name, FRAGMENT) == 0);
	}
	enum told told = tell_each(s, files, all, conf, &why);
	if (told == REFUSED || (told == UNKNOWN_ZONE && !first))
		return error_set(e, "%s%s", why.text,
		    told == REFUSED ? "" : "; does named.conf include " FRAGMENT " of dns.zone_dir?");
	if (told != TOLD && warnings)
		findings_add(warnings, true, &whole,
		    "named does not %s: %s; %s include \"%s/" FRAGMENT "\"; in named.conf",
		    told == NOT_RUNNING ? "run" : "know the zones yet", why.text,
		    told == NOT_RUNNING ? "start it, with" : "write", s->dns.zone_dir);
	return 0;
}

/*
 * The old files, with serials above those that named may have loaded.  Where that cannot be written the file itself
 * comes back, and the next push numbers it.
 */
static void put_back_renumbered(const char *dir, struct files *files, struct serials *serials, const char *state)
{
	struct buf text = BUF_INIT(ZONE_TEXT_MAX);
	struct error e = { "rename failed" };
	put_back(dir, files);
	for (size_t i = 0; i < files->count; i++) {
		struct file *f = &files->at[i];
		const struct serial *tried = f->placed && f->kept && f->zone ? serials_find(serials, f->zone) : NULL;
		char digest[SERIALS_DIGEST], *path = place(dir, f, "");
		uint32_t next = tried ? serial_next(tried->value, (uint32_t)clock_wall()) : 0;
		if (tried) {
			buf_reset(&text);
			zone_text_with_serial(buf_view(&f->now), next, &text);
			zone_text_digest(buf_view(&f->now), digest);
			serials_set(serials, f->zone, next, digest);
			char *new = place(dir, f, ".new");
			if (file_write_atomic(new, buf_view(&text), f->mode, &e) == -1 || rename(new, path) == -1)
				log_warnx("event=zone file=%s reason=\"%s\"", path, e.text);
			free(new);
		}
		free(path);
	}
	buf_reset(&text);
	serials_text(serials, &text);
	if (file_write_atomic(state, buf_view(&text), 0600, &e) == -1)
		log_warnx("event=zone file=%s reason=\"%s\"", state, e.text);
	buf_free(&text);
}

static int make_folders(const struct site *s, struct error *e)
{
	const struct group *bind = getgrnam("bind");
	char *sts = xasprintf("%s/mta-sts", s->dns.zone_dir), *keys = xasprintf("%s/keys", s->dns.zone_dir);
	int result = file_mkdirs(s->dns.zone_dir, 0755, e) == -1 || file_mkdirs(sts, 0755, e) == -1 ? -1 : 0;
	if (result == 0 && s->dns.sign) {
		result = file_mkdirs(keys, 0750, e);
		/* Sticky: named writes its own files there and cannot take ours away. */
		if (result == 0 && bind && geteuid() == 0)
			result = give(s->dns.zone_dir, bind->gr_gid, 01775, e) == -1
			             ? -1
			             : give(keys, bind->gr_gid, 0770, e);
	}
	free(sts);
	free(keys);
	return result;
}

/* What a push that was killed left: ".NAME.new", perhaps with file_write_atomic's ending, and ".NAME.old". */
static void sweep(const char *dir, const char *below)
{
	static const char *const marks[] = { ".zone.new", ".txt.new", ".mailadm.new", ".zone.old", ".txt.old",
		".mailadm.old" };
	char *path = xasprintf("%s/%s", dir, below);
	struct dirent **names = NULL;
	int n = scandir(path, &names, NULL, NULL);
	for (int i = 0; i < n; i++) {
		bool ours = false;
		for (size_t m = 0; m < sizeof(marks) / sizeof(marks[0]); m++)
			ours = ours || strstr(names[i]->d_name, marks[m]) != NULL;
		if (names[i]->d_name[0] == '.' && ours) {
			char *left = xasprintf("%s/%s", path, names[i]->d_name);
			unlink(left);
			free(left);
		}
		free(names[i]);
	}
	free(names);
	free(path);
}

/* The lock file holds a byte from the first rename until named was told, so that the next push knows of one that ended
 * between. */
static bool was_pending(int lock)
{
	struct stat st;
	return fstat(lock, &st) == 0 && st.st_size > 0;
}

static int set_pending(int lock, struct error *e)
{
	return pwrite(lock, "p", 1, 0) == 1 && fsync(lock) == 0 ? 0 : error_errno(e, "serials.lock cannot be written");
}

/*
 * The files into place and named told, or everything back.  The way back itself (not new) keeps the files that it
 * brought, also where named cannot be told: the next push tells it.
 */
static int replace(const struct site *s, struct files *files, struct serials *serials, const char *state, int lock,
    bool new, struct findings *warnings, struct error *e)
{
	const struct site_origin whole = { s->path, 0 };
	const char *dir = s->dns.zone_dir;
	struct error none;
	bool told = true, all = was_pending(lock);
	if (set_pending(lock, e) == -1)
		return -1;
	int result = switch_over(dir, files, e);
	if (result == -1) {
		put_back(dir, files);
		told = !all;
	} else if ((result = tell_named(s, files, all, warnings, e)) == -1 && !new) {
		findings_add(
		    warnings, true, &whole, "named was not told of its zones: %s; run mailadm dns push", e->text);
		result = 0;
		told = false;
	} else if (result == -1) {
		put_back_renumbered(dir, files, serials, state);
		told = tell_named(s, files, all, NULL, &none) == 0;
	}
	if (told && ftruncate(lock, 0) == -1)
		log_warnx("event=zone reason=\"serials.lock cannot be emptied\"");
	return result;
}

static int install(const struct site *s, struct files *files, struct serials *serials, const char *state, int lock,
    bool check, struct findings *warnings, struct error *e)
{
	struct buf before = BUF_INIT(ZONE_TEXT_MAX), after = BUF_INIT(ZONE_TEXT_MAX);
	serials_text(serials, &before);
	number(files, serials);
	serials_text(serials, &after);
	int result = stage(s->dns.zone_dir, files, check, e);
	if (result == 0 && (before.len != after.len || memcmp(before.data, after.data, after.len) != 0))
		result = file_write_atomic(state, buf_view(&after), 0600, e);
	if (result == 0)
		result = replace(s, files, serials, state, lock, check, warnings, e);
	buf_free(&before);
	buf_free(&after);
	return result;
}

/* One at a time: the descriptor holds it.  A push ends, since all that it runs has a limit. -1 on error. */
static int take_lock(const struct site *s, struct error *e)
{
	char *path = site_state(s, "serials.lock");
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600), got = -1;
	uint64_t end = clock_mono_ms() + LOCK_LIMITS * 1000ull * proc_limit();
	while (fd != -1 && (got = flock(fd, LOCK_EX | LOCK_NB)) == -1 && (errno == EWOULDBLOCK || errno == EINTR) &&
	       clock_mono_ms() < end)
		poll(NULL, 0, LOCK_POLL_MS);
	if (got == -1) {
		if (fd != -1 && errno == EWOULDBLOCK)
			error_set(e, "%s: another push holds it; is one stopped?", path);
		else
			error_errno(e, "%s", path);
		if (fd != -1)
			close(fd);
		fd = -1;
	}
	free(path);
	return fd;
}

int files_install(const struct site *s, struct files *files, bool check, struct findings *warnings, struct error *e)
{
	const char *dir = s->dns.zone_dir;
	struct serials serials = { 0 };
	char *state = site_state(s, "serials");
	int lock = -1, result = make_folders(s, e);
	if (result == 0)
		result = file_mkdirs(s->state_dir, 0700, e);
	if (result == 0)
		result = (lock = take_lock(s, e)) == -1 ? -1 : serials_load(state, &serials, e);
	if (result == 0) {
		sweep(dir, "");
		sweep(dir, "mta-sts/");
		result = files_look(dir, files, &serials, e) == -1 ? -1 : refuse_foreign(dir, files, e);
	}
	if (result == 0) {
		result = install(s, files, &serials, state, lock, check, warnings, e);
		unlink_all(dir, files, ".new");
		unlink_all(dir, files, ".old");
	}
	if (lock != -1)
		close(lock);
	serials_free(&serials);
	free(state);
	return result;
}
