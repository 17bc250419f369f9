/*
 * Authentication-Results: any bytes as a header whose forged fields are found, and as values of results, which never
 * make more than one field of them.
 */
#include <stdlib.h>

#include "mailsvc/mime/mime.h"
#include "mailsvc/policy/arc.h"
#include "mailsvc/policy/authres.h"
#include "mailsvc/policy/dkim_verify.h"
#include "mailsvc/policy/dmarc.h"
#include "mailsvc/policy/iprev.h"

#define HOST "mail.example.org"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct strip {
	struct view header;
	size_t end, count;
};

static void take(void *arg, size_t start, size_t len)
{
	struct strip *s = arg;

	if (start < s->end || len == 0 || start > s->header.len || len > s->header.len - start)
		abort();
	s->end = start + len;
	s->count++;
}

static size_t forged(struct view header)
{
	struct strip s = { .header = header };

	if (authres_strip(header, HOST, take, &s) != s.count)
		abort();
	return s.count;
}

static void copy(struct view in, size_t from, char *out, size_t size)
{
	struct view v = { in.ptr + (from < in.len ? from : 0), in.len - (from < in.len ? from : 0) };
	v.len = v.len < size ? v.len : size - 1;

	for (size_t i = 0; i < v.len; i++)
		if (v.ptr[i] == '\0')
			v.len = i;
	view_copy(v, out, size);
}

static void write_field(struct view in)
{
	char *text = view_dup(in);
	struct dkim_result dkim[2] = { { .verdict = DKIM_PASS }, { .verdict = DKIM_FAIL, .testing = true } };
	struct iprev_verdict iprev = { .result = IPREV_FAIL };
	struct spf_verdict spf = { .result = SPF_PERMERROR, .helo = in.len % 2 == 0 };
	struct arc_verdict arc = { .result = ARC_FAIL };
	struct dmarc_verdict dmarc = { .result = DMARC_TEMPERROR, .policy = DMARC_P_REJECT, .domain = "x" };
	struct authres r = { .auth_user = text,
		.iprev = &iprev,
		.spf = &spf,
		.mail_from = text,
		.dkim = dkim,
		.dkim_count = 2,
		.arc = &arc,
		.dmarc = &dmarc,
		.header_from = text };
	struct buf field = BUF_INIT(1 << 16);
	struct mime_header h;
	size_t pos = 0;

	copy(in, 0, dkim[0].identity, sizeof(dkim[0].identity));
	copy(in, 3, dkim[1].reason, sizeof(dkim[1].reason));
	copy(in, 5, iprev.name, sizeof(iprev.name));
	copy(in, 7, spf.problem, sizeof(spf.problem));
	copy(in, 9, dkim[0].b, sizeof(dkim[0].b));
	if (authres_put(&field, HOST, &r) == -1)
		abort();
	if (!mime_header_next(buf_view(&field), &pos, &h) || pos != field.len || h.field.len != field.len)
		abort();
	if (forged(buf_view(&field)) != 1)
		abort();
	for (size_t i = 0, line = 0; i < field.len; i++) {
		line = field.data[i] == '\n' ? 0 : line + 1;
		bool breaks = field.data[i] == '\r' || field.data[i] == '\n' || field.data[i] == '\t';
		if (line > 998 || (!breaks && ((unsigned char)field.data[i] < ' ' || field.data[i] == 0x7f)))
			abort();
	}
	buf_free(&field);
	free(text);
}

static void count_passed(void *arg, struct view value)
{
	(void)value;
	++*(size_t *)arg;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct view in = { (const char *)data, size };
	struct buf field = BUF_INIT(1 << 24);

	size_t passed = 0;

	forged(in);
	authres_passed(in, "dmarc", "header.from", count_passed, &passed);
	if (passed > 0 && authres_says(in, "dmarc") == AUTHRES_ABSENT)
		abort();
	buf_puts(&field, "Authentication-Results:");
	buf_addv(&field, in);
	bool mine = authres_own(buf_view(&field), HOST).ptr != NULL;
	if (forged(buf_view(&field)) == 0 && mine) /* what is believed would have been stripped */
		abort();
	buf_free(&field);
	write_field(in);
	return 0;
}
