/* The secrets file: a few lines of key = "value".  Values are wiped when freed and never shown. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/text.h"
#include "secrets.h"

#define SECRETS_MAX 65536
#define VALUE_MAX 1024

static struct view trim(struct view v)
{
	while (v.len && strchr(" \t\r", v.ptr[0])) {
		v.ptr++;
		v.len--;
	}
	while (v.len && strchr(" \t\r", v.ptr[v.len - 1]))
		v.len--;
	return v;
}

/* Unquotes "..." with \" and \\; a bare value stands for itself. */
static char *value_of(struct view v)
{
	if (v.len == 0 || v.len > VALUE_MAX)
		return NULL;
	if (v.ptr[0] != '"')
		return view_dup(v);
	char *out = xcalloc(v.len, 1);
	size_t n = 0, i = 1;
	for (; i < v.len && v.ptr[i] != '"'; i++) {
		if (v.ptr[i] == '\\' && i + 1 < v.len)
			i++;
		out[n++] = v.ptr[i];
	}
	if (i + 1 == v.len)
		return out;
	explicit_bzero(out, v.len);
	free(out);
	return NULL;
}

static void wipe(char **secret)
{
	if (*secret)
		explicit_bzero(*secret, strlen(*secret));
	free(*secret);
	*secret = NULL;
}

/* "route.NAME.password": where its value is kept, else NULL. */
static char **route_secret(struct secrets *s, struct view key)
{
	static const char before[] = "route.", after[] = ".password";
	size_t b = sizeof(before) - 1, a = sizeof(after) - 1;
	if (key.len <= b + a || memcmp(key.ptr, before, b) != 0 || memcmp(key.ptr + key.len - a, after, a) != 0)
		return NULL;
	struct view name = { key.ptr + b, key.len - b - a };
	for (size_t i = 0; i < s->route_count; i++)
		if (view_eq(name, s->routes[i].name))
			return &s->routes[i].value;
	if (s->route_count == SECRETS_ROUTES_MAX)
		return NULL;
	s->routes = xreallocarray(s->routes, s->route_count + 1, sizeof(*s->routes));
	s->routes[s->route_count] = (struct secret){ view_dup(name), NULL };
	return &s->routes[s->route_count++].value;
}

static int set(struct secrets *s, struct view key, struct view value, unsigned line, struct error *e)
{
	char **secret = view_eq(key, "relay.password")    ? &s->relay_password
	                : view_eq(key, "dns.tsig_secret") ? &s->dns_tsig_secret
	                                                  : route_secret(s, key);
	if (!secret)
		return error_set(
		    e, "secrets:%u: unknown key; there are: relay.password, dns.tsig_secret, route.NAME.password", line);
	char *text = value_of(value);
	if (!text)
		return error_set(e, "secrets:%u: no value; write %.*s = \"...\"", line, (int)key.len, key.ptr);
	wipe(secret);
	*secret = text;
	return 0;
}

static int parse(struct secrets *s, const char *text, size_t len, struct error *e)
{
	unsigned number = 0;
	for (size_t at = 0; at < len;) {
		const char *end = memchr(text + at, '\n', len - at);
		size_t n = end ? (size_t)(end - text) - at : len - at;
		struct view line = trim((struct view){ text + at, n });
		at += n + 1;
		number++;
		if (line.len == 0 || line.ptr[0] == '#')
			continue;
		const char *equal = memchr(line.ptr, '=', line.len);
		if (!equal || memchr(line.ptr, 0, line.len))
			return error_set(e, "secrets:%u: no key = \"value\"", number);
		size_t left = (size_t)(equal - line.ptr);
		struct view value = trim((struct view){ equal + 1, line.len - left - 1 });
		if (value.len && value.ptr[value.len - 1] == ';')
			value = trim((struct view){ value.ptr, value.len - 1 });
		if (set(s, trim((struct view){ line.ptr, left }), value, number, e) < 0)
			return -1;
	}
	return 0;
}

int secrets_load(int fd, struct secrets *out, struct error *e)
{
	*out = (struct secrets){ 0 };
	char *text = xmalloc(SECRETS_MAX);
	size_t len = 0;
	ssize_t n = 0;
	while (len < SECRETS_MAX && (n = pread(fd, text + len, SECRETS_MAX - len, (off_t)len)) > 0)
		len += (size_t)n;
	int result = n < 0                ? error_set(e, "secrets: cannot read: %s", strerror(errno))
	             : len == SECRETS_MAX ? error_set(e, "secrets: larger than %d bytes", SECRETS_MAX)
	                                  : parse(out, text, len, e);
	explicit_bzero(text, SECRETS_MAX);
	free(text);
	if (!out->relay_password)
		out->relay_password = xstrdup("");
	if (!out->dns_tsig_secret)
		out->dns_tsig_secret = xstrdup("");
	if (result < 0)
		secrets_free(out);
	return result;
}

void secrets_free(struct secrets *s)
{
	wipe(&s->relay_password);
	wipe(&s->dns_tsig_secret);
	for (size_t i = 0; i < s->route_count; i++) {
		free(s->routes[i].name);
		wipe(&s->routes[i].value);
	}
	free(s->routes);
	*s = (struct secrets){ 0 };
}

const char *secrets_route(const struct secrets *s, const char *name)
{
	if (strcmp(name, "relay") == 0)
		return s->relay_password ? s->relay_password : "";
	for (size_t i = 0; i < s->route_count; i++)
		if (strcmp(s->routes[i].name, name) == 0 && s->routes[i].value)
			return s->routes[i].value;
	return "";
}
