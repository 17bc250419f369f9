/*
 * Cross-checks that ask this machine: the certificate against its key and the host's name, the DKIM public keys beside
 * the site, what the firewall reads, secrets, users; and the advice that comes last. What is not here is a warning:
 * `mailadm check` also runs on a git checkout, where keys are not.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"
#include "lib/pem.h"
#include "lib/text.h"
#include "secrets.h"

/* The file's text, or -1 and a warning. */
static int read_pem(const struct site *site, const char *name, const struct site_origin *at, const char *what,
    struct buf *out, struct findings *f)
{
	char *path = site_path(site, name);
	struct error e;
	int r = pem_file_read(path, out, &e);
	if (r < 0)
		findings_add(f, true, at, "%s %s; it must be there to serve", what, e.text);
	free(path);
	return r;
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

static void check_trust(const struct site *site, struct findings *f)
{
	struct site_origin at = check_origin(site, "tls.trust");
	char *path = site_path(site, site->tls.trust);

	if (site->tls.trust[0] && access(path, R_OK) < 0)
		findings_add(f, true, &at, "tls.trust %s: %s; it must be there to serve", path, strerror(errno));
	free(path);
}

static void check_tls(const struct site *site, struct findings *f)
{
	X509 *certificate = NULL;
	EVP_PKEY *key = NULL;
	struct site_origin at = check_origin(site, "tls.certificate"), key_at = check_origin(site, "tls.key");
	if (!site->tls.certificate[0] || !site->tls.key[0])
		return;
	struct buf text = BUF_INIT(PEM_FILE_MAX), secret = BUF_INIT(PEM_FILE_MAX);
	if (read_pem(site, site->tls.certificate, &at, "tls.certificate", &text, f) == 0 &&
	    !(certificate = pem_certificate(buf_view(&text), NULL)))
		findings_add(f, false, &at,
		    "tls.certificate holds no PEM certificate; name a file with -----BEGIN CERTIFICATE-----");
	if (read_pem(site, site->tls.key, &key_at, "tls.key", &secret, f) == 0 &&
	    !(key = pem_private_key(buf_view(&secret))))
		findings_add(f, false, &key_at,
		    "tls.key holds no PEM key without a passphrase; name a file with -----BEGIN PRIVATE KEY-----");
	buf_free(&text);
	pem_wipe(&secret);
	if (certificate)
		check_certificate(site, certificate, key, f);
	ERR_clear_error();
	X509_free(certificate);
	EVP_PKEY_free(key);
}

/* Is there a public key under the selector, or one that a rollover made of it: SELECTOR-20261124? */
static bool has_dkim(const struct site *site, const struct site_domain *d, const char *selector)
{
	char *path = xasprintf("%s/dkim/%s.%s.pub", site->dir, d->name, selector);
	bool found = access(path, F_OK) == 0;
	char *prefix = xasprintf("%s.%.51s-", d->name, selector), *folder = xasprintf("%s/dkim", site->dir);
	size_t len = strlen(prefix);
	DIR *dir = found ? NULL : opendir(folder);
	const struct dirent *entry;
	while (dir && !found && (entry = readdir(dir)) != NULL) {
		const char *rest = entry->d_name + len;
		found = strncmp(entry->d_name, prefix, len) == 0 && *rest != '\0' &&
		        strcmp(rest + strspn(rest, "0123456789-"), ".pub") == 0;
	}
	if (dir)
		closedir(dir);
	free(folder);
	free(prefix);
	free(path);
	return found;
}

static void check_dkim(const struct site *site, struct findings *f)
{
	for (size_t i = 0; i < site->domain_count; i++) {
		const struct site_domain *d = &site->domains[i];
		const char *missing = NULL;
		if (!d->name || !d->dkim_selector || !d->dkim_ed25519 || !d->mail)
			continue;
		if (!has_dkim(site, d, d->dkim_selector))
			missing = d->dkim_selector;
		else if (d->dkim_ed25519[0] && !has_dkim(site, d, d->dkim_ed25519))
			missing = d->dkim_ed25519;
		if (missing)
			findings_add(f, true, &d->origin,
			    "domain %s has no DKIM key beside the site (dkim/%s.%s.pub); run mailadm dns keygen", d->name,
			    d->name, missing);
	}
}

static void check_readable(
    const struct site *site, const struct strings *names, const char *row, const char *user, struct findings *f)
{
	struct site_origin at = check_origin(site, row);
	for (size_t i = 0; i < names->count; i++) {
		char *path = site_path(site, names->at[i]);
		struct stat st;
		int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a FIFO must not hold the check up */
		if (fd < 0)
			findings_add(
			    f, true, &at, "%s: %s cannot be read: %s; %s needs it", row, path, strerror(errno), user);
		else if (fstat(fd, &st) == 0 && !S_ISREG(st.st_mode))
			findings_add(f, false, &at, "%s: %s is no file; name a file", row, path);
		if (fd >= 0)
			close(fd);
		free(path);
	}
}

static void check_users(const struct site *site, struct findings *f)
{
	for (size_t i = 0; i < site->firewall.out_count; i++) {
		const struct site_egress *w = &site->firewall.out[i];
		if (w->name && w->user[0] && !getpwnam(w->user))
			findings_add(f, true, &w->origin,
			    "way out %s is for the user %s, who is not on this machine; correct the name, or make the "
			    "user",
			    w->name, w->user);
	}
	for (size_t i = 0; i < site->firewall.test_count; i++) {
		const struct site_fwtest *t = &site->firewall.tests[i];
		if (t->user[0] && !getpwnam(t->user))
			findings_add(f, true, &t->origin,
			    "a firewall test sends as %s, who is not on this machine; correct the name, or make the "
			    "user",
			    t->user);
	}
}

/* A TSIG secret is base64 of at least 128 bits (RFC 8945 4.3: as long as the hash is better). */
static const char *wrong_tsig(const char *secret)
{
	static const char base64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	size_t n = strspn(secret, base64), end = strspn(secret + n, "=");
	if (!secret[0])
		return "is missing";
	if (secret[n + end] || end > 2 || (n + end) % 4)
		return "is no base64";
	return n < 22 ? "is too short" : NULL;
}

static void check_secrets(const struct site *site, struct findings *f)
{
	struct site_origin key = check_origin(site, "dns.tsig_key"), user = check_origin(site, "relay.user");
	struct secrets secrets = { 0 };
	struct error e;
	bool needed = site->dns.tsig_key[0] || site->relay.user[0];
	for (size_t i = 0; i < site->route_count; i++)
		needed |= site->routes[i].user[0] != '\0';
	if (!needed || access(site->state_dir, F_OK) < 0)
		return; /* or this is not the host */
	char *path = site_state(site, "secrets");
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	bool hidden = fd < 0 && errno == EACCES; /* from who checks, not from who serves */
	if (fd >= 0 && secrets_load(fd, &secrets, &e) < 0) {
		findings_add(f, true, key.line ? &key : &user, "%s/%s; correct it", site->state_dir, e.text);
		hidden = true;
	}
	const char *wrong = wrong_tsig(secrets.dns_tsig_secret ? secrets.dns_tsig_secret : "");
	if (site->dns.tsig_key[0] && wrong && !hidden)
		findings_add(f, true, &key,
		    "the secret of dns.tsig_key %s; write dns.tsig_secret = \"...\" into %s, with what openssl rand "
		    "-base64 32 prints",
		    wrong, path);
	if (site->relay.user[0] && !hidden && !(secrets.relay_password && secrets.relay_password[0]))
		findings_add(f, true, &user,
		    "the password of relay.user is missing; write relay.password = \"...\" into %s", path);
	for (size_t i = 0; i < site->route_count && !hidden; i++) {
		const struct site_route *r = &site->routes[i];
		if (r->user[0] && r->name && !secrets_route(&secrets, r->name)[0])
			findings_add(f, true, &r->origin,
			    "the password of route %s is missing; write route.%s.password = \"...\" into %s", r->name, r->name, path);
	}
	secrets_free(&secrets);
	if (fd >= 0)
		close(fd);
	free(path);
}

static void check_command(const struct site *site, struct findings *f)
{
	struct site_origin at = check_origin(site, "admin.command");
	const char *command = site->admin.command;
	if (command[0] != '/')
		return;
	char *path = view_dup((struct view){ command, strcspn(command, " ;&|<>'\"$`\\()*?") });
	if (access(path, X_OK) < 0)
		findings_add(
		    f, true, &at, "admin.command: %s cannot be run: %s; correct the path", path, strerror(errno));
	free(path);
}

void check_files(const struct site *site, struct findings *f)
{
	check_tls(site, f);
	check_trust(site, f);
	check_readable(site, &site->firewall.include, "firewall.include", "mailadm fw", f);
	check_readable(site, &site->firewall.block_lists, "firewall.block_lists", "mailadm fw", f);
	check_users(site, f);
	check_command(site, f);
}

void check_advice(const struct site *site, bool files, struct findings *f)
{
	struct site_origin at = check_origin(site, "firewall.admin_from");
	if (!site->firewall.admin_from.count && !site->port_offset)
		findings_add(f, true, &at,
		    "firewall.admin_from is empty, so that ssh is open to everyone; name where you administer from");
	check_dns_advice(site, f);
	if (!files)
		return;
	check_secrets(site, f);
	check_dkim(site, f);
}
