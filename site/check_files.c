/*
 * Cross-checks that read files: the certificate against its key and the host's name, the DKIM public keys beside the
 * site; and the advice that comes last. A file that is not here is a warning: `mailadm check` also runs on a git
 * checkout, where keys are not.
 */
#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "check.h"

static FILE *open_file(
    const struct site *site, const char *name, const struct site_origin *at, const char *what, struct findings *f)
{
	char *path = site_path(site, name);
	FILE *file = fopen(path, "re");
	if (!file)
		findings_add(
		    f, true, at, "%s %s cannot be read: %s; it must be there to serve", what, path, strerror(errno));
	free(path);
	return file;
}

static int no_passphrase(char *buf, int size, int rwflag, void *arg)
{
	(void)buf;
	(void)size;
	(void)rwflag;
	(void)arg;
	return -1;
}

static void check_certificate(const struct site *site, X509 *certificate, EVP_PKEY *key, struct findings *f)
{
	struct site_origin at = check_origin(site, "tls.certificate");
	if (key && X509_check_private_key(certificate, key) != 1)
		findings_add(f, false, &at,
		    "tls.certificate and tls.key do not belong together; name the key of this certificate");
	if (site->host.name && X509_check_host(certificate, site->host.name, 0, 0, NULL) != 1)
		findings_add(
		    f, false, &at, "tls.certificate is not for %s; get one that names host.name", site->host.name);
	if (X509_cmp_current_time(X509_get0_notAfter(certificate)) < 0)
		findings_add(f, true, &at, "tls.certificate has expired; renew it");
}

static void check_tls(const struct site *site, struct findings *f)
{
	X509 *certificate = NULL;
	EVP_PKEY *key = NULL;
	struct site_origin at = check_origin(site, "tls.certificate"), key_at = check_origin(site, "tls.key");
	if (!site->tls.certificate[0] || !site->tls.key[0])
		return;
	FILE *file = open_file(site, site->tls.certificate, &at, "tls.certificate", f);
	if (file && !(certificate = PEM_read_X509(file, NULL, no_passphrase, NULL)))
		findings_add(f, false, &at,
		    "tls.certificate holds no PEM certificate; name a file with -----BEGIN CERTIFICATE-----");
	if (file)
		fclose(file);
	file = open_file(site, site->tls.key, &key_at, "tls.key", f);
	if (file && !(key = PEM_read_PrivateKey(file, NULL, no_passphrase, NULL)))
		findings_add(f, false, &key_at,
		    "tls.key holds no PEM key without a passphrase; name a file with -----BEGIN PRIVATE KEY-----");
	if (file)
		fclose(file);
	if (certificate)
		check_certificate(site, certificate, key, f);
	ERR_clear_error();
	X509_free(certificate);
	EVP_PKEY_free(key);
}

static void check_dkim(const struct site *site, struct findings *f)
{
	for (size_t i = 0; i < site->domain_count; i++) {
		const struct site_domain *d = &site->domains[i];
		if (!d->name || !d->dkim_selector)
			continue;
		char *path = xasprintf("%s/dkim/%s.%s.pub", site->dir, d->name, d->dkim_selector);
		if (access(path, F_OK) < 0)
			findings_add(f, true, &d->origin,
			    "domain %s has no DKIM key beside the site (dkim/%s.%s.pub); run mailadm dns keygen",
			    d->name, d->name, d->dkim_selector);
		free(path);
	}
}

void check_files(const struct site *site, struct findings *f)
{
	check_tls(site, f);
}

void check_advice(const struct site *site, bool files, struct findings *f)
{
	struct site_origin at = check_origin(site, "firewall.admin_from");
	if (!site->firewall.admin_from.count && !site->port_offset)
		findings_add(f, true, &at,
		    "firewall.admin_from is empty, so that ssh is open to everyone; name where you administer from");
	at = check_origin(site, "dns.nameservers");
	if (site->dns.nameservers.count == 1)
		findings_add(f, true, &at, "dns.nameservers names one server; most registries want two: add another");
	if (files)
		check_dkim(site, f);
}
