/* push.h: the site's files, compared and installed (install.c); their copies on the way back. */
#include "dnsgen/push.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dnsgen/tools.h"
#include "lib/clock.h"
#include "lib/proc.h"

bool zones_served_here(const struct site *s, struct buf *why)
{
	static const char *const places[] = { "/usr/sbin/named", "/usr/local/sbin/named" };
	if (strcmp(s->role, "host") != 0)
		buf_puts(why, "a gateway serves no zones");
	else if (strcmp(s->dns.server, "none") == 0)
		buf_puts(why, "dns.server is none");
	else if (strcmp(s->dns.server, "auto") == 0 && s->port_offset != 0)
		buf_puts(why, "port_offset is set: a host to try things on leaves the machine alone");
	else if (strcmp(s->dns.server, "bind") == 0 || access(places[0], X_OK) == 0 || access(places[1], X_OK) == 0)
		return true;
	else
		buf_puts(why, "named is not installed");
	return false;
}

static int add_zones(const struct zones *zones, struct files *files, struct error *e)
{
	for (size_t i = 0; i < zones->count; i++) {
		char *name = xasprintf("%s.zone", zones->at[i].name);
		struct file *f = files_add(files, name, zones->at[i].name, 0644);
		free(name);
		if (zone_text(&zones->at[i], &f->want) == -1)
			return error_set(e, "zone %s is larger than %u bytes", zones->at[i].name, ZONE_TEXT_MAX);
	}
	return 0;
}

static void add_policies(const struct site *s, const struct zones *zones, struct files *files)
{
	size_t at = 0; /* zones are in the order of domains, those whose dns is off left out */
	for (size_t i = 0; i < s->domain_count && at < zones->count; i++) {
		const struct site_domain *d = &s->domains[i];
		if (!d->dns)
			continue;
		const struct zone *z = &zones->at[at++];
		if (!mta_sts_on(s, d))
			continue;
		char *name = xasprintf("mta-sts/%s.txt", d->name);
		mta_sts_policy(z, d, &files_add(files, name, NULL, 0644)->want);
		free(name);
	}
}

/* A finding's text begins with where it is, which findings_add writes. */
static void pass_on(const struct finding *f, struct findings *warnings)
{
	static const char mark[] = "warning: ";
	const struct site_origin at = { f->file, f->line };
	const char *text = strstr(f->text, mark);
	findings_add(warnings, true, &at, "%s", text ? text + sizeof(mark) - 1 : f->text);
}

/* Everything that should stand in zone_dir. */
static int wanted(const struct site *s, struct files *files, struct findings *warnings, struct error *e)
{
	struct zones zones = { 0 };
	struct findings f = { 0 };
	char secret[TSIG_MAX];
	int result = named_is_recent(s, e);
	if (result == 0)
		result = dnsgen_zones(s, (uint32_t)clock_wall(), &zones, &f);
	if (result == 0)
		result = zones_validate(s, &zones, NULL, &f);
	for (size_t i = 0; i < f.count; i++)
		if (!f.at[i].warning)
			error_set(e, "%s", f.at[i].text);
		else if (warnings)
			pass_on(&f.at[i], warnings);
	if (result == 0)
		result = tsig_secret(s, secret, e);
	if (result == 0)
		result = add_zones(&zones, files, e);
	if (result == 0) {
		struct file *conf = files_add(files, FRAGMENT, NULL, secret[0] ? 0640 : 0644);
		result = zones_named_conf(s, &zones, s->dns.zone_dir, secret, &conf->want, e);
		add_policies(s, &zones, files);
		if (s->dns.local_resolver)
			named_options(s, &files_add(files, OPTIONS_FRAGMENT, NULL, 0644)->want);
		explicit_bzero(secret, sizeof(secret));
	}
	if (result == 0)
		result = files_add_stale(s->dns.zone_dir, files, e);
	zones_free(&zones);
	findings_free(&f);
	return result;
}

struct lines {
	struct view *at;
	size_t count;
};

static int by_text(const void *a, const void *b)
{
	const struct view *x = a, *y = b;
	int order = memcmp(x->ptr, y->ptr, x->len < y->len ? x->len : y->len);
	return order ? order : (x->len > y->len) - (x->len < y->len);
}

static struct lines split(struct view text)
{
	struct lines l = { NULL, 0 };
	size_t room = 0;
	while (text.len > 0) {
		const char *end = memchr(text.ptr, '\n', text.len);
		size_t len = end ? (size_t)(end - text.ptr) : text.len;
		if (l.count == room) {
			room = room ? room * 2 : 64;
			l.at = xreallocarray(l.at, room, sizeof(*l.at));
		}
		l.at[l.count++] = (struct view){ text.ptr, len };
		len += end != NULL;
		text = (struct view){ text.ptr + len, text.len - len };
	}
	if (l.count > 1)
		qsort(l.at, l.count, sizeof(*l.at), by_text);
	return l;
}

/* A secret is not shown, nor what a terminal would obey or JSON cannot hold: somebody may have edited the file. */
static void put_line(char sign, struct view line, struct buf *out)
{
	static const char secret[] = "secret ";
	const char *at = line.len ? memmem(line.ptr, line.len, secret, sizeof(secret) - 1) : NULL;
	size_t len = at ? (size_t)(at - line.ptr) : line.len;
	if (len > 0 && line.ptr[len - 1] == '\r') /* of a policy */
		len--;
	buf_printf(out, "%c ", sign);
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)line.ptr[i];
		if ((c < 0x20 && c != '\t') || c >= 0x7f)
			buf_printf(out, "\\%03u", (unsigned)c);
		else
			buf_addc(out, (char)c);
	}
	buf_puts(out, at ? "secret (not shown)\n" : "\n");
}

static void put_diff(struct view old, struct view new, struct buf *out)
{
	struct lines a = split(old), b = split(new);
	size_t i = 0, k = 0;
	while (i < a.count || k < b.count) {
		int order = i == a.count ? 1 : k == b.count ? -1 : by_text(&a.at[i], &b.at[k]);
		if (order < 0)
			put_line('-', a.at[i], out);
		else if (order > 0)
			put_line('+', b.at[k], out);
		i += order <= 0;
		k += order >= 0;
	}
	free(a.at);
	free(b.at);
}

static void put_file_diff(const struct file *f, struct buf *out)
{
	struct buf old = BUF_INIT(ZONE_TEXT_MAX), new = BUF_INIT(ZONE_TEXT_MAX);
	zone_text_with_serial(buf_view(&f->now), 0, &old);
	zone_text_with_serial(buf_view(&f->want), 0, &new);
	put_diff(buf_view(&old), buf_view(&new), out);
	buf_free(&old);
	buf_free(&new);
}

static int known_serials(const struct site *s, struct serials *known, struct error *e)
{
	char *state = site_state(s, "serials");
	int result = serials_load(state, known, e);
	free(state);
	return result;
}

int zones_compare(const struct site *s, zones_found *found, void *arg, struct error *e)
{
	struct files files = { 0 };
	struct serials known;
	int result = wanted(s, &files, NULL, e);
	if (result == 0)
		result = known_serials(s, &known, e);
	if (result == 0) {
		result = files_look(s->dns.zone_dir, &files, &known, e);
		serials_free(&known);
	}
	for (size_t i = 0; result == 0 && i < files.count; i++) {
		struct buf diff = BUF_INIT(ZONE_TEXT_MAX);
		if (!files.at[i].differs)
			continue;
		put_file_diff(&files.at[i], &diff);
		found(arg, files.at[i].zone ? files.at[i].zone : files.at[i].name, buf_view(&diff));
		buf_free(&diff);
	}
	files_free(&files);
	return result;
}

int zones_push(const struct site *s, struct findings *warnings, struct error *e)
{
	struct files files = { 0 };
	int result = wanted(s, &files, warnings, e);
	if (result == 0)
		result = files_install(s, &files, true, warnings, e);
	files_free(&files);
	return result;
}

/* All files of ours that stand in dir. */
static int list(const char *dir, const struct serials *known, struct files *files, struct error *e)
{
	int result = files_add_stale(dir, files, e);
	files_add(files, FRAGMENT, NULL, 0640);
	return result == 0 ? files_look(dir, files, known, e) : -1;
}

int zones_capture(const struct site *s, const char *dir, struct error *e)
{
	struct files files = { 0 };
	char *sts = xasprintf("%s/mta-sts", dir);
	struct serials known;
	int result = known_serials(s, &known, e);
	if (result == 0) {
		result = list(s->dns.zone_dir, &known, &files, e);
		serials_free(&known);
	}
	if (result == 0)
		result = file_mkdirs(sts, 0700, e);
	for (size_t i = 0; i < files.count && result == 0; i++) {
		char *path = xasprintf("%s/%s", dir, files.at[i].name);
		if (files.at[i].there && !files.at[i].foreign)
			result = file_write_atomic(path, buf_view(&files.at[i].now), 0600, e);
		free(path);
	}
	files_free(&files);
	free(sts);
	return result;
}

/* The serials go on from what was served: install.c counts. */
int zones_restore(const struct site *s, const char *dir, struct error *e)
{
	struct files kept = { 0 }, files = { 0 };
	struct findings warnings = { 0 };
	int result = list(dir, NULL, &kept, e);
	for (size_t i = 0; i < kept.count; i++) {
		struct file *old = &kept.at[i];
		if (!old->there)
			continue;
		bool secret = strcmp(old->name, FRAGMENT) == 0 && strstr(buf_str(&old->now), "secret \"") != NULL;
		buf_addv(&files_add(&files, old->name, old->zone, secret ? 0640 : 0644)->want, buf_view(&old->now));
	}
	if (result == 0)
		result = files_add_stale(s->dns.zone_dir, &files, e);
	bool fragment = false;
	for (size_t i = 0; i < files.count; i++)
		fragment = fragment || strcmp(files.at[i].name, FRAGMENT) == 0;
	if (!fragment)
		files_add(&files, FRAGMENT, NULL, 0644)->remove = true;
	if (result == 0)
		result = files_install(s, &files, false, &warnings, e);
	for (size_t i = 0; i < warnings.count; i++)
		log_warnx("event=restore part=zones reason=\"%s\"", warnings.at[i].text);
	findings_free(&warnings);
	files_free(&kept);
	files_free(&files);
	return result;
}
