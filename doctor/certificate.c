/*
 * The certificate of the site, as a client would judge it: dates, host.name among its names, a chain that leads to a
 * root this machine trusts, and its key.
 */
#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "doctor/certificate.h"
#include "lib/clock.h"
#include "lib/pem.h"

#define SOON_DAYS 14
#define NOW_DAYS 5

int certificate_load(const struct site *site, struct certificate *c, struct error *e)
{
	struct buf text = BUF_INIT(PEM_FILE_MAX), key = BUF_INIT(PEM_FILE_MAX);
	bool own = site->tls.certificate[0] != '\0';
	struct error ignored;
	*c = (struct certificate){ 0 };
	c->file = own ? site_path(site, site->tls.certificate) : site_state(site, "tls/cert.pem");
	c->key_file = own ? site_path(site, site->tls.key) : site_state(site, "tls/key.pem");
	if (pem_file_read(c->file, &text, e) == 0 && !(c->leaf = pem_certificate(buf_view(&text), &c->chain)))
		error_set(e, "%s holds no PEM certificate", c->file);
	c->readable_key = pem_file_read(c->key_file, &key, &ignored) == 0;
	if (c->readable_key)
		c->key = pem_private_key(buf_view(&key));
	pem_wipe(&key);
	buf_free(&text);
	if (c->leaf)
		certificate_dates(c->leaf, &c->not_before, &c->not_after);
	return c->leaf ? 0 : -1;
}

void certificate_free(struct certificate *c)
{
	X509_free(c->leaf);
	sk_X509_pop_free(c->chain, X509_free);
	EVP_PKEY_free(c->key);
	free(c->file);
	free(c->key_file);
	*c = (struct certificate){ 0 };
}

static int64_t seconds_of(const ASN1_TIME *t)
{
	struct tm tm = { 0 };
	return ASN1_TIME_to_tm(t, &tm) == 1 ? timegm(&tm) : 0;
}

void certificate_dates(X509 *x, int64_t *not_before, int64_t *not_after)
{
	*not_before = seconds_of(X509_get0_notBefore(x));
	*not_after = seconds_of(X509_get0_notAfter(x));
}

void certificate_judge_dates(
    const char *subject, int64_t not_before, int64_t not_after, const char *remedy, struct check_results *out)
{
	int64_t now = clock_wall(), left = not_after - now;
	char age[32], date[32] = "";
	time_t t = (time_t)not_after;
	struct tm tm;
	if (gmtime_r(&t, &tm))
		strftime(date, sizeof(date), "%Y-%m-%d", &tm);
	doctor_age(left < 0 ? -left : left, age);
	if (left <= 0)
		check_results_add(out, CHECK_WRONG, "certificate", subject, remedy, "expired on %s, %s ago", date, age);
	else if (not_before > now)
		check_results_add(out, CHECK_WRONG, "certificate", subject,
		    "look at the clock of this machine, and at the file", "not valid yet");
	else if (left < SOON_DAYS * 86400)
		check_results_add(out, left < NOW_DAYS * 86400 ? CHECK_WRONG : CHECK_WARNING, "certificate", subject,
		    remedy, "expires on %s, in %s", date, age);
	else
		check_results_add(out, CHECK_OK, "certificate", subject, "", "valid until %s", date);
}

/* Why no root of this machine's vouches for it, or NULL. */
static const char *distrust(const struct certificate *c)
{
	const char *why = "no memory";
	X509_STORE *store = X509_STORE_new();
	X509_STORE_CTX *ctx = X509_STORE_CTX_new();
	if (store && ctx && X509_STORE_set_default_paths(store) == 1 &&
	    X509_STORE_CTX_init(ctx, store, c->leaf, c->chain) == 1) {
		X509_STORE_CTX_set_purpose(ctx, X509_PURPOSE_SSL_SERVER);
		X509_VERIFY_PARAM_set_flags(
		    X509_STORE_CTX_get0_param(ctx), X509_V_FLAG_NO_CHECK_TIME); /* said already */
		why = X509_verify_cert(ctx) == 1 ? NULL : X509_verify_cert_error_string(X509_STORE_CTX_get_error(ctx));
	}
	X509_STORE_CTX_free(ctx);
	X509_STORE_free(store);
	ERR_clear_error();
	return why;
}

static void judge_chain(const struct certificate *c, struct check_results *out)
{
	const char *why;
	if (X509_self_signed(c->leaf, 1) == 1)
		check_results_add(out, CHECK_WARNING, "chain", c->file,
		    "get one from a CA (certbot; share/certbot has the hook): other hosts and most clients will not "
		    "trust this",
		    "self-signed");
	else if ((why = distrust(c)) != NULL)
		check_results_add(out, CHECK_WRONG, "chain", c->file,
		    "put the CA's intermediate certificates behind yours (certbot's fullchain.pem)", "%s", why);
	else
		check_results_add(out, CHECK_OK, "chain", c->file, "", "leads to a root this machine trusts");
}

void doctor_certificate(const struct doctor *d, struct check_results *out)
{
	struct certificate c;
	struct error e = { "" };
	const char *remedy = d->site->tls.certificate[0]
	                         ? "renew it, then: mailadm reload"
	                         : "remove it, and mailadm reload makes a new one; better: get one from a CA";
	if (certificate_load(d->site, &c, &e) == -1) {
		int why = access(c.file, R_OK) == 0 ? 0 : errno;
		bool unknown = why == EACCES || (why != 0 && !d->site->tls.certificate[0]); /* serve has not made it */
		check_results_add(out, unknown ? CHECK_UNKNOWN : CHECK_WRONG, "certificate", c.file,
		    "mailadm serve makes a self-signed one; or name yours as tls.certificate", "%s", e.text);
		certificate_free(&c);
		return;
	}
	certificate_judge_dates(c.file, c.not_before, c.not_after, remedy, out);
	if (X509_check_host(c.leaf, d->site->host.name, 0, 0, NULL) != 1)
		check_results_add(
		    out, CHECK_WRONG, "names", c.file, "get one that names it", "it is not for %s", d->site->host.name);
	else
		check_results_add(out, CHECK_OK, "names", c.file, "", "it is for %s", d->site->host.name);
	judge_chain(&c, out);
	if (!c.readable_key)
		check_results_add(out, CHECK_UNKNOWN, "key", c.key_file, "run it as root", "cannot be read");
	else if (!c.key)
		check_results_add(out, CHECK_WRONG, "key", c.key_file, "give the key of this certificate",
		    "it holds no PEM key without a passphrase");
	else if (X509_check_private_key(c.leaf, c.key) != 1)
		check_results_add(out, CHECK_WRONG, "key", c.key_file, "give the key of this certificate",
		    "it is not the key of %s", c.file);
	else
		check_results_add(out, CHECK_OK, "key", c.key_file, "", "it is the certificate's");
	ERR_clear_error();
	certificate_free(&c);
}
