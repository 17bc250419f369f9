/*
 * The one place that decides where a message ends (RFC 5321 4.1.1.4, 4.5.2): CR LF "." CR LF and nothing else.  A line
 * begins only behind CR LF, so a dot behind a bare LF or a bare CR is plain text and ends nothing; that, and refusing
 * every message in which such a byte occurs, is the whole defence against SMTP smuggling.
 *
 * Lines may be longer than the 998 octets of RFC 5321 4.5.3.1.6: real mail has them, and the message's size is limited.
 */
#include "mailsvc/smtp/data.h"

#include "lib/text.h"

void smtp_data_init(struct smtp_data_reader *r, bool dots)
{
	*r = (struct smtp_data_reader){ .state = SMTP_DATA_AT_LINE, .dots = dots };
}

static void fault(struct smtp_data_reader *r, enum smtp_data_fault what)
{
	if (r->fault == SMTP_DATA_CLEAN)
		r->fault = what;
}

/* Inside a line: up to and including its CR, or to the end of the input. */
static const char *read_text(struct smtp_data_reader *r, const char *p, const char *end)
{
	while ((p += text_run((struct view){ p, (size_t)(end - p) }, &r->eight_bit)) < end) {
		char c = *p++;

		if (c == '\r') {
			r->state = SMTP_DATA_AT_CR;
			break;
		}
		if (c == '\n')
			fault(r, SMTP_DATA_BARE_LF);
		else if (c == '\0')
			fault(r, SMTP_DATA_NUL);
	}
	return p;
}

enum smtp_data_status smtp_data_read(struct smtp_data_reader *r, struct view *in, struct view *piece)
{
	const char *p = in->ptr, *start = p, *end = p + in->len;
	enum smtp_data_status status = SMTP_DATA_MORE;

	*piece = VIEW_NONE;
	while (p < end && status == SMTP_DATA_MORE) {
		switch (r->state) {
		case SMTP_DATA_AT_LINE:
			if (r->dots && *p == '.') {
				r->state = SMTP_DATA_AT_DOT;
				*piece = (struct view){ start, (size_t)(p - start) };
				start = ++p;
				if (piece->len > 0)
					status = SMTP_DATA_PIECE;
				break;
			}
			r->state = SMTP_DATA_AT_TEXT;
			/* FALLTHROUGH */
		case SMTP_DATA_AT_TEXT:
			p = read_text(r, p, end);
			break;
		case SMTP_DATA_AT_CR:
			if (*p == '\n') {
				r->state = SMTP_DATA_AT_LINE;
				p++;
				break;
			}
			fault(r, SMTP_DATA_BARE_CR);
			r->state = SMTP_DATA_AT_TEXT;
			break;
		case SMTP_DATA_AT_DOT: /* the dot itself is gone: stuffing, or the end */
			if (*p == '\r') {
				r->state = SMTP_DATA_AT_DOT_CR;
				start = ++p;
			} else {
				r->state = SMTP_DATA_AT_TEXT;
			}
			break;
		case SMTP_DATA_AT_DOT_CR:
			if (*p == '\n') {
				start = ++p;
				status = SMTP_DATA_END;
				break;
			}
			fault(r, SMTP_DATA_BARE_CR);
			r->state = SMTP_DATA_AT_TEXT;
			break;
		}
	}
	if (status == SMTP_DATA_MORE && p > start) {
		*piece = (struct view){ start, (size_t)(p - start) };
		status = SMTP_DATA_PIECE;
	}
	*in = (struct view){ p, (size_t)(end - p) };
	return status;
}

bool smtp_data_finish(struct smtp_data_reader *r)
{
	if (r->state == SMTP_DATA_AT_CR)
		fault(r, SMTP_DATA_BARE_CR);
	return r->state == SMTP_DATA_AT_LINE;
}
