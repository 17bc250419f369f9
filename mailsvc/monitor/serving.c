/*
 * Which site the host serves.  STATE/apply/serving holds a flattened site while an apply waits for its confirmation and
 * after one was rolled back: a start serves that one and not the site file, and a reload keeps the site that runs (and
 * takes certificate, keys and credentials anew).  `mailadm apply` writes and removes the file (apply/generation.h); its
 * first line is a comment that says why it is there.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/proc.h"
#include "mailsvc/monitor/internal.h"

#define SERVING "apply/serving"
#define REMEDY "mailadm confirm keeps a change that waits; mailadm apply makes the host what the file says"

/* The text of STATE/apply/serving: 1 when it is there, 0 when not, -1 on failure. */
static int read_serving(const struct site *site, struct buf *text, struct error *e)
{
	char *path = site_state(site, SERVING);
	int r = access(path, F_OK) < 0 ? 0 : file_read(path, ROLE_SITE_MAX, text, e) < 0 ? -1 : 1;

	free(path);
	return r;
}

static void say_held(struct monitor *m, struct view serving, struct buf *text)
{
	const char *end = serving.len > 0 ? memchr(serving.ptr, '\n', serving.len) : NULL;
	struct view why = { serving.ptr, end != NULL ? (size_t)(end - serving.ptr) : 0 };

	while (why.len > 0 && (why.ptr[0] == '#' || why.ptr[0] == ' ')) {
		why.ptr++;
		why.len--;
	}
	buf_printf(text, "%s: warning: is not what is served: %.*s; " REMEDY "\n", m->path, (int)why.len, why.ptr);
}

struct site *serving_load(struct monitor *m, struct findings *findings, struct buf *text)
{
	struct buf serving = BUF_INIT(ROLE_SITE_MAX);
	struct error e;
	struct site *site = NULL;
	int r;

	m->held = false;
	if (m->given.len > 0) {
		site = site_load_memory(buf_view(&m->given), m->path, findings);
		buf_free(&m->given);
		return site;
	}
	if (m->site == NULL) { /* a start: only the file says where the state is */
		site = site_load(m->path, findings);
		r = site != NULL ? read_serving(site, &serving, &e) : 0;
		if (r > 0) {
			site_unref(site);
			site = site_load_memory(buf_view(&serving), m->path, findings);
		}
	} else {
		r = read_serving(m->site, &serving, &e);
		site = r > 0 ? site_load_memory(buf_view(&m->flat), m->path, findings) : site_load(m->path, findings);
	}
	m->held = r > 0;
	if (r < 0)
		buf_printf(text, "%s; the host goes on without it\n", e.text);
	if (r > 0)
		say_held(m, buf_view(&serving), text);
	buf_free(&serving);
	return site;
}
