/*
 * mailadm fw ban, unban, bans.  While the host runs guard does it, over a channel that monitor makes; else this works
 * on the kernel and on STATE/bans itself, by the same rules, holding the folder's lock.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "cli/cli.h"
#include "fwgen/bans.h"
#include "lib/clock.h"
#include "lib/imsg.h"
#include "lib/proc.h"
#include "lib/text.h"
#include "mailsvc/control.h"
#include "mailsvc/guard/never.h"
#include "mailsvc/guard/proto.h"
#include "mailsvc/guard/state.h"

#define WHY_BY_HAND "by hand"

static const char usage_text[] = "usage: mailadm fw ban ADDRESS [--for TIME] [--reason TEXT] | unban ADDRESS | bans\n";

static const char help_text[] =
    "\n"
    "ban keeps an address (IPv6: its /64) from the mail services and all else of this host, for TIME (90s, 10m, 4h, "
    "5d)\n"
    "or, without --for, as long as its next ban for offences would last.  Addresses of firewall.admin_from,\n"
    "firewall.never_ban and of the host itself are refused (exit status 1).  Connections that stand go on until they "
    "end.\n"
    "unban ends a ban and forgets those before it.\n"
    "bans lists address, since, until, how often in a row, and why.\n"
    "\n"
    "  --for TIME      how long\n"
    "  --reason TEXT   shown by bans\n"
    "\n"
    "Examples: mailadm fw ban 192.0.2.7 --for 1h --reason \"port scans\"\n"
    "          mailadm fw unban 2001:db8:1:2::/64\n"
    "          mailadm fw bans --json | jq -r '.[].address'\n";

static int usage(void)
{
	fputs(usage_text, stderr);
	return EXIT_USAGE;
}

/* The two ways ----------------------------------------------------------------------------------------------------- */

enum outcome { DONE, REFUSED, FAILED };

struct request {
	enum guard_message type;
	struct guard_source who;
	uint64_t seconds;
	char why[JAIL_WHY_MAX];
	int64_t until;     /* DONE of a ban */
	struct error text; /* DONE: why it has no effect yet, or ""; else what is wrong */
	struct jail *list; /* of LIST */
};

static const char *take_one(const struct jail_ban *b, void *arg)
{
	return jail_put(arg, b, clock_wall()) < 0 ? "the address is there twice" : NULL;
}

static enum outcome take_list(struct request *r, struct imsg *m)
{
	struct view text;
	struct error e;
	int parsed;

	if (m->fd < 0 || memfd_map_sealed(m->fd, STATE_TEXT_MAX, &text) < 0) {
		error_set(&r->text, "guard sent a malformed list");
		return FAILED;
	}
	parsed = state_parse(text, take_one, r->list, &e);
	if (text.len > 0)
		munmap((void *)(uintptr_t)text.ptr, text.len);
	if (parsed == 0)
		return DONE;
	error_set(&r->text, "guard sent a malformed list (line %s)", e.text);
	return FAILED;
}

static enum outcome take_reply(struct request *r, struct imsg *m)
{
	struct cursor c = cursor_of(m->data.ptr, m->data.len);

	if (m->type == GUARD_MSG_BANS && r->type == GUARD_MSG_LIST)
		return take_list(r, m);
	if (m->type == GUARD_MSG_DONE)
		r->until = (int64_t)cursor_u64(&c);
	cursor_str(&c, r->text.text, sizeof(r->text.text));
	if ((m->type == GUARD_MSG_DONE || m->type == GUARD_MSG_REFUSED) && cursor_done(&c))
		return m->type == GUARD_MSG_DONE ? DONE : REFUSED;
	error_set(&r->text, "guard sent a malformed reply");
	return FAILED;
}

static enum outcome ask_guard(int control, struct request *r)
{
	struct buf text = BUF_INIT(CONTROL_TEXT_MAX), out = BUF_INIT(IMSG_MAX), storage = BUF_INIT(IMSG_MAX + 64);
	struct imsg m = { .fd = -1 };
	int channel = -1, got = control_ask(control, CONTROL_GUARD, CONTROL_TIMEOUT_MS, &text, &channel, &r->text);
	enum outcome result = FAILED;

	if (got == 1)
		error_set(&r->text, "%s", buf_str(&text));
	if (got != 0)
		goto out;
	if (r->type != GUARD_MSG_LIST)
		guard_source_put(&out, &r->who);
	if (r->type == GUARD_MSG_BAN) {
		buf_put_u64(&out, r->seconds);
		buf_put_str(&out, r->why);
	}
	if (imsg_send(channel, r->type, 1, buf_view(&out), -1) < 0 ||
	    imsg_recv(channel, CONTROL_TIMEOUT_MS, &m, &storage) != 1)
		error_set(&r->text, "guard does not answer; see mailadm status");
	else
		result = take_reply(r, &m);
	if (m.fd >= 0)
		close(m.fd);
	close(channel);
out:
	buf_free(&text);
	buf_free(&out);
	buf_free(&storage);
	return result;
}

/* STATE/bans, locked; made when it is not there yet. */
static int open_folder(const struct site *site, struct error *e)
{
	char *path = site_state(site, STATE_FOLDER);
	int fd = -1;

	if (file_mkdirs(path, 0700, e) == 0) {
		fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
		if (fd < 0 || flock(fd, LOCK_EX) < 0)
			error_errno(e, "%s", path);
	}
	free(path);
	return fd;
}

static enum outcome ban_directly(const struct site *site, struct request *r, struct jail *jail, struct bans *kernel)
{
	struct never never;
	const struct never_prefix *found;
	int machine = never_machine_open();
	enum outcome result = REFUSED;
	struct jail_ban b;
	struct ban one;

	never_of_site(&never, site);
	never_add_machine(&never, machine);
	if (machine >= 0)
		close(machine);
	jail_rules(jail, (unsigned)site->firewall.ban_after, site->firewall.ban_time, site->firewall.ban_max);
	found = never_find(&never, &r->who);
	if (found != NULL || r->who.family == 0) {
		never_explain(found, &r->who, r->text.text, sizeof(r->text.text));
	} else if (jail_ban(jail, &r->who, r->seconds, r->why, clock_wall(), &b, &r->text) == 0) {
		result = DONE;
		r->until = b.until;
		one = (struct ban){ .ipv6 = r->who.family == 6, .left_ms = (uint64_t)(b.until - b.since) * 1000 };
		memcpy(one.address, r->who.address, sizeof(one.address));
		if (site->port_offset != 0)
			error_set(&r->text, GUARD_ASIDE);
		else
			bans_add(kernel, &one, 1, &r->text);
	}
	never_free(&never);
	return result;
}

static enum outcome unban_directly(const struct site *site, struct request *r, struct jail *jail, struct bans *kernel)
{
	struct ban one = { .ipv6 = r->who.family == 6, .left_ms = 1000 };
	char text[GUARD_SOURCE_TEXT];
	struct jail_ban b;

	memcpy(one.address, r->who.address, sizeof(one.address));
	/* The firewall first: what stays in it would be taken for a ban when the host starts. */
	if (site->port_offset == 0 && jail_find(jail, &r->who, clock_wall(), &b) &&
	    bans_remove(kernel, &one, 1, &r->text) < 0)
		return FAILED;
	if (!jail_unban(jail, &r->who, clock_wall())) {
		guard_source_text(&r->who, text);
		error_set(&r->text, "%s is not banned", text);
		return REFUSED;
	}
	return DONE;
}

static enum outcome do_directly(const struct site *site, struct request *r)
{
	struct jail *jail = r->type == GUARD_MSG_LIST ? r->list : jail_new();
	struct bans *kernel = NULL;
	struct error aside = { "" };
	enum outcome result = FAILED;
	int dir = open_folder(site, &r->text), loaded;

	if (dir < 0)
		goto out;
	loaded = guard_state_load(dir, jail, clock_wall(), &aside);
	if (loaded > 0)
		cli_error("%s", aside.text);
	if (loaded < 0 || (kernel = bans_open(&r->text)) == NULL) {
		r->text = loaded < 0 ? aside : r->text;
		goto out;
	}
	if (r->type == GUARD_MSG_BAN)
		result = ban_directly(site, r, jail, kernel);
	else if (r->type == GUARD_MSG_UNBAN)
		result = unban_directly(site, r, jail, kernel);
	else
		result = DONE;
	if (result == DONE && r->type != GUARD_MSG_LIST && guard_state_save(dir, jail, clock_wall(), &aside) < 0) {
		r->text = aside;
		result = FAILED;
	}
out:
	bans_close(kernel);
	if (jail != r->list)
		jail_free(jail);
	if (dir >= 0)
		close(dir);
	return result;
}

static enum outcome perform(struct cli *cli, struct request *r)
{
	const struct site *site = cli_site(cli);
	int control = control_connect(site, &r->text);
	enum outcome result;

	if (control == -1)
		return FAILED;
	r->text.text[0] = '\0';
	if (control == -2)
		return do_directly(site, r);
	result = ask_guard(control, r);
	close(control);
	return result;
}

/* The commands --------------------------------------------------------------------------------------------------- */

static void format_time(int64_t when, char out[32])
{
	time_t t = (time_t)when;
	struct tm tm;

	out[0] = '\0';
	if (localtime_r(&t, &tm) != NULL)
		strftime(out, 32, "%Y-%m-%dT%H:%M:%S%z", &tm);
}

static int finish(struct cli *cli, struct request *r)
{
	enum outcome result = perform(cli, r);
	char who[GUARD_SOURCE_TEXT], until[32];

	if (result != DONE) {
		cli_error("%s", r->text.text);
		return result == REFUSED ? EXIT_NO : EXIT_USAGE;
	}
	guard_source_text(&r->who, who);
	format_time(r->until, until);
	if (r->text.text[0] != '\0')
		cli_error("done, but it has no effect yet, or will not last: %s", r->text.text);
	if (cli->json && r->type == GUARD_MSG_BAN)
		cli_json_print(json_pack("{s:s, s:I, s:b}", "address", who, "until", (json_int_t)r->until, "effective",
		    r->text.text[0] == '\0'));
	else if (cli->json)
		cli_json_print(json_pack("{s:s, s:b}", "address", who, "effective", r->text.text[0] == '\0'));
	else if (r->type == GUARD_MSG_BAN)
		printf("%s is banned until %s\n", who, until);
	else
		printf("%s is no longer banned\n", who);
	return EXIT_YES;
}

static int take_address(const char *text, struct request *r)
{
	if (guard_source_parse(text, &r->who) == 0)
		return 0;
	return cli_error("%s is neither an IPv4 address nor an IPv6 address or /64", text);
}

static int ban(struct cli *cli, int argc, char **argv)
{
	static const struct option options[] = { { "for", required_argument, NULL, 'f' },
		{ "reason", required_argument, NULL, 'r' }, { NULL, 0, NULL, 0 } };
	struct request r = { .type = GUARD_MSG_BAN, .why = WHY_BY_HAND };
	int c;

	optind = 0;
	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == 'f' && (text_parse_duration(optarg, &r.seconds) < 0 || r.seconds == 0 ||
				    r.seconds > (uint64_t)JAIL_LONGEST))
			return cli_error("--for %s: give a time up to a year, as 90s, 10m, 4h or 5d", optarg);
		if (c == 'r' && optarg[0] != '\0' &&
		    (strlen(optarg) + strlen(WHY_BY_HAND ": ") >= sizeof(r.why) || !jail_why_good(optarg)))
			return cli_error(
			    "--reason: give one line of at most %zu bytes", sizeof(r.why) - sizeof(WHY_BY_HAND ": "));
		if (c == 'r' && optarg[0] != '\0')
			snprintf(r.why, sizeof(r.why), WHY_BY_HAND ": %s", optarg);
		if (c == '?')
			return usage();
	}
	if (optind + 1 != argc)
		return usage();
	if (take_address(argv[optind], &r) != 0)
		return EXIT_USAGE;
	return finish(cli, &r);
}

static int unban(struct cli *cli, int argc, char **argv)
{
	struct request r = { .type = GUARD_MSG_UNBAN };

	if (argc != 2)
		return usage();
	if (take_address(argv[1], &r) != 0)
		return EXIT_USAGE;
	return finish(cli, &r);
}

struct sorting {
	struct jail_ban *at;
	size_t count;
};

static void collect(const struct jail_ban *b, void *arg)
{
	struct sorting *s = arg;

	s->at[s->count++] = *b;
}

static int by_end(const void *a, const void *b)
{
	const struct jail_ban *x = a, *y = b;

	if (x->until != y->until)
		return x->until < y->until ? -1 : 1;
	return memcmp(&x->who, &y->who, sizeof(x->who));
}

static void print_bans(struct cli *cli, const struct jail *list)
{
	static const char *const columns[] = { "address", "since", "until", "times", "why", NULL };
	struct cli_table *table = cli_table_new(cli, columns);
	struct sorting s = { .at = xcalloc(jail_count(list) + 1, sizeof(*s.at)) };

	jail_each(list, false, clock_wall(), collect, &s);
	qsort(s.at, s.count, sizeof(*s.at), by_end);
	for (size_t i = 0; i < s.count; i++) {
		char who[GUARD_SOURCE_TEXT], since[32], until[32], times[16];

		guard_source_text(&s.at[i].who, who);
		format_time(s.at[i].since, since);
		format_time(s.at[i].until, until);
		snprintf(times, sizeof(times), "%u", s.at[i].times);
		const char *const cells[] = { who, since, until, times, s.at[i].why };
		cli_table_add(table, cells);
	}
	cli_table_print(table);
	free(s.at);
}

static int bans(struct cli *cli, int argc)
{
	struct request r = { .type = GUARD_MSG_LIST };
	enum outcome result;

	if (argc != 1)
		return usage();
	r.list = jail_new();
	result = perform(cli, &r);
	if (result == DONE)
		print_bans(cli, r.list);
	else
		cli_error("%s", r.text.text);
	jail_free(r.list);
	return result == DONE ? EXIT_YES : EXIT_USAGE;
}

int fw_bans_command(struct cli *cli, int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
			fputs(usage_text, stdout);
			fputs(help_text, stdout);
			return EXIT_YES;
		}
	}
	if (cli_site(cli) == NULL)
		return EXIT_USAGE;
	if (strcmp(argv[0], "ban") == 0)
		return ban(cli, argc, argv);
	if (strcmp(argv[0], "unban") == 0)
		return unban(cli, argc, argv);
	return bans(cli, argc);
}
