/*
 * lib/conn.h with TLS: implicit and STARTTLS (command injection), large data both ways, closing, verification, ALPN,
 * session tickets, and what an idle connection costs.
 */
#include "conn_peer.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "lib/sandbox.h"

static struct buf cert_pem = { .max = 100000 }, key_pem = { .max = 100000 };
static SSL_CTX *server_ctx, *client_ctx;

static void add_pem(struct buf *to, BIO *bio)
{
	char *p;
	long n = BIO_get_mem_data(bio, &p);

	buf_add(to, p, (size_t)n);
	BIO_free(bio);
}

/* A self-signed P-256 certificate for mail.example.org. */
static void make_certificate(void)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *cert = X509_new();
	X509_NAME *name = X509_get_subject_name(cert);
	BIO *out = BIO_new(BIO_s_mem());

	X509_set_version(cert, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(cert), 1);
	X509_gmtime_adj(X509_getm_notBefore(cert), -60);
	X509_gmtime_adj(X509_getm_notAfter(cert), 3600);
	X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"mail.example.org", -1, -1, 0);
	X509_set_issuer_name(cert, name);
	X509_set_pubkey(cert, key);
	X509_EXTENSION *san = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, "DNS:mail.example.org");
	X509_add_ext(cert, san, -1);
	X509_EXTENSION_free(san);
	assert_true(X509_sign(cert, key, EVP_sha256()) > 0);
	PEM_write_bio_X509(out, cert);
	add_pem(&cert_pem, out);
	out = BIO_new(BIO_s_mem());
	PEM_write_bio_PrivateKey(out, key, NULL, NULL, 0, NULL, NULL);
	add_pem(&key_pem, out);
	X509_free(cert);
	EVP_PKEY_free(key);
}

static int make_contexts(void **state)
{
	struct error e = { "" };

	(void)state;
	make_certificate();
	server_ctx = tls_server_ctx(buf_view(&cert_pem), buf_view(&key_pem), VIEW_NONE, &e);
	client_ctx = tls_client_ctx(false, &e);
	if (server_ctx == NULL || client_ctx == NULL)
		print_message("# %s\n", e.text);
	return server_ctx == NULL || client_ctx == NULL ? -1 : 0;
}

static int free_contexts(void **state)
{
	(void)state;
	SSL_CTX_free(server_ctx);
	SSL_CTX_free(client_ctx);
	buf_free(&cert_pem);
	buf_free(&key_pem);
	return 0;
}

struct pair {
	struct session server, client;
};

static void open_plain(struct pair *p, SSL_CTX *server)
{
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	session_init(&p->server);
	session_init(&p->client);
	p->server.conn = conn_accept(base, fds[0], server, &session_ops, &p->server);
	p->client.conn = conn_accept(base, fds[1], NULL, &session_ops, &p->client);
}

static void open_tls(struct pair *p, SSL_CTX *server, SSL_CTX *client, const char *sni)
{
	open_plain(p, server);
	conn_start_tls(p->client.conn, client, false, sni);
	conn_resume(p->server.conn);
	conn_resume(p->client.conn);
}

static void close_both(struct pair *p)
{
	session_clear(&p->server);
	session_clear(&p->client);
}

static void talks(void **state)
{
	static char big[3000000];
	struct pair p;

	(void)state;
	for (size_t i = 0; i < sizeof(big); i++)
		big[i] = (char)(i * 7 + i / 1000);
	open_tls(&p, server_ctx, client_ctx, "mail.example.org");
	conn_printf(p.server.conn, "220 "); /* queued before the handshake */
	conn_printf(p.server.conn, "hello\r\n");
	LOOP_UNTIL(p.client.secured, 1);
	LOOP_UNTIL(p.client.readable, 1);
	assert_int_equal(p.server.secured, 1);
	assert_true(conn_is_tls(p.server.conn));
	assert_string_equal(SSL_get_version(conn_ssl(p.server.conn)), "TLSv1.3");
	assert_string_equal(buf_str(&p.client.got), "220 hello\r\n");
	assert_int_equal(p.client.readable, 1); /* one record */
	buf_reset(&p.client.got);
	conn_write(p.client.conn, big, sizeof(big));
	conn_write(p.server.conn, big, sizeof(big));
	while (p.client.got.len < sizeof(big))
		LOOP_UNTIL(p.client.readable, p.client.readable + 1);
	while (p.server.got.len < sizeof(big))
		LOOP_UNTIL(p.server.readable, p.server.readable + 1);
	assert_memory_equal(p.client.got.data, big, sizeof(big));
	assert_memory_equal(p.server.got.data, big, sizeof(big));
	assert_true(p.client.drained >= 1);
	conn_printf(p.server.conn, "bye");
	conn_close(p.server.conn);
	p.server.conn = NULL;
	LOOP_UNTIL(p.client.ended, 1);
	assert_int_equal(p.client.end, CONN_EOF);
	assert_int_equal(p.client.got.len, sizeof(big) + 3);
	close_both(&p);
}

static void pausing_keeps_what_tls_holds(void **state)
{
	struct pair p;

	(void)state;
	open_tls(&p, server_ctx, client_ctx, NULL);
	LOOP_UNTIL(p.server.secured, 1);
	LOOP_UNTIL(p.client.secured, 1);
	p.server.keep = true;
	conn_set_max_input(p.server.conn, 100);
	static char text[10000];
	memset(text, 'x', sizeof(text));
	conn_write(p.client.conn, text, sizeof(text));
	LOOP_UNTIL(p.server.readable, 1);
	loop_idle();
	assert_int_equal(evbuffer_get_length(conn_input(p.server.conn)), 100);
	p.server.keep = false;
	take_all(&p.server); /* from outside: the rest sits in OpenSSL, where no event shows it */
	while (p.server.got.len < sizeof(text))
		LOOP_UNTIL(p.server.readable, p.server.readable + 1);
	close_both(&p);
}

/* An evil client pipelines a command behind STARTTLS; it must vanish. */
static void starttls_discards_what_was_injected(void **state)
{
	struct pair p;
	struct view line;

	(void)state;
	open_plain(&p, NULL);
	p.server.keep = true;
	conn_resume(p.server.conn);
	conn_resume(p.client.conn);
	conn_printf(p.client.conn, "STARTTLS\r\nMAIL FROM:<evil@example.org>\r\n");
	LOOP_UNTIL(p.server.readable, 1);
	assert_int_equal(conn_line(p.server.conn, 100, &line), LINE_OK);
	assert_true(view_eq(line, "STARTTLS"));
	conn_printf(p.server.conn, "220 go\r\n");
	conn_start_tls(p.server.conn, server_ctx, true, NULL);
	conn_printf(p.server.conn, "secret"); /* queued after it: must not leave in plain */
	assert_false(conn_is_tls(p.server.conn));
	LOOP_UNTIL(p.client.readable, 1);
	assert_string_equal(buf_str(&p.client.got), "220 go\r\n");
	conn_start_tls(p.client.conn, client_ctx, false, NULL);
	p.server.keep = false;
	LOOP_UNTIL(p.server.secured, 1);
	LOOP_UNTIL(p.client.secured, 1);
	loop_idle();
	assert_string_equal(buf_str(&p.client.got), "220 go\r\nsecret");
	assert_int_equal(p.server.got.len, 0);
	conn_printf(p.client.conn, "EHLO x\r\n");
	LOOP_UNTIL(p.server.readable, 2);
	assert_string_equal(buf_str(&p.server.got), "EHLO x\r\n");
	close_both(&p);
}

static void plain_text_is_an_error(void **state)
{
	struct pair p;

	(void)state;
	open_plain(&p, server_ctx);
	conn_printf(p.client.conn, "EHLO i.forgot.tls\r\n");
	LOOP_UNTIL(p.server.ended, 1);
	assert_int_equal(p.server.end, CONN_TLS);
	assert_true(p.server.why[0] != '\0');
	close_both(&p);

	open_plain(&p, server_ctx); /* and one that leaves before the handshake */
	session_clear(&p.client);
	LOOP_UNTIL(p.server.ended, 1);
	assert_int_equal(p.server.end, CONN_EOF);
	close_both(&p);
}

static void a_slow_handshake_times_out(void **state)
{
	struct pair p;

	(void)state;
	open_plain(&p, server_ctx);
	conn_set_timeout(p.server.conn, 1, 1);
	LOOP_UNTIL(p.server.ended, 1);
	assert_int_equal(p.server.end, CONN_TIMEOUT);
	close_both(&p);
}

static void verified(SSL_CTX *ctx, const char *name, const char *want)
{
	struct pair p;

	open_tls(&p, server_ctx, ctx, name);
	if (want == NULL) {
		LOOP_UNTIL(p.client.secured, 1);
	} else {
		LOOP_UNTIL(p.client.ended, 1);
		assert_int_equal(p.client.end, CONN_TLS);
		assert_string_equal(p.client.why, want);
		assert_int_equal(p.client.secured, 0);
	}
	close_both(&p);
}

static void verification(void **state)
{
	char path[] = "/tmp/lib-conn-XXXXXX";
	struct error e;
	int fd = mkstemp(path);

	(void)state;
	SSL_CTX *ctx = tls_client_ctx(true, &e);
	if (ctx == NULL)
		fail_msg("%s", e.text);
	verified(ctx, "mail.example.org", "self-signed certificate");
	SSL_CTX_free(ctx);

	assert_int_equal(write(fd, cert_pem.data, cert_pem.len), cert_pem.len);
	close(fd);
	setenv("SSL_CERT_FILE", path, 1);
	ctx = tls_client_ctx(true, &e);
	assert_non_null(ctx);
	unlink(path); /* it was read already */
	verified(ctx, "mail.example.org", NULL);
	verified(ctx, "other.example.org", "hostname mismatch");
	SSL_CTX_free(ctx);
	assert_null(tls_client_ctx(true, &e));
	unsetenv("SSL_CERT_FILE");
}

static void alpn(void **state)
{
	struct error e;
	struct pair p;
	SSL_CTX *server = tls_server_ctx(buf_view(&cert_pem), buf_view(&key_pem), VIEW_LIT("\004imap"), &e);
	SSL_CTX *client = tls_client_ctx(false, &e);
	const unsigned char *chosen;
	unsigned len;

	(void)state;
	SSL_CTX_set_alpn_protos(client, (const unsigned char *)"\002h2\004imap", 8);
	open_tls(&p, server, client, NULL);
	LOOP_UNTIL(p.client.secured, 1);
	SSL_get0_alpn_selected(conn_ssl(p.client.conn), &chosen, &len);
	assert_int_equal(len, 4);
	close_both(&p);

	SSL_CTX_set_alpn_protos(client, (const unsigned char *)"\002h2", 3);
	open_tls(&p, server, client, NULL);
	LOOP_UNTIL(p.client.ended, 1);
	assert_int_equal(p.client.end, CONN_TLS);
	assert_non_null(strstr(p.client.why, "no application protocol"));
	close_both(&p);

	open_tls(&p, server_ctx, client, NULL); /* no list: what is offered does not matter */
	LOOP_UNTIL(p.client.secured, 1);
	close_both(&p);
	SSL_CTX_free(server);
	SSL_CTX_free(client);
}

static void bad_certificates_have_reasons(void **state)
{
	struct error e;
	EVP_PKEY *key = EVP_EC_gen("P-256");
	BIO *bio = BIO_new(BIO_s_mem());
	struct buf foreign = BUF_INIT(10000);

	(void)state;
	PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL);
	add_pem(&foreign, bio);
	EVP_PKEY_free(key);
	assert_null(tls_server_ctx(VIEW_LIT("rubbish"), buf_view(&key_pem), VIEW_NONE, &e));
	assert_string_equal(e.text, "certificate: no start line");
	assert_null(tls_server_ctx(buf_view(&cert_pem), VIEW_LIT("rubbish"), VIEW_NONE, &e));
	assert_non_null(strstr(e.text, "private key"));
	assert_null(tls_server_ctx(buf_view(&cert_pem), buf_view(&foreign), VIEW_NONE, &e));
	assert_non_null(strstr(e.text, "private key"));
	buf_free(&foreign);
}

static SSL_SESSION *kept;

static int keep_session(SSL *ssl, SSL_SESSION *session)
{
	(void)ssl;
	SSL_SESSION_free(kept);
	kept = session;
	return 1;
}

/* Two contexts with one ticket key: what one issued the other resumes. */
static void tickets_are_shared(void **state)
{
	unsigned char key[TLS_TICKET_KEY_BYTES] = { 1, 2, 3 };
	struct error e;
	struct pair p;
	SSL_CTX *one = tls_server_ctx(buf_view(&cert_pem), buf_view(&key_pem), VIEW_NONE, &e);
	SSL_CTX *two = tls_server_ctx(buf_view(&cert_pem), buf_view(&key_pem), VIEW_NONE, &e);
	SSL_CTX *client = tls_client_ctx(false, &e);

	(void)state;
	assert_int_equal(tls_server_set_ticket_key(one, key), 0);
	assert_int_equal(tls_server_set_ticket_key(two, key), 0);
	SSL_CTX_set_session_cache_mode(client, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
	SSL_CTX_sess_set_new_cb(client, keep_session);
	open_tls(&p, one, client, NULL);
	conn_printf(p.server.conn, "x");
	LOOP_UNTIL(p.client.readable, 1);
	assert_non_null(kept);
	close_both(&p);

	open_plain(&p, two);
	conn_start_tls(p.client.conn, client, false, NULL);
	SSL_set_session(conn_ssl(p.client.conn), kept);
	conn_resume(p.client.conn);
	LOOP_UNTIL(p.client.secured, 1);
	assert_true(SSL_session_reused(conn_ssl(p.client.conn)));
	close_both(&p);
	SSL_SESSION_free(kept);
	SSL_CTX_free(one);
	SSL_CTX_free(two);
	SSL_CTX_free(client);
}

/* A whole conversation with no right but to make the socketpair: what OpenSSL opens late would end the child. */
static void works_in_a_sandbox(void **state)
{
	int status;
	pid_t pid = fork();

	(void)state;
	if (pid == 0) {
		struct sandbox s = { .may = SANDBOX_SOCKETPAIR };
		struct error e;
		struct pair p;
		if (sandbox_enter(&s, &e) == -1)
			_exit(1);
		open_tls(&p, server_ctx, client_ctx, "mail.example.org");
		conn_printf(p.server.conn, "220 hello\r\n");
		LOOP_UNTIL(p.client.readable, 1);
		conn_close(p.server.conn);
		LOOP_UNTIL(p.client.ended, 1);
		log_init("test", LOG_LEVEL_ERROR);
		log_warnx("not shown");
		_exit(p.client.got.len == 11 ? 0 : 2);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

#define IDLE 200

/* The far ends live in a child, so that only ours are counted. */
static pid_t start_clients(int fds[IDLE], bool tls)
{
	pid_t pid = fork();

	if (pid != 0)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL); /* a failing test leaves nobody behind */
	event_base_free(base);
	base = event_base_new();
	for (int i = 0; i < IDLE; i++) {
		struct session *s = xcalloc(1, sizeof(*s));
		session_init(s);
		s->conn = conn_accept(base, fds[i], NULL, &session_ops, s);
		if (tls)
			conn_start_tls(s->conn, client_ctx, false, NULL);
		conn_printf(s->conn, "NOOP\r\n");
		conn_resume(s->conn);
	}
	event_base_dispatch(base);
	_exit(0);
}

static size_t resident(void)
{
	char text[200] = "";
	int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
	ssize_t n = read(fd, text, sizeof(text) - 1);
	unsigned long pages = 0;

	close(fd);
	if (n <= 0 || sscanf(text, "%*u %lu", &pages) != 1)
		fail();
	return pages * 4096;
}

static void echo(struct session *s)
{
	take_all(s);
	buf_free(&s->got);
	conn_printf(s->conn, "250 OK\r\n");
}

static void idle_cost(bool tls, size_t limit)
{
	static struct session sessions[IDLE];
	int ours[IDLE], theirs[IDLE];

	for (int i = 0; i < IDLE; i++) {
		int p[2];
		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, p), 0);
		ours[i] = p[0];
		theirs[i] = p[1];
		session_init(&sessions[i]);
	}
	pid_t pid = start_clients(theirs, tls);
	for (int i = 0; i < IDLE; i++)
		close(theirs[i]);
	malloc_trim(0);
	size_t heap = mallinfo2().uordblks, rss = resident();
	for (int i = 0; i < IDLE; i++) {
		sessions[i].on_readable = echo;
		sessions[i].conn = conn_accept(base, ours[i], tls ? server_ctx : NULL, &session_ops, &sessions[i]);
		conn_set_timeout(sessions[i].conn, 300, 300);
		conn_resume(sessions[i].conn);
	}
	for (int i = 0; i < IDLE; i++)
		LOOP_UNTIL(sessions[i].readable, 1);
	loop_idle();
	heap = (mallinfo2().uordblks - heap) / IDLE;
	rss = (resident() - rss) / IDLE;
	print_message("# an idle %s connection: %zu bytes of heap, %zu of RSS\n", tls ? "TLS" : "plain", heap, rss);
#ifndef __SANITIZE_ADDRESS__
	/* RSS counts pages that are partly free after 200 handshakes at once, and varies a little. */
	if (heap > limit || rss > limit + limit / 8)
		fail_msg("wanted at most %zu", limit);
#else
	(void)limit;
#endif
	for (int i = 0; i < IDLE; i++)
		session_clear(&sessions[i]);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static void idle_plain(void **state)
{
	(void)state;
	idle_cost(false, 6 * 1024);
}

static void idle_tls(void **state)
{
	(void)state;
	idle_cost(true, 24 * 1024);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(talks, open_loop, close_loop), /* first: OpenSSL sets itself up */
		cmocka_unit_test_setup_teardown(idle_plain, open_loop, close_loop),
		cmocka_unit_test_setup_teardown(idle_tls, open_loop, close_loop),
		cmocka_unit_test_setup_teardown(pausing_keeps_what_tls_holds, open_loop, close_loop),
		cmocka_unit_test_setup_teardown(starttls_discards_what_was_injected, open_loop, close_loop),
		cmocka_unit_test_setup_teardown(plain_text_is_an_error, open_loop, close_loop),
		cmocka_unit_test_setup_teardown(a_slow_handshake_times_out, open_loop, close_loop),
		cmocka_unit_test_setup_teardown(verification, open_loop, close_loop),
		cmocka_unit_test_setup_teardown(alpn, open_loop, close_loop),
		cmocka_unit_test(bad_certificates_have_reasons),
		cmocka_unit_test_setup_teardown(tickets_are_shared, open_loop, close_loop),
		cmocka_unit_test_setup_teardown(works_in_a_sandbox, open_loop, close_loop),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, make_contexts, free_contexts);
}
