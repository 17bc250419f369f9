/* Any bytes as the arguments of a SEARCH, SORT or THREAD; a program that is taken is run over one message. */
#include <stdlib.h>
#include <string.h>

#include "mailsvc/imap/search.h"
#include "mailsvc/imap/search_reply.h"
#include "mailsvc/imap/sort.h"
#include "mailsvc/imap/thread.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char message[] = "From: a@b\r\nSubject: =?utf-8?q?=C3=A4?=\r\nContent-Type: multipart/mixed; "
                              "boundary=x\r\n\r\n--x\r\n\r\none\r\n--x--\r\n";

static int read_memory(void *arg, uint64_t offset, void *dst, size_t length)
{
	(void)arg;
	if (offset > sizeof(message) - 1 || length > sizeof(message) - 1 - offset)
		abort();
	memcpy(dst, message + offset, length);
	return 0;
}

static int open_message(struct search_message *m)
{
	m->source = (struct fetch_source){ .length = sizeof(message) - 1, .read = read_memory };
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct imap_mailbox mailbox;
	static struct imap_session session;
	const struct message_row row = { .uid = 7, .flags = FLAG_SEEN, .size = sizeof(message) - 1 };
	char *text = xmalloc(size + 1);
	struct imap_parser p = imap_parser_of(text, size);
	struct search_program program = { 0 };
	struct search_message m;
	struct sort_criteria criteria;
	enum thread_algorithm algorithm;
	unsigned options;
	bool taken;

	if (size)
		memcpy(text, data, size);
	if (mailbox.map.count == 0) {
		uidmap_append_run(&mailbox.map, 1, 5);
		uidmap_append_run(&mailbox.map, 7, 3);
		session.mailbox = &mailbox;
	}
	/* The same bytes may be any of the three. */
	if (size % 3 == 0)
		taken = search_return_parse(&p, &options) && search_parse(&session, &p, &program);
	else if (size % 3 == 1)
		taken = search_return_parse(&p, &options) && sort_parse(&p, &criteria) &&
			search_parse_in_charset(&session, &p, &program);
	else
		taken = thread_parse(&p, &algorithm) && search_parse_in_charset(&session, &p, &program);
	if (taken) {
		search_bind(&program, &mailbox);
		search_message_init(&m, open_message, NULL);
		search_message_reset(&m, &row, true);
		while (search_match(&program, &m) == SEARCH_LATER)
			search_look(&program, &m);
		search_message_free(&m);
	}
	search_free(&program);
	free(text);
	return 0;
}
