/*
 * report.h: DMARC aggregate reports, RFC 9990 appendix A (and the older form, which differs in what is ignored here).
 * Expat walks the XML; a document that declares a type is refused, so that there are no entities.  Where an element
 * stands is its path, and one table says what to do with the text of which.
 */
#include <arpa/inet.h>
#include <expat.h>
#include <stdlib.h>
#include <string.h>

#include "mailsvc/report/report.h"

#define PATH_MAX_BYTES 256
#define DEPTH_MAX 16

struct parse {
	XML_Parser parser;
	char path[PATH_MAX_BYTES]; /* "feedback/record/row/count" */
	size_t depth;
	struct buf text; /* of the innermost element */
	json_t *report, *rows, *row;
	const char *fault;
};

static void stop(struct parse *p, const char *fault)
{
	if (p->fault == NULL)
		p->fault = fault;
	XML_StopParser(p->parser, XML_FALSE);
}

/* Expat gives UTF-8; it may have been cut within a character, and then is left out. */
static json_t *text_value(struct parse *p)
{
	size_t n = p->text.len, start = 0;

	while (start < n && strchr(" \t\r\n", p->text.data[start]) != NULL)
		start++;
	while (n > start && strchr(" \t\r\n", p->text.data[n - 1]) != NULL)
		n--;
	json_t *s = json_stringn(n > start ? p->text.data + start : "", n - start);
	return s != NULL ? s : json_string("");
}

static json_int_t number_value(struct parse *p)
{
	json_t *s = text_value(p);
	uint64_t n = 0;

	if (view_u64(view_of(json_string_value(s)), INT32_MAX, &n) == -1)
		n = 0;
	json_decref(s);
	return (json_int_t)n;
}

/* "a, b": several of a kind in one row. */
static void append(json_t *o, const char *key, json_t *value)
{
	const char *have = json_string_value(json_object_get(o, key)), *more = json_string_value(value);

	if (have == NULL || have[0] == '\0') {
		json_object_set(o, key, value);
	} else if (strlen(have) + strlen(more) < 4 * REPORT_STRING_MAX) {
		char *both = xasprintf("%s, %s", have, more);

		json_object_set_new(o, key, json_string(both));
		free(both);
	}
	json_decref(value);
}

enum kind { TEXT, NUMBER, SEVERAL, ADDRESS };

static const struct {
	const char *path, *key;
	enum kind kind;
	bool row; /* of a row, else of the report */
} wanted[] = {
	{ "feedback/report_metadata/org_name", "org", TEXT, false },
	{ "feedback/report_metadata/report_id", "id", TEXT, false },
	{ "feedback/report_metadata/date_range/begin", "begin", NUMBER, false },
	{ "feedback/report_metadata/date_range/end", "end", NUMBER, false },
	{ "feedback/policy_published/domain", "domain", TEXT, false },
	{ "feedback/policy_published/p", "policy", TEXT, false },
	{ "feedback/record/row/source_ip", "source", ADDRESS, true },
	{ "feedback/record/row/count", "count", NUMBER, true },
	{ "feedback/record/row/policy_evaluated/disposition", "disposition", TEXT, true },
	{ "feedback/record/row/policy_evaluated/dkim", "dkim", TEXT, true },
	{ "feedback/record/row/policy_evaluated/spf", "spf", TEXT, true },
	{ "feedback/record/row/policy_evaluated/reason/type", "reasons", SEVERAL, true },
	{ "feedback/record/identifiers/header_from", "from", TEXT, true },
	{ "feedback/record/auth_results/dkim/domain", "dkim_domains", SEVERAL, true },
	{ "feedback/record/auth_results/spf/domain", "spf_domain", SEVERAL, true },
};

/* An address as inet_ntop writes it; anything else is no address. */
static json_t *address_value(struct parse *p)
{
	json_t *s = text_value(p);
	char out[INET6_ADDRSTRLEN] = "";
	unsigned char bytes[16];
	int family = strchr(json_string_value(s), ':') != NULL ? AF_INET6 : AF_INET;

	if (inet_pton(family, json_string_value(s), bytes) == 1)
		inet_ntop(family, bytes, out, sizeof(out));
	json_decref(s);
	return json_string(out);
}

static void take_text(struct parse *p)
{
	for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
		json_t *o = wanted[i].row ? p->row : p->report;

		if (strcmp(p->path, wanted[i].path) != 0 || o == NULL)
			continue;
		if (wanted[i].kind == NUMBER)
			json_object_set_new(o, wanted[i].key, json_integer(number_value(p)));
		else if (wanted[i].kind == SEVERAL)
			append(o, wanted[i].key, text_value(p));
		else
			json_object_set_new(o, wanted[i].key, wanted[i].kind == ADDRESS ? address_value(p) : text_value(p));
	}
}

static json_t *new_row(void)
{
	return json_pack("{s:s, s:i, s:s, s:s, s:s, s:s, s:s, s:s, s:s}", "source", "", "count", 0, "disposition", "", "dkim", "", "spf",
	    "", "from", "", "dkim_domains", "", "spf_domain", "", "reasons", "");
}

/* Names may come with a namespace's prefix. */
static void XMLCALL on_start(void *arg, const XML_Char *name, const XML_Char **attributes)
{
	struct parse *p = arg;
	const char *colon = strrchr(name, ':'), *local = colon != NULL ? colon + 1 : name;
	size_t have = strlen(p->path), n = strlen(local);

	(void)attributes;
	if (++p->depth > DEPTH_MAX || n + 2 > sizeof(p->path) - have) {
		stop(p, "elements nested too deeply");
		return;
	}
	if (have > 0)
		p->path[have++] = '/';
	memcpy(p->path + have, local, n + 1);
	buf_reset(&p->text);
	if (strcmp(p->path, "feedback/record") == 0)
		p->row = new_row();
}

static void XMLCALL on_end(void *arg, const XML_Char *name)
{
	struct parse *p = arg;
	char *slash = strrchr(p->path, '/');

	(void)name;
	take_text(p);
	if (strcmp(p->path, "feedback/record") == 0 && p->row != NULL) {
		json_array_append_new(p->rows, p->row);
		p->row = NULL;
		if (json_array_size(p->rows) >= REPORT_ROWS_MAX)
			stop(p, "more rows than are read");
	}
	*(slash != NULL ? slash : p->path) = '\0';
	p->depth--;
	buf_reset(&p->text);
}

static void XMLCALL on_text(void *arg, const XML_Char *s, int len)
{
	struct parse *p = arg;
	size_t room = REPORT_STRING_MAX - p->text.len;

	buf_add(&p->text, s, (size_t)len < room ? (size_t)len : room);
}

static void XMLCALL on_doctype(void *arg, const XML_Char *name, const XML_Char *sysid, const XML_Char *pubid, int internal)
{
	(void)name, (void)sysid, (void)pubid, (void)internal;
	stop(arg, "it declares a document type");
}

json_t *report_parse_dmarc(struct view xml, struct error *e)
{
	struct parse p = { .parser = XML_ParserCreate(NULL), .text = BUF_INIT(REPORT_STRING_MAX + 1), .rows = json_array() };
	enum XML_Status status;

	if (p.parser == NULL)
		fatalx("out of memory");
	p.report = json_pack("{s:s, s:s, s:i, s:i, s:s, s:s, s:o}", "org", "", "id", "", "begin", 0, "end", 0, "domain", "", "policy", "",
	    "rows", p.rows);
	XML_SetUserData(p.parser, &p);
	XML_SetElementHandler(p.parser, on_start, on_end);
	XML_SetCharacterDataHandler(p.parser, on_text);
	XML_SetStartDoctypeDeclHandler(p.parser, on_doctype);
	status = XML_Parse(p.parser, xml.ptr, (int)xml.len, 1);
	if (status != XML_STATUS_OK)
		error_set(e, "line %lu: %s", (unsigned long)XML_GetCurrentLineNumber(p.parser),
		    p.fault != NULL ? p.fault : XML_ErrorString(XML_GetErrorCode(p.parser)));
	else if (json_string_value(json_object_get(p.report, "domain"))[0] == '\0')
		error_set(e, "a DMARC report without a domain");
	else
		e->text[0] = '\0';
	XML_ParserFree(p.parser);
	buf_free(&p.text);
	json_decref(p.row);
	if (e->text[0] == '\0')
		return p.report;
	json_decref(p.report);
	return NULL;
}
