/*
 * A queue of very many entries for a destination that is away: memory, the way of a new message, start-up, what the
 * administrator does.  MAILADM_ENTRIES chooses how many (default 20,000: then only that it works is asked;
 * tests/slow/queue_million.t: 1,000,000).
 */
#include "store_role_help.h"

#define BODY_LEN 2048
#define PENDING_MOST 400

static unsigned long entries = 20000;
static unsigned pending, items, live;
static uint64_t live_at;
static struct store_client *send_client;

static void on_queued(void *arg, const struct store_result *r)
{
	(void)arg;
	assert_int_equal(r->status, STORE_OK);
	pending--;
}

static void put(struct store_client *smtp, const char *domain, unsigned long n)
{
	static char body[BODY_LEN];
	static const char *to[] = { "somebody@there.example" };
	struct store_remote remote = {
		.sender = "a.sender@example.org", .recipients = to, .recipient_count = 1, .domain = domain
	};
	struct store_delivery d = { .remote = &remote, .remote_count = 1 };

	memset(body, 'x', sizeof body);
	snprintf(body, sizeof body, "Subject: %lu\r\n\r\n", n);
	d.body.body = (struct view){ body, sizeof body };
	d.body.mime = (struct view){ body, 600 };
	store_deliver(smtp, &d, on_queued, NULL);
	pending++;
	while (pending >= PENDING_MOST)
		event_base_loop(base, EVLOOP_ONCE);
}

static unsigned unanswered; /* results on their way: a store that went away now would hand their entries out again */

static void on_resulted(void *arg, const struct store_result *r)
{
	(void)arg;
	(void)r;
	unanswered--;
	store_queue_credit(send_client, 1);
}

static void on_item(void *arg, const struct queue_item *item)
{
	struct queue_recipient_result out = { item->recipients[0], QUEUE_RETRY, "450 4.4.1 connection refused" };
	struct queue_result result = { .id = item->id, .recipients = &out, .count = 1, .next_due = clock_wall() + 600 };

	(void)arg;
	close(item->message_fd);
	items++;
	if (strcmp(item->domain, "live.example") == 0) {
		live_at = clock_mono_ms();
		live++;
		out.outcome = QUEUE_DELIVERED;
	} else
		store_queue_defer(send_client, item->domain, clock_wall() + 3600, "connection refused");
	unanswered++;
	store_queue_result(send_client, &result, on_resulted, NULL);
}

static void send_up(void)
{
	send_client = keep(client(ROLE_SEND, 0));
	store_on_queue_item(send_client, on_item, NULL);
	store_queue_credit(send_client, 200);
}

/* MiB: all that is resident, pages of the mapped index too. */
static unsigned long resident(const char *what)
{
	char line[256];
	unsigned long kib = 0, anon = 0;
	FILE *f = fopen("/proc/self/status", "r");

	assert_non_null(f);
	while (fgets(line, sizeof line, f)) {
		if (strncmp(line, "VmRSS:", 6) == 0)
			kib = strtoul(line + 6, NULL, 10);
		if (strncmp(line, "RssAnon:", 8) == 0)
			anon = strtoul(line + 8, NULL, 10);
	}
	fclose(f);
	print_message("%s: %lu MiB resident, %lu of its own\n", what, kib / 1024, anon / 1024);
	return kib / 1024;
}

static unsigned long most(unsigned long so_far, const char *what)
{
	unsigned long now = resident(what);

	return now > so_far ? now : so_far;
}

static uint64_t live_takes(struct store_client *smtp)
{
	unsigned before = live;
	uint64_t began = clock_mono_ms();

	put(smtp, "live.example", 0);
	while ((live == before || unanswered > 0) && clock_mono_ms() - began < 20000)
		event_base_loop(base, EVLOOP_ONCE);
	assert_int_equal(live, before + 1);
	return live_at - began;
}

static uint64_t takes_ms(int (*fn)(int fd))
{
	uint64_t began = clock_mono_ms();

	in_command(fn);
	return clock_mono_ms() - began;
}

static int sums(int fd)
{
	struct buf json = BUF_INIT(1 << 20), place = BUF_INIT(1024);
	unsigned long total = 0, n;
	struct error e;
	int rc;

	do {
		const char *at = NULL;
		buf_reset(&json);
		rc = store_admin_queue_summary(fd, &place, &json, &e);
		if (rc != -1 && (at = strstr(buf_str(&json), "\"entries\":")) && sscanf(at + 10, "%lu", &n) == 1)
			total += n;
	} while (rc == 0);
	return rc == 1 && total == entries ? 0 : 1;
}

static int lists(int fd)
{
	struct buf json = BUF_INIT(16 << 20);
	unsigned long total = 0;
	uint64_t after = 0;
	struct error e;
	int rc;

	do {
		buf_reset(&json);
		rc = store_admin_queue_page(fd, &(struct queue_select){ 0 }, &after, &json, &e);
		for (const char *at = buf_str(&json); (at = strstr(at, "{\"id\":")); at++)
			total++;
	} while (rc == 0);
	return rc == 1 && total == entries ? 0 : 1;
}

static int change(int fd, enum queue_action action)
{
	uint64_t count;
	struct error e;

	return store_admin_queue_change(fd, action, &(struct queue_select){ .to = "dead.example" }, NULL, &count, &e) ==
	                   0 &&
	               count == entries
	           ? 0
	           : 1;
}

static int holds(int fd)
{
	return change(fd, QUEUE_HOLD);
}

static int drops(int fd)
{
	return change(fd, QUEUE_DROP);
}

static void test_million(void **state)
{
	struct store_client *smtp = keep(client(ROLE_SMTP, 0));
	uint64_t began = clock_mono_ms(), started, way[3];
	unsigned long full;
	bool large = entries >= 1000000;

	(void)state;
	for (unsigned long i = 0; i < entries; i++)
		put(smtp, "dead.example", i);
	while (pending)
		event_base_loop(base, EVLOOP_ONCE);
	print_message("%lu entries queued in %llu ms\n", entries, (unsigned long long)(clock_mono_ms() - began));
	full = most(0, "filled");
	send_up();
	turn(1000);
	if (items == 0 || items > 200)
		fail_msg("%u entries of the dead destination were handed out", items);
	way[0] = live_takes(smtp);
	full = most(full, "served");

	store_down();
	began = clock_mono_ms();
	store_up();
	started = clock_mono_ms() - began;
	smtp = keep(client(ROLE_SMTP, 0));
	items = 0;
	send_up();
	way[1] = live_takes(smtp);
	turn(500);
	if (items > 201)
		fail_msg("%u entries of the dead destination were handed out after a start", items);
	print_message("start-up in %llu ms; a new message leaves after %llu ms, after a start %llu ms\n",
	    (unsigned long long)started, (unsigned long long)way[0], (unsigned long long)way[1]);
	resident("started");
	print_message("summary in %llu ms\n", (unsigned long long)takes_ms(sums));
	print_message("list in %llu ms\n", (unsigned long long)takes_ms(lists));
	full = most(full, "listed");
	print_message("all held in %llu ms\n", (unsigned long long)takes_ms(holds));
	way[2] = live_takes(smtp);
	print_message("all dropped in %llu ms\n", (unsigned long long)takes_ms(drops));
	full = most(full, "dropped");
	if (large && (full >= 1024 || started >= 10000))
		fail_msg("%lu MiB resident, start-up %llu ms", full, (unsigned long long)started);
	if (way[0] > 1000 || way[1] > 1000 || way[2] > 1000)
		fail_msg("a new message leaves after %llu, %llu, %llu ms", (unsigned long long)way[0],
		    (unsigned long long)way[1], (unsigned long long)way[2]);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test_setup_teardown(test_million, setup, teardown) };

	if (getenv("MAILADM_ENTRIES"))
		entries = strtoul(getenv("MAILADM_ENTRIES"), NULL, 10);
	return run_quietly(tests, 1, "tests");
}
