/*
 * The schema: one row an option.  Loading, defaults, unknown-key errors, printing, `site schema` and the option list of
 * mailadm-site(5) all read this table, so that they cannot disagree.  A new option is one row and one test.
 */
#ifndef SITE_SCHEMA_H
#define SITE_SCHEMA_H

#include "site.h"

enum schema_type {
	TYPE_GROUP,     /* { ... } in the site itself */
	TYPE_GROUPS,    /* ( { ... }, ... ): a list of elements, whose rows begin with "name[]." */
	TYPE_SECRET,    /* never in a site: doc says where it belongs; not printed */
	TYPE_STRING,    /* char * */
	TYPE_ADDRESS,   /* char *, normalised */
	TYPE_DOMAIN,    /* char *, normalised host or domain name */
	TYPE_IP4,       /* char *, canonical */
	TYPE_IP6,       /* char *, canonical */
	TYPE_ENUM,      /* char *, one of words */
	TYPE_BOOL,      /* bool */
	TYPE_INT,       /* int or uint16_t */
	TYPE_SIZE,      /* uint64_t, bytes */
	TYPE_DURATION,  /* uint64_t or int, seconds */
	TYPE_PROTOCOLS, /* unsigned, PROTOCOL_ bits */
	TYPE_STRINGS,   /* struct strings; one string or a list of them */
	TYPE_ADDRESSES, /* struct strings, normalised */
	TYPE_DOMAINS,   /* struct strings, normalised */
	TYPE_PREFIXES,  /* struct strings, canonical "192.0.2.0/24", "2001:db8::/32"; a single address has no length */
	TYPE_MATCHES,   /* struct strings, normalised: a domain, ".domain" for what is below it, or a mail address */
};

struct schema_row {
	const char *path; /* "limits.message_size", "accounts[].quota" */
	enum schema_type type;
	size_t offset, size; /* the member, in struct site or in the list's element; of TYPE_GROUPS the pointer */
	size_t count_offset, element_size, origin_offset; /* TYPE_GROUPS */
	void (*begin)(void *element);       /* TYPE_GROUPS: marks a new element, where two lists share an array */
	bool (*holds)(const void *element); /* TYPE_GROUPS: is it one of this list? */
	const char *what;                   /* TYPE_GROUPS: "account" */
	const char *fallback;               /* the default as text; NULL: none, or computed after loading */
	const char *shown;                  /* what the documentation says the default is, when it is computed */
	uint64_t min, max;                  /* numbers; max 0: no limits */
	const char *const *words;           /* TYPE_ENUM, NULL-terminated */
	bool required;
	bool optional;                      /* "" is allowed and means none */
	const char *(*check)(const char *); /* strings, each: why a value does not fit, or NULL */
	const char *example;                /* in messages, where the type's does not fit */
	const char *doc;
};

extern const struct schema_row schema[];
extern const size_t schema_count;
#define SCHEMA_MAX 256 /* more rows than there are */

/* The rows of a group stand right behind it.  parent -1 is the site itself. */
int schema_find(int parent, const char *name); /* a row index, or -1 */
int schema_next_child(
    int parent, int after);       /* the child behind row `after`, first with after == parent; -1 at the end */
const char *schema_name(int row); /* the last part of its path */
const char *schema_nearest(int parent, const char *name); /* for 'did you mean', or NULL */
const char *schema_type_name(enum schema_type);           /* "size" */
const char *schema_example(const struct schema_row *);
const char *schema_type_example(enum schema_type); /* "\"50M\"" */
void schema_default_text(
    const struct schema_row *, struct buf *out); /* as documented: "50M", the first account, none */

#endif
