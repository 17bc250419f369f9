/*
 * What the running host shows to those who connect: on each of its listeners with TLS (behind STARTTLS or from the
 * first byte) the certificate of the site's file, not an older one.
 */
#include <errno.h>
#include <netdb.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "doctor/certificate.h"
#include "mailsvc/control.h"

#define LIMIT_MS 3000u /* for each answer */
#define REPLY_MAX 2048

/* Lines of the greeting and of replies, byte by byte: nothing behind STARTTLS's reply may be taken. */
static int read_line(int fd, char out[REPLY_MAX])
{
	for (size_t len = 0; len + 1 < REPLY_MAX; len++) {
		if (read(fd, out + len, 1) != 1)
			return -1;
		if (out[len] == '\n') {
			out[len] = '\0';
			return 0;
		}
	}
	return -1;
}

/* Reads lines to the last one of a reply: "250 ", "OK", a tag, "+OK". */
static int expect(int fd, const char *start)
{
	char line[REPLY_MAX];
	size_t len = strlen(start);
	for (int i = 0; i < 100; i++) {
		if (read_line(fd, line) == -1)
			return -1;
		if (strncmp(line, start, len) == 0)
			return 0;
		if (line[0] != '*' && strncmp(line, start, 3) != 0)
			return -1;
	}
	return -1;
}

static int say(int fd, const char *line)
{
	return send(fd, line, strlen(line), MSG_NOSIGNAL) == (ssize_t)strlen(line) ? 0 : -1;
}

static int start_tls(int fd, enum service service)
{
	switch (service) {
	case SERVICE_SMTP:
	case SERVICE_SUBMISSION:
		return expect(fd, "220 ") || say(fd, "EHLO doctor.invalid\r\n") || expect(fd, "250 ") ||
		               say(fd, "STARTTLS\r\n") || expect(fd, "220 ")
		           ? -1
		           : 0;
	case SERVICE_IMAP:
		return expect(fd, "* OK") || say(fd, "a STARTTLS\r\n") || expect(fd, "a OK") ? -1 : 0;
	case SERVICE_POP3:
		return expect(fd, "+OK") || say(fd, "STLS\r\n") || expect(fd, "+OK") ? -1 : 0;
	default:
		return 0; /* TLS from the first byte */
	}
}

static int connect_to(const char *address, unsigned port, uint64_t left_ms, struct error *e)
{
	const struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV };
	const uint64_t ms = left_ms < LIMIT_MS ? left_ms + 1 : LIMIT_MS; /* 0 is no limit */
	const struct timeval limit = { .tv_sec = (time_t)(ms / 1000), .tv_usec = (suseconds_t)(ms % 1000 * 1000) };
	struct addrinfo *list = NULL;
	char text[16];
	int fd = -1;
	snprintf(text, sizeof(text), "%u", port);
	if (getaddrinfo(address, text, &hints, &list) != 0)
		return error_set(e, "%s is no address", address);
	fd = socket(list->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd == -1)
		error_errno(e, "socket");
	else if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) == -1 ||
		 setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)) == -1 ||
		 connect(fd, list->ai_addr, list->ai_addrlen) == -1) {
		error_errno(e, "connect");
		close(fd);
		fd = -1;
	}
	freeaddrinfo(list);
	return fd;
}

/* The certificate that is shown there, or NULL. */
static X509 *ask(const struct doctor *d, const char *address, unsigned port, enum service service, struct error *e)
{
	X509 *x = NULL;
	int fd = connect_to(address, port, doctor_left_ms(d), e);
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	SSL *ssl = ctx ? SSL_new(ctx) : NULL;
	if (fd == -1 || !ssl) {
		if (fd != -1)
			error_set(e, "no memory");
		goto out;
	}
	if (start_tls(fd, service) == -1)
		error_set(e, "it offers no TLS");
	else if (SSL_set_fd(ssl, fd) == 1 && SSL_set_tlsext_host_name(ssl, d->site->host.name) == 1 &&
		 SSL_connect(ssl) == 1)
		x = SSL_get1_peer_certificate(ssl);
	else
		error_set(e, "the TLS handshake fails");
out:
	SSL_free(ssl);
	SSL_CTX_free(ctx);
	if (fd != -1)
		close(fd);
	ERR_clear_error();
	return x;
}

static void judge(
    const struct doctor *d, X509 *shown, const struct certificate *c, const char *subject, struct check_results *out)
{
	if (X509_check_host(shown, d->site->host.name, 0, 0, NULL) != 1)
		check_results_add(out, CHECK_WRONG, "served", subject,
		    "give a certificate that names it, then: mailadm reload",
		    "it shows a certificate that is not for %s", d->site->host.name);
	else if (c->leaf && X509_cmp(shown, c->leaf) != 0)
		check_results_add(out, CHECK_WRONG, "served", subject, "mailadm reload",
		    "it shows another certificate than %s holds now", c->file);
	else
		check_results_add(out, CHECK_OK, "served", subject, "", "it shows the certificate of the site");
}

static void check_listener(
    const struct doctor *d, const json_t *l, const struct certificate *c, struct check_results *out)
{
	const char *name = json_string_value(json_object_get(l, "service")),
		   *address = json_string_value(json_object_get(l, "address"));
	json_int_t port = json_integer_value(json_object_get(l, "port"));
	enum service service = SERVICE_COUNT;
	struct error e = { "" };
	for (int i = 0; name && i < SERVICE_COUNT; i++)
		if (strcmp(services[i].name, name) == 0)
			service = (enum service)i;
	if (service == SERVICE_COUNT || !address || port < 1 || port > 65535)
		return;
	char *subject = xasprintf("%s %s %lld", name, address, (long long)port);
	if (doctor_left_ms(d) == 0) {
		check_results_add(out, CHECK_UNKNOWN, "served", subject, "give it more time with --timeout",
		    "the others took all the time");
		free(subject);
		return;
	}
	X509 *shown = ask(d, address, (unsigned)port, service, &e);
	if (shown)
		judge(d, shown, c, subject, out);
	else
		check_results_add(
		    out, CHECK_WRONG, "served", subject, "see the log, and: mailadm status", "%s", e.text);
	X509_free(shown);
	free(subject);
}

void doctor_served(const struct doctor *d, struct check_results *out)
{
	struct certificate c;
	struct error e = { "" };
	json_t *status = doctor_host_status(d->site, &e), *l;
	size_t i;
	if (!status) {
		char *socket = xasprintf("%s/" CONTROL_SOCKET, d->site->run_dir);
		bool hidden = access(socket, W_OK) == -1 && errno == EACCES; /* from who asks: it may well run */
		check_results_add(out, hidden ? CHECK_UNKNOWN : CHECK_WRONG, "served", d->site->host.name,
		    hidden ? "run it as root" : "start it: systemctl start mailadm", "%s", e.text);
		free(socket);
		return;
	}
	certificate_load(d->site, &c, &e);
	json_array_foreach(json_object_get(status, "listeners"), i, l) check_listener(d, l, &c, out);
	certificate_free(&c);
	json_decref(status);
}
