/* version.h */
#include "version.h"

#include <ctype.h>
#include <errno.h>

#include "buf.h"
#include "proc.h"

#define NUMBER_MAX 1000000

static unsigned number(const char *p, const char **end)
{
	unsigned n = 0;

	for (; isdigit((unsigned char)*p); p++)
		n = n < NUMBER_MAX ? n * 10 + (unsigned)(*p - '0') : n;
	*end = p;
	return n;
}

bool version_parse(const char *text, struct version *v)
{
	const char *p = text;

	while (*p != '\0') {
		if (!isdigit((unsigned char)*p)) {
			p++;
			continue;
		}
		*v = (struct version){ .major = number(p, &p) };
		if (p[0] != '.' || !isdigit((unsigned char)p[1]))
			continue;
		v->minor = number(p + 1, &p);
		if (p[0] == '.' && isdigit((unsigned char)p[1]))
			v->patch = number(p + 1, &p);
		return true;
	}
	return false;
}

bool version_below(struct version v, struct version least)
{
	const unsigned a[] = { v.major, v.minor, v.patch }, b[] = { least.major, least.minor, least.patch };
	size_t i = 0;

	while (i < 2 && a[i] == b[i])
		i++;
	return a[i] < b[i];
}

int version_of_program(char *const argv[], struct version *v, struct error *e)
{
	struct buf out = BUF_INIT(4096), err = BUF_INIT(4096);
	int status = proc_run(argv, VIEW_NONE, &out, &err, e), r = 0;

	if (status == -1)
		r = errno == ENOENT ? 0 : -1;
	else if (status == 0)
		r = version_parse(buf_str(&out), v);
	buf_free(&out);
	buf_free(&err);
	return r;
}
