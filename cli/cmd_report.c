/*
 * mailadm report: what other hosts say of mail in our name.  The reports are mails: in the INBOX of the accounts to which
 * the domains' report addresses lead, or files.  Each is counted once, however often it came; one that came by mail only
 * when this host found its author to be no forgery, since anybody can send what looks like a report.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/report_reader.h"
#include "cli/session.h"
#include "lib/clock.h"
#include "lib/proc.h"
#include "lib/text.h"
#include "mailsvc/mime/mime.h"
#include "mailsvc/policy/name.h"
#include "site/route.h"

#define SINCE_DEFAULT (30 * 86400)
#define SLICE 500
#define FILE_MAX (64u << 20)

struct job {
	struct cli *cli;
	enum report_kind kind;
	struct report_reader reader;
	int64_t since;
	const char *domain; /* of the rows, NULL: all */
	const char *mailbox;
	const char *host; /* whose word on the mails counts; NULL: files are read */
	bool unverified;  /* count those that it did not find to be right too */
	json_t *seen;    /* "org id signer" of what was counted */
	json_t *reports; /* array */
	json_t *groups;  /* rows that say the same, by what they say -> object with "count" */
	unsigned broken, read, left_out;
};

/* Counting ------------------------------------------------------------------------------------------------------- */

static const struct {
	const char *keys[8], *number; /* what rows are the same by, and what is added up */
	const char *columns[10];      /* the keys, the number, the reporters */
} kinds[] = {
	[REPORT_DMARC] = { { "domain", "source", "from", "dkim", "spf", "disposition" }, "count",
	    { "domain", "source", "from", "dkim", "spf", "disposition", "messages", "reporters" } },
	[REPORT_TLS] = { { "domain", "policy", "result", "mx" }, "sessions",
	    { "domain", "policy", "result", "mx", "sessions", "reporters" } },
};

/* Who reports: what the report says, and beside it whose mail it was, where that is another. */
static char *reporter(const json_t *report)
{
	const char *org = cli_json_get(report, "org"), *signer = cli_json_get(report, "signer");

	if (signer[0] == '\0' || policy_below(org, signer) || (org[0] != '\0' && policy_below(signer, org)))
		return xstrdup(org);
	return xasprintf("%s (%s)", org, signer);
}

static void count_row(struct job *j, const json_t *report, json_t *row)
{
	const char *const *keys = kinds[j->kind].keys, *number = kinds[j->kind].number;
	struct buf key = BUF_INIT(1u << 20);
	char *who;
	json_t *group;

	if (j->kind == REPORT_DMARC)
		json_object_set(row, "domain", json_object_get(report, "domain"));
	if (j->domain != NULL && strcasecmp(cli_json_get(row, "domain"), j->domain) != 0)
		return;
	for (size_t i = 0; keys[i] != NULL; i++)
		buf_printf(&key, "%s\n", cli_json_get(row, keys[i]));
	group = json_object_get(j->groups, buf_str(&key));
	if (group == NULL) {
		group = json_object();
		for (size_t i = 0; keys[i] != NULL; i++)
			json_object_set(group, keys[i], json_object_get(row, keys[i]));
		json_object_set_new(group, "reporters", json_object());
		json_object_set_new(j->groups, buf_str(&key), group);
	}
	json_object_set_new(group, number,
	    json_integer(json_integer_value(json_object_get(group, number)) + json_integer_value(json_object_get(row, number))));
	who = reporter(report);
	json_object_set_new(json_object_get(group, "reporters"), who, json_true());
	free(who);
	buf_free(&key);
}

/* Takes report over. */
static void count_report(struct job *j, json_t *report)
{
	const char *signer = cli_json_get(report, "signer");
	char *key = xasprintf("%s\n%s\n%s", cli_json_get(report, "org"), cli_json_get(report, "id"), signer);
	json_t *row;
	size_t i;

	if (j->host != NULL && signer[0] == '\0' && !j->unverified)
		j->left_out++;
	else if (json_object_get(j->seen, key) == NULL) {
		json_object_set_new(j->seen, key, json_true());
		json_array_foreach(json_object_get(report, "rows"), i, row)
			count_row(j, report, row);
		json_array_append(j->reports, report);
	}
	free(key);
	json_decref(report);
}

/* What the reader died of, or took too long for, is broken: the others are still read.  0, or EXIT_USAGE (said). */
static int take(struct job *j, const char *what, struct view message)
{
	json_t *report;
	struct error e;
	int rc = report_reader_read(&j->reader, message, &report, &e);

	j->read++;
	if (rc == 0) {
		count_report(j, report);
		return 0;
	}
	j->broken++;
	fprintf(stderr, "mailadm: %s: %s\n", what, e.text);
	if (rc == 1)
		return 0;
	report_reader_stop(&j->reader);
	return report_reader_start(&j->reader, j->kind, j->host, &e) == 0 ? 0 : cli_error("%s", e.text);
}

/* Mailboxes ------------------------------------------------------------------------------------------------------ */

struct candidate {
	uint32_t uid;
	struct body_ref ref;
};
struct walk {
	struct job *job;
	struct store_view *view;
	struct candidate at[SLICE];
	size_t count;
	uint32_t next; /* uid to go on with */
	bool more;
};

static bool note_candidate(void *arg, const struct message_row *row)
{
	struct walk *w = arg;
	struct mime_record record;
	struct body_ref ref;

	w->next = row->uid + 1;
	if (row->internal_date < w->job->since || view_body(w->view, row->body, &ref) != 1 ||
	    mime_record_open(&record, ref.mime, ref.length) == -1 || !report_likely(w->job->kind, record.bodystructure))
		return true;
	w->at[w->count++] = (struct candidate){ row->uid, ref };
	w->more = w->count == SLICE;
	return !w->more;
}

static int take_candidate(struct walk *w, const char *address, const struct candidate *c)
{
	struct buf message = BUF_INIT(STORE_BODY_MAX);
	char *what = xasprintf("%s: UID %u", address, c->uid), *room = buf_reserve(&message, c->ref.length + 1);
	int rc = 0;

	if (room == NULL || view_body_read(w->view, &c->ref, 0, room, c->ref.length) == -1) {
		fprintf(stderr, "mailadm: %s cannot be read; see mailadm store verify\n", what);
	} else {
		message.len = c->ref.length;
		rc = take(w->job, what, buf_view(&message));
	}
	free(what);
	buf_free(&message);
	return rc;
}

static int walk_mailbox(struct job *j, struct cli_session *session, const char *address)
{
	struct walk *w = xcalloc(1, sizeof(*w));
	struct account_row account;
	struct mailbox_row mailbox;
	int rc = 0;

	*w = (struct walk){ .job = j, .view = session->view, .next = 1, .more = true };
	while (w->more && rc == 0) {
		w->count = 0;
		w->more = false;
		event_base_loop(session->base, EVLOOP_NONBLOCK);
		if (view_begin(w->view) == -1) {
			rc = cli_error("the store is away");
			break;
		}
		if (view_account(w->view, address, &account) == 1 &&
		    view_mailbox_by_name(w->view, account.id, j->mailbox, &mailbox) == 1)
			view_messages(w->view, mailbox.id, w->next, UINT32_MAX, note_candidate, w);
		if (view_end(w->view) == -1)
			rc = cli_error("the store went away; try again");
		for (size_t i = 0; i < w->count && rc == 0; i++)
			rc = take_candidate(w, address, &w->at[i]);
	}
	free(w);
	return rc;
}

/* The accounts that get the reports of a domain; each is walked once. */
static void add_accounts(const struct site *site, const struct site_domain *d, json_t *accounts)
{
	char *address = d->reports != NULL ? xstrdup(d->reports) : xasprintf("postmaster@%s", d->name);
	struct route route;

	route_resolve(site, view_of(address), &route);
	for (size_t i = 0; i < route.count; i++)
		if (route.targets[i].account != NULL)
			json_object_set_new(accounts, route.targets[i].account->address, json_true());
	route_free(&route);
	free(address);
}

static int read_mailboxes(struct job *j, const char *account)
{
	const struct site *site = j->cli->site;
	struct cli_session session;
	struct error e;
	json_t *accounts = json_object(), *value;
	const char *address;
	int rc = 0;

	if (account != NULL)
		json_object_set_new(accounts, account, json_true());
	for (size_t i = 0; i < site->domain_count && account == NULL; i++)
		if (j->domain == NULL || strcasecmp(site->domains[i].name, j->domain) == 0)
			add_accounts(site, &site->domains[i], accounts);
	if (json_object_size(accounts) == 0)
		rc = cli_error("no account here gets the reports%s%s; name one with --account", j->domain != NULL ? " of " : "",
		    j->domain != NULL ? j->domain : "");
	else if (cli_session_open(j->cli, true, &session, &e) == -1)
		rc = cli_error("%s", e.text);
	if (rc == 0) {
		json_object_foreach(accounts, address, value)
			if (rc == 0)
				rc = walk_mailbox(j, &session, address);
		cli_session_close(&session);
	}
	json_decref(accounts);
	return rc;
}

static int read_files(struct job *j, char **files)
{
	int rc = 0;

	for (; *files != NULL && rc == 0; files++) {
		struct buf content = BUF_INIT(FILE_MAX);
		struct error e;

		rc = file_read(*files, FILE_MAX, &content, &e) == 0 ? take(j, *files, buf_view(&content)) : cli_error("%s", e.text);
		buf_free(&content);
	}
	return rc;
}

/* What comes of it ----------------------------------------------------------------------------------------------- */

static bool failed(const json_t *group)
{
	if (json_object_get(group, "result") != NULL)
		return strcmp(cli_json_get(group, "result"), "success") != 0;
	return strcmp(cli_json_get(group, "dkim"), "pass") != 0 && strcmp(cli_json_get(group, "spf"), "pass") != 0;
}

/* What failed first, then what is most. */
static int by_weight(const void *pa, const void *pb)
{
	const json_t *a = *(json_t *const *)pa, *b = *(json_t *const *)pb;
	const char *number = json_object_get(a, "count") != NULL ? "count" : "sessions";
	bool bad_a = failed(a), bad_b = failed(b);
	json_int_t na = json_integer_value(json_object_get(a, number)), nb = json_integer_value(json_object_get(b, number));

	if (bad_a != bad_b)
		return bad_a ? -1 : 1;
	return na != nb ? (na > nb ? -1 : 1) : 0;
}

static void add_cells(struct cli_table *table, const struct job *j, const json_t *group)
{
	const char *const *keys = kinds[j->kind].keys;
	const char *cells[16], *name;
	struct buf reporters = BUF_INIT(1024);
	char number[24];
	json_t *value;
	size_t n = 0;

	for (; keys[n] != NULL; n++)
		cells[n] = cli_json_get(group, keys[n]);
	snprintf(number, sizeof(number), "%lld",
	    (long long)json_integer_value(json_object_get(group, kinds[j->kind].number)));
	json_object_foreach(json_object_get(group, "reporters"), name, value)
		buf_printf(&reporters, "%s%s", reporters.len > 0 ? ", " : "", name);
	cells[n++] = number;
	cells[n] = buf_str(&reporters);
	cli_table_add(table, cells);
	buf_free(&reporters);
}

static void print(struct job *j)
{
	size_t count = json_object_size(j->groups), i = 0;
	json_t **sorted = xcalloc(count + 1, sizeof(*sorted)), *group;
	struct cli_table *table;
	const char *key;

	if (j->cli->json) {
		cli_json_print(json_pack("{s:O, s:i, s:i, s:i}", "reports", j->reports, "read", (int)j->read, "broken", (int)j->broken,
		    "left_out", (int)j->left_out));
		free(sorted);
		return;
	}
	json_object_foreach(j->groups, key, group)
		sorted[i++] = group;
	qsort(sorted, count, sizeof(*sorted), by_weight);
	table = cli_table_new(j->cli, kinds[j->kind].columns);
	for (i = 0; i < count; i++)
		add_cells(table, j, sorted[i]);
	cli_table_print(table);
	if (j->cli->tty)
		printf("%zu report%s\n", json_array_size(j->reports), json_array_size(j->reports) == 1 ? "" : "s");
	free(sorted);
}

static void print_left_out(const struct job *j)
{
	if (j->left_out > 0)
		fprintf(stderr, "mailadm: %u report%s without a passing %s left out; --unverified counts %s\n", j->left_out,
		    j->left_out == 1 ? "" : "s", j->kind == REPORT_TLS ? "DKIM signature" : "DMARC result", j->left_out == 1 ? "it" : "them");
}

static int report(struct job *j, const char *account, char **files)
{
	struct error e;
	int rc;

	j->host = *files == NULL ? j->cli->site->host.name : NULL;
	if (report_reader_start(&j->reader, j->kind, j->host, &e) == -1)
		return cli_error("%s", e.text);
	j->seen = json_object();
	j->groups = json_object();
	j->reports = json_array();
	rc = *files != NULL ? read_files(j, files) : read_mailboxes(j, account);
	report_reader_stop(&j->reader);
	if (rc == 0) {
		print(j);
		print_left_out(j);
	}
	if (rc == 0 && json_array_size(j->reports) == 0)
		rc = EXIT_NO;
	json_decref(j->seen);
	json_decref(j->groups);
	json_decref(j->reports);
	return rc;
}

static int run(struct cli *cli, int argc, char **argv)
{
	static const struct option options[] = { { "since", required_argument, NULL, 'S' }, { "domain", required_argument, NULL, 'd' },
		{ "account", required_argument, NULL, 'a' }, { "mailbox", required_argument, NULL, 'm' },
		{ "unverified", no_argument, NULL, 'u' }, { NULL, 0, NULL, 0 } };
	struct job j = { .cli = cli, .since = clock_wall() - SINCE_DEFAULT, .mailbox = "INBOX" };
	const char *account = NULL;
	uint64_t n;
	int option;

	if (cli_wants_help(cli, &cmd_report, argc, argv))
		return EXIT_YES;
	if (argc < 2 || (strcmp(argv[1], "dmarc") != 0 && strcmp(argv[1], "tls") != 0))
		return cli_usage(&cmd_report);
	j.kind = strcmp(argv[1], "tls") == 0 ? REPORT_TLS : REPORT_DMARC;
	argc--;
	argv++;
	optind = 1;
	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == 'S' && text_parse_duration(optarg, &n) == 0 && n < INT32_MAX)
			j.since = clock_wall() - (int64_t)n;
		else if (option == 'd')
			j.domain = optarg;
		else if (option == 'a')
			account = optarg;
		else if (option == 'm')
			j.mailbox = optarg;
		else if (option == 'u')
			j.unverified = true;
		else
			return cli_usage(&cmd_report);
	}
	if (argv[optind] == NULL && cli_site(cli) == NULL)
		return EXIT_USAGE;
	return report(&j, account, argv + optind);
}

const struct command cmd_report = {
	.name = "report",
	.synopsis = "dmarc | tls [--since DURATION] [--domain D] [--account A] [--mailbox M] [--unverified] [FILE ...]",
	.summary = "what other hosts report of mail in our name",
	.help = "Reads the DMARC aggregate reports or TLS reports that came by mail to the domains' report addresses, and adds them\n"
		"up: who sends in our name and fails, and whether mail to us is encrypted.  FILEs (a mail, XML, JSON, gzip or zip)\n"
		"are read instead of mailboxes.  What failed stands first.  Mail is counted when this host found at its arrival that\n"
		"its author is no forgery: DMARC pass, and for TLS reports a DKIM signature of the author's domain.\n"
		"\n"
		"      --since DURATION   mail that came since then, default 30d\n"
		"      --domain D         rows of this domain\n"
		"      --account A        the account that has the reports, when the site does not say so\n"
		"      --mailbox M        of that account, default INBOX\n"
		"      --unverified       count mail whose author may be forged, too\n"
		"With --json the reports themselves.  Exits 1 when there are none.\n"
		"\n"
		"examples:\n"
		"  mailadm report dmarc\n"
		"  mailadm report tls --since 7d --domain example.org\n",
	.run = run,
};
