/*
 * MTA-STS texts (RFC 8461 3.1, 3.2).  Unknown fields are skipped, as the RFC wants; a known one that is malformed makes
 * the whole text none.
 */
#include "mta_sts.h"

#include <ctype.h>
#include <stdio.h>
#include <strings.h>

#include "lib/text.h"

#define RECORD_MAX 1024
#define FIELDS_MAX 1000 /* lines of a policy file */

static bool blank(char c)
{
	return c == ' ' || c == '\t';
}

static struct view trim(struct view v)
{
	while (v.len > 0 && blank(v.ptr[0]))
		v = (struct view){ v.ptr + 1, v.len - 1 };
	while (v.len > 0 && blank(v.ptr[v.len - 1]))
		v.len--;
	return v;
}

/* Cuts text up to the first c off; what is left of it stays. */
static struct view cut(struct view *text, char c)
{
	const char *at = text->len > 0 ? memchr(text->ptr, c, text->len) : NULL;
	struct view head = { text->ptr, at != NULL ? (size_t)(at - text->ptr) : text->len };

	*text = at != NULL ? (struct view){ at + 1, text->len - head.len - 1 } : (struct view){ NULL, 0 };
	return head;
}

/* The TXT record ----------------------------------------------------------------------------------------------- */

/* Only records that begin so count; there may be others at the name (RFC 8461 3.1). */
static bool is_sts(struct view text)
{
	return view_eq(trim(cut(&text, ';')), "v=STSv1");
}

static int record_id(struct view text, char id[STS_ID_MAX + 1])
{
	bool found = false;

	cut(&text, ';'); /* v=STSv1 */
	while (text.len > 0) {
		struct view value = cut(&text, ';'), name = trim(cut(&value, '='));
		value = trim(value);
		if (!view_eq(name, "id"))
			continue;
		if (found || value.len == 0 || view_copy(value, id, STS_ID_MAX + 1) == -1)
			return -1;
		found = true;
		for (size_t i = 0; i < value.len; i++) {
			if (!isalnum((unsigned char)value.ptr[i]))
				return -1;
		}
	}
	return found ? 0 : -1;
}

int sts_record(const struct dns_answer *a, char id[STS_ID_MAX + 1])
{
	const struct dns_record *one = NULL;

	id[0] = '\0';
	for (size_t i = 0; a->status == DNS_OK && i < a->count; i++) {
		if (!is_sts(a->records[i].data))
			continue;
		if (one != NULL)
			return -1;
		one = &a->records[i];
	}
	if (one == NULL || one->data.len > RECORD_MAX || record_id(one->data, id) == -1) {
		id[0] = '\0';
		return -1;
	}
	return 0;
}

/* The policy file ---------------------------------------------------------------------------------------------- */

/* A host name, perhaps with "*." before it. */
static bool is_pattern(struct view v)
{
	if (v.len > 2 && v.ptr[0] == '*' && v.ptr[1] == '.')
		v = (struct view){ v.ptr + 2, v.len - 2 };
	return text_is_host(v);
}

static bool add_mx(struct sts_policy *p, struct view v)
{
	if (v.len > 1 && v.ptr[v.len - 1] == '.')
		v.len--;
	if (!is_pattern(v) || v.len + 1 > sizeof(p->mx) - p->mx_len)
		return false;
	memcpy(p->mx + p->mx_len, v.ptr, v.len);
	p->mx[p->mx_len + v.len] = '\0';
	text_lower(p->mx + p->mx_len);
	p->mx_len += v.len + 1;
	return true;
}

struct seen {
	bool version, mode, max_age;
};

static bool take_mode(struct sts_policy *p, struct view value)
{
	static const struct {
		const char *name;
		enum sts_mode mode;
	} modes[] = { { "enforce", STS_MODE_ENFORCE }, { "testing", STS_MODE_TESTING }, { "none", STS_MODE_NONE } };

	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
		if (view_eq(value, modes[i].name)) {
			p->mode = modes[i].mode;
			return true;
		}
	}
	return false;
}

/* What is wrong with the field, or NULL. */
static const char *take_field(struct sts_policy *p, struct seen *seen, struct view name, struct view value)
{
	uint64_t n;

	/* Of one that comes twice the first counts (RFC 8461 3.2), but for mx. */
	if (view_eq(name, "version")) {
		if (!seen->version && !view_eq(value, "STSv1"))
			return "its version is not STSv1";
		seen->version = true;
	} else if (view_eq(name, "mode")) {
		if (!seen->mode && !take_mode(p, value))
			return "its mode is not enforce, testing or none";
		seen->mode = true;
	} else if (view_eq(name, "max_age")) {
		if (!seen->max_age && view_u64(value, 9999999999, &n) == -1)
			return "its max_age is not a number of seconds";
		if (!seen->max_age)
			p->max_age = n > STS_AGE_MAX ? STS_AGE_MAX : (uint32_t)n;
		seen->max_age = true;
	} else if (view_eq(name, "mx")) {
		if (!add_mx(p, value))
			return "an mx is not a host name, or there are too many";
	}
	return NULL;
}

static int invalid(char *reason, const char *why)
{
	snprintf(reason, 120, "%s", why);
	return -1;
}

int sts_policy_parse(struct view text, struct sts_policy *p, char *reason)
{
	struct seen seen = { 0 };

	p->mode = STS_MODE_NONE;
	p->max_age = 0;
	p->mx_len = 0;
	reason[0] = '\0';
	if (text.len > STS_POLICY_MAX || (text.len > 0 && memchr(text.ptr, '\0', text.len) != NULL))
		return invalid(reason, "it is too long, or not text");
	for (size_t lines = 0; text.len > 0; lines++) {
		struct view line = cut(&text, '\n');
		if (line.len > 0 && line.ptr[line.len - 1] == '\r')
			line.len--;
		if (lines == FIELDS_MAX)
			return invalid(reason, "it has too many lines");
		if (trim(line).len == 0)
			continue;
		if (memchr(line.ptr, ':', line.len) == NULL)
			return invalid(reason, "a line of it is no field");
		struct view name = trim(cut(&line, ':'));
		const char *why = take_field(p, &seen, name, trim(line));
		if (why != NULL)
			return invalid(reason, why);
		if (!seen.version)
			return invalid(reason, "it does not begin with its version");
	}
	if (!seen.version || !seen.mode || !seen.max_age)
		return invalid(reason, "it lacks version, mode or max_age");
	if (p->mode != STS_MODE_NONE && p->mx_len == 0)
		return invalid(reason, "it names no mx");
	return 0;
}

bool sts_policy_names(const struct sts_policy *p, const char *host)
{
	const char *parent = strchr(host, '.');

	for (size_t at = 0; at < p->mx_len; at += strlen(p->mx + at) + 1) {
		const char *mx = p->mx + at;
		if (mx[0] != '*' ? strcasecmp(mx, host) == 0
				 : parent != NULL && parent != host && strcasecmp(mx + 1, parent) == 0)
			return true;
	}
	return false;
}
