/*
 * A segment of format 3 without records that are new in it differs from one of format 2 in its header's version: each
 * is copied with that set back and takes the place of the old one by rename.  Format 3 reads such segments too, so a
 * half-finished downgrade is a store as good as before.
 */
#include "downgrade.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FORMAT_OLD 2
#define INDEX_OLD 2
#define TEMPORARY ".downgrade.new"

struct obstacle {
	char file[STATE_NAME_LEN];
	uint64_t offset, count;
};
struct pass {
	struct obstacle types[RECORD_TYPES], states;
};

static void note(struct obstacle *o, const struct frame *f)
{
	if (o->count++)
		return;
	segment_name(f->segment, o->file);
	o->offset = f->offset;
}

static int on_frame(void *arg, const struct frame *f)
{
	struct pass *p = arg;

	for (size_t i = 0; i < f->record_count; i++)
		if (f->records[i].type > RECORD_END)
			note(&p->types[f->records[i].type], f);
	return 0;
}

static void on_damage(void *arg, uint32_t segment, uint64_t offset, uint64_t length, const char *what)
{
	(void)arg; /* stays as it is; mailadm store verify tells of it */
	(void)segment;
	(void)offset;
	(void)length;
	(void)what;
}

static void look(struct pass *p, int log_dir, uint32_t number)
{
	struct scan s = { .dir = log_dir, .frame = on_frame, .damage = on_damage, .arg = p };

	scan_segment(&s, number, 0);
}

static int header_read(int log_dir, const char *name, struct log_header *h)
{
	int fd = openat(log_dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW), rc;

	if (fd == -1)
		return -1;
	rc = log_header_get(fd, h);
	close(fd);
	return rc;
}

/* The rows of a state file are the index's, of which the other reads only its own. */
static void look_state(struct pass *p, int log_dir, uint32_t number)
{
	char name[STATE_NAME_LEN];
	struct log_header h;

	state_name(number, name);
	if (header_read(log_dir, name, &h) == 0 && (h.version > FORMAT_OLD || h.index_version > INDEX_OLD) &&
	    p->states.count++ == 0)
		memcpy(p->states.file, name, sizeof name);
}

static bool tell(struct downgrade *d, const struct pass *p)
{
	bool prevented = p->states.count > 0;

	if (prevented)
		d->prevents(d->arg, p->states.file, 0, p->states.count,
		    "a state file that compaction wrote: the mailadm before this one reads only its own");
	for (size_t t = 0; t < RECORD_TYPES; t++)
		if (p->types[t].count) {
			d->prevents(d->arg, p->types[t].file, p->types[t].offset, p->types[t].count,
			    record_type_name((unsigned)t));
			prevented = true;
		}
	return prevented;
}

/* The header, with the CRC that belongs to it. */
static int patch(int fd)
{
	char header[SEGMENT_HEADER_LEN];
	struct log_header h;

	if (log_header_get(fd, &h) == -1) {
		errno = EIO;
		return -1;
	}
	h.version = FORMAT_OLD;
	log_header_put(&h, header);
	return pwrite(fd, header, sizeof header, 0) == (ssize_t)sizeof header ? 0 : -1;
}

static int copy(int from, int to)
{
	char *block = xmalloc(1 << 20);
	off_t at = 0;
	ssize_t n;

	while ((n = pread(from, block, 1 << 20, at)) > 0) {
		if (pwrite(to, block, (size_t)n, at) != n) {
			n = -1;
			break;
		}
		at += n;
	}
	free(block);
	return n == 0 ? 0 : -1;
}

static int rewrite(int log_dir, uint32_t number, struct error *e)
{
	char name[SEGMENT_NAME_LEN];
	int from, to, rc = -1;

	segment_name(number, name);
	if ((from = openat(log_dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)) == -1)
		return error_errno(e, "cannot open log/%s", name);
	if ((to = openat(log_dir, TEMPORARY, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0640)) != -1) {
		adopt(log_dir, to);
		if (copy(from, to) == 0 && patch(to) == 0 && fsync(to) == 0 &&
		    renameat(log_dir, TEMPORARY, log_dir, name) == 0 && fsync(log_dir) == 0)
			rc = 0;
	}
	if (rc == -1) {
		error_errno(e, "cannot write log/%s anew", name);
		unlinkat(log_dir, TEMPORARY, 0);
	}
	if (to != -1)
		close(to);
	close(from);
	return rc;
}

static bool is_newer(int log_dir, uint32_t number)
{
	char name[SEGMENT_NAME_LEN];
	struct log_header h;

	segment_name(number, name);
	return header_read(log_dir, name, &h) == 0 && h.version > FORMAT_OLD;
}

static int remove_index(int store_dir, struct error *e)
{
	static const char *const names[] = { "index/checkpoint", "index/data.mdb" };

	for (size_t i = 0; i < 2; i++)
		if (unlinkat(store_dir, names[i], 0) == -1 && errno != ENOENT)
			return error_errno(e, "cannot remove %s", names[i]);
	return 0;
}

static int downgrade_log(int log_dir, struct downgrade *d, struct error *e)
{
	struct pass p = { 0 };
	uint32_t *numbers = NULL, *states = NULL;
	size_t count, state_count;
	int rc = -1;

	if (segments_list(log_dir, &numbers, &count, e) == -1 || states_list(log_dir, &states, &state_count, e) == -1)
		goto out;
	for (size_t i = 0; i < count; i++)
		look(&p, log_dir, numbers[i]);
	for (size_t i = 0; i < state_count; i++)
		look_state(&p, log_dir, states[i]);
	rc = tell(d, &p);
	for (size_t i = 0; rc == 0 && i < count; i++)
		if (is_newer(log_dir, numbers[i])) {
			rc = rewrite(log_dir, numbers[i], e);
			d->segments += rc == 0;
		}
out:
	free(numbers);
	free(states);
	return rc;
}

int store_downgrade(int store_dir, struct downgrade *d, struct error *e)
{
	int log_dir = openat(store_dir, "log", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW), rc;

	d->segments = 0;
	if (log_dir == -1)
		return error_errno(e, "cannot open the log's folder");
	rc = log_versions_check(log_dir, e) == -1 ? -1 : downgrade_log(log_dir, d, e);
	close(log_dir);
	return rc == 0 ? remove_index(store_dir, e) : rc;
}
