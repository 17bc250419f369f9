/*
 * The send role's answers to "does the host behind this recipient take it?", which smtp asks at RCPT.  Only recipients
 * that site_verifies names are asked for, at hosts that the site names; beside the mail for them, by connections of its
 * own.
 */
#ifndef MAILSVC_SEND_VERIFY_H
#define MAILSVC_SEND_VERIFY_H

#include "lib/buf.h"

struct send;
struct verify;

struct verify *verify_new(struct send *);
void verify_peer(struct verify *, unsigned instance, int fd); /* a channel to that smtp process; takes over fd */
void verify_retire(struct verify *); /* a reload: connections end with what they are asking now */
void verify_drain(struct verify *);  /* the process ends: everybody is told so, and asked later */
void verify_sweep(struct verify *);  /* forgets hosts that nobody asks for */
void verify_status(const struct verify *, struct buf *json); /* members, with a comma behind */

#endif
