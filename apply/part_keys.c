/*
 * The part `keys`: DKIM keys and the self-signed certificate, made where they are missing.  There is no way back: a key
 * that was made stays, since nothing uses it before zones and daemon name it, and a private key is never deleted.
 */
#include <stdlib.h>
#include <unistd.h>

#include "apply/internal.h"
#include "mailsvc/monitor/dkimkeys.h"
#include "mailsvc/monitor/selfsigned.h"

static bool applies(const struct site *site, struct buf *why)
{
	if (is_gateway(site)) {
		buf_puts(why, "the gateway has none");
		return false;
	}
	if (access(site->state_dir, F_OK) < 0 || access(site->state_dir, R_OK | W_OK | X_OK) == 0)
		return true;
	buf_printf(why, "%s belongs to another user", site->state_dir);
	return false;
}

static bool certificate_missing(const struct site *site)
{
	char *certificate = site_state(site, "tls/cert.pem"), *key = site_state(site, "tls/key.pem");
	bool missing = site->tls.certificate[0] == '\0' && (access(certificate, F_OK) < 0 || access(key, F_OK) < 0);

	free(certificate);
	free(key);
	return missing;
}

static int plan(const struct site *site, struct changes *changes, struct error *e)
{
	int missing = dkim_keys_ensure(site, true, e);
	struct buf names = BUF_INIT(65536);

	if (missing < 0)
		return -1;
	for (size_t i = 0; missing > 0 && i < site->domain_count; i++) {
		char *path = dkim_private_path(site, &site->domains[i]);

		if (access(path, F_OK) < 0)
			buf_printf(&names, "+ %s %s\n", site->domains[i].name, site->domains[i].dkim_selector);
		free(path);
	}
	if (missing > 0)
		changes_add(changes, "keys", buf_view(&names), "%d DKIM key%s made (and then published)", missing,
		    missing == 1 ? " is" : "s are");
	if (certificate_missing(site))
		changes_add(changes, "keys", VIEW_NONE, "a self-signed certificate for %s is made", site->host.name);
	buf_free(&names);
	return 0;
}

static int capture(const struct site *site, const char *dir, struct error *e)
{
	(void)site;
	(void)dir;
	(void)e;
	return 0;
}

static int apply(const struct site *site, struct error *e)
{
	if (site->tls.certificate[0] == '\0' && selfsigned_ensure(site, e) < 0)
		return -1;
	return dkim_keys_ensure(site, false, e) < 0 ? -1 : 0;
}

const struct part part_keys = { "keys", applies, plan, capture, apply, capture };
