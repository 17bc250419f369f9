/*
 * A message goes through a session of the smtp role, as its peer would bring it, in a process that has become that
 * role: its rules decide, its log line event=checked has the reasons, and what it hands to store says what would be
 * stored and sent.  Store, keys and send are played here, auth is away, and tables (greylisting, rates) are empty.
 * What would only cost time is off: the tarpit, and greylisting counts as marked; and no other host is asked about a
 * recipient: it counts as taken there.
 */
#include "cli/replay.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cli/rig.h"
#include "lib/ip.h"
#include "lib/proc.h"
#include "mailsvc/keys/proto.h"
#include "mailsvc/mime/mime.h"
#include "mailsvc/policy/name.h"
#include "mailsvc/send/reply.h"
#include "mailsvc/send/verify_proto.h"
#include "mailsvc/smtp/check.h"
#include "mailsvc/store/proto.h"
#include "site/prefix.h"

#define RUN_MS 180000
#define FIELD_MAX 65536

enum step { STEP_GREETING, STEP_EHLO, STEP_MAIL, STEP_RCPT, STEP_MESSAGE, STEP_QUIT };

struct run {
	const struct replay *replay;
	struct role_ctx *ctx;
	struct kept_envelope envelope;
	struct view message; /* without what delivery put in front */
	struct chan *store, *keys, *send;
	json_t *asked; /* the host that the recipient of this RCPT would be verified by; NULL: none */
	int peer_side, smtp_side; /* of the session */
	int out, log;
	struct conn *conn;
	struct reply reply;
	enum step step;
	size_t at, taken; /* recipients */
	bool greylists;   /* the site's rule is refuse */
	unsigned deliveries;
	json_t *result, *recipients;
};

static json_t *text(struct view v)
{
	char *copy = view_dup(v);
	json_t *s = cli_json_text(copy);

	free(copy);
	return s;
}

static void set(json_t *o, const char *key, struct view v)
{
	json_object_set_new(o, key, text(v));
}

/* The end ------------------------------------------------------------------------------------------------------ */

static const char *outcome(const struct run *r)
{
	const char *account;
	json_t *mailbox;
	bool junk = false;

	if (r->deliveries == 0)
		return "refused";
	json_object_foreach(json_object_get(r->result, "accounts"), account, mailbox) junk =
	    junk || strcmp(json_string_value(mailbox), "INBOX") != 0;
	if (r->taken < r->envelope.to_count)
		return "refused for some";
	return junk ? "junk" : "accepted";
}

static _Noreturn void finish(struct run *r)
{
	char *dump;

	json_object_set_new(r->result, "checks", replay_checks(r->log));
	if (r->greylists && json_object_get(json_object_get(r->result, "checks"), "greylist") != NULL)
		json_object_set_new(
		    r->result, "greylisted", json_string("451 at first, taken when the peer comes again"));
	json_object_set_new(r->result, "outcome", json_string(outcome(r)));
	dump = json_dumps(r->result, JSON_COMPACT);
	_exit(file_write_all(r->out, view_of(dump)) == 0 ? 0 : 1);
}

static _Noreturn void give_up(struct run *r, const char *why)
{
	json_object_set_new(r->result, "error", json_string(why));
	finish(r);
}

/* Store --------------------------------------------------------------------------------------------------------- */

/* The first field of this name, unfolded. */
static void add_field(struct run *r, struct view body, const char *name, const char *key)
{
	struct view header = { body.ptr, mime_header_len(body) }, raw = mime_header_find(header, name);
	struct buf value = BUF_INIT(FIELD_MAX);

	if (raw.ptr != NULL) {
		mime_unfold(raw, &value);
		for (size_t i = 0; i < value.len; i++)
			if (value.data[i] == '\t')
				value.data[i] = ' ';
		set(r->result, key, buf_view(&value));
	}
	buf_free(&value);
}

/* An answer of the host to the sender (auto_reply). */
static void add_answer(struct run *r, const struct proto_request *p)
{
	for (size_t i = 0; i < p->remote_count; i++)
		for (size_t j = 0; j < p->remotes[i].recipient_count; j++)
			set(r->result, "answered", p->remotes[i].recipients[j]);
	for (size_t i = 0; i < p->local_count; i++)
		set(r->result, "answered", p->locals[i].account);
}

static void add_delivery(struct run *r, const struct proto_request *p)
{
	json_t *accounts = json_object(), *leaves = json_object();

	for (size_t i = 0; i < p->local_count; i++) {
		char *account = view_dup(p->locals[i].account);

		set(accounts, account, p->locals[i].mailbox.len > 0 ? p->locals[i].mailbox : VIEW_LIT("INBOX"));
		free(account);
	}
	for (size_t i = 0; i < p->remote_count; i++) {
		char *sender = view_dup(p->remotes[i].sender);

		for (size_t j = 0; j < p->remotes[i].recipient_count; j++) {
			char *address = view_dup(p->remotes[i].recipients[j]);

			json_object_set_new(
			    leaves, address, replay_leaves(r->ctx->site, sender, p->remotes[i].recipients[j]));
			free(address);
		}
		free(sender);
	}
	json_object_set_new(r->result, "accounts", accounts);
	json_object_set_new(r->result, "leaves", leaves);
	add_field(r, p->body, "X-Mailadm-Checks", "marks");
	if (p->body.len > 9 && view_caseeq((struct view){ p->body.ptr, 9 }, "ARC-Seal:"))
		json_object_set_new(r->result, "arc_sealed", json_true());
	if (strncmp(json_string_value(json_object_get(r->result, "checked")), "no", 2) !=
	    0) /* else it is another host's */
		add_field(r, p->body, "Authentication-Results", "authentication_results");
}

static void on_store(struct chan *chan, struct imsg *m, void *arg)
{
	struct run *r = arg;
	struct view payload, mapped;
	struct proto_request p;
	struct buf reply = BUF_INIT(IMSG_MAX), data = BUF_INIT(IMSG_MAX);
	int fd = -1;

	if (m->type != STORE_DELIVER || proto_unwrap(m, PROTO_PAYLOAD_MAX, &payload, &mapped) == -1 ||
	    proto_request_get(&p, m->type, payload) == -1)
		give_up(r, "what smtp asked of store cannot be read");
	if (r->deliveries++ == 0)
		add_delivery(r, &p);
	else
		add_answer(r, &p);
	proto_request_free(&p);
	if (mapped.ptr != NULL)
		munmap((void *)(uintptr_t)mapped.ptr, mapped.len);
	proto_reply_put(&reply, &(struct proto_reply){ .status = STORE_OK, .queue_id = 1 });
	if (proto_wrap(buf_view(&reply), &data, &fd) == 0)
		chan_send(chan, STORE_REPLY, m->id, buf_view(&data), fd);
	buf_free(&reply);
	buf_free(&data);
}

static void on_store_closed(struct chan *chan, void *arg)
{
	(void)chan;
	give_up(arg, "smtp closed its channel to store");
}

/* Keys ---------------------------------------------------------------------------------------------------------- */

/* Every key is there, and what it signs is worth nothing. */
static void on_keys(struct chan *chan, struct imsg *m, void *arg)
{
	static const char signature[256];
	struct run *r = arg;
	struct keys_request q;
	struct buf reply = BUF_INIT(IMSG_MAX), name = BUF_INIT(FIELD_MAX);

	if (m->type != KEYS_MESSAGE_SIGN || keys_request_get(m->data, &q) == -1)
		give_up(r, "what smtp asked of keys cannot be read");
	buf_printf(&name, "%s with the key %s", q.domain, q.selector);
	set(r->result, "signed_by", buf_view(&name));
	keys_signature_put(&reply, (struct view){ signature, sizeof(signature) });
	chan_send(chan, KEYS_MESSAGE_SIGNATURE, m->id, buf_view(&reply), -1);
	buf_free(&reply);
	buf_free(&name);
}

static void on_keys_closed(struct chan *chan, void *arg)
{
	(void)chan;
	give_up(arg, "smtp closed its channel to keys");
}

/* Send ---------------------------------------------------------------------------------------------------------- */

static void on_send(struct chan *chan, struct imsg *m, void *arg)
{
	static const struct verify_answer taken = { .status = VERIFY_TAKEN };
	struct run *r = arg;
	char sender[VERIFY_ADDRESS_MAX], recipient[VERIFY_ADDRESS_MAX];
	struct buf reply = BUF_INIT(IMSG_MAX);
	json_t *way;

	if (m->type != VERIFY_MESSAGE_ASK || verify_ask_get(m->data, sender, recipient) == -1)
		give_up(r, "what smtp asked of send cannot be read");
	way = replay_leaves(r->ctx->site, sender, view_of(recipient));
	r->asked = json_incref(json_array_get(json_object_get(way, "hosts"), 0));
	json_decref(way);
	verify_answer_put(&reply, &taken);
	chan_send(chan, VERIFY_MESSAGE_ANSWER, m->id, buf_view(&reply), -1);
	buf_free(&reply);
}

static void on_send_closed(struct chan *chan, void *arg)
{
	(void)chan;
	give_up(arg, "smtp closed its channel to send");
}

/* The peer ------------------------------------------------------------------------------------------------------ */

static bool has_high_bytes(struct view v)
{
	for (size_t i = 0; i < v.len; i++)
		if ((unsigned char)v.ptr[i] > 127)
			return true;
	return false;
}

static void say_mail(struct run *r)
{
	const struct kept_envelope *e = &r->envelope;
	bool utf8 = has_high_bytes(view_of(e->from));

	for (size_t i = 0; i < e->to_count; i++)
		utf8 |= has_high_bytes(view_of(e->to[i]));
	conn_printf(r->conn, "MAIL FROM:<%s> SIZE=%zu%s%s\r\n", e->from, r->message.len,
	    has_high_bytes(r->message) ? " BODY=8BITMIME" : "", utf8 ? " SMTPUTF8" : "");
	r->step = STEP_MAIL;
}

static void say_next(struct run *r)
{
	if (r->at < r->envelope.to_count) {
		conn_printf(r->conn, "RCPT TO:<%s>\r\n", r->envelope.to[r->at]);
		r->step = STEP_RCPT;
	} else if (r->taken == 0) {
		finish(r);
	} else {
		conn_printf(r->conn, "BDAT %zu LAST\r\n", r->message.len);
		conn_writev(r->conn, r->message);
		r->step = STEP_MESSAGE;
	}
}

static void on_rcpt(struct run *r, const char *said)
{
	const char *address = r->envelope.to[r->at++];
	json_t *o = replay_route(r->ctx->site, address);

	set(o, "reply", view_of(said));
	if (r->asked != NULL)
		json_object_set_new(o, "verified_by", r->asked);
	r->asked = NULL;
	json_object_set_new(r->recipients, address, o);
	r->taken += r->reply.code / 100 == 2;
	say_next(r);
}

static void on_reply(struct run *r)
{
	char said[REPLY_TEXT_MAX + 1], *queued;

	reply_text(&r->reply, said);
	if (r->reply.code / 100 != 2 && r->step < STEP_RCPT) {
		set(r->result, "refused", view_of(said));
		finish(r);
	}
	switch (r->step) {
	case STEP_GREETING:
		conn_printf(r->conn, "EHLO %s\r\n", r->envelope.helo);
		r->step = STEP_EHLO;
		break;
	case STEP_EHLO:
		say_mail(r);
		break;
	case STEP_MAIL:
		say_next(r);
		break;
	case STEP_RCPT:
		on_rcpt(r, said);
		break;
	case STEP_MESSAGE:
		queued = strstr(said, " queued as ");
		if (queued != NULL)
			*queued = '\0';
		set(r->result, "reply", view_of(said));
		conn_printf(
		    r->conn, "QUIT\r\n"); /* an answer that the message causes is with store before this is answered */
		r->step = STEP_QUIT;
		break;
	case STEP_QUIT:
		finish(r);
	}
}

static void on_readable(struct conn *conn, void *arg)
{
	struct run *r = arg;
	struct evbuffer *in = conn_input(conn);
	struct evbuffer_iovec v;

	while (evbuffer_peek(in, -1, NULL, &v, 1) > 0 && v.iov_len > 0) {
		size_t used = 0;
		enum reply_status status = reply_feed(&r->reply, v.iov_base, v.iov_len, &used);

		evbuffer_drain(in, used);
		if (status == REPLY_ERROR)
			give_up(r, "smtp's reply cannot be read");
		if (status == REPLY_DONE) {
			on_reply(r);
			reply_reset(&r->reply);
		}
	}
}

static void on_ended(struct conn *conn, void *arg, enum conn_end end)
{
	struct run *r = arg;

	(void)conn, (void)end;
	if (json_object_get(r->result, "reply") == NULL && json_object_get(r->result, "refused") == NULL)
		json_object_set_new(r->result, "refused", json_string("the session was ended"));
	finish(r);
}

/* The session --------------------------------------------------------------------------------------------------- */

static int peer_address(const char *peer, struct sockaddr_storage *out)
{
	struct sockaddr_in *in = (struct sockaddr_in *)out;
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)out;

	*out = (struct sockaddr_storage){ .ss_family = AF_INET };
	if (inet_pton(AF_INET, peer, &in->sin_addr) == 1)
		return 0;
	out->ss_family = AF_INET6;
	return inet_pton(AF_INET6, peer, &in6->sin6_addr) == 1 ? 0 : -1;
}

/* Who is not checked at all, and why (check.c). */
static const char *unchecked(const struct run *r, const struct sockaddr_storage *peer)
{
	if (ip_is_loopback((const struct sockaddr *)(const void *)peer))
		return "no: the peer is this machine";
	if (prefix_in(&r->ctx->site->checks.trusted, r->envelope.peer))
		return "no: checks.trusted";
	for (size_t i = 0; i < r->ctx->site->submission.trusted_count; i++)
		if (prefix_in(&r->ctx->site->submission.trusted[i].from, r->envelope.peer))
			return "no: submission.trusted";
	return r->replay->dns ? "yes" : "no: without DNS";
}

static void add_envelope(struct run *r)
{
	const struct kept_envelope *e = &r->envelope;
	json_t *o = json_object(), *to = json_array();

	set(o, "peer", view_of(e->peer));
	set(o, "helo", view_of(e->helo));
	set(o, "from", view_of(e->from));
	for (size_t i = 0; i < e->to_count; i++)
		json_array_append_new(to, text(view_of(e->to[i])));
	json_object_set_new(o, "to", to);
	json_object_set_new(r->result, "envelope", o);
	json_object_set_new(r->result, "size", json_integer((json_int_t)r->message.len));
}

/* Runs with no rights. */
static void begin(struct role_ctx *ctx, int out, int log, void *arg)
{
	static const struct conn_ops ops = { on_readable, NULL, NULL, on_ended };
	struct run *r = arg;
	const struct smtp_listener listener = { .service = SERVICE_SMTP };
	struct sockaddr_storage peer;
	size_t own;

	r->out = out;
	r->log = log;
	r->result = json_object();
	r->recipients = json_object();
	json_object_set(r->result, "recipients", r->recipients);
	r->envelope = *r->replay->given;
	own = kept_envelope_fill(r->replay->message, r->replay->host_name, &r->envelope);
	r->message = (struct view){ r->replay->message.ptr + own, r->replay->message.len - own };
	if (r->envelope.peer[0] == '\0')
		give_up(r, "no Received field names the peer's address; give it with --peer");
	if (!r->envelope.from_known)
		give_up(r, "no Return-Path names the sender; give it with --from ('' for none)");
	if (r->envelope.to_count == 0)
		give_up(r, "no Delivered-To names a recipient; give it with --to");
	if (peer_address(r->envelope.peer, &peer) == -1)
		give_up(r, "the peer's address is none");
	if (r->envelope.helo[0] == '\0')
		snprintf(r->envelope.helo, sizeof(r->envelope.helo), "[%s%s]",
		    peer.ss_family == AF_INET6 ? "IPv6:" : "", r->envelope.peer);
	add_envelope(r);
	json_object_set_new(r->result, "checked", json_string(unchecked(r, &peer)));
	reply_init(&r->reply);
	r->conn = conn_accept(ctx->base, r->peer_side, NULL, &ops, r);
	conn_resume(r->conn);
	smtp_session_new(ctx->state, &listener, r->smtp_side, &peer);
}

static void set_rule(char **rule, const char *word)
{
	free(*rule);
	*rule = xstrdup(word);
}

/* In the child's own copy of the site. */
static void prepare_site(struct site *site, bool dns)
{
	char **all[] = { &site->checks.helo, &site->checks.reverse_dns, &site->checks.spf, &site->checks.dkim,
		&site->checks.dmarc, &site->checks.greylist };

	site->checks.tarpit = 0;
	site->limits.errors = INT_MAX - 1;
	if (smtp_rule_of(site->checks.greylist) == SMTP_RULE_REFUSE)
		set_rule(&site->checks.greylist, "mark");
	for (size_t i = 0; !dns && i < sizeof(all) / sizeof(all[0]); i++)
		set_rule(all[i], "off");
	if (!dns)
		site->checks.block_list_count = site->checks.allow_list_count = 0;
}

static void prepare(struct role_ctx *ctx, void *arg)
{
	static const struct chan_ops store = { on_store, on_store_closed }, keys = { on_keys, on_keys_closed },
				     send = { on_send, on_send_closed };
	struct run *r = arg;
	int pair[2], second[2], third[2], session[2];

	r->ctx = ctx;
	r->greylists = smtp_rule_of(ctx->site->checks.greylist) == SMTP_RULE_REFUSE;
	prepare_site(ctx->site, r->replay->dns);
	if (imsg_pair(pair) == -1 || imsg_pair(second) == -1 || imsg_pair(third) == -1 ||
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, session) == -1)
		fatal("socketpair");
	ctx->role->peer(ctx, ROLE_STORE, 0, pair[0]);
	ctx->role->peer(ctx, ROLE_KEYS, 0, second[0]);
	ctx->role->peer(ctx, ROLE_SEND, 0, third[0]);
	r->store = chan_new(ctx->base, pair[1], &store, r);
	r->keys = chan_new(ctx->base, second[1], &keys, r);
	r->send = chan_new(ctx->base, third[1], &send, r);
	r->peer_side = session[0];
	r->smtp_side = session[1];
}

/* The command's side -------------------------------------------------------------------------------------------- */

/* The host's key, so that bounces to addresses of before are known; else one that lasts for this command. */
static int srs_key(const struct site *site)
{
	static unsigned char key[SRS_KEY_LEN];
	static bool made;
	int fd = rig_state_file(site, "srs-key");

	if (fd != -1)
		return fd;
	if (!made && getrandom(key, sizeof(key), 0) != (ssize_t)sizeof(key))
		return -1;
	made = true;
	return memfd_sealed("srs-key", (struct view){ (const char *)key, sizeof(key) });
}

static int start(struct rig *rig, struct site *site, const struct replay *replay, int out, int log, struct error *e)
{
	static struct run r; /* the child's */
	struct rig_part part = { .role = &role_smtp,
		.site = site,
		.srs = srs_key(site),
		.secrets = -1,
		.out = out,
		.log = log,
		.before = prepare,
		.run = begin,
		.arg = &r };
	const enum role_id asker = ROLE_SMTP;

	r = (struct run){ .replay = replay };
	if (replay->dns) {
		part.channels[0].peer = ROLE_RESOLVER;
		if (rig_resolver(rig, site, &asker, &part.channels[0].fd, 1, e) == -1)
			return -1;
		part.channel_count = 1;
	}
	return rig_start(rig, &part, e);
}

/* Why a part ended: its last line. */
static void last_words(int log, struct error *e)
{
	char line[4096];
	off_t end = lseek(log, 0, SEEK_END);
	ssize_t n = end > 0 ? pread(log, line, sizeof(line) - 1, end > 4000 ? end - 4000 : 0) : 0;
	char *start;

	while (n > 0 && line[n - 1] == '\n')
		n--;
	line[n > 0 ? n : 0] = '\0';
	start = strrchr(line, '\n');
	error_set(e, "the process that tries the message ended: %.400s", start != NULL ? start + 1 : line);
	policy_clean(e->text);
}

json_t *replay_run(struct site *site, const struct replay *replay, struct error *e)
{
	struct buf answer = BUF_INIT(REPLAY_RESULT_MAX);
	struct rig rig;
	int out[2], log = memfd_create("replay-log", MFD_CLOEXEC);
	json_t *result = NULL;

	if (log == -1 || pipe2(out, O_CLOEXEC) == -1 || rig_open(&rig, e) == -1) {
		error_errno(e, "cannot begin");
		return NULL;
	}
	if (start(&rig, site, replay, out[1], dup(log), e) == 0) {
		if (rig_read(out[0], &answer, RUN_MS) == 0)
			result = json_loadb(answer.data != NULL ? answer.data : "", answer.len, 0, NULL);
		if (result == NULL)
			last_words(log, e);
	}
	rig_close(&rig);
	close(out[0]);
	close(log);
	buf_free(&answer);
	if (result != NULL && json_object_get(result, "error") != NULL) {
		error_set(e, "%s", cli_json_get(result, "error"));
		policy_clean(e->text);
		json_decref(result);
		result = NULL;
	}
	return result;
}
