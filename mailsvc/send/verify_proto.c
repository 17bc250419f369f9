/* Packing and unpacking of verify_proto.h.  Either side may be another's by now, so every string is looked at. */
#include "verify_proto.h"

#include <ctype.h>
#include <string.h>

void verify_ask_put(struct buf *out, const char *sender, const char *recipient)
{
	buf_put_str(out, strlen(sender) < VERIFY_ADDRESS_MAX ? sender : "");
	buf_put_str(out, strlen(recipient) < VERIFY_ADDRESS_MAX ? recipient : "");
}

int verify_ask_get(struct view in, char sender[VERIFY_ADDRESS_MAX], char recipient[VERIFY_ADDRESS_MAX])
{
	struct cursor c = cursor_of(in.ptr, in.len);

	cursor_str(&c, sender, VERIFY_ADDRESS_MAX);
	cursor_str(&c, recipient, VERIFY_ADDRESS_MAX);
	return cursor_done(&c) ? 0 : -1;
}

void verify_answer_put(struct buf *out, const struct verify_answer *a)
{
	buf_put_u8(out, (uint8_t)a->status);
	buf_put_str(out, a->enhanced);
	buf_put_str(out, a->relay);
	buf_put_str(out, a->text);
}

/* "5.1.1" */
static bool is_permanent(const char *s)
{
	if (s[0] != '5')
		return false;
	s++;
	for (int part = 0; part < 2; part++) {
		size_t digits = 0;

		if (*s++ != '.')
			return false;
		while (digits < 3 && isdigit((unsigned char)s[digits]))
			digits++;
		if (digits == 0)
			return false;
		s += digits;
	}
	return *s == '\0';
}

static bool is_printable(const char *s)
{
	for (; *s != '\0'; s++) {
		if ((unsigned char)*s < ' ' || (unsigned char)*s > '~')
			return false;
	}
	return true;
}

int verify_answer_get(struct view in, struct verify_answer *a)
{
	struct cursor c = cursor_of(in.ptr, in.len);
	unsigned status = cursor_u8(&c);

	memset(a, 0, sizeof(*a));
	cursor_str(&c, a->enhanced, sizeof(a->enhanced));
	cursor_str(&c, a->relay, sizeof(a->relay));
	cursor_str(&c, a->text, sizeof(a->text));
	if (!cursor_done(&c) || status >= VERIFY_STATUS_COUNT || !is_printable(a->relay) || !is_printable(a->text))
		return -1;
	a->status = (enum verify_status)status;
	return a->status == VERIFY_REFUSED ? (is_permanent(a->enhanced) ? 0 : -1) : (a->enhanced[0] == '\0' ? 0 : -1);
}
