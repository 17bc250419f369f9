/*
 * install.h.  The old file is kept as a hard link beside the new one until all went well, so that putting it back needs
 * no space.  Serials are written before the first rename: they never fall.
 */
#include "dnsgen/install.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/proc.h"

#define RNDC_WORDS 32
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

static void add_stale_in(
    const char *dir, const char *below, const char *ending, struct files *f, char **known, size_t count)
{
	char *path = xasprintf("%s/%s", dir, below);
	struct dirent **names = NULL;
	int n = scandir(path, &names, NULL, alphasort);
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
}

void files_add_stale(const char *dir, struct files *f)
{
	size_t count = f->count;
	char **known = xcalloc(count + 1, sizeof(*known));
	for (size_t i = 0; i < count; i++)
		known[i] = f->at[i].name;
	qsort(known, count, sizeof(*known), by_name);
	add_stale_in(dir, "", ".zone", f, known, count);
	add_stale_in(dir, "mta-sts/", ".txt", f, known, count);
	add_stale_in(dir, "", &OPTIONS_FRAGMENT[strlen("named.conf")], f, known, count);
	free(known);
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

void files_look(const char *dir, struct files *files, const struct serials *known)
{
	struct error none;
	for (size_t i = 0; i < files->count; i++) {
		struct file *f = &files->at[i];
		char *path = place(dir, f, "");
		f->there = file_read(path, ZONE_TEXT_MAX, &f->now, &none) == 0;
		f->foreign = f->there && f->now.len > 0 && !is_ours(f, known);
		if (f->remove)
			f->there = f->there && !f->foreign && f->now.len > 0;
		f->differs = f->remove   ? f->there
		             : !f->there ? true
		             : f->zone   ? !zone_text_same(buf_view(&f->want), buf_view(&f->now))
		                         : f->want.len != f->now.len ||
		                             (f->want.len && memcmp(f->want.data, f->now.data, f->want.len) != 0);
		free(path);
	}
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

static int tool(char *const argv[], const char *package, struct error *e)
{
	struct buf out = BUF_INIT(65536), err = BUF_INIT(65536);
	struct error why = { "" };
	int status = proc_run(argv, VIEW_NONE, &out, &err, &why), result = 0;
	if (status == -1 || status == 127)
		result = error_set(e, "%s cannot be run (%s); install %s", argv[0], why.text, package);
	else if (status != 0)
		result = error_set(e, "%s refuses: %s%s", argv[0], buf_str(&out), buf_str(&err));
	buf_free(&out);
	buf_free(&err);
	return result;
}

/* What belongs into options { } is judged there. */
static int check_options(char *path, struct error *e)
{
	struct buf text = BUF_INIT(8192);
	char *whole = xasprintf("%s.check", path), *argv[] = { "named-checkconf", whole, NULL };
	buf_printf(&text, "options {\n\tinclude \"%s\";\n};\n", path);
	int result = file_write_atomic(whole, buf_view(&text), 0600, e);
	if (result == 0)
		result = tool(argv, "bind9-utils", e);
	unlink(whole);
	free(whole);
	buf_free(&text);
	return result;
}

static int check_one(const struct file *f, char *path, struct error *e)
{
	char *zone[] = { "named-checkzone", "-q", "-i", "local", f->zone, path, NULL };
	char *loud[] = { "named-checkzone", "-i", "local", f->zone, path, NULL };
	char *conf[] = { "named-checkconf", path, NULL };
	if (f->zone)
		return tool(zone, "bind9-utils", e) == 0 ? 0 : (tool(loud, "bind9-utils", e), -1);
	if (strcmp(f->name, OPTIONS_FRAGMENT) == 0)
		return check_options(path, e);
	return strcmp(f->name, FRAGMENT) == 0 ? tool(conf, "bind9-utils", e) : 0;
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
		if (result == 0 && (f->mode & 04) == 0 && bind && chown(path, (uid_t)-1, bind->gr_gid) == -1 &&
		    geteuid() == 0)
			result = error_errno(e, "%s: cannot be given to the group bind", path);
		if (result == 0 && check)
			result = check_one(f, path, e);
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
		if (f->placed && f->kept)
			rename(old, path);
		else if (f->placed)
			unlink(path);
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

enum told { TOLD, NOT_RUNNING, UNKNOWN_ZONE, REFUSED };

/* What rndc says when nothing listens on the control port, and when named knows no such zone (bind9 9.18). */
static enum told judge(int status, const char *said)
{
	static const char connect[] = "rndc: connect failed: ", refused[] = ": connection refused\n";
	size_t len = strlen(said), end = sizeof(refused) - 1;
	if (status == 0)
		return TOLD;
	if (status == -1 || status == 127)
		return REFUSED;
	if (strncmp(said, connect, sizeof(connect) - 1) == 0 && len > end && strcmp(said + len - end, refused) == 0)
		return NOT_RUNNING;
	return strstr(said, "' failed: not found") || strstr(said, "no matching zone") ? UNKNOWN_ZONE : REFUSED;
}

static enum told rndc(const struct site *s, const char *verb, const char *zone, struct error *why)
{
	char *words = xstrdup(s->dns.rndc), *rest = words, *word, *argv[RNDC_WORDS + 3];
	size_t n = 0;
	struct buf out = BUF_INIT(65536), err = BUF_INIT(65536);
	while (n < RNDC_WORDS && (word = strsep(&rest, " ")) != NULL)
		if (word[0])
			argv[n++] = word;
	argv[n++] = (char *)(uintptr_t)verb;
	if (zone)
		argv[n++] = (char *)(uintptr_t)zone;
	argv[n] = NULL;
	int status = proc_run(argv, VIEW_NONE, &out, &err, why);
	if (status == 127)
		error_set(why, "%s was not found; install bind9, or set dns.rndc", argv[0]);
	else if (status > 0)
		error_set(why, "%s %s%s%s: %s%s", argv[0], verb, zone ? " " : "", zone ? zone : "", buf_str(&err),
		    buf_str(&out));
	enum told result = judge(status, buf_str(&err));
	for (char *p = why->text; *p; p++)
		*p = *p == '\n' ? ' ' : *p;
	free(words);
	buf_free(&out);
	buf_free(&err);
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
		const char *dirs[] = { s->dns.zone_dir, keys };
		for (int i = 0; i < 2 && result == 0 && bind && geteuid() == 0; i++)
			if (chown(dirs[i], (uid_t)-1, bind->gr_gid) == -1 || chmod(dirs[i], i ? 0770 : 0775) == -1)
				result = error_errno(e, "%s: named could not write there", dirs[i]);
	}
	free(sts);
	free(keys);
	return result;
}

/* What a push that was killed left: hidden names, ".NAME.new", perhaps with file_write_atomic's ending. */
static void sweep(const char *dir, const char *below)
{
	static const char *const marks[] = { ".zone.new", ".txt.new", ".mailadm.new" };
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
	unlink_all(dir, files, ".old");
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

/* One at a time: the descriptor holds it. -1 on error. */
static int take_lock(const struct site *s, struct error *e)
{
	char *path = site_state(s, "serials.lock");
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd == -1 || flock(fd, LOCK_EX) == -1) {
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
		files_look(dir, files, &serials);
		result = refuse_foreign(dir, files, e);
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
