/*
 * Room on the disk, taken before it is needed: zeros ahead of the log, so that fdatasync has no metadata to write, and
 * blocks behind the end of data.mdb, so that flags can be changed and mail expunged when others have filled the disk.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "engine.h"

bool no_room(int error)
{
	return error == ENOSPC || error == EDQUOT || error == EFBIG;
}

bool engine_wants_log(const struct engine *e)
{
	uint64_t allocated = atomic_load(&e->log.allocated);

	return allocated < e->options.segment_max && allocated - e->log.offset < SEGMENT_STEP / 2;
}

bool engine_wants_index(const struct engine *e)
{
	return atomic_load(&e->index_ahead) < e->index_len + INDEX_AHEAD / 2;
}

void engine_extend_index(struct engine *e)
{
	struct stat st;
	uint64_t ahead = UINT64_MAX; /* this file system cannot */

	if (fstat(e->data_fd, &st) == -1)
		return;
	if (fallocate(e->data_fd, FALLOC_FL_KEEP_SIZE, st.st_size, INDEX_AHEAD) == 0)
		ahead = (uint64_t)st.st_size + INDEX_AHEAD;
	else if (errno != EOPNOTSUPP) /* no room now: again when it has grown */
		ahead = (uint64_t)st.st_size + INDEX_AHEAD / 2;
	atomic_store(&e->index_ahead, ahead);
}

void engine_extend(struct engine *e)
{
	uint64_t from, to;

	pthread_mutex_lock(&e->extend_lock);
	from = atomic_load(&e->log.allocated);
	to = from + SEGMENT_STEP < e->options.segment_max ? from + SEGMENT_STEP : e->options.segment_max;
	if (from < to && segment_extend(e->log.fd, from, to) == 0)
		atomic_store(&e->log.allocated, to);
	pthread_mutex_unlock(&e->extend_lock);
}
