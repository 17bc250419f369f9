/*
 * queue_put SITE SENDER RECIPIENT <MESSAGE: puts a message into a running host's queue as it is, past all that smtp
 * refuses, to see what send makes of it.  Prints the entry's id.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/log.h"
#include "mailsvc/control.h"
#include "mailsvc/mime/mime.h"
#include "mailsvc/store/client.h"

static int status = 2;

static void on_stored(void *arg, const struct store_result *result)
{
	status = result->status == STORE_OK ? 0 : 1;
	printf("%016llx\n", (unsigned long long)result->queue_id);
	event_base_loopbreak(arg);
}

static int channel_to_store(const char *path)
{
	struct findings findings = { 0 };
	struct site *site = site_load(path, &findings);
	struct error e = { "" };
	struct buf text = BUF_INIT(CONTROL_TEXT_MAX);
	int control, store = -1;

	findings_free(&findings);
	if (site == NULL)
		fatalx("%s has errors", path);
	control = control_connect(site, &e);
	if (control < 0 || control_ask(control, CONTROL_STORE, CONTROL_TIMEOUT_MS, &text, &store, &e) != 0)
		fatalx("no channel to store: %s", e.text);
	close(control);
	buf_free(&text);
	site_unref(site);
	return store;
}

int main(int argc, char **argv)
{
	struct event_base *base = event_base_new();
	struct store_client *client = store_client_new(base);
	struct buf message = BUF_INIT(STORE_BODY_MAX), record = BUF_INIT(2 * MIME_RECORD_MAX);
	char bytes[65536];
	size_t n;

	if (argc != 4 || strrchr(argv[3], '@') == NULL)
		fatalx("usage: queue_put SITE SENDER RECIPIENT <MESSAGE");
	while ((n = fread(bytes, 1, sizeof(bytes), stdin)) > 0)
		buf_add(&message, bytes, n);
	mime_parse(buf_view(&message), &record);
	store_client_attach(client, channel_to_store(argv[1]));
	store_deliver(client,
	    &(struct store_delivery){
		.body = { buf_view(&message), buf_view(&record) },
		.remote = &(struct store_remote){ .sender = argv[2],
		    .recipients = (const char *const *)&argv[3],
		    .recipient_count = 1,
		    .domain = strrchr(argv[3], '@') + 1,
		    .eight_bit = true },
		.remote_count = 1,
		.internal_date = 1,
	    },
	    on_stored, base);
	event_base_dispatch(base);
	return status;
}
