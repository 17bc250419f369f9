/* txttags.h.  A key record is read as receivers read it: what is malformed to them is no key here. */
#include "dnsgen/txttags.h"

#include "mailsvc/policy/sigtags.h"

#define KEY_MAX 65536
#define STRING_MAX 255

static bool same(struct view a, struct view b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

/* The tags k and p, which must be there; key gets the bytes of p, none for a key that is revoked. */
static bool read_key(struct view record, bool *rsa, struct buf *key)
{
	struct sigtags tags;
	const char *problem;

	if (sigtags_parse(&tags, record, &problem) == -1)
		return false;
	struct view k = sigtags_value(&tags, "k"), p = sigtags_value(&tags, "p");
	*rsa = k.ptr == NULL || view_eq(k, "rsa");
	return p.ptr != NULL && (*rsa || view_eq(k, "ed25519")) && (p.len == 0 || sigtags_base64(p, key) == 0);
}

bool txt_same_key(struct view a, struct view b)
{
	struct buf x = BUF_INIT(KEY_MAX), y = BUF_INIT(KEY_MAX);
	bool rsa_a, rsa_b;
	bool equal = same(a, b) || (read_key(a, &rsa_a, &x) && read_key(b, &rsa_b, &y) && rsa_a == rsa_b &&
	                               same(buf_view(&x), buf_view(&y)));

	buf_free(&x);
	buf_free(&y);
	return equal;
}

void txt_quoted(struct view value, struct buf *out)
{
	for (size_t at = 0; at < value.len || at == 0; at += STRING_MAX) {
		size_t len = value.len - at < STRING_MAX ? value.len - at : STRING_MAX;
		buf_puts(out, at ? " \"" : "\"");
		for (size_t i = 0; i < len; i++) {
			unsigned char c = (unsigned char)value.ptr[at + i];
			if (c == '"' || c == '\\')
				buf_addc(out, '\\');
			if (c < 0x20 || c >= 0x7f)
				buf_printf(out, "\\%03u", (unsigned)c);
			else
				buf_addc(out, (char)c);
		}
		buf_addc(out, '"');
	}
}
