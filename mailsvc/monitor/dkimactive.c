/*
 * dkimkeys.h, which selector signs: a small text file, read whole, written whole.  Every line is checked before any is
 * used, since it chooses file names.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/proc.h"
#include "mailsvc/monitor/dkimkeys.h"

#define ACTIVE_FILE_MAX (8u << 20)
#define DOMAIN_MAX 253

static bool is_label_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

static bool is_selector(struct view v)
{
	if (v.len == 0 || v.len > DKIM_SELECTOR_MAX)
		return false;
	for (size_t i = 0; i < v.len; i++)
		if (!is_label_char(v.ptr[i]))
			return false;
	return v.ptr[0] != '-';
}

static bool is_domain(struct view v)
{
	if (v.len == 0 || v.len > DOMAIN_MAX || v.ptr[0] == '.')
		return false;
	for (size_t i = 0; i < v.len; i++)
		if (!is_label_char(v.ptr[i]) && !(v.ptr[i] == '.' && i + 1 < v.len && v.ptr[i + 1] != '.'))
			return false;
	return true;
}

static int compare(const void *a, const void *b)
{
	const struct dkim_selectors *x = a, *y = b;
	int c = strcmp(x->domain, y->domain);
	return c ? c : strcmp(x->site, y->site);
}

static int parse_line(struct view line, struct dkim_selectors *out)
{
	struct view word[4];
	size_t count = 0;
	while (count < 4) {
		const char *space = memchr(line.ptr, ' ', line.len);
		size_t len = space ? (size_t)(space - line.ptr) : line.len;
		word[count++] = (struct view){ line.ptr, len };
		if (space == NULL)
			break;
		line.ptr += len + 1;
		line.len -= len + 1;
		if (count == 4)
			return -1;
	}
	if (count != 4 || !is_domain(word[0]) || !is_selector(word[1]))
		return -1;
	for (size_t i = 2; i < 4; i++) {
		if (view_eq(word[i], "-"))
			word[i] = VIEW_LIT("");
		else if (!is_selector(word[i]))
			return -1;
	}
	*out = (struct dkim_selectors){ view_dup(word[0]), view_dup(word[1]), view_dup(word[2]), view_dup(word[3]) };
	return 0;
}

int dkim_active_parse(struct view text, const char *path, struct dkim_active *out, struct error *e)
{
	static const char hint[] = "move the file away to sign with the site's selectors";
	*out = (struct dkim_active){ 0 };
	for (unsigned line = 1; text.len > 0; line++) {
		const char *end = memchr(text.ptr, '\n', text.len);
		size_t len = end ? (size_t)(end - text.ptr) : text.len;
		if ((out->count & (out->count - 1)) == 0) /* grows by doubling */
			out->at = xreallocarray(out->at, out->count ? out->count * 2 : 1, sizeof(*out->at));
		if (end == NULL || parse_line((struct view){ text.ptr, len }, &out->at[out->count]) == -1) {
			dkim_active_free(out);
			return error_set(e, "%s:%u: is not \"DOMAIN SELECTOR ACTIVE OTHER\"; %s", path, line, hint);
		}
		out->count++;
		if (out->count > 1 && compare(&out->at[out->count - 2], &out->at[out->count - 1]) >= 0) {
			dkim_active_free(out);
			return error_set(e, "%s:%u: stands twice or out of order; %s", path, line, hint);
		}
		text.ptr += len + 1;
		text.len -= len + 1;
	}
	return 0;
}

int dkim_active_load(const struct site *s, struct dkim_active *out, struct error *e)
{
	char *path = site_state(s, "keys/active");
	struct buf text = BUF_INIT(ACTIVE_FILE_MAX);
	int r = 0;
	*out = (struct dkim_active){ 0 };
	if (access(path, F_OK) == 0)
		r = file_read(path, text.max, &text, e) == -1 ? -1 : dkim_active_parse(buf_view(&text), path, out, e);
	buf_free(&text);
	free(path);
	return r;
}

static void selectors_free(struct dkim_selectors *s)
{
	free(s->domain);
	free(s->site);
	free(s->active);
	free(s->other);
}

void dkim_active_free(struct dkim_active *t)
{
	for (size_t i = 0; i < t->count; i++)
		selectors_free(&t->at[i]);
	free(t->at);
	*t = (struct dkim_active){ 0 };
}

const struct dkim_selectors *dkim_active_find(
    const struct dkim_active *t, const struct site_domain *d, enum dkim_algorithm a)
{
	struct dkim_selectors wanted = { .domain = d->name, .site = (char *)dkim_selector_of(d, a) };
	return t->count ? bsearch(&wanted, t->at, t->count, sizeof(*t->at), compare) : NULL;
}

const char *dkim_active_selector(const struct dkim_active *t, const struct site_domain *d, enum dkim_algorithm a)
{
	const struct dkim_selectors *found = dkim_active_find(t, d, a);
	if (found != NULL && found->active[0] != '\0')
		return found->active;
	return a == DKIM_RSA ? d->dkim_selector : "";
}

static const char *or_dash(const char *selector)
{
	return selector[0] ? selector : "-";
}

static int write_table(const struct site *s, const struct dkim_active *t, struct error *e)
{
	char *dir = site_state(s, "keys"), *path = site_state(s, "keys/active");
	struct buf text = BUF_INIT(ACTIVE_FILE_MAX);
	for (size_t i = 0; i < t->count; i++)
		buf_printf(&text, "%s %s %s %s\n", t->at[i].domain, t->at[i].site, or_dash(t->at[i].active),
		    or_dash(t->at[i].other));
	int r = text.full                         ? error_set(e, "%s: too many domains", path)
	        : file_mkdirs(dir, 0700, e) == -1 ? -1
	                                          : file_write_atomic(path, buf_view(&text), 0600, e);
	buf_free(&text);
	free(path);
	free(dir);
	return r;
}

static void drop(struct dkim_active *t, size_t at)
{
	selectors_free(&t->at[at]);
	memmove(&t->at[at], &t->at[at + 1], (t->count - at - 1) * sizeof(*t->at));
	t->count--;
}

/* Also takes away the domain's lines that do not count any more. */
static void put(struct dkim_active *t, const struct site_domain *d, const struct dkim_selectors *line)
{
	size_t at = 0;
	for (size_t i = t->count; i > 0; i--)
		if (strcmp(t->at[i - 1].domain, d->name) == 0 && (strcmp(t->at[i - 1].site, line->site) == 0 ||
		    (strcmp(t->at[i - 1].site, d->dkim_selector) != 0 && strcmp(t->at[i - 1].site, d->dkim_ed25519) != 0)))
			drop(t, i - 1);
	while (at < t->count && compare(&t->at[at], line) < 0)
		at++;
	t->at = xreallocarray(t->at, t->count + 1, sizeof(*t->at));
	memmove(&t->at[at + 1], &t->at[at], (t->count - at) * sizeof(*t->at));
	t->at[at] = *line;
	t->count++;
}

int dkim_active_set(const struct site *s, const struct site_domain *d, enum dkim_algorithm a, const char *active,
    const char *other, struct error *e)
{
	struct dkim_active t;
	if (dkim_active_load(s, &t, e) == -1)
		return -1;
	const struct dkim_selectors line = { xstrdup(d->name), xstrdup(dkim_selector_of(d, a)), xstrdup(active),
		xstrdup(other) };
	put(&t, d, &line);
	int r = write_table(s, &t, e);
	dkim_active_free(&t);
	return r;
}

int dkim_active_adopt(struct site *s, struct error *e)
{
	struct dkim_active t;
	int changed = 0;
	if (dkim_active_load(s, &t, e) == -1)
		return -1;
	for (size_t i = 0; i < s->domain_count; i++) {
		struct site_domain *d = &s->domains[i];
		char *signs[DKIM_ALGORITHMS], **in_site[DKIM_ALGORITHMS] = { &d->dkim_selector, &d->dkim_ed25519 };
		for (enum dkim_algorithm a = DKIM_RSA; a < DKIM_ALGORITHMS; a++)
			signs[a] = xstrdup(dkim_active_selector(&t, d, a));
		for (enum dkim_algorithm a = DKIM_RSA; a < DKIM_ALGORITHMS; a++) {
			changed += strcmp(*in_site[a], signs[a]) != 0;
			free(*in_site[a]);
			*in_site[a] = signs[a];
		}
	}
	dkim_active_free(&t);
	return changed;
}
