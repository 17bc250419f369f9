/*
 * STATE/alerts: what the administrator was told, as JSON: {"version": 1, "told": SECONDS, "wrong": [{"key", "text",
 * "since"}]}.  Anything else is refused.
 */
#ifndef DOCTOR_ALERT_STATE_H
#define DOCTOR_ALERT_STATE_H

#include "lib/buf.h"
#include "lib/log.h"

#define ALERT_STATE_VERSION 1
#define ALERT_ITEMS_MAX 1000
#define ALERT_KEY_MAX 512
#define ALERT_TEXT_MAX 4096

struct alert_item {
	char *key, *text;
	int64_t since;
};
struct alert_state {
	struct alert_item *at;
	size_t count;
	int64_t told; /* 0: never */
};

/* -1: it is not what we write, and *out is empty. path is for the message. */
int alert_state_parse(struct view text, const char *path, struct alert_state *out, struct error *);
/* The same of a file; a missing one is an empty state. */
int alert_state_read(const char *path, struct alert_state *out, struct error *);
int alert_state_write(const char *path, const struct alert_state *, struct error *);
/* More than ALERT_ITEMS_MAX are dropped; texts are cut. */
void alert_state_add(struct alert_state *, const char *key, const char *text, int64_t since);
const struct alert_item *alert_state_find(const struct alert_state *, const char *key);
void alert_state_free(struct alert_state *);

#endif
