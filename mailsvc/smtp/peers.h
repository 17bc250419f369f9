/* How many connections each peer address has (an IPv6 peer counts by its /64). */
#ifndef MAILSVC_SMTP_PEERS_H
#define MAILSVC_SMTP_PEERS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

struct smtp_peers;
struct smtp_peers *smtp_peers_new(void);
void smtp_peers_free(struct smtp_peers *);
/* Counts one more unless it would pass limit: false. */
bool smtp_peers_enter(struct smtp_peers *, const struct sockaddr *, unsigned limit);
void smtp_peers_leave(struct smtp_peers *, const struct sockaddr *);
unsigned smtp_peers_count(const struct smtp_peers *, const struct sockaddr *);
/* Bytes of unfinished messages of a peer that has entered; valid until the next smtp_peers_leave. */
uint64_t *smtp_peers_bytes(struct smtp_peers *, const struct sockaddr *);

#endif
