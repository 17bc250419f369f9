/* What verify.c (who asks, and what) and verify_host.c (who is asked, and how) share. */
#ifndef MAILSVC_SEND_VERIFY_INTERNAL_H
#define MAILSVC_SEND_VERIFY_INTERNAL_H

#include "internal.h"
#include "verify.h"
#include "verify_proto.h"

#define VERIFY_QUESTIONS_MAX 2000     /* in all */
#define VERIFY_HOST_QUESTIONS_MAX 200 /* that wait for one host */
#define VERIFY_CONNECTIONS 2          /* to one host */
#define VERIFY_UNSENT_MAX (4u << 20)  /* answers that a peer which does not read may leave waiting */

struct verify_asker { /* one channel to an smtp process */
	LIST_ENTRY(verify_asker) entry;
	struct verify *verify;
	unsigned instance;
	struct chan *chan;
};

struct verify_host;
struct verify_question {
	LIST_ENTRY(verify_question) entry;    /* all */
	TAILQ_ENTRY(verify_question) waiting; /* of host, until a connection takes it: then host is NULL */
	struct verify_host *host;
	struct verify *verify;
	struct verify_asker *asker; /* NULL: nobody waits for the answer any more */
	uint32_t id;
	char *recipient;
	bool again; /* a connection that had been used before was lost over it: once */
};

struct verify {
	struct send *send;
	bool draining;
	LIST_HEAD(, verify_asker) askers;
	LIST_HEAD(, verify_question) questions;
	LIST_HEAD(, verify_host) hosts;
	unsigned question_count, connections;
	uint64_t answered[VERIFY_STATUS_COUNT];
};

/* verify.c: answers, and frees the question, which waits nowhere any more.  relay, text: any bytes, cut to fit. */
void verify_question_end(
    struct verify_question *, enum verify_status, const char *enhanced, const char *relay, const char *text);

/* verify_host.c */
struct verify_host *verify_host_of(struct verify *, const char *sender, const char *recipient);
/* Takes the question: it is answered at once, or waits. */
void verify_host_ask(struct verify_host *, struct verify_question *);
void verify_host_forget(struct verify_question *); /* one that waits does so no more */
void verify_host_retire(struct verify_host *);
void verify_host_drain(struct verify_host *);
bool verify_host_idle(const struct verify_host *); /* may be freed */
void verify_host_free(struct verify_host *);
struct verify_host *verify_host_next(struct verify_host *);

#endif
