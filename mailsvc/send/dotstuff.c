/* Dot-stuffing.  Messages have CRLF line ends only (smtp refuses others); a last line without one gets it. */
#include "dotstuff.h"

#include <string.h>

void dotstuff_init(struct dotstuff *d, struct view message)
{
	*d = (struct dotstuff){ .left = message, .line_start = true, .last = "\r\n" };
}

static void emit(struct dotstuff *d, size_t len, struct buf *out)
{
	const char *p = d->left.ptr;

	buf_add(out, p, len);
	if (len == 1)
		d->last[0] = d->last[1];
	else if (len > 1)
		d->last[0] = p[len - 2];
	if (len > 0)
		d->last[1] = p[len - 1];
	d->left = (struct view){ p + len, d->left.len - len };
}

void dotstuff_next(struct dotstuff *d, size_t max, struct buf *out)
{
	while (d->left.len > 0 && max > 0) {
		if (d->line_start && d->left.ptr[0] == '.')
			buf_addc(out, '.');
		size_t take = d->left.len < max ? d->left.len : max;
		const char *nl = memchr(d->left.ptr, '\n', take);
		if (nl != NULL)
			take = (size_t)(nl - d->left.ptr) + 1;
		emit(d, take, out);
		d->line_start = nl != NULL;
		max -= take;
	}
	if (d->left.len > 0 || d->finished)
		return;
	if (memcmp(d->last, "\r\n", 2) != 0)
		buf_puts(out, "\r\n");
	buf_puts(out, ".\r\n");
	d->finished = true;
}
