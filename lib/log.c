/*
 * log.h: one line is one write(2) to fd 2, so lines of several processes on one file never mix.  A line longer
 * than LINE_MAX_BYTES is cut; a newline inside it (there should be none) becomes a space.
 */
#include "log.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"

#define LINE_MAX_BYTES 4096

static const char *ident = "mailadm";
static enum log_level wanted = LOG_LEVEL_INFO;
static bool to_journal;

static const struct {
	const char *name;
	int priority; /* syslog(3) */
} levels[] = {
	[LOG_LEVEL_ERROR] = { "ERROR", 3 },
	[LOG_LEVEL_WARN] = { "WARN", 4 },
	[LOG_LEVEL_INFO] = { "INFO", 6 },
	[LOG_LEVEL_DEBUG] = { "DEBUG", 7 },
};

/* systemd.exec(5): JOURNAL_STREAM names the device and inode of the journal; fd 2 may have been redirected since. */
static bool is_journal(const char *stream)
{
	char mine[64];
	struct stat st;

	if (stream == NULL || fstat(STDERR_FILENO, &st) == -1)
		return false;
	snprintf(mine, sizeof(mine), "%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
	return strcmp(stream, mine) == 0;
}

void log_init(const char *name, enum log_level level)
{
	ident = name;
	wanted = level;
	to_journal = is_journal(getenv("JOURNAL_STREAM"));
	tzset();
}

void log_set_level(enum log_level level)
{
	wanted = level;
}

const char *log_ident(void)
{
	return ident;
}

/* snprintf that says how much is really there. */
static size_t clip(int n, size_t size)
{
	if (n < 0)
		return 0;
	return (size_t)n < size ? (size_t)n : size - 1;
}

static size_t prefix(char *out, size_t size, enum log_level level)
{
	if (to_journal)
		return clip(snprintf(out, size, "<%d>%s: ", levels[level].priority, ident), size);

	char when[32];

	clock_rfc3339(clock_wall(), when);
	return clip(snprintf(out, size, "%s %s %s[%d]: ", when, levels[level].name, ident, (int)getpid()), size);
}

__attribute__((format(printf, 3, 0))) static void emit(enum log_level level, int err, const char *fmt, va_list ap)
{
	char line[LINE_MAX_BYTES];
	size_t room = sizeof(line) - 1; /* the newline's place is kept */
	int saved = errno;

	if (level > wanted)
		return;
	size_t start = prefix(line, room, level);
	size_t len = start + clip(vsnprintf(line + start, room - start, fmt, ap), room - start);
	if (err != 0)
		len += clip(snprintf(line + len, room - len, ": %s", strerror(err)), room - len);
	for (size_t i = start; i < len; i++) {
		if (line[i] == '\n' || line[i] == '\r')
			line[i] = ' ';
	}
	line[len++] = '\n';
	while (write(STDERR_FILENO, line, len) == -1 && errno == EINTR)
		continue;
	errno = saved;
}

#define EMIT(level, err)                                                                                               \
	do {                                                                                                           \
		va_list ap;                                                                                            \
		int code = (err);                                                                                      \
		va_start(ap, fmt);                                                                                     \
		emit(level, code, fmt, ap);                                                                            \
		va_end(ap);                                                                                            \
	} while (0)

void log_warn(const char *fmt, ...)
{
	EMIT(LOG_LEVEL_WARN, errno);
}

void log_warnx(const char *fmt, ...)
{
	EMIT(LOG_LEVEL_WARN, 0);
}

void log_info(const char *fmt, ...)
{
	EMIT(LOG_LEVEL_INFO, 0);
}

void log_debug(const char *fmt, ...)
{
	if (wanted >= LOG_LEVEL_DEBUG)
		EMIT(LOG_LEVEL_DEBUG, 0);
}

void fatal(const char *fmt, ...)
{
	EMIT(LOG_LEVEL_ERROR, errno);
	_exit(1);
}

void fatalx(const char *fmt, ...)
{
	EMIT(LOG_LEVEL_ERROR, 0);
	_exit(1);
}

int error_set(struct error *e, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(e->text, sizeof(e->text), fmt, ap);
	va_end(ap);
	return -1;
}

int error_errno(struct error *e, const char *fmt, ...)
{
	int err = errno;
	va_list ap;

	va_start(ap, fmt);
	size_t len = clip(vsnprintf(e->text, sizeof(e->text), fmt, ap), sizeof(e->text));
	va_end(ap);
	snprintf(e->text + len, sizeof(e->text) - len, ": %s", strerror(err));
	errno = err;
	return -1;
}
