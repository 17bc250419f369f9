/* tools.h.  Every program has proc_run's limit, so that a hanging one is an error like any other. */
#include "dnsgen/tools.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/proc.h"
#include "lib/version.h"

#define RNDC_WORDS 32

static const struct version plain = { 9, 14, 0 }, signing = { 9, 16, 0 }; /* type primary; dnssec-policy */

static int version_of_named(struct version *v, struct error *e)
{
	static char *const names[] = { "named", "/usr/sbin/named", "/usr/local/sbin/named" };
	int known = 0;
	for (size_t i = 0; known == 0 && i < sizeof(names) / sizeof(names[0]); i++) {
		char *argv[] = { names[i], "-v", NULL };
		known = version_of_program(argv, v, e);
	}
	return known;
}

int named_is_recent(const struct site *s, struct error *e)
{
	static struct version is;
	static int known = -1;
	const struct version least = s->dns.sign ? signing : plain;
	if (known == -1 && (known = version_of_named(&is, e)) == -1)
		return -1;
	if (known == 0 || !version_below(is, least))
		return 0;
	return error_set(e, "named is BIND %u.%u, but %s needs %u.%u; install a newer bind9 (nothing was changed)%s",
	    is.major, is.minor, s->dns.sign ? "dns.sign" : "its part of named.conf", least.major, least.minor,
	    s->dns.sign && !version_below(is, plain) ? ", or set dns.sign = false" : "");
}

static int tool(char *const argv[], struct error *e)
{
	struct buf out = BUF_INIT(65536), err = BUF_INIT(65536);
	struct error why = { "" };
	int status = proc_run(argv, VIEW_NONE, &out, &err, &why), result = 0;
	if (status == 127 || (status == -1 && errno == ENOENT))
		result = error_set(e, "%s cannot be run; install bind9-utils", argv[0]);
	else if (status == -1)
		result = error_set(e, "%s", why.text);
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
		result = tool(argv, e);
	unlink(whole);
	free(whole);
	buf_free(&text);
	return result;
}

int named_check(const struct file *f, char *path, struct error *e)
{
	/* Addresses of names outside the zone are not ours to resolve from here. */
	char *zone[] = { "named-checkzone", "-i", "local", f->zone, path, NULL };
	char *conf[] = { "named-checkconf", path, NULL };
	if (f->zone)
		return tool(zone, e);
	if (strcmp(f->name, OPTIONS_FRAGMENT) == 0)
		return check_options(path, e);
	return strcmp(f->name, FRAGMENT) == 0 ? tool(conf, e) : 0;
}

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

enum told rndc(const struct site *s, const char *verb, const char *zone, struct error *why)
{
	char *words = xstrdup(s->dns.rndc), *rest = words, *word, *argv[RNDC_WORDS + 3];
	size_t n = 0;
	struct buf out = BUF_INIT(65536), err = BUF_INIT(65536);
	while (n < RNDC_WORDS && (word = strsep(&rest, " ")) != NULL)
		if (word[0])
			argv[n++] = word;
	if (n == 0)
		argv[n++] = "rndc";
	argv[n++] = (char *)(uintptr_t)verb;
	if (zone)
		argv[n++] = (char *)(uintptr_t)zone;
	argv[n] = NULL;
	int status = proc_run(argv, VIEW_NONE, &out, &err, why);
	if (status == 127 || (status == -1 && errno == ENOENT))
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
