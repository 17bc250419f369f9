/*
 * Who was sent an automatic reply lately: a table of fixed size in a file that all smtp processes map, so that it
 * outlives them.  Entries are hashes; when a part of the table is full, the oldest makes room.
 */
#ifndef MAILSVC_SMTP_REPLIED_H
#define MAILSVC_SMTP_REPLIED_H

#include <stdbool.h>
#include <stdint.h>

#define REPLIED_BYTES (1u << 20)
#define REPLIED_DAYS 7

struct replied;
/* Maps fd, which it closes; -1, or a file that cannot be mapped: memory that lasts as long as the process. */
struct replied *replied_open(int fd);
/* May account (an address) reply to sender now?  When it may, that is remembered: of several who ask, one may. */
bool replied_take(struct replied *, const char *account, const char *sender, int64_t now);

#endif
