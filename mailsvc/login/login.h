/* The login role: what its files share. */
#ifndef MAILSVC_LOGIN_LOGIN_H
#define MAILSVC_LOGIN_LOGIN_H

#include <netinet/in.h>

#include "handoff.h"
#include "lib/conn.h"
#include "limits.h"
#include "mailsvc/guard/client.h"
#include "mailsvc/role.h"
#include "preauth.h"

#define PREAUTH_SECONDS 60 /* in all, from accept to login */
#define CROWD_MS 5000      /* before login for that long: makes way for a new connection when all places are taken */
#define RELAY_MAX (64 * 1024)

struct login_listener {
	struct listener listener;
	struct event *event;
	struct login *login;
	struct login_listener *next;
};

struct login {
	struct role_ctx *ctx;
	SSL_CTX *tls;
	struct auth_client *auth;
	struct guard_client *guard;
	struct chan *imap[ROLE_INSTANCES_MAX];
	struct address_counts *counts;
	struct login_listener *listeners;
	struct event *sweep;              /* every second: pre-auth deadlines */
	struct event *accept_later;       /* after running out of descriptors */
	struct login_conn *first, **last; /* pre-auth, oldest first */
	struct login_conn *relays;
	unsigned count, relay_count;
	bool started; /* a listener that comes now accepts at once */
	uint32_t serial;
};

enum login_state { LOGIN_HANDSHAKE, LOGIN_TALKING, LOGIN_AUTH, LOGIN_RELAY };

union peer {
	struct sockaddr sa;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
};

struct login_conn {
	struct login *login;
	struct conn *conn;
	struct conn *inner; /* LOGIN_RELAY: the way to imap */
	enum login_state state;
	uint32_t auth_request;
	uint64_t exchange;          /* of SCRAM */
	struct auth_answer *proved; /* of SCRAM, until the client has taken the proof; or NULL */
	uint32_t serial;
	uint64_t since, deadline; /* monotonic ms */
	struct preauth pre;
	union peer peer;
	struct login_conn *next, **prev_next;
};

/* conn.c: a connection before login */
void login_accept(struct login *, int fd, const union peer *, enum service);
void login_end(struct login_conn *, const char *reason); /* sends what is queued, closes, frees */
void login_sweep(struct login *);

/* relay.c: between TLS and imap */
/* Makes a socketpair: the connection relays to one end, the other is returned for imap; -1 when there is none. */
int relay_start(struct login_conn *);
void relay_readable(struct login_conn *);
void relay_drained(struct login_conn *);

#endif
