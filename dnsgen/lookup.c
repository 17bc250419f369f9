/*
 * lookup.h: answers are kept in a tree by "server name type"; what is asked goes out over one connected UDP socket a
 * try (the kernel then drops strangers' packets), at most WINDOW questions at a time, in one poll loop.  Each server is
 * tried three times.  Answers are checked for their id and question and parsed by ldns; nothing else is trusted.
 */
#include "dnsgen/lookup.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "dnsgen/lookup_net.h"
#include "lib/clock.h"
#include "lib/proc.h"

#define WINDOW 48
#define TRIES 3
#define TRY_MS 1500 /* the first; later ones twice as long each */
#define RESOLVERS_MAX 4

struct kept {
	char *key;
	struct lookup_answer answer;
	struct kept *next;
};

struct lookup {
	char *resolvers[RESOLVERS_MAX];
	unsigned resolver_count;
	uint64_t end;
	void *tree; /* entries by key */
	struct kept *all;
};

struct query {
	struct kept *entry;
	const char *server; /* NULL: the resolvers in turn */
	unsigned tries;
	uint64_t until; /* of this try */
	struct exchange exchange;
};

static int compare_entries(const void *a, const void *b)
{
	return strcmp(((const struct kept *)a)->key, ((const struct kept *)b)->key);
}

static void read_resolv_conf(struct lookup *l)
{
	struct buf text = BUF_INIT(65536);
	struct error e;
	char *rest, *line;
	if (file_read("/etc/resolv.conf", text.max, &text, &e) == -1)
		return;
	rest = (char *)(uintptr_t)buf_str(&text);
	while ((line = strsep(&rest, "\n")) != NULL && l->resolver_count < RESOLVERS_MAX) {
		char address[64];
		unsigned char raw[16];
		if (sscanf(line, "nameserver %63s", address) == 1 &&
		    (inet_pton(AF_INET, address, raw) == 1 || inet_pton(AF_INET6, address, raw) == 1))
			l->resolvers[l->resolver_count++] = xstrdup(address);
	}
	buf_free(&text);
}

struct lookup *lookup_new(const struct site *s, unsigned timeout_s, struct error *e)
{
	struct lookup *l = xcalloc(1, sizeof(*l));
	l->end = clock_mono_ms() + (uint64_t)timeout_s * 1000;
	for (size_t i = 0; i < s->dns.forward.count && l->resolver_count < RESOLVERS_MAX; i++)
		l->resolvers[l->resolver_count++] = xstrdup(s->dns.forward.at[i]);
	if (l->resolver_count == 0)
		read_resolv_conf(l);
	if (l->resolver_count == 0) {
		error_set(e, "there is no DNS resolver to ask: /etc/resolv.conf names none; set dns.forward");
		lookup_free(l);
		return NULL;
	}
	return l;
}

static void do_nothing(void *node)
{
	(void)node;
}

static void forget_answers(struct lookup *l)
{
	tdestroy(l->tree, do_nothing);
	l->tree = NULL;
	while (l->all != NULL) {
		struct kept *e = l->all;
		l->all = e->next;
		ldns_pkt_free(e->answer.packet);
		free(e->answer.why);
		free(e->key);
		free(e);
	}
}

void lookup_free(struct lookup *l)
{
	if (l == NULL)
		return;
	forget_answers(l);
	for (unsigned i = 0; i < l->resolver_count; i++)
		free(l->resolvers[i]);
	free(l);
}

bool lookup_expired(const struct lookup *l)
{
	return clock_mono_ms() >= l->end;
}

/* The entry of a question; *fresh when it was not there yet. */
static struct kept *entry_of(struct lookup *l, const struct lookup_question *q, bool *fresh)
{
	size_t len = strlen(q->name);
	struct kept wanted = { .key = xasprintf("%s %.*s %d", q->server ? q->server : "",
				   (int)(len > 1 && q->name[len - 1] == '.' ? len - 1 : len), q->name, (int)q->type) };
	struct kept **found;
	for (char *p = wanted.key; *p; p++)
		*p = *p >= 'A' && *p <= 'Z' ? (char)(*p | 32) : *p;
	found = tfind(&wanted, &l->tree, compare_entries);
	*fresh = found == NULL;
	if (found != NULL) {
		free(wanted.key);
		return *found;
	}
	struct kept *e = xcalloc(1, sizeof(*e));
	e->key = wanted.key;
	e->answer.status = LOOKUP_TIMEOUT;
	e->answer.why = xstrdup("no time was left to ask");
	e->next = l->all;
	l->all = e;
	if (tsearch(e, &l->tree, compare_entries) == NULL)
		fatalx("out of memory");
	return e;
}

static void entry_fail(struct kept *e, enum lookup_status status, char *why)
{
	free(e->answer.why);
	e->answer.status = status;
	e->answer.why = why;
}

static bool has_type(const ldns_pkt *p, ldns_rr_type type)
{
	const ldns_rr_list *answer = ldns_pkt_answer(p);
	for (size_t i = 0; i < ldns_rr_list_rr_count(answer); i++)
		if (ldns_rr_get_type(ldns_rr_list_rr(answer, i)) == type)
			return true;
	return false;
}

/* True when this answer ends the matter; a refusal is remembered, but another resolver may do better. */
static bool entry_take(struct kept *e, ldns_pkt *p, ldns_rr_type type)
{
	ldns_pkt_rcode rcode = ldns_pkt_get_rcode(p);
	ldns_pkt_free(e->answer.packet);
	e->answer.packet = p;
	e->answer.authoritative = ldns_pkt_aa(p);
	e->answer.validated = ldns_pkt_ad(p);
	if (rcode == LDNS_RCODE_NOERROR || rcode == LDNS_RCODE_NXDOMAIN) {
		entry_fail(e,
		    has_type(p, type)              ? LOOKUP_OK
		    : rcode == LDNS_RCODE_NXDOMAIN ? LOOKUP_NXDOMAIN
						   : LOOKUP_NODATA,
		    xstrdup(""));
		return true;
	}
	char *name = ldns_pkt_rcode2str(rcode);
	entry_fail(e, LOOKUP_REFUSED, xasprintf("it answers %s", name ? name : "an error"));
	free(name);
	return false;
}

static const char *server_of(const struct lookup *l, const struct query *q)
{
	return q->server ? q->server : l->resolvers[q->tries % l->resolver_count];
}

/* Begins the next try; false when there is none and the query is over. */
static bool query_try(struct lookup *l, struct query *q)
{
	unsigned most = q->server ? TRIES : TRIES < l->resolver_count * 2 ? l->resolver_count * 2 : TRIES;
	while (q->tries < most && !lookup_expired(l)) {
		const char *server = server_of(l, q);
		uint64_t limit = TRY_MS << (q->server ? q->tries : q->tries / l->resolver_count);
		q->tries++;
		q->until = clock_mono_ms() + limit;
		if (exchange_start(&q->exchange, server) == 0)
			return true;
		if (q->entry->answer.status == LOOKUP_TIMEOUT)
			entry_fail(
			    q->entry, LOOKUP_TIMEOUT, xasprintf("%s cannot be reached: %s", server, strerror(errno)));
		if (q->server)
			break; /* there is no route: another try finds none either */
	}
	return false;
}

/* Handles an event or the end of a try; false when the query is over. */
static bool query_step(struct lookup *l, struct query *q, bool ready)
{
	uint64_t now = clock_mono_ms();
	ldns_pkt *answer = NULL;
	bool failed = false;
	if (ready)
		failed = exchange_step(&q->exchange, &answer) == -1;
	if (answer != NULL) {
		exchange_stop(&q->exchange);
		if (entry_take(q->entry, answer, q->exchange.type))
			return false;
	} else if (!failed && now < q->until && now < l->end) {
		return true;
	} else {
		if (q->entry->answer.status == LOOKUP_TIMEOUT)
			entry_fail(q->entry, LOOKUP_TIMEOUT,
			    xasprintf("%s does not answer",
				q->server ? q->server : l->resolvers[(q->tries - 1) % l->resolver_count]));
		exchange_stop(&q->exchange);
	}
	return query_try(l, q);
}

/* Makes the packet; -1 when the name is none. */
static int query_begin(struct query *q, struct kept *e, const struct lookup_question *question)
{
	*q = (struct query){ .entry = e, .server = question->server };
	if (exchange_init(&q->exchange, question->name, question->type, question->server == NULL) == 0)
		return 0;
	entry_fail(e, LOOKUP_REFUSED, xstrdup("it is no domain name"));
	return -1;
}

/* Waits for the running queries; those that are over are taken out. Answers how many are left. */
static size_t run_queries(struct lookup *l, struct query **running, size_t count)
{
	struct pollfd fds[WINDOW];
	uint64_t now = clock_mono_ms(), first = l->end;
	size_t left = 0;
	for (size_t i = 0; i < count; i++) {
		fds[i] = (struct pollfd){ running[i]->exchange.fd, exchange_events(&running[i]->exchange), 0 };
		if (running[i]->until < first)
			first = running[i]->until;
	}
	poll(fds, count, first > now ? (int)(first - now) : 0);
	for (size_t i = 0; i < count; i++) {
		if (query_step(l, running[i], fds[i].revents != 0)) {
			running[left++] = running[i];
		} else {
			exchange_free(&running[i]->exchange);
			free(running[i]);
		}
	}
	return left;
}

void lookup_prefetch(struct lookup *l, const struct lookup_question *questions, size_t count)
{
	struct query *running[WINDOW];
	size_t n = 0, at = 0;
	while (n > 0 || at < count) {
		while (n < WINDOW && at < count) {
			const struct lookup_question *question = &questions[at++];
			bool fresh;
			struct kept *e = entry_of(l, question, &fresh);
			struct query *q = fresh ? xcalloc(1, sizeof(*q)) : NULL;
			if (q != NULL && query_begin(q, e, question) == 0 && query_try(l, q)) {
				running[n++] = q;
			} else if (q != NULL) {
				exchange_free(&q->exchange);
				free(q);
			}
		}
		n = n > 0 ? run_queries(l, running, n) : 0;
	}
}

const struct lookup_answer *lookup(struct lookup *l, const char *server, const char *name, ldns_rr_type type)
{
	struct lookup_question q = { server, name, type };
	bool fresh;
	lookup_prefetch(l, &q, 1);
	return &entry_of(l, &q, &fresh)->answer;
}

ldns_rr_list *lookup_records(const struct lookup_answer *a, const char *name, ldns_rr_type type, bool *cname)
{
	ldns_rr_list *out = ldns_rr_list_new();
	ldns_rr_list *answer = a->packet ? ldns_pkt_answer(a->packet) : NULL;
	ldns_rdf *first = ldns_dname_new_frm_str(name);
	const ldns_rdf *at = first;
	if (cname)
		*cname = false;
	for (int hops = 0; at != NULL && hops < 9; hops++) {
		const ldns_rdf *next = NULL;
		for (size_t i = 0; i < ldns_rr_list_rr_count(answer); i++) {
			ldns_rr *rr = ldns_rr_list_rr(answer, i);
			if (ldns_dname_compare(ldns_rr_owner(rr), at) != 0)
				continue;
			if (ldns_rr_rd_count(rr) < ldns_rr_descriptor_minimum(ldns_rr_descript((uint16_t)ldns_rr_get_type(rr))))
				continue; /* cut short: what reads its fields must find them */
			if (ldns_rr_get_type(rr) == type)
				ldns_rr_list_push_rr(out, rr);
			else if (ldns_rr_get_type(rr) == LDNS_RR_TYPE_CNAME)
				next = ldns_rr_rdf(rr, 0);
		}
		if (next != NULL && cname)
			*cname = true;
		at = next;
	}
	ldns_rdf_deep_free(first);
	return out;
}

void lookup_txt(const ldns_rr *rr, struct buf *out)
{
	for (size_t i = 0; i < ldns_rr_rd_count(rr); i++) {
		const ldns_rdf *string = ldns_rr_rdf(rr, i); /* a length byte, then the text */
		size_t size = ldns_rdf_size(string);
		if (size > 1)
			buf_add(out, ldns_rdf_data(string) + 1, size - 1);
	}
}

char *lookup_name(const ldns_rdf *rdf)
{
	char *text = ldns_rdf2str(rdf);
	char *name = xstrdup(text ? text : "?");
	size_t len = strlen(name);
	free(text);
	if (len > 1 && name[len - 1] == '.')
		name[len - 1] = '\0';
	for (char *p = name; *p; p++)
		*p = *p >= 'A' && *p <= 'Z' ? (char)(*p | 32) : *p;
	return name;
}
