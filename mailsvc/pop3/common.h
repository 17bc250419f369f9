/* What POP3 is the same before and after login (RFC 2449, 6856). */
#ifndef MAILSVC_POP3_COMMON_H
#define MAILSVC_POP3_COMMON_H

#include "lib/buf.h"

/* Lines of CAPA that hold in both states. Nothing is removed for having been retrieved: EXPIRE NEVER. */
#define POP3_CAPABILITIES                                                                                              \
	"TOP\r\nUIDL\r\nRESP-CODES\r\nAUTH-RESP-CODE\r\nPIPELINING\r\nEXPIRE NEVER\r\nUTF8 USER\r\nLANG\r\n"           \
	"IMPLEMENTATION mailadm\r\n"

/* The whole reply to LANG with this argument (none: empty). There is English, and nothing else. */
const char *pop3_lang(struct view tag);

#endif
