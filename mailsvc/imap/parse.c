/*
 * Taking IMAP arguments apart.  Each function either moves p behind what it took or leaves it and sets error.  Literals
 * stand in the text as "{n}" CRLF and n bytes; the reader has checked that those bytes are there, and this checks
 * again.
 */
#include "parse.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "utf7.h"

struct imap_parser imap_parser_of(char *text, size_t len)
{
	return (struct imap_parser){ .p = text, .end = text + len };
}

bool imap_fail(struct imap_parser *p, const char *error)
{
	p->error = error;
	return false;
}

int imap_peek(const struct imap_parser *p)
{
	return p->p < p->end ? (unsigned char)*p->p : -1;
}

bool imap_parse_end(struct imap_parser *p)
{
	return p->p == p->end || imap_fail(p, "Too many arguments.");
}

bool imap_accept(struct imap_parser *p, char c)
{
	if (p->p == p->end || *p->p != c)
		return false;
	p->p++;
	return true;
}

bool imap_parse_char(struct imap_parser *p, char c)
{
	return imap_accept(p, c) || imap_fail(p, "Syntax error in the arguments.");
}

bool imap_parse_sp(struct imap_parser *p)
{
	return imap_accept(p, ' ') || imap_fail(p, p->p == p->end ? "Missing arguments." : "Expected a space.");
}

/* ATOM-CHAR: any 7-bit character but ( ) { SP CTL % * " \ ] */
static bool atom_char(unsigned char c)
{
	return c > 0x20 && c < 0x7f && strchr("(){%*\"\\]", c) == NULL;
}

static bool astring_char(unsigned char c)
{
	return c == ']' || atom_char(c);
}

static bool list_char(unsigned char c)
{
	return c == '%' || c == '*' || astring_char(c);
}

static bool tag_char(unsigned char c)
{
	return c != '+' && astring_char(c);
}

static bool word_char(unsigned char c)
{
	return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '-' || c == '.' ||
	       c == '_';
}

static bool take(struct imap_parser *p, bool (*accepts)(unsigned char), struct view *out, const char *error)
{
	char *start = p->p, *at = start;

	while (at < p->end && accepts((unsigned char)*at))
		at++;
	if (at == start)
		return imap_fail(p, error);
	p->p = at;
	*out = (struct view){ start, (size_t)(at - start) };
	return true;
}

bool imap_parse_tag(struct imap_parser *p, struct view *out)
{
	char *start = p->p;

	if (!take(p, tag_char, out, "Missing or invalid tag."))
		return false;
	if (out->len > 64) {
		p->p = start;
		return imap_fail(p, "The tag is too long.");
	}
	return true;
}

bool imap_parse_atom(struct imap_parser *p, struct view *out)
{
	return take(p, atom_char, out, "Expected an atom.");
}

bool imap_parse_word(struct imap_parser *p, struct view *out)
{
	return take(p, word_char, out, "Expected a name.");
}

static bool parse_quoted(struct imap_parser *p, struct view *out)
{
	char *start = p->p + 1, *to = start, *at = start;

	for (; at < p->end && *at != '"'; at++) {
		if (*at == '\r' || *at == '\n')
			return imap_fail(p, "A quoted string must not hold a line end.");
		if (*at == '\\') {
			at++;
			if (at == p->end || (*at != '"' && *at != '\\'))
				return imap_fail(p, "Invalid escape in a quoted string.");
		}
	}
	if (at == p->end)
		return imap_fail(p, "Missing closing quote.");
	p->p = at + 1;
	for (char *from = start; from < at; from++) {
		if (*from == '\\')
			from++;
		*to++ = *from;
	}
	*out = (struct view){ start, (size_t)(to - start) };
	return true;
}

static bool parse_literal(struct imap_parser *p, struct view *out)
{
	const char *close = memchr(p->p, '}', (size_t)(p->end - p->p));
	struct view digits;
	uint64_t n;
	const char *data;

	if (close == NULL)
		return imap_fail(p, "Invalid literal.");
	digits = (struct view){ p->p + 1, (size_t)(close - p->p) - 1 };
	if (digits.len > 0 && digits.ptr[digits.len - 1] == '+')
		digits.len--;
	if (view_u64(digits, UINT32_MAX, &n) < 0 || p->end - close < 3 || close[1] != '\r' || close[2] != '\n' ||
	    n > (uint64_t)(p->end - close - 3))
		return imap_fail(p, "Invalid literal.");
	data = close + 3;
	*out = (struct view){ data, (size_t)n };
	p->p += (data - p->p) + (ptrdiff_t)n;
	return true;
}

bool imap_parse_string(struct imap_parser *p, struct view *out)
{
	if (imap_peek(p) == '"')
		return parse_quoted(p, out);
	if (imap_peek(p) == '{')
		return parse_literal(p, out);
	return imap_fail(p, "Expected a string.");
}

bool imap_parse_astring(struct imap_parser *p, struct view *out)
{
	if (imap_peek(p) == '"' || imap_peek(p) == '{')
		return imap_parse_string(p, out);
	return take(p, astring_char, out, "Expected a string.");
}

bool imap_parse_nstring(struct imap_parser *p, struct view *out)
{
	char *start = p->p;
	struct view atom;

	if (imap_peek(p) == '"' || imap_peek(p) == '{')
		return imap_parse_string(p, out);
	if (!take(p, atom_char, &atom, "Expected a string or NIL."))
		return false;
	if (!view_caseeq(atom, "NIL")) {
		p->p = start;
		return imap_fail(p, "Expected a string or NIL.");
	}
	*out = VIEW_NONE;
	return true;
}

bool imap_parse_list_mailbox(struct imap_parser *p, struct view *out)
{
	if (imap_peek(p) == '"' || imap_peek(p) == '{')
		return imap_parse_string(p, out);
	return take(p, list_char, out, "Expected a mailbox pattern.");
}

static bool digit_char(unsigned char c)
{
	return c >= '0' && c <= '9';
}

static bool parse_max(struct imap_parser *p, uint64_t max, uint64_t *out)
{
	char *start = p->p;
	struct view digits;

	if (!take(p, digit_char, &digits, "Expected a number."))
		return false;
	/* Leading zeros are allowed by the grammar of a number; view_u64 takes them. */
	if (view_u64(digits, max, out) < 0) {
		p->p = start;
		return imap_fail(p, "The number is too large.");
	}
	return true;
}

bool imap_parse_number64(struct imap_parser *p, uint64_t *out)
{
	return parse_max(p, INT64_MAX, out);
}

bool imap_parse_number(struct imap_parser *p, uint32_t *out)
{
	uint64_t n;

	if (!parse_max(p, UINT32_MAX, &n))
		return false;
	*out = (uint32_t)n;
	return true;
}

bool imap_parse_nz_number(struct imap_parser *p, uint32_t *out)
{
	char *start = p->p;

	if (!imap_parse_number(p, out))
		return false;
	if (*out == 0) {
		p->p = start;
		return imap_fail(p, "The number must not be zero.");
	}
	return true;
}

bool imap_parse_since(struct imap_parser *p, bool zero, uint64_t *modseq)
{
	if (!imap_parse_sp(p) || !imap_parse_number64(p, modseq))
		return false;
	return (*modseq > 0 || zero) && *modseq <= INT64_MAX ? true : imap_fail(p, "Not a mod-sequence.");
}

bool imap_parse_mailbox(struct imap_parser *p, char name[IMAP_NAME_MAX + 1])
{
	struct view raw;

	if (!imap_parse_astring(p, &raw))
		return false;
	if (p->utf8 ? memchr(raw.ptr, 0, raw.len) != NULL || view_copy(raw, name, IMAP_NAME_MAX + 1) < 0
	            : utf7_decode(raw, name, IMAP_NAME_MAX + 1) < 0)
		name[0] = '\0';
	if (strncasecmp(name, "INBOX", 5) == 0 && (name[5] == '\0' || name[5] == '/'))
		memcpy(name, "INBOX", 5);
	return true;
}

bool imap_parse_id(struct imap_parser *p)
{
	struct view ignored;

	if (!imap_accept(p, '('))
		return imap_parse_nstring(p, &ignored) &&
		       (ignored.ptr == NULL || imap_fail(p, "Expected a list or NIL."));
	if (imap_accept(p, ')'))
		return true;
	for (unsigned pairs = 0; pairs < 30; pairs++) {
		if (!imap_parse_string(p, &ignored) || !imap_parse_sp(p) || !imap_parse_nstring(p, &ignored))
			return false;
		if (imap_accept(p, ')'))
			return true;
		if (!imap_parse_sp(p))
			return false;
	}
	return imap_fail(p, "Too many fields.");
}

/* Dates ------------------------------------------------------------------------------------------------------ */

/* Days since 1970-01-01 in the proleptic Gregorian calendar. */
static int64_t day_number(int64_t year, unsigned month, unsigned day)
{
	int64_t y = month <= 2 ? year - 1 : year, era = y / 400, yoe = y - era * 400;
	int64_t doy = (153 * (int64_t)(month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;

	return era * 146097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719468;
}

static bool parse_digits(struct imap_parser *p, unsigned least, unsigned most, uint32_t *out)
{
	unsigned n = 0;

	*out = 0;
	for (; n < most && p->p < p->end && digit_char((unsigned char)*p->p); n++)
		*out = *out * 10 + (uint32_t)(*p->p++ - '0');
	return n >= least;
}

/* d-Mon-yyyy */
static bool parse_day(struct imap_parser *p, int64_t *day)
{
	static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
	static const uint8_t lengths[] = { 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
	uint32_t d, year;
	unsigned month = 0;

	if (!parse_digits(p, 1, 2, &d) || !imap_accept(p, '-') || p->end - p->p < 3)
		return false;
	while (month < 12 && strncasecmp(months + (size_t)3 * month, p->p, 3) != 0)
		month++;
	p->p += 3;
	if (month == 12 || !imap_accept(p, '-') || !parse_digits(p, 4, 4, &year))
		return false;
	if (d < 1 || d > lengths[month] ||
	    (month == 1 && d == 29 && (year % 4 != 0 || (year % 100 == 0 && year % 400 != 0))))
		return false;
	*day = day_number(year, month + 1, d);
	return true;
}

bool imap_parse_date(struct imap_parser *p, int64_t *day)
{
	char *start = p->p;
	bool quoted = imap_accept(p, '"');

	if (parse_day(p, day) && (!quoted || imap_accept(p, '"')))
		return true;
	p->p = start;
	return imap_fail(p, "Invalid date.");
}

bool imap_parse_datetime(struct imap_parser *p, int64_t *when)
{
	char *start = p->p;
	uint32_t hour, minute, second, zone;
	int64_t day;
	bool east;

	if (!imap_accept(p, '"'))
		return imap_fail(p, "Invalid date and time.");
	imap_accept(p, ' '); /* date-day-fixed: " 7" */
	if (!parse_day(p, &day) || !imap_accept(p, ' ') || !parse_digits(p, 2, 2, &hour) || !imap_accept(p, ':') ||
	    !parse_digits(p, 2, 2, &minute) || !imap_accept(p, ':') || !parse_digits(p, 2, 2, &second) ||
	    !imap_accept(p, ' '))
		goto bad;
	east = imap_peek(p) == '+';
	if ((!imap_accept(p, '+') && !imap_accept(p, '-')) || !parse_digits(p, 4, 4, &zone) || !imap_accept(p, '"') ||
	    hour > 23 || minute > 59 || second > 60 || zone % 100 > 59)
		goto bad;
	*when = day * 86400 + (int64_t)hour * 3600 + (int64_t)minute * 60 + second;
	*when -= (east ? 1 : -1) * ((int64_t)(zone / 100) * 3600 + (int64_t)(zone % 100) * 60);
	return true;
bad:
	p->p = start;
	return imap_fail(p, "Invalid date and time.");
}

/* Sets and flags --------------------------------------------------------------------------------------------- */

bool imap_peek_set(const struct imap_parser *p)
{
	return p->p < p->end && (*p->p == '*' || *p->p == '$' || digit_char((unsigned char)*p->p));
}

static bool parse_set_number(struct imap_parser *p, uint32_t *out)
{
	*out = 0;
	return imap_accept(p, '*') || imap_parse_nz_number(p, out);
}

bool imap_parse_set(struct imap_parser *p, struct imap_set *set)
{
	char *start = p->p;
	size_t cap = 0;

	*set = (struct imap_set){ 0 };
	set->saved = imap_accept(p, '$');
	if (set->saved)
		return true;
	do {
		struct uid_range r;

		if (!parse_set_number(p, &r.first))
			goto bad;
		r.last = r.first;
		if (imap_accept(p, ':') && !parse_set_number(p, &r.last))
			goto bad;
		if (set->count == cap) {
			cap = cap * 2 + 1;
			set->at = xreallocarray(set->at, cap, sizeof(*set->at));
		}
		set->at[set->count++] = r;
	} while (imap_accept(p, ','));
	return true;
bad:
	imap_set_free(set);
	p->p = start;
	return imap_fail(p, "Invalid message set.");
}

void imap_set_free(struct imap_set *set)
{
	free(set->at);
	*set = (struct imap_set){ 0 };
}

/* One flag into out; text has room for a keyword at *used. */
static bool parse_flag(struct imap_parser *p, struct imap_flags *out, size_t *used)
{
	static const struct {
		const char *name;
		uint32_t flag;
	} system[] = { { "Seen", FLAG_SEEN }, { "Answered", FLAG_ANSWERED }, { "Flagged", FLAG_FLAGGED },
		{ "Deleted", FLAG_DELETED }, { "Draft", FLAG_DRAFT } };
	struct view name;
	bool backslash = imap_accept(p, '\\');

	if (!imap_parse_atom(p, &name))
		return false;
	for (size_t i = 0; backslash && i < sizeof(system) / sizeof(system[0]); i++) {
		if (view_caseeq(name, system[i].name)) {
			out->flags |= system[i].flag;
			return true;
		}
	}
	if (backslash)
		return imap_fail(p, "Unknown or read-only system flag.");
	if (name.len > KEYWORD_NAME_MAX)
		return imap_fail(p, "A keyword is too long.");
	for (size_t i = 0; i < out->keyword_count; i++)
		if (view_caseeq(name, out->keywords[i]))
			return true;
	if (out->keyword_count == KEYWORDS_MAX)
		return imap_fail(p, "Too many keywords.");
	memcpy(out->text + *used, name.ptr, name.len);
	out->text[*used + name.len] = '\0';
	out->keywords[out->keyword_count++] = out->text + *used;
	*used += name.len + 1;
	return true;
}

bool imap_parse_flags(struct imap_parser *p, bool bare, struct imap_flags *out)
{
	char *start = p->p;
	size_t used = 0;
	bool list;

	*out = (struct imap_flags){ 0 };
	/* A keyword takes no more room than its bytes and the separator behind it. */
	out->text = xmalloc((size_t)(p->end - p->p) + 2);
	list = imap_accept(p, '(');
	if (!list && !bare) {
		imap_fail(p, "Expected a list of flags.");
		goto bad;
	}
	if (list && imap_accept(p, ')'))
		return true;
	do {
		if (!parse_flag(p, out, &used))
			goto bad;
	} while (imap_accept(p, ' '));
	if (list && !imap_parse_char(p, ')'))
		goto bad;
	return true;
bad:
	imap_flags_free(out);
	p->p = start;
	return false;
}

void imap_flags_free(struct imap_flags *f)
{
	free(f->text);
	*f = (struct imap_flags){ 0 };
}
