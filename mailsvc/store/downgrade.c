/*
 * A segment of format 2 and its frames differ from format 1 in their version numbers, and in the flag of frames: each
 * is copied with those set back and takes the place of the old one by rename.  Format 2 reads such segments too, so a
 * half-finished downgrade is a store as good as before.
 */
#include "downgrade.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/crc32c.h"

#define FORMAT_OLD 1
#define TEMPORARY ".downgrade.new"

struct obstacle {
	char file[STATE_NAME_LEN];
	uint64_t offset, count;
};
struct pass {
	struct obstacle types[RECORD_TYPES], moved;
	uint64_t last_body;
	uint32_t segment;
	uint64_t *frames; /* where those of the segment at hand start */
	size_t count, size;
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

	if (p->count == p->size) {
		p->size = p->size ? p->size * 2 : 1024;
		p->frames = xreallocarray(p->frames, p->size, sizeof *p->frames);
	}
	p->frames[p->count++] = f->offset;
	for (size_t i = 0; i < f->record_count; i++) {
		const struct record *r = &f->records[i];
		if (r->type > RECORD_SWEEP)
			note(&p->types[r->type], f);
		if (r->type == RECORD_BODY && r->body <= p->last_body)
			note(&p->moved, f);
		else if (r->type == RECORD_BODY)
			p->last_body = r->body;
	}
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

static enum scan_end look(struct pass *p, int log_dir, uint32_t number)
{
	struct scan s = { .dir = log_dir, .frame = on_frame, .damage = on_damage, .arg = p };

	p->count = 0;
	p->segment = number;
	return scan_segment(&s, number, 0);
}

static bool tell(struct downgrade *d, const struct pass *p, const uint32_t *states, size_t state_count)
{
	char name[STATE_NAME_LEN];
	bool prevented = state_count > 0;

	if (state_count) {
		state_name(states[0], name);
		d->prevents(d->arg, name, 0, state_count,
		    "a state file: the log before it was compacted, and format 1 needs all of it");
	}
	for (size_t t = 0; t < RECORD_TYPES; t++)
		if (p->types[t].count) {
			d->prevents(d->arg, p->types[t].file, p->types[t].offset, p->types[t].count,
			    record_type_name((unsigned)t));
			prevented = true;
		}
	if (p->moved.count)
		d->prevents(
		    d->arg, p->moved.file, p->moved.offset, p->moved.count, "bodies that compaction wrote again");
	return prevented || p->moved.count;
}

/* A header with other version fields and the CRC that belongs to it. */
static void set_u16(char *header, size_t at, uint16_t v)
{
	header[at] = (char)v;
	header[at + 1] = (char)(v >> 8);
}

static void set_crc(char *header, size_t len)
{
	uint32_t crc = crc32c(0, header, len - 4);

	for (size_t i = 0; i < 4; i++)
		header[len - 4 + i] = (char)(crc >> (8 * i));
}

static int patch(int fd, const struct pass *p)
{
	char header[SEGMENT_HEADER_LEN], frame[FRAME_HEADER_LEN];

	if (pread(fd, header, sizeof header, 0) != (ssize_t)sizeof header)
		return -1;
	set_u16(header, 8, FORMAT_OLD);
	set_crc(header, sizeof header);
	if (pwrite(fd, header, sizeof header, 0) != (ssize_t)sizeof header)
		return -1;
	for (size_t i = 0; i < p->count; i++) {
		if (pread(fd, frame, sizeof frame, (off_t)p->frames[i]) != (ssize_t)sizeof frame)
			return -1;
		set_u16(frame, 32, FORMAT_OLD);
		set_u16(frame, 34, 0);
		set_crc(frame, sizeof frame);
		if (pwrite(fd, frame, sizeof frame, (off_t)p->frames[i]) != (ssize_t)sizeof frame)
			return -1;
	}
	return 0;
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

static int rewrite(int log_dir, const struct pass *p, struct error *e)
{
	char name[SEGMENT_NAME_LEN];
	int from, to, rc = -1;

	segment_name(p->segment, name);
	if ((from = openat(log_dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)) == -1)
		return error_errno(e, "cannot open log/%s", name);
	if ((to = openat(log_dir, TEMPORARY, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0640)) != -1) {
		adopt(log_dir, to);
		if (copy(from, to) == 0 && patch(to, p) == 0 && fsync(to) == 0 &&
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
	struct log_header h = { 0 };
	int fd;
	bool newer;

	segment_name(number, name);
	if ((fd = openat(log_dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)) == -1)
		return false;
	newer = log_header_get(fd, &h) == 0 && h.version > FORMAT_OLD;
	close(fd);
	return newer;
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
	struct pass p = { .last_body = 0 };
	uint32_t *numbers = NULL, *states = NULL;
	size_t count, state_count;
	int rc = -1;

	if (segments_list(log_dir, &numbers, &count, e) == -1 || states_list(log_dir, &states, &state_count, e) == -1)
		goto out;
	for (size_t i = 0; i < count; i++)
		look(&p, log_dir, numbers[i]);
	rc = tell(d, &p, states, state_count);
	for (size_t i = 0; rc == 0 && i < count; i++)
		if (is_newer(log_dir, numbers[i])) {
			look(&p, log_dir, numbers[i]);
			rc = rewrite(log_dir, &p, e);
			d->segments += rc == 0;
		}
out:
	free(p.frames);
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
