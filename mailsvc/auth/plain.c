/* plain.h. */
#include "mailsvc/auth/plain.h"

/* What stands before the next NUL of *rest, which moves behind it. */
static bool take(struct view *rest, struct view *out)
{
	const char *nul = rest->len > 0 ? memchr(rest->ptr, '\0', rest->len) : NULL;

	if (nul == NULL)
		return false;
	*out = (struct view){ rest->ptr, (size_t)(nul - rest->ptr) };
	*rest = (struct view){ nul + 1, rest->len - out->len - 1 };
	return true;
}

int plain_parse(struct view message, struct view *user, struct view *password)
{
	struct view identity, more;

	if (!take(&message, &identity) || !take(&message, user))
		return -1;
	*password = message;
	if (take(&message, &more))
		return -1;
	return identity.len == 0 || (identity.len == user->len && memcmp(identity.ptr, user->ptr, user->len) == 0) ? 0 : 1;
}
