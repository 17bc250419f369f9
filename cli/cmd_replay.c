/*
 * mailadm replay: what a site would do to a message that was kept, and why; beside it what another site would do, and
 * the difference.
 */
#include <arpa/inet.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/replay.h"
#include "lib/proc.h"

/* The message --------------------------------------------------------------------------------------------------- */

/* A file with LF alone gets CRLF; an mbox line in front goes away. */
static void normalise(struct buf *file, struct buf *out)
{
	struct view v = buf_view(file);
	const char *lf = v.len > 0 ? memchr(v.ptr, '\n', v.len) : NULL;

	if (lf != NULL && v.len > 5 && memcmp(v.ptr, "From ", 5) == 0) {
		v.len -= (size_t)(lf + 1 - v.ptr);
		v.ptr = lf + 1;
		lf = v.len > 0 ? memchr(v.ptr, '\n', v.len) : NULL;
	}
	if (lf == NULL || (lf > v.ptr && lf[-1] == '\r')) {
		buf_addv(out, v);
		return;
	}
	while (v.len > 0) {
		size_t n = lf != NULL ? (size_t)(lf - v.ptr) : v.len;

		buf_add(out, v.ptr, n);
		buf_puts(out, "\r\n");
		n += lf != NULL;
		v = (struct view){ v.ptr + n, v.len - n };
		lf = v.len > 0 ? memchr(v.ptr, '\n', v.len) : NULL;
	}
}

static int read_message(const char *path, struct buf *out)
{
	struct buf file = BUF_INIT(REPLAY_MESSAGE_MAX);
	struct error e;
	int rc = file_read(strcmp(path, "-") == 0 ? "/dev/stdin" : path, REPLAY_MESSAGE_MAX, &file, &e);

	if (rc == -1)
		cli_error("%s", e.text);
	else
		normalise(&file, out);
	buf_free(&file);
	return rc == -1 || out->full ? -1 : 0;
}

/* Telling ------------------------------------------------------------------------------------------------------- */

/* A word, filled up to width. */
static void put_word(const char *word, size_t width)
{
	size_t n = strlen(word);

	cli_put(word);
	printf("%*s", n < width ? (int)(width - n) : 0, "");
}

static void put_pair(const char *key, const char *value)
{
	if (value[0] == '\0')
		return;
	printf("  %-16s ", key);
	cli_put(value);
	putchar('\n');
}

static void put_list(const json_t *list)
{
	const json_t *item;
	size_t i;

	json_array_foreach(list, i, item)
	{
		fputs(i > 0 ? ", " : "", stdout);
		cli_put(json_string_value(item));
	}
}

static void put_recipients(const json_t *result)
{
	const char *address;
	json_t *r;

	json_object_foreach(json_object_get(result, "recipients"), address, r)
	{
		printf("  %-16s ", "recipient");
		cli_put(address);
		printf(": ");
		cli_put(cli_json_get(r, "reply"));
		printf("\n  %-16s ", "");
		cli_put(cli_json_get(r, "status"));
		if (cli_json_get(r, "by")[0] != '\0') {
			printf(", ");
			cli_put(cli_json_get(r, "by"));
		}
		if (json_array_size(json_object_get(r, "leads_to")) > 0) {
			printf("; leads to ");
			put_list(json_object_get(r, "leads_to"));
		}
		if (cli_json_get(r, "verified_by")[0] != '\0') {
			printf("; taken only if ");
			cli_put(cli_json_get(r, "verified_by"));
			printf(" takes it, which is not asked here");
		}
		putchar('\n');
	}
}

static void put_ways(const json_t *result)
{
	const char *address, *name;
	json_t *o;

	json_object_foreach(json_object_get(result, "accounts"), address, o)
	{
		printf("  %-16s ", "stored");
		cli_put(address);
		printf(": ");
		cli_put(json_string_value(o));
		putchar('\n');
	}
	json_object_foreach(json_object_get(result, "leaves"), address, o)
	{
		printf("  %-16s ", "leaves");
		cli_put(address);
		printf(" by ");
		put_list(json_object_get(o, "hosts"));
		name = cli_json_get(o, "route");
		printf(" (");
		cli_put(cli_json_get(o, "protocol"));
		printf("%s", name[0] != '\0' ? ", route " : "");
		cli_put(name);
		printf(", TLS ");
		cli_put(cli_json_get(o, "tls"));
		printf("), sender <");
		cli_put(cli_json_get(o, "sender"));
		printf(">\n");
	}
}

static void print_run(const char *site, const json_t *result)
{
	const json_t *envelope = json_object_get(result, "envelope");
	const char *key;
	json_t *value;

	printf("by %s: ", site);
	cli_put(cli_json_get(result, "outcome"));
	printf("\n  %-16s <", "from");
	cli_put(cli_json_get(envelope, "from"));
	printf("> brought by ");
	cli_put(cli_json_get(envelope, "peer"));
	printf(" (");
	cli_put(cli_json_get(envelope, "helo"));
	printf("), %lld bytes\n", (long long)json_integer_value(json_object_get(result, "size")));
	put_pair("refused", cli_json_get(result, "refused"));
	put_recipients(result);
	put_pair("checked", cli_json_get(result, "checked"));
	json_object_foreach(json_object_get(result, "checks"), key, value)
	{
		printf("    ");
		put_word(key, 14);
		putchar(' ');
		cli_put(json_string_value(value));
		putchar('\n');
	}
	put_pair("greylisted", cli_json_get(result, "greylisted"));
	put_pair("reply", cli_json_get(result, "reply"));
	put_pair("marked", cli_json_get(result, "marks"));
	put_pair(json_is_true(json_object_get(result, "arc_sealed")) ? "ARC sealed" : "signed",
	    cli_json_get(result, "signed_by"));
	put_ways(result);
	put_pair("answered", cli_json_get(result, "answered"));
}

/* The difference ------------------------------------------------------------------------------------------------ */

static void flatten(const char *path, const json_t *value, json_t *out)
{
	struct buf name = BUF_INIT(1 << 20);
	const char *key;
	json_t *member;
	char *dump;

	if (json_is_object(value)) {
		json_object_foreach((json_t *)value, key, member)
		{
			buf_reset(&name);
			buf_printf(&name, "%s%s%s", path, path[0] != '\0' ? " " : "", key);
			flatten(buf_str(&name), member, out);
		}
	} else if (json_is_string(value)) {
		json_object_set(out, path, (json_t *)value);
	} else {
		dump = json_dumps(value, JSON_ENCODE_ANY);
		json_object_set_new(out, path, json_string(dump));
		free(dump);
	}
	buf_free(&name);
}

/* An array of {what, now, proposed}; what is not there is null. */
static json_t *difference(const json_t *now, const json_t *proposed)
{
	json_t *a = json_object(), *b = json_object(), *out = json_array(), *value;
	const char *key;

	flatten("", now, a);
	flatten("", proposed, b);
	json_object_foreach(a, key, value)
	{
		json_t *other = json_object_get(b, key);

		if (other == NULL || !json_equal(value, other))
			json_array_append_new(
			    out, json_pack("{s:s, s:O, s:O?}", "what", key, "now", value, "proposed", other));
	}
	json_object_foreach(b, key, value) if (json_object_get(a, key) == NULL)
	    json_array_append_new(out, json_pack("{s:s, s:n, s:O}", "what", key, "now", "proposed", value));
	json_decref(a);
	json_decref(b);
	return out;
}

static void put_side(char sign, const json_t *line, const char *side)
{
	const char *value = json_string_value(json_object_get(line, side));

	if (value == NULL)
		return;
	printf("%c ", sign);
	cli_put(cli_json_get(line, "what"));
	printf(": ");
	cli_put(value);
	putchar('\n');
}

static void print_difference(const json_t *lines)
{
	const json_t *line;
	size_t i;

	puts(json_array_size(lines) > 0 ? "difference" : "no difference");
	json_array_foreach(lines, i, line)
	{
		put_side('-', line, "now");
		put_side('+', line, "proposed");
	}
}

/* The command --------------------------------------------------------------------------------------------------- */

struct request {
	struct kept_envelope envelope;
	struct replay replay;
	const char *proposed; /* a site file, or NULL */
};

static bool accepted(const json_t *result)
{
	return strncmp(cli_json_get(result, "outcome"), "refused", 7) != 0;
}

static struct site *load(const char *path)
{
	struct findings f = { 0 };
	struct site *site = site_load(path, &f);

	for (size_t i = 0; i < f.count; i++)
		if (!f.at[i].warning)
			fprintf(stderr, "%s\n", f.at[i].text);
	findings_free(&f);
	return site;
}

static int tell(struct cli *cli, const struct request *q, json_t *now, json_t *proposed)
{
	json_t *lines = proposed != NULL ? difference(now, proposed) : json_array();
	int rc = accepted(proposed != NULL ? proposed : now) && json_array_size(lines) == 0 ? EXIT_YES : EXIT_NO;

	if (cli->json) {
		cli_json_print(json_pack("{s:O, s:O?, s:O}", "now", now, "proposed", proposed, "difference", lines));
	} else {
		print_run(cli->site_path, now);
		if (proposed != NULL && json_array_size(lines) > 0) {
			putchar('\n');
			print_run(q->proposed, proposed);
			putchar('\n');
		}
		if (proposed != NULL)
			print_difference(lines);
	}
	json_decref(lines);
	return rc;
}

static int replay(struct cli *cli, struct request *q)
{
	struct site *site = cli_site(cli), *other = NULL;
	json_t *now, *proposed = NULL;
	struct error e;
	int rc = EXIT_USAGE;

	if (site == NULL || (q->proposed != NULL && (other = load(q->proposed)) == NULL))
		return EXIT_USAGE;
	q->replay.given = &q->envelope;
	q->replay.host_name = site->host.name;
	now = replay_run(site, &q->replay, &e);
	if (now != NULL && other != NULL)
		proposed = replay_run(other, &q->replay, &e);
	if (now == NULL || (other != NULL && proposed == NULL))
		cli_error("%s", e.text);
	else
		rc = tell(cli, q, now, proposed);
	json_decref(now);
	json_decref(proposed);
	site_unref(other);
	return rc;
}

static int take_address(const char *argument, char out[ADDRESS_MAX])
{
	struct address a;

	if (address_parse(view_of(argument), &a) == 0 && view_copy(view_of(argument), out, ADDRESS_MAX) == 0)
		return 0;
	cli_error("%s is no mail address", argument);
	return -1;
}

static int take_peer(const char *argument, char out[64])
{
	unsigned char bytes[16];

	if ((inet_pton(AF_INET, argument, bytes) == 1 || inet_pton(AF_INET6, argument, bytes) == 1) &&
	    view_copy(view_of(argument), out, 64) == 0)
		return 0;
	cli_error("%s is no address of a host; write 192.0.2.1 or 2001:db8::1", argument);
	return -1;
}

static int take_helo(const char *argument, char out[ADDRESS_MAX])
{
	for (const char *p = argument; *p != '\0'; p++)
		if ((unsigned char)*p <= ' ' || *p == 0x7f)
			return cli_error("%s is no name of a host", argument) * -1;
	return argument[0] != '\0' ? view_copy(view_of(argument), out, ADDRESS_MAX) : -1;
}

static int take_option(struct request *q, int option, const char *value)
{
	struct kept_envelope *e = &q->envelope;

	switch (option) {
	case 's':
		q->proposed = value;
		return 0;
	case 'f':
		e->from_known = true;
		return value[0] == '\0' || strcmp(value, "<>") == 0 ? 0 : take_address(value, e->from);
	case 't':
		return e->to_count < KEPT_RECIPIENTS_MAX ? take_address(value, e->to[e->to_count++]) : -1;
	case 'p':
		return take_peer(value, e->peer);
	case 'h':
		return take_helo(value, e->helo);
	case 'n':
		q->replay.dns = false;
		return 0;
	default:
		return cli_usage(&cmd_replay) * -1;
	}
}

static int run(struct cli *cli, int argc, char **argv)
{
	static const struct option options[] = { { "site", required_argument, NULL, 's' },
		{ "from", required_argument, NULL, 'f' }, { "to", required_argument, NULL, 't' },
		{ "peer", required_argument, NULL, 'p' }, { "helo", required_argument, NULL, 'h' },
		{ "no-dns", no_argument, NULL, 'n' }, { NULL, 0, NULL, 0 } };
	struct request *q;
	struct buf message = BUF_INIT(REPLAY_MESSAGE_MAX);
	int option, rc = EXIT_USAGE;

	if (cli_wants_help(cli, &cmd_replay, argc, argv))
		return EXIT_YES;
	q = xcalloc(1, sizeof(*q));
	q->replay.dns = true;
	optind = 1;
	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1)
		if (take_option(q, option, optarg) != 0)
			goto out;
	if (optind != argc - 1) {
		cli_usage(&cmd_replay);
		goto out;
	}
	if (read_message(argv[optind], &message) == -1)
		goto out;
	q->replay.message = buf_view(&message);
	rc = replay(cli, q);
out:
	buf_free(&message);
	free(q);
	return rc;
}

const struct command cmd_replay = {
	.name = "replay",
	.synopsis = "[--site FILE] [--from ADDRESS] [--to ADDRESS]... [--peer IP] [--helo NAME] [--no-dns] MESSAGE",
	.summary = "what a site would do to a message, and why",
	.help = "Takes a message from a file (- is standard input) through the smtp role's own session, in processes "
		"without rights\n"
		"and without a delivery: replies, where each recipient leads, every check with its reason, what would "
		"be marked and\n"
		"stored, what would leave and by which hosts.  With --site what the proposed site would do stands "
		"beside it, and the\n"
		"difference as lines.  Mailboxes that are full, rates and whom greylisting knows are not looked at.\n"
		"\n"
		"  --site FILE     a proposed site file, compared with the one in use\n"
		"  --from ADDRESS  the envelope's sender, '' for none; else of Return-Path\n"
		"  --to ADDRESS    a recipient, more than once if need be; else of Delivered-To\n"
		"  --peer IP       who brings it; else of the topmost Received that names an address\n"
		"  --helo NAME     what it says in EHLO; likewise\n"
		"  --no-dns        without the checks that ask DNS\n"
		"Exits 0 when it is accepted (and both sites do the same), 1 when it is refused or they differ.\n"
		"\n"
		"examples:\n"
		"  mailadm replay --to alice@example.org --peer 192.0.2.7 message.eml\n"
		"  mailadm replay --site proposed.conf message.eml\n",
	.run = run,
};
