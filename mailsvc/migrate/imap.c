/*
 * A live IMAP server as source.  Mailboxes are only examined, messages only peeked at: nothing changes there.  UIDs,
 * flags, dates and sizes of a mailbox come in one answer; bodies in commands of at most SET_MESSAGES messages and about
 * SET_BYTES, of which one is always on its way while the one before is read.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "lib/conn.h"
#include "lib/text.h"
#include "mailsvc/imap/parse.h"
#include "mailsvc/migrate/migrate.h"
#include "mailsvc/migrate/talk.h"

#define SET_MESSAGES 100
#define SET_BYTES (8u << 20)
#define PREFIXES_MAX 32

struct imap {
	struct migrate_source source;
	const struct migrate_server *server;
	struct talk talk;
	struct buf capabilities;     /* in capitals, " A B " */
	char *prefix;                /* of the personal namespace */
	char *foreign[PREFIXES_MAX]; /* of those of others */
	size_t foreign_count;
	struct reader *reader;
	struct migrate_folder *folder; /* the one being read */
	bool subscribed;               /* LSUB is being read */
};

/* Logging in ----------------------------------------------------------------------------------------------------- */

static struct imap_parser parser_of(struct view rest)
{
	return imap_parser_of((char *)(uintptr_t)rest.ptr, rest.len); /* the response is ours to unescape in */
}

static void on_capability(void *arg, struct view rest)
{
	struct imap *m = arg;

	if (rest.len < 11 || !view_caseeq((struct view){ rest.ptr, 11 }, "CAPABILITY "))
		return;
	buf_reset(&m->capabilities);
	buf_addc(&m->capabilities, ' ');
	for (size_t i = 11; i < rest.len; i++)
		buf_addc(&m->capabilities,
		    rest.ptr[i] >= 'a' && rest.ptr[i] <= 'z' ? (char)(rest.ptr[i] - 32) : rest.ptr[i]);
	buf_addc(&m->capabilities, ' ');
}

static bool has(struct imap *m, const char *word)
{
	return strstr(buf_str(&m->capabilities), word) != NULL;
}

static int refused(struct error *e, const char *what, struct view rest)
{
	struct buf b = BUF_INIT(1024);

	text_escape(&b, rest, 200);
	error_set(e, "the server refuses %s: %s", what, buf_str(&b));
	buf_free(&b);
	return -1;
}

static int capabilities(struct imap *m, struct error *e)
{
	struct view rest;
	int rc = talk_finish(&m->talk, talk_command(&m->talk, e, "CAPABILITY"), on_capability, m, &rest, e);

	return rc == 1 ? refused(e, "CAPABILITY", rest) : rc;
}

/* AUTHENTICATE with one answer from us; another challenge (a reason in base64, RFC 7628 and XOAUTH2) gets an empty one.
 */
static int authenticate(struct imap *m, const char *mechanism, struct view secret, struct error *e)
{
	struct buf line = BUF_INIT(65536);
	struct view rest;
	unsigned tag;
	bool told = has(m, " SASL-IR ");
	int rc = -1;

	text_base64_encode(&line, secret);
	tag = told ? talk_command(&m->talk, e, "AUTHENTICATE %s %s", mechanism, buf_str(&line))
	           : talk_command(&m->talk, e, "AUTHENTICATE %s", mechanism);
	buf_add(&line, "\r\n", 2);
	while (tag != 0 && talk_receive(&m->talk, e) == 0) {
		enum talk_kind kind = talk_kind(&m->talk, tag, &rest);
		if (kind == TALK_CONTINUE && talk_send(&m->talk, told ? VIEW_LIT("\r\n") : buf_view(&line), e) < 0)
			break;
		told |= kind == TALK_CONTINUE;
		if (kind == TALK_OK)
			rc = 0;
		if (kind == TALK_NO || kind == TALK_BAD)
			refused(e, "the login", rest);
		if (kind == TALK_OK || kind == TALK_NO || kind == TALK_BAD)
			break;
	}
	explicit_bzero(line.data, line.cap);
	buf_free(&line);
	return rc;
}

static int login(struct imap *m, struct error *e)
{
	const struct migrate_server *s = m->server;
	struct buf b = BUF_INIT(65536);
	struct view rest;
	int rc;

	if (s->oauth) {
		buf_printf(&b, "user=%s\001auth=Bearer %s\001\001", s->user, s->password);
		rc = authenticate(m, "XOAUTH2", buf_view(&b), e);
	} else if (has(m, " AUTH=PLAIN ")) {
		buf_addc(&b, '\0');
		buf_puts(&b, s->user);
		buf_addc(&b, '\0');
		buf_puts(&b, s->password);
		rc = authenticate(m, "PLAIN", buf_view(&b), e);
	} else if (has(m, " LOGINDISABLED ")) {
		rc = error_set(
		    e, "the server takes no password on this connection; try without --plain, or with --starttls");
	} else {
		rc = talk_quote(&b, view_of(s->user));
		buf_addc(&b, ' ');
		rc |= talk_quote(&b, view_of(s->password));
		if (rc < 0)
			error_set(e, "user and password have characters that LOGIN cannot carry");
		else if ((rc = talk_finish(&m->talk, talk_command(&m->talk, e, "LOGIN %s", buf_str(&b)), on_capability,
			      m, &rest, e)) == 1)
			rc = refused(e, "the login", rest);
	}
	if (b.data != NULL)
		explicit_bzero(b.data, b.cap);
	buf_free(&b);
	return rc;
}

static int greet(struct imap *m, struct error *e)
{
	const struct migrate_server *s = m->server;
	struct view rest;
	int rc;

	talk_init(&m->talk, s->fd);
	if (s->tls != NULL && !s->starttls && talk_tls(&m->talk, s->tls, s->host, s->verify, e) < 0)
		return -1;
	if (talk_receive(&m->talk, e) < 0)
		return -1;
	if (talk_kind(&m->talk, 0, &rest) != TALK_UNTAGGED || rest.len < 2 ||
	    !view_caseeq((struct view){ rest.ptr, 2 }, "OK"))
		return refused(e, "the connection", buf_view(&m->talk.response));
	if (s->starttls) {
		rc = talk_finish(&m->talk, talk_command(&m->talk, e, "STARTTLS"), NULL, NULL, &rest, e);
		if (rc != 0)
			return rc == 1 ? refused(e, "STARTTLS", rest) : -1;
		if (talk_tls(&m->talk, s->tls, s->host, s->verify, e) < 0)
			return -1;
	}
	if (capabilities(m, e) < 0 || login(m, e) < 0)
		return -1;
	return capabilities(m, e);
}

/* Folders -----------------------------------------------------------------------------------------------------------
 */

/* (("prefix" "/" ...)("prefix2" ...)) or NIL; the first prefix of personal ones is ours. */
static void on_namespace(void *arg, struct view rest)
{
	struct imap *m = arg;
	struct imap_parser p;
	struct view v;

	if (rest.len < 10 || !view_caseeq((struct view){ rest.ptr, 10 }, "NAMESPACE "))
		return;
	p = parser_of((struct view){ rest.ptr + 10, rest.len - 10 });
	for (int group = 0; group < 3; group++) {
		if (!imap_accept(&p, '('))
			imap_parse_atom(&p, &v); /* NIL */
		else {
			while (imap_accept(&p, '(') && imap_parse_string(&p, &v)) {
				if (group == 0 && m->prefix == NULL)
					m->prefix = view_dup(v);
				else if (group > 0 && v.len > 0 && m->foreign_count < PREFIXES_MAX)
					m->foreign[m->foreign_count++] = view_dup(v);
				while (p.p < p.end && *p.p != ')')
					p.p++;
				imap_accept(&p, ')');
			}
			imap_accept(&p, ')');
		}
		imap_accept(&p, ' ');
	}
}

static bool is_foreign(const struct imap *m, struct view name)
{
	for (size_t i = 0; i < m->foreign_count; i++) {
		size_t n = strlen(m->foreign[i]);
		if (name.len + 1 >= n && strncmp(name.ptr, m->foreign[i], name.len < n ? name.len : n) == 0)
			return true;
	}
	return false;
}

static void found(struct imap *m, struct view raw, char separator, bool selectable)
{
	struct view rest = raw;
	size_t n = m->prefix != NULL ? strlen(m->prefix) : 0;
	char name[MAILBOX_NAME_MAX + 1], *locator = view_dup(raw);
	struct migrate_folder *f;

	if (n > 0 && raw.len > n && strncasecmp(raw.ptr, m->prefix, n) == 0)
		rest = (struct view){ raw.ptr + n, raw.len - n };
	if (!migrate_name_levels(rest, separator, name))
		reader_problem(m->reader, "a mailbox has a name that none can have here; it is left out");
	else if (m->subscribed)
		migrate_subscribe(&m->source, name);
	else if ((f = migrate_folder_add(&m->source, m->reader, name, locator)) != NULL)
		f->selectable = selectable;
	free(locator);
}

/* LIST (\Noselect \HasChildren) "/" name */
static void on_list(void *arg, struct view rest)
{
	struct imap *m = arg;
	struct imap_parser p;
	struct view name, separator = VIEW_NONE, flags;
	bool selectable = true;
	const char *end;

	if (rest.len < 6 ||
	    (!view_caseeq((struct view){ rest.ptr, 5 }, "LIST ") &&
		!view_caseeq((struct view){ rest.ptr, 5 }, "LSUB ")) ||
	    rest.ptr[5] != '(' || (end = memchr(rest.ptr, ')', rest.len)) == NULL)
		return;
	flags = (struct view){ rest.ptr + 6, (size_t)(end - rest.ptr) - 6 };
	for (size_t i = 0; i + 9 <= flags.len; i++)
		if (strncasecmp(flags.ptr + i, "\\Noselect", 9) == 0 ||
		    strncasecmp(flags.ptr + i, "\\NonExist", 9) == 0)
			selectable = false;
	p = parser_of((struct view){ end + 1, rest.len - (size_t)(end + 1 - rest.ptr) });
	if (imap_parse_sp(&p) && imap_parse_nstring(&p, &separator) && imap_parse_sp(&p) &&
	    imap_parse_list_mailbox(&p, &name) && name.len > 0 && !is_foreign(m, name))
		found(m, name, separator.len == 1 ? separator.ptr[0] : '\0', selectable);
}

static int folders(struct migrate_source *s, struct reader *r, struct error *e)
{
	struct imap *m = (struct imap *)s;
	struct view rest;
	int rc;

	m->reader = r;
	if (greet(m, e) < 0)
		return -1;
	if (has(m, " NAMESPACE ") &&
	    talk_finish(&m->talk, talk_command(&m->talk, e, "NAMESPACE"), on_namespace, m, &rest, e) < 0)
		return -1;
	rc = talk_finish(&m->talk, talk_command(&m->talk, e, "LIST \"\" \"*\""), on_list, m, &rest, e);
	if (rc != 0)
		return rc == 1 ? refused(e, "LIST", rest) : -1;
	m->subscribed = s->knows_subscriptions = true;
	rc = talk_finish(&m->talk, talk_command(&m->talk, e, "LSUB \"\" \"*\""), on_list, m, &rest, e);
	if (rc == 1)
		s->knows_subscriptions = false;
	return rc < 0 ? -1 : 0;
}

/* Messages ------------------------------------------------------------------------------------------------------------
 */

struct fetched {
	uint32_t uid, flags, size;
	uint64_t keywords;
	int64_t date;
	bool listed;      /* FLAGS and INTERNALDATE came */
	struct view body; /* ptr NULL: none came */
};

static bool take_flags(struct imap *m, struct imap_parser *p, struct fetched *f)
{
	if (!imap_accept(p, '('))
		return false;
	while (p->p < p->end && *p->p != ')') {
		struct view v = { p->p, 0 };
		uint32_t flag;

		while (p->p < p->end && *p->p != ' ' && *p->p != ')')
			p->p++, v.len++;
		flag = migrate_flag_name(v);
		f->flags |= flag;
		if (flag == 0)
			f->keywords |= migrate_keyword(m->folder, v);
		imap_accept(p, ' ');
	}
	return imap_accept(p, ')');
}

/* A value that nobody asked for: an atom, a string, or a list. */
static bool skip_value(struct imap_parser *p, unsigned depth)
{
	struct view v;

	if (depth > 20)
		return false;
	if (!imap_accept(p, '(')) {
		if (imap_peek(p) == '"' || imap_peek(p) == '{')
			return imap_parse_string(p, &v);
		while (p->p < p->end && *p->p != ' ' && *p->p != ')')
			p->p++;
		return true;
	}
	while (p->p < p->end && !imap_accept(p, ')'))
		if (!skip_value(p, depth + 1) || (imap_peek(p) != ')' && !imap_accept(p, ' ')))
			return false;
	return true;
}

/* "17 FETCH (UID 4 FLAGS () ...)" */
static bool take_fetch(struct imap *m, struct view rest, struct fetched *f)
{
	struct imap_parser p = parser_of(rest);
	struct view v;
	uint32_t n;

	*f = (struct fetched){ 0 };
	if (!imap_parse_number(&p, &n) || !imap_parse_sp(&p) || !imap_parse_atom(&p, &v) || !view_caseeq(v, "FETCH") ||
	    !imap_parse_sp(&p) || !imap_accept(&p, '('))
		return false;
	while (p.p < p.end && *p.p != ')') {
		struct view name = { p.p, 0 };
		bool ok;

		while (p.p < p.end && *p.p != ' ')
			p.p++, name.len++;
		if (!imap_parse_sp(&p))
			return false;
		if (view_caseeq(name, "UID"))
			ok = imap_parse_nz_number(&p, &f->uid);
		else if (view_caseeq(name, "FLAGS"))
			ok = take_flags(m, &p, f);
		else if (view_caseeq(name, "INTERNALDATE"))
			ok = f->listed = imap_parse_datetime(&p, &f->date);
		else if (view_caseeq(name, "RFC822.SIZE"))
			ok = imap_parse_number(&p, &f->size);
		else if (view_caseeq(name, "BODY[]"))
			ok = imap_parse_nstring(&p, &f->body);
		else
			ok = skip_value(&p, 0);
		if (!ok)
			return false;
		imap_accept(&p, ' ');
	}
	return f->uid != 0;
}

static void on_examine(void *arg, struct view rest)
{
	struct imap *m = arg;
	const char *at = memmem(rest.ptr, rest.len, "[UIDVALIDITY ", 13);
	struct imap_parser p;

	if (at == NULL)
		return;
	p = parser_of((struct view){ at + 13, rest.len - (size_t)(at + 13 - rest.ptr) });
	imap_parse_number(&p, &m->folder->uid_validity);
}

static void on_listed(void *arg, struct view rest)
{
	struct imap *m = arg;
	struct migrate_item *item;
	struct fetched f;

	if (!take_fetch(m, rest, &f) || !f.listed || m->folder->count >= MIGRATE_MESSAGES_MAX)
		return;
	item = migrate_item_add(m->folder);
	item->uid = f.uid;
	item->flags = f.flags;
	item->keywords = f.keywords;
	item->date = f.date;
	item->size = f.size;
	migrate_key_uid(item->key, m->source.label, m->folder->name, m->folder->uid_validity, f.uid);
}

static int list(struct migrate_source *s, struct reader *r, struct migrate_folder *f, struct error *e)
{
	struct imap *m = (struct imap *)s;
	struct buf name = BUF_INIT(8192);
	struct view rest;
	int rc;

	m->reader = r;
	m->folder = f;
	if (talk_quote(&name, view_of(f->locator)) < 0) {
		buf_free(&name);
		return error_set(e, "has a name that cannot be asked for");
	}
	rc = talk_finish(&m->talk, talk_command(&m->talk, e, "EXAMINE %s", buf_str(&name)), on_examine, m, &rest, e);
	buf_free(&name);
	if (rc == 0)
		rc = talk_finish(&m->talk,
		    talk_command(&m->talk, e, "UID FETCH 1:* (UID FLAGS INTERNALDATE RFC822.SIZE)"), on_listed, m,
		    &rest, e);
	if (rc == 1)
		return refused(e, "it", rest);
	return rc == 0 ? 0 : -2;
}

enum place { PLACE_WAITS, PLACE_HELD, PLACE_DONE };
struct pull { /* bodies of a part of the items */
	struct imap *m;
	struct migrate_item *items;
	const bool *want;
	size_t count, asked; /* asked: the next to be asked for */
	size_t next;         /* the next to be offered: in UID order, whatever order they come in */
	struct {
		enum place place;
		bool came;
		struct view body; /* HELD: ours */
	} at[MIGRATE_BATCH];
	bool gone; /* the importer */
};

/* Offers what is here and has nothing before it that may still come. */
static void offer_next(struct pull *u)
{
	for (; u->next < u->count && (!u->want[u->next] || u->at[u->next].place != PLACE_WAITS); u->next++) {
		struct view *body = &u->at[u->next].body;

		if (u->at[u->next].place != PLACE_HELD)
			continue;
		if (!u->gone)
			u->gone = reader_offer(u->m->reader, u->m->folder, &u->items[u->next], *body) < 0;
		free((void *)(uintptr_t)body->ptr);
		*body = VIEW_NONE;
		u->at[u->next].place = PLACE_DONE;
	}
}

/*
 * A server may answer two commands at once: what comes before its turn is kept, which is at most what the second one
 * asked for.
 */
static void on_body(void *arg, struct view rest)
{
	struct pull *u = arg;
	struct fetched f;
	size_t low = 0, high = u->count;

	if (u->gone || !take_fetch(u->m, rest, &f) || f.body.ptr == NULL)
		return;
	while (low < high) { /* items are in UID order */
		size_t middle = low + (high - low) / 2;
		if (u->items[middle].uid < f.uid)
			low = middle + 1;
		else
			high = middle;
	}
	if (low == u->count || low >= u->asked || u->items[low].uid != f.uid || !u->want[low] || u->at[low].came)
		return;
	u->at[low].came = true;
	if (low == u->next) {
		u->at[low].place = PLACE_DONE;
		u->gone = reader_offer(u->m->reader, u->m->folder, &u->items[low], f.body) < 0;
	} else {
		char *copy = xmalloc(f.body.len + 1);
		memcpy(copy, f.body.ptr, f.body.len);
		u->at[low].body = (struct view){ copy, f.body.len };
		u->at[low].place = PLACE_HELD;
	}
	offer_next(u);
}

/* Asks for the next messages, up to *end. The tag; 0: an error; UINT_MAX: there are none. */
static unsigned ask(struct pull *u, size_t *end, struct error *e)
{
	struct buf set = BUF_INIT(65536);
	uint64_t bytes = 0;
	size_t n = 0;
	unsigned tag;

	for (; u->asked < u->count && n < SET_MESSAGES && (n == 0 || bytes + u->items[u->asked].size <= SET_BYTES);
	     u->asked++) {
		if (!u->want[u->asked])
			continue;
		buf_printf(&set, "%s%u", n++ ? "," : "", u->items[u->asked].uid);
		bytes += u->items[u->asked].size;
	}
	*end = u->asked;
	tag = n == 0 ? UINT32_MAX : talk_command(&u->m->talk, e, "UID FETCH %s (UID BODY.PEEK[])", buf_str(&set));
	buf_free(&set);
	return tag;
}

/* What a command that is over did not bring does not come any more. */
static void settle(struct pull *u, size_t end)
{
	for (size_t i = u->next; i < end; i++)
		if (u->want[i] && !u->at[i].came) {
			u->at[i].came = true;
			u->at[i].place = PLACE_DONE;
			reader_problem(u->m->reader, "%s: UID %u: the server does not give it", u->m->folder->name,
			    u->items[i].uid);
		}
	offer_next(u);
}

static int pull_all(struct pull *u, struct error *e)
{
	size_t end, next_end = 0;
	unsigned now = ask(u, &end, e), next;
	struct view rest;

	while (now != UINT32_MAX) {
		next = now != 0 ? ask(u, &next_end, e) : 0;
		if (now == 0 || next == 0 || talk_finish(&u->m->talk, now, on_body, u, &rest, e) < 0 || u->gone)
			return -1;
		settle(u, end);
		now = next;
		end = next_end;
	}
	return u->gone ? -1 : 0;
}

static int fetch(struct migrate_source *s, struct reader *r, struct migrate_folder *f, struct migrate_item *items,
    const bool *want, size_t count, struct error *e)
{
	struct imap *m = (struct imap *)s;
	struct pull *u = xcalloc(1, sizeof(*u));
	int rc;

	*u = (struct pull){ .m = m, .items = items, .want = want, .count = count };
	m->folder = f;
	m->reader = r;
	rc = pull_all(u, e);
	for (size_t i = 0; i < count; i++)
		free((void *)(uintptr_t)u->at[i].body.ptr);
	free(u);
	return rc;
}

struct migrate_source *migrate_imap(const struct migrate_server *server)
{
	struct imap *m = xcalloc(1, sizeof(*m));

	m->source = (struct migrate_source){ .label = server->label, .folders = folders, .list = list, .fetch = fetch };
	m->server = server;
	m->capabilities = BUF_INIT(65536);
	return &m->source;
}

void migrate_imap_free(struct migrate_source *s)
{
	struct imap *m = (struct imap *)s;

	for (size_t i = 0; i < s->count; i++) {
		migrate_items_free(&s->at[i]);
		free(s->at[i].locator);
	}
	for (size_t i = 0; i < s->subscribed_count; i++)
		free(s->subscribed[i]);
	for (size_t i = 0; i < m->foreign_count; i++)
		free(m->foreign[i]);
	SSL_free(m->talk.ssl);
	free(s->at);
	free(s->subscribed);
	free(m->prefix);
	buf_free(&m->talk.in);
	buf_free(&m->talk.response);
	buf_free(&m->capabilities);
	free(m);
}
