/* The arguments of LIST, plain and extended, and of LSUB. */
#include "list.h"
#include "status.h"

const char *const special_uses[SPECIAL_USES] = {
	[SPECIAL_NONE] = "",
	[SPECIAL_DRAFTS] = "\\Drafts",
	[SPECIAL_SENT] = "\\Sent",
	[SPECIAL_TRASH] = "\\Trash",
	[SPECIAL_JUNK] = "\\Junk",
	[SPECIAL_ARCHIVE] = "\\Archive",
};

struct option {
	const char *name;
	unsigned bit;
};
static const struct option selections[] = { { "SUBSCRIBED", LIST_SUBSCRIBED }, { "SPECIAL-USE", LIST_SPECIAL_USE },
	{ "REMOTE", LIST_REMOTE }, { "RECURSIVEMATCH", LIST_RECURSIVEMATCH }, { NULL, 0 } };
static const struct option returns[] = { { "SUBSCRIBED", LIST_SUBSCRIBED }, { "SPECIAL-USE", LIST_SPECIAL_USE },
	{ "CHILDREN", LIST_CHILDREN }, { "STATUS", LIST_STATUS }, { NULL, 0 } };

/* "(SUBSCRIBED RECURSIVEMATCH)" or "(STATUS (MESSAGES) CHILDREN)", maybe empty. */
static bool parse_options(struct imap_parser *p, const struct option *options, unsigned *bits, unsigned *status)
{
	struct view word;
	const struct option *o;

	if (!imap_parse_char(p, '('))
		return false;
	if (imap_accept(p, ')'))
		return true;
	do {
		if (!imap_parse_word(p, &word))
			return false;
		for (o = options; o->name != NULL && !view_caseeq(word, o->name); o++)
			;
		if (o->name == NULL)
			return imap_fail(p, "Unknown LIST option.");
		*bits |= o->bit;
		if (o->bit == LIST_STATUS && (!imap_parse_sp(p) || !status_parse(p, status)))
			return false;
	} while (imap_accept(p, ' '));
	return imap_parse_char(p, ')');
}

static bool parse_selection(struct imap_parser *p, struct list_args *a)
{
	if (!parse_options(p, selections, &a->select, &a->status))
		return false;
	/* It says how to go on from what others choose (RFC 5258 3.1). */
	if ((a->select & LIST_RECURSIVEMATCH) && !(a->select & (LIST_SUBSCRIBED | LIST_SPECIAL_USE)))
		return imap_fail(p, "RECURSIVEMATCH needs another selection option.");
	a->extended = true;
	return imap_parse_sp(p);
}

/* One pattern, or several in parentheses. */
static bool parse_patterns(struct imap_parser *p, bool lsub, struct list_args *a)
{
	size_t bytes = 0;

	if (lsub || !imap_accept(p, '(')) {
		a->pattern_count = 1;
		return imap_parse_list_mailbox(p, &a->patterns[0]);
	}
	a->extended = true;
	do {
		if (a->pattern_count == LIST_PATTERNS_MAX)
			return imap_fail(p, "Too many patterns.");
		if (!imap_parse_list_mailbox(p, &a->patterns[a->pattern_count]))
			return false;
		bytes += a->patterns[a->pattern_count++].len + a->reference.len;
	} while (imap_accept(p, ' '));
	if (bytes > LIST_PATTERN_BYTES)
		return imap_fail(p, "The patterns are too long.");
	return imap_parse_char(p, ')');
}

static bool parse_return(struct imap_parser *p, struct list_args *a)
{
	struct view word;

	if (!imap_accept(p, ' '))
		return true;
	if (!imap_parse_word(p, &word))
		return false;
	if (!view_caseeq(word, "RETURN"))
		return imap_fail(p, "Unknown LIST argument.");
	a->extended = true;
	return imap_parse_sp(p) && parse_options(p, returns, &a->returns, &a->status);
}

bool list_parse(struct imap_parser *p, bool lsub, struct list_args *a)
{
	*a = (struct list_args){ 0 };
	if (!imap_parse_sp(p))
		return false;
	if (!lsub && imap_peek(p) == '(' && !parse_selection(p, a))
		return false;
	if (!imap_parse_astring(p, &a->reference) || !imap_parse_sp(p) || !parse_patterns(p, lsub, a))
		return false;
	return (lsub || parse_return(p, a)) && imap_parse_end(p);
}
