/*
 * What other servers leave behind.  The first byte chooses: the files beside a Maildir, an mbox, a message through an
 * mbox and back, password files, the wire between reader and importer, names, a server's side of an IMAP connection.
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/imsg.h"
#include "mailsvc/migrate/export.h"
#include "mailsvc/migrate/maildir.h"
#include "mailsvc/migrate/mbox.h"
#include "mailsvc/migrate/migrate.h"
#include "mailsvc/migrate/passwords.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void need(bool ok)
{
	if (!ok)
		abort();
}

static void beside(struct view v)
{
	struct maildir_beside b = { 0 };
	struct view keyword, numbers;

	maildir_uidlist(&b, v);
	maildir_keywords(&b, v);
	maildir_courier(&b, v);
	for (size_t i = 0; i < b.uid_count; i++)
		need(maildir_uid(&b, b.uids[i].base) != 0);
	for (size_t i = 0; i < b.marked_count && i < 50; i++) {
		numbers = maildir_courier_numbers(&b, b.marked[i].base);
		while (maildir_courier_keyword(&b, &numbers, &keyword))
			need(keyword.len > 0 && keyword.len <= v.len);
	}
	maildir_beside_free(&b);
}

static void mbox(struct view v)
{
	struct mbox_message m;
	struct mbox_state state;
	size_t at = 0;

	while (mbox_next(v, &at, &m)) {
		struct buf out = BUF_INIT(1u << 20);
		int64_t when;
		need(at <= v.len && m.text.len <= v.len);
		mbox_from_date(m.from, &when);
		if (mbox_take(m.text, &state, &out) == 0)
			need(out.len <= m.text.len);
		buf_free(&out);
	}
}

/* A message as store has it comes back out of an mbox. */
static void there_and_back(struct view v)
{
	struct mailbox_row row = { .uid_validity = 7, .uid_next = 9 };
	struct message_row message = { .uid = 5, .flags = FLAG_SEEN | FLAG_DRAFT, .internal_date = 1600000000 };
	struct buf stored = BUF_INIT(1u << 22), file = BUF_INIT(1u << 23), out = BUF_INIT(1u << 22),
		   again = BUF_INIT(1u << 23);
	struct mbox_message m;
	struct mbox_state state;
	size_t at = 0;

	if (v.len > 0 && migrate_crlf(v, &stored) == 0 && stored.data[stored.len - 1] == '\n') {
		export_mbox_entry(&row, &message, buf_view(&stored), &file);
		need(mbox_next(buf_view(&file), &at, &m) && at == file.len && mbox_take(m.text, &state, &out) == 0);
		need(state.uid == 5 && state.uid_validity == 7 && state.flags == message.flags);
		migrate_crlf(buf_view(&out), &again);
		need(again.len == stored.len && memcmp(again.data, stored.data, stored.len) == 0);
	}
	buf_free(&stored);
	buf_free(&file);
	buf_free(&out);
	buf_free(&again);
}

static void passwords(struct view v)
{
	struct password_entry entry;
	size_t pos = 0, line = 0;

	while (passwords_next(v, &pos, &line, &entry)) {
		char hash[CREDENTIALS_HASH_MAX];
		enum password_kind kind;
		struct error e;
		need(pos <= v.len + 1 && entry.user.len <= v.len && entry.hash.len <= v.len);
		password_take_over(entry.hash, &kind, hash, &e);
	}
}

static void wire(struct view v)
{
	struct migrate_wire w;
	struct buf b = BUF_INIT(1u << 22);

	if (migrate_wire_get(&w, v) == 0)
		migrate_wire_put(&b, &w);
	buf_free(&b);
}

static void name(struct view v)
{
	char out[MAILBOX_NAME_MAX + 1], again[MAILBOX_NAME_MAX + 1];
	struct buf path = BUF_INIT(1u << 16);

	if (v.len > 2000 || !migrate_name_levels(v, '.', out))
		return;
	export_maildir_path(out, &path);
	if (strcmp(out, "INBOX") != 0)
		need(path.len > 1 && migrate_name_levels((struct view){ path.data + 1, path.len - 1 }, '.', again) &&
		     strcmp(out, again) == 0);
	buf_free(&path);
}

static void server(struct view v)
{
	int fds[2], channel[2];
	struct reader_options options = { 0 };
	struct migrate_server s = {
		.plain_allowed = true, .host = "localhost", .user = "u", .password = "p", .label = ""
	};
	struct migrate_source *source;
	struct reader *r;
	struct error e = { "" };
	bool want[2] = { true, true };

	signal(SIGPIPE, SIG_IGN);
	if (v.len > 100000 || socketpair(AF_UNIX, SOCK_STREAM, 0, fds) == -1 || imsg_pair(channel) == -1)
		return;
	if (send(fds[1], v.ptr, v.len, MSG_DONTWAIT) != (ssize_t)v.len)
		v.len = 0;
	shutdown(fds[1], SHUT_WR);
	close(channel[1]);
	s.fd = fds[0];
	source = migrate_imap(&s);
	r = reader_new(channel[0], &options);
	if (source->folders(source, r, &e) == 0)
		for (size_t i = 0; i < source->count; i++)
			if (source->list(source, r, &source->at[i], &e) == 0 && source->at[i].count > 0) {
				migrate_items_sort(&source->at[i]);
				source->fetch(source, r, &source->at[i], source->at[i].items, want,
				    source->at[i].count > 1 ? 2 : 1, &e);
			}
	migrate_imap_free(source);
	free(r);
	close(fds[0]);
	close(fds[1]);
	close(channel[0]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static void (*const all[])(struct view) = { beside, mbox, there_and_back, passwords, wire, name, server };
	struct view v = { (const char *)data + 1, size - 1 };

	if (size == 0)
		return 0;
	if (size == 1)
		v.ptr = "";
	char *copy = malloc(v.len + 1); /* of exactly its size, and writable: the IMAP parser unescapes in place */
	memcpy(copy, v.ptr, v.len);
	v.ptr = copy;
	all[data[0] % 7](v);
	free(copy);
	return 0;
}
