/*
 * The dialogue before authentication: what IMAP and POP3 share.  Limits: lines of 33 KiB in IMAP, since ID may be so
 * long (RFC 2971 3.3), and 8 KiB in POP3; literals of 1 KiB, 48 or 16 KiB a command, errors_max wrong commands,
 * PREAUTH_FAILURES_MAX wrong passwords.
 */
#include "preauth.h"

#include <string.h>

#include "lib/text.h"
#include "mailsvc/auth/plain.h"

static const struct imap_reader_limits imap_limits = {
	.line = 33 * 1024, .literal = 1024, .total = 48 * 1024, .discard = 65536
};
static const struct imap_reader_limits pop3_limits = { .line = 8192, .literal = 0, .total = 16384, .discard = 65536 };

void preauth_init(
    struct preauth *p, enum protocol protocol, bool tls, bool starttls, bool insecure, unsigned errors_max)
{
	*p = (struct preauth){ .protocol = protocol, .tls = tls, .starttls = starttls && !tls, .insecure = insecure };
	p->errors_max = errors_max < UINT16_MAX ? (uint16_t)errors_max : UINT16_MAX;
	p->secret = BUF_INIT(2 * AUTH_PASSWORD_MAX + ADDRESS_MAX);
	p->out = BUF_INIT(65536);
	imap_reader_init(&p->reader, protocol == PROTOCOL_IMAP ? &imap_limits : &pop3_limits);
}

void preauth_wipe(struct preauth *p)
{
	if (p->secret.data != NULL)
		explicit_bzero(p->secret.data, p->secret.cap);
	buf_free(&p->secret);
	p->user_len = 0;
	p->user_given = false;
}

static void next_command(struct preauth *p)
{
	if (p->reader.text.data != NULL)
		explicit_bzero(p->reader.text.data, p->reader.text.cap);
	imap_reader_next(&p->reader);
}

void preauth_free(struct preauth *p)
{
	preauth_wipe(p);
	next_command(p);
	buf_free(&p->out);
}

void preauth_secured(struct preauth *p)
{
	preauth_wipe(p);
	next_command(p);
	p->tls = true;
	p->starttls = false;
	p->sasl = SASL_NONE;
}

bool preauth_may_login(const struct preauth *p)
{
	return p->tls || p->insecure;
}

bool preauth_offers_plus(const struct preauth *p)
{
	return p->scram && p->channel.use != SCRAM_NO_CHANNEL;
}

struct view preauth_user(const struct preauth *p)
{
	return (struct view){ p->secret.data, p->user_len };
}

struct view preauth_password(const struct preauth *p)
{
	return (struct view){ p->secret.data + p->user_len, p->secret.len - p->user_len };
}

int preauth_take_user(struct preauth *p, struct view user, struct view password)
{
	preauth_wipe(p);
	if (user.len == 0 || user.len >= ADDRESS_MAX || password.len > AUTH_PASSWORD_MAX ||
	    memchr(user.ptr, '\0', user.len) != NULL ||
	    (password.len > 0 && memchr(password.ptr, '\0', password.len) != NULL))
		return -1;
	/* One allocation: growing would leave copies of a password behind. */
	buf_reserve(&p->secret, ADDRESS_MAX + AUTH_PASSWORD_MAX);
	buf_addv(&p->secret, user);
	buf_addv(&p->secret, password);
	p->user_len = (uint16_t)user.len;
	return 0;
}

int preauth_plain(struct preauth *p, struct view base64)
{
	struct buf raw = BUF_INIT(2 * ADDRESS_MAX + AUTH_PASSWORD_MAX + 2);
	struct view user, password;
	int status = -1;

	buf_reserve(&raw, raw.max);
	if (text_base64_decode(&raw, base64) == 0 && plain_parse(buf_view(&raw), &user, &password) == 0)
		status = preauth_take_user(p, user, password);
	if (raw.data != NULL)
		explicit_bzero(raw.data, raw.cap);
	buf_free(&raw);
	return status;
}

static enum preauth_action too_many_errors(struct preauth *p)
{
	p->cut = true;
	if (p->protocol == PROTOCOL_IMAP)
		buf_puts(&p->out, "* BYE Too many errors.\r\n");
	else
		buf_puts(&p->out, "-ERR Too many errors.\r\n");
	return PREAUTH_CLOSE;
}

/* A command that the reader refused. The tag is at its front. */
static enum preauth_action refused(struct preauth *p)
{
	const char *text = p->reader.text.data;
	size_t n = 0;

	if (p->protocol == PROTOCOL_POP3) {
		buf_printf(&p->out, "-ERR %s\r\n", p->reader.error);
		return PREAUTH_MORE;
	}
	while (n < p->reader.text.len && n < 64 &&
	       ((text[n] >= '0' && text[n] <= '9') || (text[n] >= 'A' && text[n] <= 'Z') ||
		   (text[n] >= 'a' && text[n] <= 'z') || text[n] == '.'))
		n++;
	if (n == 0 || n == p->reader.text.len || text[n] != ' ')
		buf_printf(&p->out, "* BAD %s\r\n", p->reader.error);
	else
		buf_printf(&p->out, "%.*s BAD %s\r\n", (int)n, text, p->reader.error);
	return PREAUTH_MORE;
}

static enum preauth_action step(struct preauth *p, enum reader_status status)
{
	bool imap = p->protocol == PROTOCOL_IMAP;
	unsigned errors = p->errors;
	enum preauth_action action;

	if (status == READER_COMMAND && p->sasl != SASL_NONE)
		action = imap ? preauth_imap_response(p) : preauth_pop3_response(p);
	else if (status == READER_COMMAND)
		action = imap ? preauth_imap_command(p) : preauth_pop3_command(p);
	else {
		p->sasl = SASL_NONE;
		p->errors++;
		action = refused(p);
	}
	next_command(p);
	if (status == READER_FATAL || (p->errors > errors && p->errors >= p->errors_max))
		return too_many_errors(p);
	return action;
}

enum preauth_action preauth_feed(struct preauth *p, const char *data, size_t len, size_t *used)
{
	enum preauth_action action = PREAUTH_MORE;
	size_t pos = 0, n;

	for (;;) {
		enum reader_status status = imap_reader_feed(&p->reader, data + pos, len - pos, &n);

		pos += n;
		if (status == READER_MORE)
			break;
		if (status == READER_LITERAL) {
			if (imap_reader_take(&p->reader))
				buf_puts(&p->out, "+ OK\r\n");
			continue;
		}
		action = step(p, status);
		if (action != PREAUTH_MORE)
			break;
		if (p->out.len > 32768) /* the caller writes it and feeds on */
			break;
	}
	*used = pos;
	return action;
}

const char *preauth_refusal(enum protocol protocol, bool per_address)
{
	if (protocol == PROTOCOL_POP3)
		return per_address ? "-ERR [SYS/TEMP] Too many connections from your address.\r\n"
		                   : "-ERR [SYS/TEMP] Too many connections; try again later.\r\n";
	return per_address ? "* BYE [UNAVAILABLE] Too many connections from your address.\r\n"
	                   : "* BYE [UNAVAILABLE] Too many connections; try again later.\r\n";
}

void preauth_timeout(struct preauth *p)
{
	buf_puts(&p->out,
	    p->protocol == PROTOCOL_IMAP ? "* BYE Timeout before login.\r\n" : "-ERR Timeout before login.\r\n");
}

enum preauth_action preauth_answer(struct preauth *p, enum auth_status status)
{
	static const char *const imap[] = { [AUTH_DENIED] = "[AUTHENTICATIONFAILED] Authentication failed.",
		[AUTH_THROTTLED] = "[LIMIT] Too many failed logins; try again later.",
		[AUTH_UNAVAILABLE] = "[UNAVAILABLE] Authentication is not available; try again." };
	static const char *const pop3[] = { [AUTH_DENIED] = "[AUTH] Authentication failed.",
		[AUTH_THROTTLED] = "[SYS/TEMP] Too many failed logins; try again later.",
		[AUTH_UNAVAILABLE] = "[SYS/TEMP] Authentication is not available; try again." };

	preauth_wipe(p);
	if (status == AUTH_OK)
		return PREAUTH_MORE;
	if (p->protocol == PROTOCOL_IMAP)
		buf_printf(&p->out, "%s NO %s\r\n", p->tag, imap[status]);
	else
		buf_printf(&p->out, "-ERR %s\r\n", pop3[status]);
	if (status != AUTH_UNAVAILABLE && ++p->failures >= PREAUTH_FAILURES_MAX) {
		if (p->protocol == PROTOCOL_IMAP)
			buf_puts(&p->out, "* BYE Too many failed logins.\r\n");
		return PREAUTH_CLOSE;
	}
	return PREAUTH_MORE;
}
