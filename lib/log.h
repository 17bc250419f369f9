/*
 * Logging and the errors that go with it.  Lines go to fd 2: `LEVEL role[pid]: key=value ...` when it is a
 * terminal or a file (with an RFC 3339 time first), `<N>role: ...` with a syslog priority for the journal
 * (JOURNAL_STREAM names fd 2, which log_init looks at: call it again after replacing fd 2).  Values from a peer go
 * through text_escape; no credential is ever logged.
 */
#ifndef LIB_LOG_H
#define LIB_LOG_H

#include <stdarg.h>
#include <stdbool.h>

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

void log_init(const char *ident, enum log_level level);
void log_set_level(enum log_level level);
const char *log_ident(void);

/* The x forms leave errno out. */
void log_warn(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_warnx(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_info(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_debug(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
_Noreturn void fatal(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
_Noreturn void fatalx(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* What a fallible call fills when it returns -1: one line a person can act on. */
struct error {
	char text[512];
};
int error_set(struct error *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));   /* returns -1 */
int error_errno(struct error *e, const char *fmt, ...) __attribute__((format(printf, 2, 3))); /* adds strerror */

#endif
