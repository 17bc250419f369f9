/* Findings: what is wrong with a site, collected, then shown in file order. */
#include <stdlib.h>
#include <string.h>

#include "findings.h"
#include "site.h"

void findings_add(struct findings *f, bool warning, const struct site_origin *origin, const char *fmt, ...)
{
	struct buf b = BUF_INIT(16384);
	va_list ap;
	if (origin && origin->file && origin->line)
		buf_printf(&b, "%s:%u: ", origin->file, origin->line);
	else if (origin && origin->file)
		buf_printf(&b, "%s: ", origin->file);
	if (warning)
		buf_puts(&b, "warning: ");
	va_start(ap, fmt);
	buf_vprintf(&b, fmt, ap);
	va_end(ap);
	if ((f->count & (f->count - 1)) == 0) /* grows by doubling */
		f->at = xreallocarray(f->at, f->count ? f->count * 2 : 1, sizeof(*f->at));
	f->at[f->count++] = (struct finding){
		.text = xstrdup(buf_str(&b)),
		.warning = warning,
		.file = xstrdup(origin && origin->file ? origin->file : ""),
		.line = origin ? origin->line : 0,
	};
	f->errors += !warning;
	buf_free(&b);
}

void findings_free(struct findings *f)
{
	for (size_t i = 0; i < f->count; i++) {
		free(f->at[i].text);
		free(f->at[i].file);
	}
	free(f->at);
	*f = (struct findings){ 0 };
}

struct place {
	struct finding finding;
	size_t file, sequence;
};

static int compare(const void *a, const void *b)
{
	const struct place *x = a, *y = b;
	if (x->file != y->file)
		return x->file < y->file ? -1 : 1;
	if (x->finding.line != y->finding.line)
		return x->finding.line < y->finding.line ? -1 : 1;
	return x->sequence < y->sequence ? -1 : 1;
}

void findings_sort(struct findings *f, size_t from, const struct strings *files)
{
	size_t count = f->count - from;
	if (count < 2)
		return;
	struct place *places = xcalloc(count, sizeof(*places));
	for (size_t i = 0; i < count; i++) {
		size_t file = 0;
		while (file < files->count && strcmp(files->at[file], f->at[from + i].file) != 0)
			file++;
		places[i] = (struct place){ f->at[from + i], file, i };
	}
	qsort(places, count, sizeof(*places), compare);
	for (size_t i = 0; i < count; i++)
		f->at[from + i] = places[i].finding;
	free(places);
}
