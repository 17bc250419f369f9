/*
 * verify.h, what needs more than DNS: the MTA-STS policy over HTTPS (curl fetches it, with the address that our
 * resolver gave), and the certificate that the mail server shows, against the TLSA records (RFC 7672).
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "dnsgen/verify_internal.h"
#include "lib/proc.h"

#define FETCH_S "8"
#define SMTP_S 5
#define POLICY_MAX 65536 /* RFC 8461 3.3 */
#define MAX_AGE_MIN 86400

/* ---- MTA-STS */

/* The values of a key, one after the other: at is where to go on. */
static bool policy_next(struct view *at, const char *key, struct view *value)
{
	while (at->len > 0) {
		const char *end = memchr(at->ptr, '\n', at->len);
		struct view line = { at->ptr, end ? (size_t)(end - at->ptr) : at->len };
		at->ptr += line.len + (end != NULL);
		at->len -= line.len + (end != NULL);
		size_t len = strlen(key);
		if (line.len <= len || memcmp(line.ptr, key, len) != 0 || line.ptr[len] != ':')
			continue;
		*value = (struct view){ line.ptr + len + 1, line.len - len - 1 };
		while (value->len > 0 && strchr(" \t", value->ptr[0])) {
			value->ptr++;
			value->len--;
		}
		while (value->len > 0 && strchr(" \t\r", value->ptr[value->len - 1]))
			value->len--;
		return true;
	}
	return false;
}

/* "mail.example.org", or "*.example.org", which stands for one label. */
static bool mx_matches(struct view pattern, const char *host)
{
	const char *dot = strchr(host, '.');
	if (pattern.len > 1 && pattern.ptr[0] == '*')
		return dot && view_caseeq((struct view){ pattern.ptr + 1, pattern.len - 1 }, dot);
	return view_caseeq(pattern, host);
}

static void check_policy_text(struct verify *v, const struct verify_domain *vd, struct view text)
{
	struct view at = text, value, mode = VIEW_NONE;
	bool found = false;
	uint64_t age = 0;
	while (policy_next(&at, "mx", &value))
		found = found || mx_matches(value, v->site->host.name);
	at = text;
	policy_next(&at, "mode", &mode);
	at = text;
	if (!policy_next(&at, "max_age", &value) || view_u64(value, UINT64_C(31557600), &age) == -1)
		age = 0;
	at = text;
	if (!policy_next(&at, "version", &value) || !view_eq(value, "STSv1"))
		check_results_add(v->out, CHECK_WRONG, "mta-sts", vd->d->name,
		    "serve the file that mailadm writes beside the zones", "what the web server answers is no policy");
	else if (!view_eq(mode, vd->d->mta_sts))
		check_results_add(v->out, CHECK_WRONG, "mta-sts", vd->d->name,
		    "serve the file that mailadm writes beside the zones", "the policy's mode is %.*s, the site's %s",
		    (int)mode.len, mode.ptr, vd->d->mta_sts);
	else if (!found)
		check_results_add(v->out, CHECK_WRONG, "mta-sts", vd->d->name,
		    "serve the file that mailadm writes beside the zones",
		    "the policy does not name %s: senders that obey it send no mail", v->site->host.name);
	else if (age < MAX_AGE_MIN)
		check_results_add(v->out, CHECK_WARNING, "mta-sts", vd->d->name,
		    "serve the file that mailadm writes beside the zones",
		    "the policy is good for less than a day (max_age)");
	else
		check_results_add(
		    v->out, CHECK_OK, "mta-sts", vd->d->name, "", "the policy is served, mode %s", vd->d->mta_sts);
}

void verify_sts_policy(struct verify *v, struct verify_domain *vd)
{
	struct buf out = BUF_INIT(POLICY_MAX), err = BUF_INIT(1024);
	struct error e = { "" };
	if (strcmp(vd->d->mta_sts, "none") == 0 || !vd->d->mail)
		return;
	char *host = xasprintf("mta-sts.%s", vd->d->name);
	char *url = xasprintf("https://%s/.well-known/mta-sts.txt", host);
	const struct lookup_answer *a = lookup(v->lookup, NULL, host, LDNS_RR_TYPE_A);
	ldns_rr_list *records = lookup_records(a, host, LDNS_RR_TYPE_A, NULL);
	char *address =
	    ldns_rr_list_rr_count(records) ? lookup_name(ldns_rr_rdf(ldns_rr_list_rr(records, 0), 0)) : NULL;
	char *resolve = address ? xasprintf("%s:443:%s", host, address) : xstrdup("");
	char *argv[] = { "curl", "-sS", "--fail", "--proto", "=https", "--max-time", FETCH_S, "--max-redirs", "0",
		"--max-filesize", "65536", url, address ? "--resolve" : NULL, resolve, NULL };
	bool asked = lookup_answered(a) && !lookup_expired(v->lookup);
	int status = asked ? proc_run(argv, VIEW_NONE, &out, &err, &e) : error_set(&e, "%s: %s", host, a->why);
	if (status == -1 || status == 127)
		check_results_add(v->out, CHECK_UNKNOWN, "mta-sts", vd->d->name,
		    "install curl; give more time with --timeout", "the policy was not fetched%s%s",
		    e.text[0] ? ": " : "", e.text);
	else if (status != 0)
		check_results_add(v->out, CHECK_WRONG, "mta-sts", vd->d->name,
		    "serve the file that mailadm writes beside the zones, with a valid certificate for the name",
		    "%s: %s", url, buf_str(&err));
	else
		check_policy_text(v, vd, buf_view(&out));
	ldns_rr_list_free(records);
	free(address);
	free(resolve);
	free(url);
	free(host);
	buf_free(&out);
	buf_free(&err);
}

/* ---- TLSA */

static int connect_to(const char *address, uint16_t port)
{
	struct sockaddr_storage to = { 0 };
	struct sockaddr_in *in4 = (struct sockaddr_in *)&to;
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&to;
	bool six = inet_pton(AF_INET6, address, &in6->sin6_addr) == 1;
	struct timeval limit = { .tv_sec = SMTP_S };
	if (six)
		in6->sin6_port = htons(port);
	else if (inet_pton(AF_INET, address, &in4->sin_addr) == 1)
		in4->sin_port = htons(port);
	else
		return -1;
	to.ss_family = six ? AF_INET6 : AF_INET;
	int fd = socket(to.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	/* The limit holds for connect too: it is what a send waits at most. */
	if (fd != -1 && setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) == 0 &&
	    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)) == 0 &&
	    connect(fd, (struct sockaddr *)&to, six ? sizeof(*in6) : sizeof(*in4)) == 0)
		return fd;
	if (fd != -1)
		close(fd);
	return -1;
}

/* Reads replies up to the end of one; true when it begins with the code. */
static bool smtp_reply(int fd, const char *code)
{
	char text[8192];
	size_t len = 0, start = 0;
	while (len < sizeof(text) - 1) {
		ssize_t n = recv(fd, text + len, sizeof(text) - 1 - len, 0);
		if (n <= 0)
			return false;
		len += (size_t)n;
		text[len] = '\0';
		char *end;
		while ((end = memchr(text + start, '\n', len - start)) != NULL) {
			bool last = (size_t)(end - (text + start)) >= 4 && text[start + 3] != '-';
			if (last)
				return memcmp(text + start, code, 3) == 0;
			start = (size_t)(end - text) + 1;
		}
	}
	return false;
}

static bool smtp_say(int fd, const char *line, const char *code)
{
	size_t len = strlen(line);
	return send(fd, line, len, MSG_NOSIGNAL) == (ssize_t)len && smtp_reply(fd, code);
}

/* The chain that a mail server shows after STARTTLS, own certificate first; NULL with the reason. */
static STACK_OF(X509) * fetch_chain(const char *address, uint16_t port, const char *name, const char **why)
{
	STACK_OF(X509) *chain = NULL;
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	SSL *ssl = ctx ? SSL_new(ctx) : NULL;
	int fd = connect_to(address, port);
	*why = fd == -1 ? "it cannot be reached" : "it does not offer STARTTLS";
	if (fd != -1 && ssl && smtp_reply(fd, "220") && smtp_say(fd, "EHLO localhost\r\n", "250") &&
	    smtp_say(fd, "STARTTLS\r\n", "220")) {
		*why = "the TLS handshake failed";
		SSL_set_fd(ssl, fd);
		SSL_set_tlsext_host_name(ssl, name);
		if (SSL_connect(ssl) == 1 && SSL_get_peer_cert_chain(ssl) != NULL)
			chain = X509_chain_up_ref(SSL_get_peer_cert_chain(ssl));
		if (chain)
			SSL_shutdown(ssl);
	}
	ERR_clear_error();
	SSL_free(ssl);
	SSL_CTX_free(ctx);
	if (fd != -1)
		close(fd);
	return chain;
}

/* Does the TLSA record name this certificate, or its key? */
static bool tlsa_names(const ldns_rr *rr, X509 *x)
{
	uint8_t selector = ldns_rdf2native_int8(ldns_rr_rdf(rr, 1)),
		matching = ldns_rdf2native_int8(ldns_rr_rdf(rr, 2));
	const ldns_rdf *want = ldns_rr_rdf(rr, 3);
	unsigned char *der = NULL, digest[EVP_MAX_MD_SIZE];
	int len = selector == 1 ? i2d_X509_PUBKEY(X509_get_X509_PUBKEY(x), &der) : i2d_X509(x, &der);
	const unsigned char *data = der;
	unsigned size = len > 0 ? (unsigned)len : 0;
	if (len > 0 && matching > 0) {
		EVP_Digest(der, (size_t)len, digest, &size, matching == 1 ? EVP_sha256() : EVP_sha512(), NULL);
		data = digest;
	}
	bool same = size > 0 && ldns_rdf_size(want) == size && memcmp(ldns_rdf_data(want), data, size) == 0;
	OPENSSL_free(der);
	return same;
}

/* RFC 7672 3.1: usage 3 is the server's own certificate, 2 one above it. */
static bool chain_fits(const ldns_rr_list *records, STACK_OF(X509) * chain)
{
	for (size_t i = 0; i < ldns_rr_list_rr_count(records); i++) {
		const ldns_rr *rr = ldns_rr_list_rr(records, i);
		uint8_t usage = ldns_rr_rd_count(rr) == 4 ? ldns_rdf2native_int8(ldns_rr_rdf(rr, 0)) : 255;
		for (int k = 0; k < sk_X509_num(chain); k++)
			if (((usage == 3 && k == 0) || usage == 2) && tlsa_names(rr, sk_X509_value(chain, k)))
				return true;
	}
	return false;
}

static void check_chain(struct verify *v, const struct verify_domain *vd, const ldns_rr_list *records)
{
	const char *addresses[VERIFY_ADDRESSES], *why = "it has no address", *at = "";
	uint16_t port = site_port(v->site, SERVICE_SMTP);
	STACK_OF(X509) *chain = NULL;
	verify_addresses(v->site, addresses);
	/* Behind NAT the public address may not be reachable from inside. */
	const char *tries[] = { addresses[0], addresses[1], v->site->host.ipv4, v->site->host.ipv6,
		v->site->listen.loopback ? "127.0.0.1" : "" };
	for (size_t i = 0; i < sizeof(tries) / sizeof(tries[0]) && chain == NULL && !lookup_expired(v->lookup); i++) {
		if (tries[i][0] == '\0')
			continue;
		at = tries[i];
		chain = fetch_chain(at, port, v->site->host.name, &why);
	}
	if (chain == NULL)
		check_results_add(v->out, CHECK_UNKNOWN, "tlsa", vd->d->name, "start the host, and ask again",
		    "the certificate on %s port %u cannot be seen: %s", at, port, why);
	else if (!chain_fits(records, chain))
		check_results_add(v->out, CHECK_WRONG, "tlsa", vd->d->name,
		    "mailadm dns push; a new key needs its record before it is used: DANE senders defer mail until "
		    "then",
		    "no TLSA record fits the certificate on %s port %u", at, port);
	else
		check_results_add(
		    v->out, CHECK_OK, "tlsa", vd->d->name, "", "fits the certificate on %s port %u", at, port);
	sk_X509_pop_free(chain, X509_free);
}

void verify_certificate(struct verify *v, struct verify_domain *vd)
{
	char *name = xasprintf("_25._tcp.%s", v->site->host.name);
	size_t host = strlen(v->site->host.name), len = strlen(vd->d->name);
	bool inside = host >= len && strcmp(v->site->host.name + host - len, vd->d->name) == 0 &&
	              (host == len || v->site->host.name[host - len - 1] == '.');
	if (inside && v->site->listen.on[SERVICE_SMTP]) {
		const struct lookup_answer *a = lookup(v->lookup, NULL, name, LDNS_RR_TYPE_TLSA);
		ldns_rr_list *records = lookup_records(a, name, LDNS_RR_TYPE_TLSA, NULL);
		if (ldns_rr_list_rr_count(records) > 0 && !a->validated)
			check_results_add(v->out, CHECK_WARNING, "tlsa", vd->d->name, "see the row dnssec",
			    "the records are not validated by DNSSEC, so that no sender looks at them");
		if (ldns_rr_list_rr_count(records) > 0)
			check_chain(v, vd, records);
		ldns_rr_list_free(records);
	}
	free(name);
}
