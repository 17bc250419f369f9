/*
 * A stream connection with a peer nobody trusts: plain, TLS from the start, or STARTTLS later; server or
 * client side.  Built on libevent's events and evbuffers.  TCP_NODELAY is always set.
 *
 * Callbacks come from the event loop only, never from inside a call.  conn_close and conn_free may be called
 * from inside a callback: memory is released when the loop comes round, and no callback follows conn_free.
 */
#ifndef LIB_CONN_H
#define LIB_CONN_H

#include <event2/buffer.h>
#include <event2/event.h>
#include <openssl/ssl.h>
#include <sys/socket.h>

#include "buf.h"

struct conn;

enum conn_end {
	CONN_EOF,     /* the peer closed (with or without close_notify) */
	CONN_TIMEOUT, /* no progress within conn_set_timeout */
	CONN_ERROR,   /* socket error */
	CONN_TLS,     /* handshake or record error; conn_tls_error says which */
};

struct conn_ops {
	void (*readable)(struct conn *, void *arg); /* input holds bytes that were not there before */
	void (*drained)(struct conn *, void *arg);  /* output fell to conn_low_water or below; may be NULL */
	/* A TLS handshake (or a client's connect) is complete; may be NULL. */
	void (*secured)(struct conn *, void *arg);
	void (*ended)(struct conn *, void *arg, enum conn_end); /* call conn_free, here or later */
};

/*
 * A server-side connection: takes over an accepted fd.  tls NULL: plain; else the handshake starts at once.
 * Reading starts disabled: call conn_resume.
 */
struct conn *conn_accept(struct event_base *, int fd, SSL_CTX *tls, const struct conn_ops *, void *arg);
/*
 * A client-side connection: a new socket connects to `to` from `from` (may be NULL); `secured` tells when it stands.
 * Never NULL: what fails at once ends with CONN_ERROR from the loop.
 */
struct conn *conn_connect(struct event_base *, const struct sockaddr *to, socklen_t tolen, const struct sockaddr *from,
    socklen_t fromlen, const struct conn_ops *, void *arg);
/*
 * Turns a plain connection into TLS once all output has been written.  Bytes that the peer pipelined behind its
 * STARTTLS are discarded (RFC 3207 4.2, command injection).  server: which side we are.  sni: a client's server
 * name, or NULL.  `secured` or `ended` follows.
 */
void conn_start_tls(struct conn *, SSL_CTX *, bool server, const char *sni);
/*
 * COMPRESS=DEFLATE (RFC 4978) on a plain connection: what is queued from now on leaves deflated, what has not been read
 * yet is inflated; what is in conn_input stays as it is (a client sends nothing before it has seen the reply).  -1: it is
 * TLS, closing, or on already.  A broken stream ends with CONN_ERROR.  About 100 KiB of memory.
 */
int conn_start_deflate(struct conn *);
void conn_free(struct conn *); /* at once, output discarded; NULL is fine */
/*
 * Closes after what is queued has been written (close_notify included), after 10 s without progress, or after 60 s in
 * all; no more callbacks, the connection frees itself.  Then it reads and discards for at most 2 s, so that a reset
 * does not eat the last reply.
 */
void conn_close(struct conn *);

struct evbuffer *conn_input(struct conn *);
struct evbuffer *conn_output(struct conn *); /* add only; evbuffer_add_file only when plain */
void conn_write(struct conn *, const void *, size_t);
void conn_writev(struct conn *, struct view);
void conn_give(struct conn *, struct buf *); /* what it holds leaves without a copy; it is empty then, and has no memory */
void conn_printf(struct conn *, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
size_t conn_output_len(const struct conn *);
void conn_set_low_water(struct conn *, size_t); /* default 0 */
void conn_pause(struct conn *);                 /* stop reading: back-pressure */
void conn_resume(struct conn *); /* after conn_pause `readable` comes again even if bytes are already waiting */
void conn_set_max_input(struct conn *, size_t); /* reading stops above it; default 64 KiB */
/*
 * `ended(CONN_TIMEOUT)` when nothing was read for read_s seconds while reading was on, or queued output made no
 * progress for write_s; 0: never.  Connecting and a TLS handshake have read_s each, all in all.
 */
void conn_set_timeout(struct conn *, unsigned read_s, unsigned write_s);

bool conn_is_tls(const struct conn *);
SSL *conn_ssl(struct conn *); /* NULL when plain; there from conn_start_tls on, so that a session can be set */
/* Why it ended: CONN_TLS in OpenSSL's words, CONN_ERROR in errno's, else "". */
const char *conn_tls_error(const struct conn *);
int conn_fd(const struct conn *);
/*
 * Gives the plain fd away with all still unread input (appended to rest, less the line last returned) and frees the
 * connection.  -1, and nothing happens, for TLS or deflate, while output is still waiting (see drained), or when rest is full.
 */
int conn_detach(struct conn *, struct buf *rest);

enum line_status {
	LINE_OK,       /* line set: without its CRLF; borrowed until the next call on this connection */
	LINE_MORE,     /* no whole line yet */
	LINE_TOO_LONG, /* more than max bytes without CRLF */
	LINE_BAD,      /* a bare CR, a bare LF or a NUL (RFC 5321 2.3.8; SMTP smuggling) */
};
/*
 * The one place that decides what ends a line: CR LF and nothing else.  max excludes the CRLF.  The line is
 * removed from the input by conn_line_done (or the next conn_line).
 */
enum line_status conn_line(struct conn *, size_t max, struct view *line);
void conn_line_done(struct conn *);
/*
 * conn_line's scanner: *scanned (0 at first) remembers between calls how far the front of `in` was seen to be clean.
 * *len is the line's length without CRLF when LINE_OK.
 */
enum line_status line_scan(struct evbuffer *in, size_t max, size_t *scanned, size_t *len);

/*
 * Server contexts: TLS 1.2 and later, no compression or renegotiation, tickets on, SSL_MODE_RELEASE_BUFFERS.  alpn is
 * a wire-format list: a client that offers ALPN and nothing of it is refused; empty: what is offered is ignored.
 */
struct error;
SSL_CTX *tls_server_ctx(struct view cert_pem, struct view key_pem, struct view alpn, struct error *);
/* The key of session tickets, shared by processes that serve one port and across reloads; rotate daily. */
#define TLS_TICKET_KEY_BYTES 80
int tls_server_set_ticket_key(SSL_CTX *, const unsigned char key[TLS_TICKET_KEY_BYTES]);
/*
 * Client contexts: opportunistic (verify false: any certificate) or verifying against the system trust store, which is
 * loaded now, before a sandbox, from SSL_CERT_FILE or /etc/ssl/certs/ca-certificates.crt.
 */
SSL_CTX *tls_client_ctx(bool verify, struct error *);
SSL_CTX *tls_client_ctx_trusting(const char *ca_file, struct error *); /* the same with another trust store */
const char *tls_trust_file(void);                                      /* that file's name */

#endif
