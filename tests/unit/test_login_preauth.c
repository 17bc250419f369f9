/* What may be said before login, in both protocols: dialogues as tables, each fed whole and byte by byte. */
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "mailsvc/login/handoff.h"
#include "mailsvc/login/limits.h"
#include "mailsvc/login/preauth.h"

enum { PLAIN, TLS, INSECURE };

/* Drives a dialogue; TLS and logins are noted, and every login but the user "ok" is denied. */
static void dialogue(enum protocol protocol, int kind, const char *input, size_t step, struct buf *out)
{
	struct preauth p;
	size_t len = strlen(input), pos = 0, used;

	preauth_init(&p, protocol, kind == TLS, true, kind == INSECURE, 4);
	for (;;) {
		size_t n = len - pos < step ? len - pos : step;
		enum preauth_action action = preauth_feed(&p, input + pos, n, &used);

		pos += used;
		buf_addv(out, buf_view(&p.out));
		buf_reset(&p.out);
		if (action == PREAUTH_CLOSE) {
			buf_puts(out, "[close]");
			break;
		}
		if (action == PREAUTH_STARTTLS) {
			buf_puts(out, "[tls]");
			preauth_secured(&p);
		} else if (action == PREAUTH_LOGIN) {
			struct view user = preauth_user(&p), password = preauth_password(&p);
			bool fine = view_eq(user, "ok");

			buf_printf(out, "[%.*s:%.*s]", (int)user.len, user.ptr, (int)password.len, password.ptr);
			action = preauth_answer(&p, fine ? AUTH_OK : AUTH_DENIED);
			buf_addv(out, buf_view(&p.out));
			buf_reset(&p.out);
			if (fine || action == PREAUTH_CLOSE) {
				buf_puts(out, fine ? "[in]" : "[close]");
				break;
			}
		} else if (pos == len) {
			break;
		}
	}
	preauth_free(&p);
}

#define FAILED "NO [AUTHENTICATIONFAILED] Authentication failed.\r\n"

static const struct {
	enum protocol protocol;
	int kind;
	const char *input, *want;
} cases[] = {
	{ PROTOCOL_IMAP, PLAIN, "a CAPABILITY\r\n",
	    "* CAPABILITY IMAP4rev1 IMAP4rev2 LITERAL+ SASL-IR ID ENABLE STARTTLS LOGINDISABLED\r\na OK CAPABILITY "
	    "completed.\r\n" },
	{ PROTOCOL_IMAP, TLS, "a CAPABILITY\r\n",
	    "* CAPABILITY IMAP4rev1 IMAP4rev2 LITERAL+ SASL-IR ID ENABLE AUTH=PLAIN\r\na OK CAPABILITY completed.\r\n" },
	{ PROTOCOL_IMAP, PLAIN, "a LOGIN u p\r\n", "a NO [PRIVACYREQUIRED] Logging in needs TLS.\r\n" },
	{ PROTOCOL_IMAP, PLAIN, "a AUTHENTICATE PLAIN\r\n", "a NO [PRIVACYREQUIRED] Logging in needs TLS.\r\n" },
	{ PROTOCOL_IMAP, PLAIN, "a STARTTLS\r\nb LOGIN ok p\r\n",
	    "a OK Begin TLS negotiation now.\r\n[tls][ok:p][in]" },
	{ PROTOCOL_IMAP, TLS, "a STARTTLS\r\n", "a BAD TLS is active already.\r\n" },
	{ PROTOCOL_IMAP, INSECURE, "a LOGIN ok \"p w\"\r\nb NOOP\r\n", "[ok:p w][in]" },
	{ PROTOCOL_IMAP, TLS, "a LOGIN {2}\r\nok {3}\r\np\"w\r\n", "+ OK\r\n+ OK\r\n[ok:p\"w][in]" },
	{ PROTOCOL_IMAP, TLS, "a LOGIN {2+}\r\nok {3+}\r\np\"w\r\n", "[ok:p\"w][in]" },
	{ PROTOCOL_IMAP, TLS, "a LOGIN {2000}\r\nb NOOP\r\n",
	    "a BAD Literal is too long.\r\nb OK NOOP completed.\r\n" },
	{ PROTOCOL_IMAP, TLS, "a LOGIN u\r\n", "a BAD Expected a user and a password.\r\n" },
	{ PROTOCOL_IMAP, TLS, "a LOGIN u p\r\nb LOGIN u p\r\nc LOGIN u p\r\nd LOGIN ok p\r\n",
	    "[u:p]a " FAILED "[u:p]b " FAILED "[u:p]c " FAILED "* BYE Too many failed logins.\r\n[close]" },
	{ PROTOCOL_IMAP, TLS, "a AUTHENTICATE PLAIN AG9rAHB3\r\n", "[ok:pw][in]" },
	{ PROTOCOL_IMAP, TLS, "a AUTHENTICATE PLAIN b2sAb2sAcHc=\r\n", "[ok:pw][in]" },
	{ PROTOCOL_IMAP, TLS, "a AUTHENTICATE PLAIN eAAAcHc=\r\n", "a BAD Invalid SASL response.\r\n" },
	/* another's identity; a NUL in the password; one NUL; none */
	{ PROTOCOL_IMAP, TLS, "a AUTHENTICATE PLAIN eABvawBwdw==\r\n", "a BAD Invalid SASL response.\r\n" },
	{ PROTOCOL_IMAP, TLS, "a AUTHENTICATE PLAIN AG9rAHAAdw==\r\n", "a BAD Invalid SASL response.\r\n" },
	{ PROTOCOL_POP3, TLS, "AUTH PLAIN AG9r\r\n", "-ERR Invalid SASL response.\r\n" },
	{ PROTOCOL_POP3, TLS, "AUTH PLAIN b2s=\r\n", "-ERR Invalid SASL response.\r\n" },
	{ PROTOCOL_IMAP, TLS, "a AUTHENTICATE PLAIN =\r\n", "a BAD Invalid SASL response.\r\n" },
	{ PROTOCOL_IMAP, TLS, "a AUTHENTICATE PLAIN\r\nAG9rAHB3\r\n", "+ \r\n[ok:pw][in]" },
	{ PROTOCOL_IMAP, TLS, "a AUTHENTICATE PLAIN\r\n*\r\nb NOOP\r\n",
	    "+ \r\na BAD Authentication cancelled.\r\nb OK NOOP completed.\r\n" },
	{ PROTOCOL_IMAP, TLS, "a AUTHENTICATE LOGIN\r\n", "a NO [CANNOT] Unsupported mechanism.\r\n" },
	{ PROTOCOL_IMAP, TLS, "a ID NIL\r\n", "* ID (\"name\" \"mailadm\")\r\na OK ID completed.\r\n" },
	{ PROTOCOL_IMAP, TLS, "a LOGOUT\r\nb NOOP\r\n", "* BYE Logging out.\r\na OK LOGOUT completed.\r\n[close]" },
	{ PROTOCOL_IMAP, TLS, "a SELECT INBOX\r\n", "a BAD Unknown command, or one that needs a login.\r\n" },
	{ PROTOCOL_IMAP, TLS, "a ENABLE X\r\n", "a BAD Unknown command, or one that needs a login.\r\n" },
	{ PROTOCOL_IMAP, TLS, "x\r\nx\r\nx\r\nx\r\nx\r\n",
	    "x BAD Missing command.\r\nx BAD Missing command.\r\nx BAD Missing command.\r\nx BAD Missing command.\r\n"
	    "* BYE Too many errors.\r\n[close]" },
	{ PROTOCOL_IMAP, TLS, "a NOOP\nb NOOP\r\n",
	    "a BAD A line must end in CRLF and hold no NUL.\r\nb OK NOOP completed.\r\n" },
	{ PROTOCOL_POP3, PLAIN, "CAPA\r\n",
	    "+OK\r\nTOP\r\nUIDL\r\nRESP-CODES\r\nAUTH-RESP-CODE\r\nPIPELINING\r\nEXPIRE NEVER\r\nUTF8 USER\r\nLANG\r\n"
	    "IMPLEMENTATION mailadm\r\nSTLS\r\n.\r\n" },
	{ PROTOCOL_POP3, PLAIN, "UTF8\r\nUTF8 x\r\nLANG en\r\nLANG\r\nLANG *\r\nLANG xx\r\n",
	    "+OK UTF8 enabled.\r\n-ERR UTF8 takes no argument.\r\n+OK en This is English.\r\n+OK Languages:\r\n"
	    "i-default Default language\r\nen English\r\n.\r\n+OK i-default This is the default language.\r\n"
	    "-ERR That language is not available.\r\n" },
	{ PROTOCOL_POP3, PLAIN, "AUTH SCRAM-SHA-256 eA==\r\n", "-ERR [AUTH] Logging in needs TLS.\r\n" },
	{ PROTOCOL_IMAP, PLAIN, "a AUTHENTICATE SCRAM-SHA-256 eA==\r\n",
	    "a NO [PRIVACYREQUIRED] Logging in needs TLS.\r\n" },
	{ PROTOCOL_IMAP, TLS, "a AUTHENTICATE SCRAM-SHA-256\r\n*\r\na NOOP\r\n",
	    "+ \r\na BAD Authentication cancelled.\r\na OK NOOP completed.\r\n" },
	{ PROTOCOL_POP3, TLS, "AUTH SCRAM-SHA-256 =\r\n", "-ERR Invalid SASL response.\r\n" },
	{ PROTOCOL_POP3, PLAIN, "USER ok\r\n", "-ERR [AUTH] Logging in needs TLS.\r\n" },
	{ PROTOCOL_POP3, PLAIN, "STLS\r\nUSER ok\r\nPASS a b\r\n",
	    "+OK Begin TLS negotiation now.\r\n[tls]+OK Send PASS.\r\n[ok:a b][in]" },
	{ PROTOCOL_POP3, TLS, "PASS x\r\n", "-ERR Send USER first.\r\n" },
	{ PROTOCOL_POP3, TLS, "USER u\r\nPASS x{3}\r\nPASS x\r\n",
	    "+OK Send PASS.\r\n[u:x{3}]-ERR [AUTH] Authentication failed.\r\n-ERR Send USER first.\r\n" },
	{ PROTOCOL_POP3, TLS, "AUTH PLAIN AG9rAHB3\r\n", "[ok:pw][in]" },
	{ PROTOCOL_POP3, TLS, "AUTH PLAIN\r\nAG9rAHB3\r\n", "+ \r\n[ok:pw][in]" },
	{ PROTOCOL_POP3, TLS, "AUTH\r\nAUTH X\r\nQUIT\r\n",
	    "+OK\r\nPLAIN\r\n.\r\n-ERR Unsupported mechanism.\r\n+OK Bye.\r\n[close]" },
	{ PROTOCOL_POP3, TLS, "STAT\r\nRETR 1\r\nX\r\nY\r\n",
	    "-ERR Unknown command, or one that needs a login.\r\n-ERR Unknown command, or one that needs a login.\r\n"
	    "-ERR Unknown command, or one that needs a login.\r\n-ERR Unknown command, or one that needs a login.\r\n"
	    "-ERR Too many errors.\r\n[close]" },
};

static void test_dialogues(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		for (size_t step = 1; step <= 1000; step += 999) {
			struct buf got = BUF_INIT(10000);

			dialogue(cases[i].protocol, cases[i].kind, cases[i].input, step, &got);
			assert_string_equal(buf_str(&got), cases[i].want);
			buf_free(&got);
		}
	}
}

static void test_greeting(void **state)
{
	struct preauth p;

	(void)state;
	preauth_init(&p, PROTOCOL_IMAP, false, true, false, 4);
	preauth_greet(&p, "mail.example.org");
	assert_string_equal(buf_str(&p.out),
	    "* OK [CAPABILITY IMAP4rev1 IMAP4rev2 LITERAL+ SASL-IR ID ENABLE STARTTLS LOGINDISABLED] "
	    "mail.example.org IMAP ready.\r\n");
	preauth_free(&p);
}

static void test_handoff(void **state)
{
	struct handoff h = { .protocol = PROTOCOL_POP3,
		.ticket = "0123456789abcde",
		.tag = "a1",
		.session = "l1-2",
		.peer = "[2001:db8::1]:99",
		.tls = true,
		.rest = VIEW_LIT("b NOOP\r\n") };
	struct buf b = BUF_INIT(IMSG_MAX);
	struct handoff got;

	(void)state;
	assert_int_equal(handoff_put(&b, &h), 0);
	assert_int_equal(handoff_get(buf_view(&b), &got), 0);
	assert_int_equal(got.protocol, PROTOCOL_POP3);
	assert_memory_equal(got.ticket, h.ticket, sizeof(h.ticket));
	assert_string_equal(got.tag, "a1");
	assert_string_equal(got.peer, h.peer);
	assert_true(got.tls);
	assert_true(view_eq(got.rest, "b NOOP\r\n"));
	for (size_t i = 0; i < b.len; i++)
		assert_int_equal(handoff_get((struct view){ b.data, i }, &got), -1);
	buf_addc(&b, 'x');
	assert_int_equal(handoff_get(buf_view(&b), &got), -1);
	buf_free(&b);
}

static void test_address_counts(void **state)
{
	struct address_counts *c = address_counts_new();
	struct sockaddr_in6 six = { .sin6_family = AF_INET6 }, other, mapped = { .sin6_family = AF_INET6 };
	struct sockaddr_in four = { .sin_family = AF_INET };

	(void)state;
	six.sin6_addr.s6_addr[0] = 0x20;
	other = six;
	other.sin6_addr.s6_addr[15] = 7; /* the same /64 */
	assert_true(address_counts_add(c, (void *)&six, 2));
	assert_true(address_counts_add(c, (void *)&other, 2));
	assert_false(address_counts_add(c, (void *)&six, 2));
	address_counts_remove(c, (void *)&other);
	assert_true(address_counts_add(c, (void *)&six, 2));
	address_counts_remove(c, (void *)&six);
	address_counts_remove(c, (void *)&six);
	four.sin_addr.s_addr = htonl(0xc0000201);
	memset(mapped.sin6_addr.s6_addr + 10, 0xff, 2);
	memcpy(mapped.sin6_addr.s6_addr + 12, &four.sin_addr, 4);
	assert_true(address_counts_add(c, (void *)&four, 1));
	assert_false(address_counts_add(c, (void *)&mapped, 1));
	address_counts_remove(c, (void *)&mapped);
	four.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	for (int i = 0; i < 10; i++)
		assert_true(address_counts_add(c, (void *)&four, 1));
	free(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_dialogues),
		cmocka_unit_test(test_greeting),
		cmocka_unit_test(test_handoff),
		cmocka_unit_test(test_address_counts),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("login preauth", tests, NULL, NULL);
}
