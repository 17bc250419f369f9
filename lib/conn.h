/*
 * A stream connection with a peer nobody trusts: plain, TLS from the start, or STARTTLS later; server or
 * client side.  Built on libevent bufferevents.  TCP_NODELAY is always set.
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
	void (*secured)(struct conn *, void *arg);  /* a TLS handshake (or a client's connect) is complete; may be NULL */
	void (*ended)(struct conn *, void *arg, enum conn_end); /* call conn_free, here or later */
};

/*
 * A server-side connection: takes over an accepted fd.  tls NULL: plain; else the handshake starts at once.
 * Reading starts disabled: call conn_resume.
 */
struct conn *conn_accept(struct event_base *, int fd, SSL_CTX *tls, const struct conn_ops *, void *arg);
/* A client-side connection: connects fd's new socket to `to` from `from` (may be NULL); `secured` tells when it stands. */
struct conn *conn_connect(struct event_base *, const struct sockaddr *to, socklen_t tolen, const struct sockaddr *from,
			  socklen_t fromlen, const struct conn_ops *, void *arg);
/*
 * Turns a plain connection into TLS once all output has been written.  Bytes that the peer pipelined behind its
 * STARTTLS are discarded (RFC 3207 4.2, command injection).  server: which side we are.  sni: a client's server
 * name, or NULL.  `secured` or `ended` follows.
 */
void conn_start_tls(struct conn *, SSL_CTX *, bool server, const char *sni);
void conn_free(struct conn *);	/* at once, output discarded; NULL is fine */
void conn_close(struct conn *); /* after what is queued has been written (close_notify included) or 10 s; no more callbacks, the connection frees itself */

struct evbuffer *conn_input(struct conn *);
struct evbuffer *conn_output(struct conn *);
void conn_write(struct conn *, const void *, size_t);
void conn_writev(struct conn *, struct view);
void conn_printf(struct conn *, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
size_t conn_output_len(struct conn *);
void conn_set_low_water(struct conn *, size_t); /* default 0 */
void conn_pause(struct conn *);	 /* stop reading: back-pressure */
void conn_resume(struct conn *); /* `readable` comes again even if bytes are already waiting */
void conn_set_max_input(struct conn *, size_t); /* reading stops above it; default 64 KiB */
/* `ended(CONN_TIMEOUT)` when nothing was read for read_s seconds, or queued output made no progress for write_s; 0: never. */
void conn_set_timeout(struct conn *, unsigned read_s, unsigned write_s);

bool conn_is_tls(const struct conn *);
SSL *conn_ssl(struct conn *); /* NULL when plain */
const char *conn_tls_error(const struct conn *);
int conn_fd(const struct conn *);
/* Gives the plain fd away with all still unread input (appended to rest) and frees the connection; -1 for TLS. */
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

/* Server contexts: TLS 1.2 and later, no compression or renegotiation, tickets on, SSL_MODE_RELEASE_BUFFERS, ALPN refused unless alpn matches (a wire-format list, NULL for none). */
struct error;
SSL_CTX *tls_server_ctx(struct view cert_pem, struct view key_pem, struct view alpn, struct error *);
/* Client contexts: opportunistic (verify false: any certificate) or verifying against the system trust store (loaded now, before a sandbox). */
SSL_CTX *tls_client_ctx(bool verify, struct error *);

#endif
