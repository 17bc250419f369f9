/*
 * talk.h.  The descriptor is non-blocking and waited for with poll, so that a silent server ends the run.  A response
 * is a line and what its literals announce; longer than TALK_MAX it is none.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "mailsvc/migrate/talk.h"
#include "mailsvc/store/client.h"

#define TALK_MAX (STORE_BODY_MAX + (16u << 20))
#define CHUNK 65536

void talk_init(struct talk *t, int fd)
{
	*t = (struct talk){ .fd = fd, .in = BUF_INIT(TALK_MAX), .response = BUF_INIT(TALK_MAX) };
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
}

static int wait_for(struct talk *t, short events, struct error *e)
{
	struct pollfd p = { .fd = t->fd, .events = events };
	int n;

	do
		n = poll(&p, 1, TALK_WAIT_MS);
	while (n == -1 && errno == EINTR);
	return n > 0 ? 0 : error_set(e, "the server says nothing for %d minutes", TALK_WAIT_MS / 60000);
}

/* What to wait for after a call on ssl that did not go through; 0: it failed. */
static short wants(struct talk *t, int result)
{
	int why = SSL_get_error(t->ssl, result);

	return why == SSL_ERROR_WANT_READ ? POLLIN : why == SSL_ERROR_WANT_WRITE ? POLLOUT : 0;
}

static int tls_failed(struct talk *t, struct error *e)
{
	long verified = SSL_get_verify_result(t->ssl);
	unsigned long code = ERR_peek_last_error();
	const char *reason = code ? ERR_reason_error_string(code) : NULL;

	ERR_clear_error();
	if (verified != X509_V_OK)
		return error_set(e, "the server's certificate: %s", X509_verify_cert_error_string(verified));
	return error_set(e, "TLS: %s", reason ? reason : "the connection was closed");
}

int talk_tls(struct talk *t, SSL_CTX *ctx, const char *host, bool verify, struct error *e)
{
	unsigned char address[16];
	bool is_address = inet_pton(AF_INET, host, address) == 1 || inet_pton(AF_INET6, host, address) == 1;
	int r;

	if ((t->ssl = SSL_new(ctx)) == NULL || SSL_set_fd(t->ssl, t->fd) != 1)
		return error_set(e, "TLS cannot be set up");
	if (!is_address)
		SSL_set_tlsext_host_name(t->ssl, host);
	if (verify && (is_address ? X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(t->ssl), host)
				  : SSL_set1_host(t->ssl, host)) != 1)
		return error_set(e, "TLS cannot check the name %s", host);
	t->in.len = t->in_at = 0; /* nothing that came before it counts (RFC 3501 6.2.1) */
	ERR_clear_error();
	while ((r = SSL_connect(t->ssl)) != 1) {
		short events = wants(t, r);
		if (events == 0)
			return tls_failed(t, e);
		if (wait_for(t, events, e) < 0)
			return -1;
	}
	return 0;
}

int talk_send(struct talk *t, struct view v, struct error *e)
{
	while (v.len > 0) {
		ssize_t n;
		short events = POLLOUT;

		if (t->ssl != NULL) {
			ERR_clear_error();
			n = SSL_write(t->ssl, v.ptr, v.len > CHUNK ? CHUNK : (int)v.len);
			if (n <= 0 && (events = wants(t, (int)n)) == 0)
				return tls_failed(t, e);
		} else {
			n = send(t->fd, v.ptr, v.len, MSG_NOSIGNAL);
			if (n == -1 && errno != EAGAIN && errno != EINTR)
				return error_errno(e, "the server");
		}
		if (n <= 0) {
			if (wait_for(t, events, e) < 0)
				return -1;
			continue;
		}
		v.ptr += n;
		v.len -= (size_t)n;
	}
	return 0;
}

/* More bytes behind what is there. */
static int fill(struct talk *t, struct error *e)
{
	char *room;

	if (t->in_at > 0 && t->in_at == t->in.len)
		t->in.len = t->in_at = 0;
	if (t->in_at > CHUNK) {
		buf_drop(&t->in, t->in_at);
		t->in_at = 0;
	}
	if ((room = buf_reserve(&t->in, CHUNK)) == NULL)
		return error_set(e, "the server sends more than there is room for");
	for (;;) {
		short events = POLLIN;
		ssize_t n;

		if (t->ssl != NULL) {
			ERR_clear_error();
			n = SSL_read(t->ssl, room, CHUNK);
			if (n <= 0 && (events = wants(t, (int)n)) == 0)
				return SSL_get_error(t->ssl, (int)n) == SSL_ERROR_ZERO_RETURN
				           ? error_set(e, "the server closed the connection")
				           : tls_failed(t, e);
		} else {
			n = recv(t->fd, room, CHUNK, 0);
			if (n == 0)
				return error_set(e, "the server closed the connection");
			if (n == -1 && errno != EAGAIN && errno != EINTR)
				return error_errno(e, "the server");
		}
		if (n > 0) {
			t->in.len += (size_t)n;
			return 0;
		}
		if (wait_for(t, events, e) < 0)
			return -1;
	}
}

/* n bytes from the input to the response. */
static int take(struct talk *t, uint64_t n, struct error *e)
{
	while (n > 0) {
		size_t there = t->in.len - t->in_at, now = there < n ? there : (size_t)n;

		if (now == 0) {
			if (fill(t, e) < 0)
				return -1;
			continue;
		}
		if (buf_add(&t->response, t->in.data + t->in_at, now) < 0)
			return error_set(e, "the server sends a response that is too long");
		t->in_at += now;
		n -= now;
	}
	return 0;
}

/* A line with its newline to the response. */
static int take_line(struct talk *t, struct error *e)
{
	for (;;) {
		size_t there = t->in.len - t->in_at;
		const char *end = there > 0 ? memchr(t->in.data + t->in_at, '\n', there) : NULL;

		if (take(t, end ? (uint64_t)(end - t->in.data) - t->in_at + 1 : there, e) < 0)
			return -1;
		if (end != NULL)
			return 0;
		if (t->response.len > TALK_MAX / 2)
			return error_set(e, "the server sends a line without end");
		if (fill(t, e) < 0)
			return -1;
	}
}

/* Does the response end in "{n}"? */
static bool announces(const struct buf *b, uint64_t *n)
{
	size_t at = b->len;

	if (at < 3 || b->data[at - 1] != '}')
		return false;
	at--;
	while (at > 0 && b->data[at - 1] >= '0' && b->data[at - 1] <= '9')
		at--;
	return at > 0 && b->data[at - 1] == '{' &&
	       view_u64((struct view){ b->data + at, b->len - 1 - at }, STORE_BODY_MAX, n) == 0;
}

int talk_receive(struct talk *t, struct error *e)
{
	uint64_t n;

	buf_reset(&t->response);
	for (;;) {
		if (take_line(t, e) < 0)
			return -1;
		size_t line = t->response.len - 1;
		if (line > 0 && t->response.data[line - 1] == '\r')
			line--;
		t->response.len = line;
		if (!announces(&t->response, &n))
			return 0;
		buf_add(&t->response, "\r\n", 2);
		if (take(t, n, e) < 0)
			return -1;
	}
}

unsigned talk_command(struct talk *t, struct error *e, const char *fmt, ...)
{
	struct buf b = BUF_INIT(1u << 20);
	va_list ap;
	int rc;

	buf_printf(&b, "m%u ", ++t->tag);
	va_start(ap, fmt);
	buf_vprintf(&b, fmt, ap);
	va_end(ap);
	buf_add(&b, "\r\n", 2);
	rc = b.full ? error_set(e, "a command is too long") : talk_send(t, buf_view(&b), e);
	if (b.data != NULL)
		explicit_bzero(b.data, b.cap); /* it may be a login */
	buf_free(&b);
	return rc < 0 ? 0 : t->tag;
}

enum talk_kind talk_kind(struct talk *t, unsigned tag, struct view *rest)
{
	static const struct {
		const char *word;
		enum talk_kind kind;
	} words[] = { { "OK", TALK_OK }, { "NO", TALK_NO }, { "BAD", TALK_BAD } };
	struct view v = buf_view(&t->response);
	char own[16];
	int n = snprintf(own, sizeof(own), "m%u ", tag);

	*rest = v;
	if (v.len >= 2 && (memcmp(v.ptr, "* ", 2) == 0 || memcmp(v.ptr, "+ ", 2) == 0)) {
		*rest = (struct view){ v.ptr + 2, v.len - 2 };
		return v.ptr[0] == '*' ? TALK_UNTAGGED : TALK_CONTINUE;
	}
	if (v.len == 1 && v.ptr[0] == '+')
		return TALK_CONTINUE;
	if (v.len < (size_t)n || memcmp(v.ptr, own, (size_t)n) != 0)
		return TALK_OTHER;
	v = (struct view){ v.ptr + n, v.len - (size_t)n };
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		size_t len = strlen(words[i].word);
		if (v.len < len || !view_caseeq((struct view){ v.ptr, len }, words[i].word) ||
		    (v.len > len && v.ptr[len] != ' '))
			continue;
		*rest = v.len > len ? (struct view){ v.ptr + len + 1, v.len - len - 1 } : VIEW_NONE;
		return words[i].kind;
	}
	return TALK_OTHER;
}

int talk_finish(
    struct talk *t, unsigned tag, void (*fn)(void *, struct view), void *arg, struct view *rest, struct error *e)
{
	for (;;) {
		if (tag == 0 || talk_receive(t, e) < 0)
			return -1;
		switch (talk_kind(t, tag, rest)) {
		case TALK_UNTAGGED:
			if (rest->len >= 3 && view_caseeq((struct view){ rest->ptr, 3 }, "BYE"))
				return error_set(e, "the server ends the connection: %.*s",
				    (int)(rest->len < 200 ? rest->len : 200), rest->ptr);
			if (fn != NULL)
				fn(arg, *rest);
			break;
		case TALK_OK:
			return 0;
		case TALK_NO:
		case TALK_BAD:
			return 1;
		case TALK_CONTINUE:
		case TALK_OTHER:
			break;
		}
	}
}

int talk_quote(struct buf *out, struct view v)
{
	buf_addc(out, '"');
	for (size_t i = 0; i < v.len; i++) {
		if (v.ptr[i] == '\r' || v.ptr[i] == '\n' || v.ptr[i] == '\0')
			return -1;
		if (v.ptr[i] == '"' || v.ptr[i] == '\\')
			buf_addc(out, '\\');
		buf_addc(out, v.ptr[i]);
	}
	buf_addc(out, '"');
	return out->full ? -1 : 0;
}
