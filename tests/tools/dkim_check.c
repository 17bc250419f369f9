/*
 * Verifies and signs messages with the daemon's own code, for tests that compare it with others:
 *
 *	dkim_check RECORDS KEYS
 *
 * RECORDS has the world's DNS, a line "NAME TEXT" for each TXT record ("NAME" alone: no answer); KEYS a line
 * "DOMAIN SELECTOR FILE" for each private key in PEM.  Standard input has requests, one line each, and the bytes that
 *it announces; each is answered by one line, in JSON:
 *
 *	verify NOW LENGTH			the results of DKIM and ARC
 *	sign DOMAIN SELECTOR SELECTOR2 LENGTH	{"fields": ...}: by an RSA and an Ed25519 key ("-": not)
 *	seal DOMAIN SELECTOR ID RESULTS_LENGTH RECEIVED_LENGTH LENGTH	{"fields": ...}: first the results, then the
 *message as it was received, then as it is sealed records RECORDS				reads them anew, answers
 *{}
 */
#include <err.h>
#include <event2/event.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/log.h"
#include "mailsvc/keys/client.h"
#include "mailsvc/keys/keyring.h"
#include "mailsvc/policy/arc.h"
#include "mailsvc/policy/dkim_verify.h"
#include "tests/unit/policy_zone.h"

#define INPUT_MAX (64 << 20)

static struct zone zone;
static struct keyring *ring;
static struct event_base *base;
static struct keys_client *keys;
static json_t *answer; /* what the callbacks make of a request */
static struct arc_verdict verdict;
static bool called;

static void read_records(const char *path)
{
	FILE *f = fopen(path, "r");
	char *line = NULL;
	size_t room = 0;
	ssize_t len;

	if (f == NULL)
		err(2, "%s", path);
	zone_clear(&zone);
	while ((len = getline(&line, &room, f)) > 0) {
		line[strcspn(line, "\n")] = '\0';
		char *space = strchr(line, ' ');
		if (space != NULL)
			*space = '\0';
		zone_put(&zone, line, space != NULL ? DNS_TXT : ZONE_TIMEOUT, space != NULL ? space + 1 : "");
	}
	free(line);
	fclose(f);
}

static void read_pem(struct buf *packed, const char *path)
{
	char pem[16384];
	FILE *f = fopen(path, "r");

	if (f == NULL)
		err(2, "%s", path);
	buf_put_blob(packed, (struct view){ pem, fread(pem, 1, sizeof(pem), f) });
	fclose(f);
}

static void read_keys(const char *path)
{
	struct buf packed = BUF_INIT(1 << 20);
	char domain[256], selector[256], pem[1024];
	FILE *f = fopen(path, "r");
	struct error e;

	if (f == NULL)
		err(2, "%s", path);
	while (fscanf(f, "%255s %255s %1023s", domain, selector, pem) == 3) {
		buf_put_str(&packed, domain);
		buf_put_str(&packed, selector);
		read_pem(&packed, pem);
	}
	fclose(f);
	if ((ring = keyring_load(buf_view(&packed), &e)) == NULL)
		errx(2, "%s: %s", path, e.text);
	buf_free(&packed);
}

/* keys, in this process. */
static void on_request(struct chan *chan, struct imsg *m, void *arg)
{
	struct buf signature = BUF_INIT(KEYS_SIGNATURE_MAX), msg = BUF_INIT(IMSG_MAX);
	struct keys_request r;

	(void)arg;
	if (keys_request_get(m->data, &r) == -1)
		errx(2, "a malformed request for a signature");
	keyring_sign(ring, &r, &signature);
	keys_signature_put(&msg, buf_view(&signature));
	chan_send(chan, KEYS_MESSAGE_SIGNATURE, m->id, buf_view(&msg), -1);
	buf_free(&signature);
	buf_free(&msg);
}

static void on_gone(struct chan *chan, void *arg)
{
	(void)arg;
	(void)chan;
	errx(2, "the channel for signatures broke");
}

static void on_dkim(void *arg, const struct dkim_result *r, size_t count)
{
	json_t *list = json_array();

	(void)arg;
	for (size_t i = 0; i < count; i++, r++)
		json_array_append_new(list,
		    json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:b, s:i, s:s}", "verdict", dkim_verdict_name(r->verdict),
			"domain", r->domain, "selector", r->selector, "identity", r->identity, "algorithm",
			r->algorithm, "b", r->b, "testing", r->testing, "bits", (int)r->key_bits, "reason", r->reason));
	json_object_set_new(answer, "dkim", list);
	called = true;
}

static void on_arc(void *arg, const struct arc_verdict *v)
{
	(void)arg;
	verdict = *v;
	json_object_set_new(answer, "arc",
	    json_pack("{s:s, s:i, s:i, s:s, s:s, s:b, s:b, s:s}", "result", arc_result_name(v->result), "instance",
		(int)v->instance, "oldest_pass", (int)v->oldest_pass, "sealer", v->sealer, "sealers", v->sealers,
		"temporary", v->temporary, "closed", v->closed, "reason", v->reason));
	called = true;
}

static void on_signed(void *arg, enum dkim_status status, struct view fields)
{
	(void)arg;
	json_object_set_new(answer, "status",
	    json_string(status == DKIM_SIGNED   ? "signed"
			: status == DKIM_NO_KEY ? "no key"
						: "away"));
	json_object_set_new(answer, "fields", json_stringn(fields.len > 0 ? fields.ptr : "", fields.len));
	called = true;
}

static struct view read_bytes(struct buf *to, size_t len)
{
	char *p = buf_reserve(to, len > 0 ? len : 1);

	if (p == NULL || fread(p, 1, len, stdin) != len)
		errx(2, "the input ended early");
	to->len += len;
	return (struct view){ p, len };
}

static void wait_signed(void)
{
	while (!called)
		event_base_loop(base, EVLOOP_ONCE);
}

static void verify_arc(struct view message, int64_t now)
{
	struct policy_dns dns = zone_dns(&zone);

	called = false;
	arc_verify_start(&dns, message, now, on_arc, NULL);
	zone_run(&zone);
	if (!called)
		errx(1, "no callback of ARC");
}

static void verify(struct view message, int64_t now)
{
	struct policy_dns dns = zone_dns(&zone);

	verify_arc(message, now);
	called = false;
	dkim_verify_start(&dns, message, now, on_dkim, NULL);
	zone_run(&zone);
	if (!called)
		errx(1, "no callback of DKIM");
}

static void request(const char *line)
{
	struct buf input = BUF_INIT(INPUT_MAX), first = BUF_INIT(INPUT_MAX), received = BUF_INIT(INPUT_MAX);
	char a[1024], b[256], c[256];
	long long now;
	size_t len, len2, len3;

	answer = json_object();
	called = false;
	if (sscanf(line, "verify %lld %zu", &now, &len) == 2) {
		verify(read_bytes(&input, len), now);
	} else if (sscanf(line, "sign %1023s %255s %255s %zu", a, b, c, &len) == 4) {
		struct site_domain d = { .name = a, .dkim_selector = b, .dkim_ed25519 = strcmp(c, "-") == 0 ? "" : c };
		dkim_sign(keys, &d, read_bytes(&input, len), on_signed, NULL);
		wait_signed();
	} else if (sscanf(line, "seal %1023s %255s %255s %zu %zu %zu", a, b, c, &len2, &len3, &len) == 6) {
		struct site_domain d = { .name = a, .dkim_selector = b, .dkim_ed25519 = "" };
		struct view results = read_bytes(&first, len2), before = read_bytes(&received, len3),
			    message = read_bytes(&input, len);
		verify_arc(before, clock_wall());
		called = false;
		arc_seal(keys, &d, message, &verdict, c, results, on_signed, NULL);
		if (called)
			errx(1, "arc_seal called back from inside");
		wait_signed();
	} else if (sscanf(line, "records %1023s", a) == 1) {
		read_records(a);
	} else {
		errx(2, "what is \"%s\"?", line);
	}
	json_dumpf(answer, stdout, JSON_COMPACT);
	putchar('\n');
	fflush(stdout);
	json_decref(answer);
	buf_free(&input);
	buf_free(&first);
	buf_free(&received);
}

int main(int argc, char **argv)
{
	static const struct chan_ops ops = { on_request, on_gone };
	char *line = NULL;
	size_t room = 0;
	int fds[2];

	if (argc != 3)
		errx(2, "usage: dkim_check RECORDS KEYS");
	log_init("dkim_check", LOG_LEVEL_WARN);
	read_records(argv[1]);
	read_keys(argv[2]);
	base = event_base_new();
	keys = keys_client_new(base);
	if (imsg_pair(fds) == -1)
		err(2, "a channel");
	keys_client_attach(keys, fds[0]);
	chan_new(base, fds[1], &ops, NULL);
	while (getline(&line, &room, stdin) > 0)
		request(line);
	return 0;
}
