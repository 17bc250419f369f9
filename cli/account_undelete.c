/* mailadm account undelete: what was expunged comes back, as long as limits.undelete keeps it. */
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "account.h"
#include "lib/clock.h"
#include "lib/text.h"
#include "mailsvc/mime/mime.h"
#include "session.h"

#define SHOWN_MAX 10000

struct search {
	struct cli_session *session;
	const char *mailbox; /* NULL: all */
	struct cli_table *table;
	uint32_t *found; /* mailboxes of that name, gone ones too */
	size_t found_count;
	uint64_t messages;
};

static void remember(struct search *s, uint32_t mailbox)
{
	for (size_t i = 0; i < s->found_count; i++)
		if (s->found[i] == mailbox)
			return;
	s->found = xreallocarray(s->found, s->found_count + 1, sizeof(*s->found));
	s->found[s->found_count++] = mailbox;
}

/* Decoded text from a stranger: nothing that a terminal would obey. */
static void plain(struct buf *b)
{
	for (size_t i = 0; i < b->len; i++)
		if ((unsigned char)b->data[i] < ' ' || b->data[i] == 127)
			b->data[i] = ' ';
}

static void add_row(struct search *s, const char *name, int64_t when, const struct message_row *row)
{
	struct buf from = BUF_INIT(MIME_RECORD_MAX), subject = BUF_INIT(MIME_RECORD_MAX);
	char date[40], size[16], *uid = xasprintf("%u", row->uid);
	struct mime_record record;
	struct body_ref ref;

	if (view_body(s->session->view, row->body, &ref) == 1 && mime_record_peek(&record, ref.mime, ref.length) == 0) {
		struct view value = record.kept.ptr ? mime_header_find(record.kept, "From") : VIEW_NONE;
		buf_addv(&subject, record.subject);
		if (value.ptr != NULL)
			mime_decode_header(value, &from);
	}
	plain(&from);
	plain(&subject);
	text_rfc5322_date(when, date);
	text_format_size(row->size, size);
	cli_table_add(s->table, (const char *[]){ name, uid, date, size, buf_str(&from), buf_str(&subject) });
	buf_free(&from);
	buf_free(&subject);
	free(uid);
}

static bool on_expunged(void *arg, uint32_t mailbox, const char *name, int64_t when, const struct message_row *row)
{
	struct search *s = arg;

	if (s->mailbox != NULL && strcmp(s->mailbox, name) != 0)
		return true;
	remember(s, mailbox);
	s->messages++;
	if (s->table != NULL)
		add_row(s, name, when, row);
	return s->messages < SHOWN_MAX || s->table == NULL;
}

static int restore(struct cli *cli, struct search *s, const char *address, uint32_t account, int64_t since)
{
	uint64_t count = 0;

	for (size_t i = 0; i < (s->mailbox != NULL ? s->found_count : 1); i++) {
		store_undelete(s->session->client, account, s->mailbox != NULL ? s->found[i] : 0, since,
		    cli_session_done, s->session);
		enum store_status status = cli_session_wait(s->session);
		if (status != STORE_OK)
			return cli_error("%s: %s; the same command again goes on", address, cli_store_text(status));
		count += s->session->result.count;
	}
	if (cli->json)
		cli_json_print(json_pack("{s:s,s:I}", "address", address, "restored", (json_int_t)count));
	else
		printf("%" PRIu64 " messages are back\n", count);
	return count > 0 ? EXIT_YES : EXIT_NO;
}

struct undelete_options {
	const char *mailbox;
	int64_t since;
	bool list;
};

static int search_and_restore(
    struct cli *cli, struct cli_session *session, const char *address, const struct undelete_options *o)
{
	static const char *const columns[] = { "mailbox", "uid", "expunged", "size", "from", "subject", NULL };
	struct search s = { .session = session, .mailbox = o->mailbox };
	struct account_row account;
	int status = EXIT_NO, found;

	if (view_begin(session->view) == -1)
		return cli_error("the store is away");
	found = view_account(session->view, address, &account);
	s.table = found == 1 && o->list ? cli_table_new(cli, columns) : NULL;
	if (found == 1 && (o->list || o->mailbox != NULL)) /* else store finds all of it */
		view_expunged(session->view, account.id, o->since, on_expunged, &s);
	if (view_end(session->view) == -1) {
		status = cli_error("the store is away");
	} else if (found == 1) {
		if (s.table != NULL)
			cli_table_print(s.table);
		status =
		    o->list ? s.messages > 0 ? EXIT_YES : EXIT_NO : restore(cli, &s, address, account.id, o->since);
	} else {
		cli_error("there is no mail of %s", address);
	}
	free(s.found);
	return status;
}

int account_undelete(struct cli *cli, int argc, char **argv)
{
	static const struct option options[] = { { "since", required_argument, NULL, 's' },
		{ "mailbox", required_argument, NULL, 'm' }, { "list", no_argument, NULL, 'l' }, { 0 } };
	struct undelete_options o = { 0 };
	struct cli_session session;
	char address[ADDRESS_MAX];
	struct error e = { "" };
	uint64_t seconds;
	int option, status;

	optind = 0;
	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == 's' && text_parse_duration(optarg, &seconds) < 0)
			return cli_error("--since %s: write it like 2d or 90m", optarg);
		if (option == 's')
			o.since = clock_wall() - (int64_t)seconds;
		else if (option == 'm')
			o.mailbox = strcasecmp(optarg, "INBOX") == 0 ? "INBOX" : optarg;
		else if (option == 'l')
			o.list = true;
		else
			return cli_usage(&cmd_account);
	}
	if (argc - optind != 2 || cli_address(argv[optind + 1], address, sizeof(address)) < 0)
		return cli_usage(&cmd_account);
	if (cli_session_open(cli, true, &session, &e) == -1)
		return cli_error("%s", e.text);
	status = search_and_restore(cli, &session, address, &o);
	cli_session_close(&session);
	return status;
}
