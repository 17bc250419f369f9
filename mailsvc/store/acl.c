/* Letters and bits of access rights, identifiers, and what an account may do with a mailbox of another. */
#include "acl.h"

#include <string.h>

#include "site/address.h"

#define OLD_CREATE (ACL_CREATE | ACL_DELETE_MAILBOX)
#define OLD_DELETE (ACL_DELETE_MESSAGES | ACL_EXPUNGE | ACL_DELETE_MAILBOX)

int acl_parse(struct view letters, uint32_t *rights)
{
	*rights = 0;
	for (size_t i = 0; i < letters.len; i++) {
		const char *at = letters.ptr[i] ? strchr(ACL_LETTERS, letters.ptr[i]) : NULL;
		if (at)
			*rights |= 1u << (at - ACL_LETTERS);
		else if (letters.ptr[i] == 'c')
			*rights |= OLD_CREATE;
		else if (letters.ptr[i] == 'd')
			*rights |= OLD_DELETE;
		else
			return -1;
	}
	return 0;
}

void acl_format(uint32_t rights, char out[sizeof ACL_LETTERS])
{
	size_t n = 0;

	for (size_t i = 0; i < sizeof ACL_LETTERS - 1; i++)
		if (rights >> i & 1)
			out[n++] = ACL_LETTERS[i];
	out[n] = '\0';
}

void acl_format_old(uint32_t rights, char out[sizeof ACL_LETTERS + 2])
{
	size_t n;

	acl_format(rights, out);
	n = strlen(out);
	if (rights & OLD_CREATE)
		out[n++] = 'c';
	if (rights & OLD_DELETE)
		out[n++] = 'd';
	out[n] = '\0';
}

int acl_identifier(struct view identifier, char out[ADDRESS_MAX + 1])
{
	size_t less = identifier.len && identifier.ptr[0] == '-';
	struct view who = { identifier.ptr + less, identifier.len - less };

	out[0] = '-';
	if (!view_caseeq(who, ACL_ANYONE))
		return address_normalise(who, out + less, ADDRESS_MAX);
	memcpy(out + less, ACL_ANYONE, sizeof ACL_ANYONE);
	return 0;
}

struct effective {
	const char *address;
	uint32_t given, taken;
};

static bool on_entry(void *arg, const char *identifier, uint32_t rights)
{
	struct effective *f = arg;
	bool less = identifier[0] == '-';
	const char *who = identifier + less;

	if (strcmp(who, ACL_ANYONE) == 0 || strcmp(who, f->address) == 0)
		*(less ? &f->taken : &f->given) |= rights;
	return true;
}

uint32_t acl_effective(struct store_view *view, const struct mailbox_row *m, const char *address)
{
	struct effective f = { address, 0, 0 };
	char owner[ADDRESS_MAX];
	bool orphaned;

	if (view_address(view, m->account, owner, &orphaned) && !orphaned && strcmp(owner, address) == 0)
		return ACL_ALL;
	view_acl(view, m->id, on_entry, &f);
	return f.given & ~f.taken;
}
