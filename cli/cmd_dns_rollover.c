/*
 * mailadm dns rollover: takes the DKIM keys of the site's domains through their stages (dnsgen/rollover.h).  Cron calls
 * it; whatever is not due yet, or not visible everywhere yet, waits for the next call.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include "cli.h"
#include "dnsgen/push.h"
#include "dnsgen/rollover_dkim.h"
#include "lib/clock.h"
#include "lib/proc.h"
#include "lib/text.h"
#include "site/address.h"
#include "site/route.h"

#define NOW_MAX UINT64_C(253402300799)
#define LOOKUP_LIMIT_S 60

int dns_rollover_command(struct cli *, int argc, char **argv);

static const struct command help = {
	.name = "dns rollover",
	.synopsis = "[--start DOMAIN | --all] [--status]",
	.summary = "replace DKIM keys, stage by stage",
	.help = "Makes a new key, publishes it, waits until every name server of the domain answers with it and for "
		"the TTL, "
		"signs\n"
		"with it, keeps the old one published while mail may be on its way, then revokes it and takes it away. "
		"Each call does\n"
		"what is due and says what the rest waits for; call it from cron. Keys older than dns.rollover are "
		"begun by "
		"themselves.\n"
		"The first Ed25519 key of a domain goes the same way: mail is signed with it too when every name server "
		"has it.\n"
		"\n"
		"  --start DOMAIN  begin now\n"
		"  --all           begin now with every domain\n"
		"  --status        say where each stands, and do nothing\n"
		"\n"
		"example:\n"
		"  mailadm dns rollover --start example.org\n",
};

struct session {
	struct cli *cli;
	const struct site *site;
	struct rollover table;
	struct cli_table *rows;
	int64_t now;
	const char *start; /* a domain, or NULL */
	bool all, status;
	bool served; /* this host serves the zones */
};

static const char *const columns[] = { "domain", "key", "stage", "result", "current", "next", "since", "message", NULL };

static void add_row(struct session *s, const struct rollover_item *i, const char *result, const char *message)
{
	char since[32] = "";
	time_t when = (time_t)i->since;
	struct tm tm;
	if (i->since > 0 && gmtime_r(&when, &tm) != NULL)
		strftime(since, sizeof(since), "%Y-%m-%dT%H:%M:%SZ", &tm);
	const char *cells[] = { i->subject, dkim_algorithm_name(rollover_dkim_algorithm(i)),
		rollover_stage_name(i->stage), result, i->current, i->next, since, message };
	cli_table_add(s->rows, cells);
}

/* Does someone else keep the zone of the domain? */
static bool is_elsewhere(const struct session *s, const char *domain)
{
	const struct site_domain *d = site_find_domain(s->site, domain);
	return !s->served || d == NULL || !d->dns;
}

static void tell(void *arg, const struct rollover_item *i, enum rollover_result result, const char *why)
{
	static const char *const names[] = { "waits", "done", "failed" };
	struct session *s = arg;
	struct buf text = BUF_INIT(65536), record = BUF_INIT(32768);
	buf_puts(&text, why);
	if (result != ROLLOVER_FAILED && is_elsewhere(s, i->subject))
		rollover_dkim_record(s->site, i, &record);
	if (record.len > 0)
		buf_printf(&text, "%spublish where the zone is kept: %s", text.len ? "; " : "", buf_str(&record));
	add_row(s, i, names[result], buf_str(&text));
	buf_free(&text);
	buf_free(&record);
}

/* Zones whose difference is more than DKIM keys: what the site says by now and nobody has applied. */
static void find_edits(void *arg, const char *name, struct view diff)
{
	struct buf *names = arg;
	bool edited = false;
	while (diff.len > 0) {
		const char *end = memchr(diff.ptr, '\n', diff.len);
		size_t len = end ? (size_t)(end - diff.ptr) : diff.len;
		edited = edited || memmem(diff.ptr, len, "._domainkey.", 12) == NULL;
		diff.ptr += len + (end != NULL);
		diff.len -= len + (end != NULL);
	}
	if (edited)
		buf_printf(names, "%s%s", names->len ? ", " : "", name);
}

/* Only keys: what else was edited is published when somebody applies it. */
static int push(void *arg, struct error *e)
{
	struct session *s = arg;
	struct findings warnings = { 0 };
	struct buf edited = BUF_INIT(65536);
	if (!s->served)
		return 0;
	int r = zones_compare(s->site, find_edits, &edited, e);
	if (r == 0 && edited.len > 0)
		r = error_set(e, "the site has changes of %.200s that were not applied: run mailadm apply, or dns push",
		    buf_str(&edited));
	buf_free(&edited);
	if (r == 0)
		r = zones_push(s->site, &warnings, e);
	for (size_t i = 0; i < warnings.count; i++)
		fprintf(stderr, "%s\n", warnings.at[i].text);
	findings_free(&warnings);
	return r;
}

static int reload(void *arg, struct error *e)
{
	struct session *s = arg;
	return cli_reload_if_running(s->cli) == EXIT_YES ? 0 : error_set(e, "the running host did not take the keys");
}

/* Begins what was asked for, or is old enough. */
static int begin(struct session *s)
{
	uint64_t life = s->site->dns.rollover;
	bool found = s->start == NULL;
	for (size_t n = 0; n < s->table.count; n++) {
		struct rollover_item *i = &s->table.at[n];
		bool asked = s->all || (s->start && strcmp(i->subject, s->start) == 0);
		bool old = life > 0 && s->now > i->since && (uint64_t)(s->now - i->since) >= life;
		if (!rollover_dkim_is(i))
			continue;
		found = found || asked;
		if (i->stage != ROLLOVER_IDLE || !(asked || old))
			continue;
		char *next = rollover_dkim_next(s->site, &s->table, i, s->now);
		if (next == NULL)
			return cli_error("%s: no selector can be made for %lld", i->subject, (long long)s->now);
		rollover_start(i, next);
		free(next);
	}
	if (!found && site_find_domain(s->site, s->start) == NULL)
		return cli_error("%s is no domain of the site", s->start);
	return found ? EXIT_YES
	             : cli_error("%s has no DKIM key that could be replaced; run: mailadm dns keygen", s->start);
}

static int step(struct session *s, const char *path)
{
	struct error e = { "" };
	struct lookup *l = lookup_new(s->site, LOOKUP_LIMIT_S, &e);
	if (l == NULL)
		return cli_error("%s", e.text);
	struct rollover_dkim dkim = { .site = s->site, .lookup = l, .push = push, .reload = reload, .arg = s };
	struct rollover_kind kind = rollover_dkim_kind(&dkim);
	rollover_dkim_prefetch(&dkim, &s->table);
	int failed = rollover_run(&kind, &s->table, path, s->now, tell, s, &e);
	lookup_free(l);
	return failed == -1 ? cli_error("%s", e.text) : failed > 0 ? EXIT_NO : EXIT_YES;
}

static int work(struct session *s, const char *path)
{
	struct error e = { "" };
	if (rollover_load(path, &s->table, &e) == -1)
		return cli_error("%s", e.text);
	int dropped = rollover_dkim_sync(s->site, &s->table, tell, s, &e);
	if (dropped == -1 || (dropped > 0 && !s->status && rollover_save(path, &s->table, &e) == -1))
		return cli_error("%s", e.text);
	if (s->status) {
		for (size_t n = 0; n < s->table.count; n++)
			add_row(s, &s->table.at[n], s->table.at[n].done ? "done" : "to be repeated", "");
		return EXIT_YES;
	}
	int r = begin(s);
	return r == EXIT_YES ? step(s, path) : r;
}

/* One at a time: cron and a person. */
static int take_lock(const struct site *site)
{
	struct error e = { "" };
	char *path = site_state(site, "rollover.lock");
	int fd = file_mkdirs(site->state_dir, 0700, &e) == -1
	             ? -1
	             : open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd == -1) {
		cli_error("%s: %s", path, e.text[0] ? e.text : strerror(errno));
	} else if (flock(fd, LOCK_EX | LOCK_NB) == -1) {
		cli_error("another mailadm dns rollover is at work; wait for it");
		close(fd);
		fd = -1;
	}
	free(path);
	return fd;
}

static int run(struct session *s)
{
	struct buf why = BUF_INIT(1024);
	int lock = take_lock(s->site), status;
	if (lock == -1)
		return EXIT_USAGE;
	char *path = site_state(s->site, "rollover");
	s->served = zones_served_here(s->site, &why);
	s->rows = cli_table_new(s->cli, columns);
	status = work(s, path);
	cli_table_print(s->rows);
	rollover_free(&s->table);
	free(path);
	buf_free(&why);
	close(lock);
	return status;
}

int dns_rollover_command(struct cli *cli, int argc, char **argv)
{
	/* --now is for tests: the clock. */
	static const struct option options[] = { { "start", required_argument, NULL, 's' },
		{ "all", no_argument, NULL, 'a' }, { "status", no_argument, NULL, 't' },
		{ "now", required_argument, NULL, 'n' }, { 0 } };
	struct session s = { .cli = cli, .now = clock_wall() };
	char domain[ADDRESS_MAX];
	uint64_t now;
	int opt;
	if (cli_wants_help(cli, &help, argc, argv))
		return EXIT_YES;
	optind = 0;
	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (opt == 's') {
			if (domain_normalise(view_of(optarg), domain, sizeof(domain)) == -1)
				return cli_error("%s is no domain name", optarg);
			s.start = domain;
		} else if (opt == 'n' && view_u64(view_of(optarg), NOW_MAX, &now) == 0) {
			s.now = (int64_t)now;
		} else if (opt == 'a') {
			s.all = true;
		} else if (opt == 't') {
			s.status = true;
		} else {
			return cli_usage(&help);
		}
	}
	if (optind != argc || (s.start && s.all) || (s.status && (s.start || s.all)))
		return cli_usage(&help);
	if ((s.site = cli_site(cli)) == NULL)
		return EXIT_USAGE;
	return run(&s);
}
