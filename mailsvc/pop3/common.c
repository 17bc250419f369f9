/* common.h: LANG (RFC 6856 3).  "*" asks for whatever the server likes best. */
#include "common.h"

const char *pop3_lang(struct view tag)
{
	if (tag.len == 0)
		return "+OK Languages:\r\ni-default Default language\r\nen English\r\n.\r\n";
	if (view_eq(tag, "*") || view_caseeq(tag, "i-default"))
		return "+OK i-default This is the default language.\r\n";
	if (view_caseeq(tag, "en"))
		return "+OK en This is English.\r\n";
	return "-ERR That language is not available.\r\n";
}
