/*
 * The part `keys`: DKIM keys and the self-signed certificate, made where they are missing.  There is no way back: a key
 * that was made stays, since nothing uses it before zones and daemon name it, and a private key is never deleted.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "apply/internal.h"
#include "mailsvc/monitor/dkimkeys.h"
#include "mailsvc/monitor/selfsigned.h"

#define NAMES_MAX (4u << 20)
#define MANY_KEYS 8 /* 500 of RSA-2048 take a minute of one processor */
#define KEY_MAKERS_MAX 16

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

static void put_missing(const struct site *site, const struct site_domain *d, enum dkim_algorithm a, struct buf *out)
{
	char *path = dkim_private_path(site, d, a);

	if (path != NULL && access(path, F_OK) < 0)
		buf_printf(out, "+ %s %s %s\n", d->name, dkim_selector_of(d, a), dkim_algorithm_name(a));
	free(path);
}

static int plan(const struct site *site, struct changes *changes, struct error *e)
{
	int missing = dkim_keys_ensure(site, true, e);
	struct buf names = BUF_INIT(NAMES_MAX);

	if (missing < 0)
		return -1;
	for (size_t i = 0; missing > 0 && i < site->domain_count; i++)
		for (enum dkim_algorithm a = DKIM_RSA; a < DKIM_ALGORITHMS && site->domains[i].mail; a++)
			put_missing(site, &site->domains[i], a, &names);
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

/* ---- many keys */

/* Domains that send mail, without the RSA key of the selector that signs. */
struct missing {
	const char **domains;
	char **selectors;
	size_t count;
};

static int find_missing(const struct site *site, struct missing *m, struct error *e)
{
	struct dkim_active active;

	if (dkim_active_load(site, &active, e) < 0)
		return -1;
	m->domains = xcalloc(site->domain_count + 1, sizeof(*m->domains));
	m->selectors = xcalloc(site->domain_count + 1, sizeof(*m->selectors));
	for (size_t i = 0; i < site->domain_count; i++) {
		const struct site_domain *d = &site->domains[i];
		const char *selector = dkim_active_selector(&active, d, DKIM_RSA);
		char *path = dkim_private_file(site, d->name, selector);

		if (d->mail && selector[0] != '\0' && access(path, F_OK) < 0) {
			m->domains[m->count] = d->name;
			m->selectors[m->count++] = xstrdup(selector);
		}
		free(path);
	}
	dkim_active_free(&active);
	return 0;
}

static void missing_free(struct missing *m)
{
	for (size_t i = 0; i < m->count; i++)
		free(m->selectors[i]);
	free(m->selectors);
	free(m->domains);
}

/* Every step-th of them, a byte for each.  What fails is tried again, and said, by who waits for us. */
_Noreturn static void make_share(
    const struct site *site, const struct missing *m, size_t first, size_t step, int report, pid_t parent)
{
	struct error e;

	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent)
		_exit(1);
	for (size_t i = first; i < m->count; i += step)
		if (dkim_key_ensure(site, m->domains[i], DKIM_RSA, m->selectors[i], &e) < 0 ||
		    write(report, ".", 1) != 1)
			break;
	_exit(0);
}

static void show_progress(int from, size_t count)
{
	char bytes[64];
	size_t made = 0;
	ssize_t n;

	while ((n = read(from, bytes, sizeof(bytes))) > 0) {
		made += (size_t)n;
		if (isatty(STDERR_FILENO))
			fprintf(stderr, "\rDKIM keys: %zu of %zu", made, count);
	}
	if (isatty(STDERR_FILENO))
		fputc('\n', stderr);
}

/* In as many processes as there are processors.  When one cannot be had the rest is made by dkim_keys_ensure. */
static void make_many(const struct site *site, const struct missing *m)
{
	long cores = sysconf(_SC_NPROCESSORS_ONLN);
	size_t step = cores > KEY_MAKERS_MAX ? KEY_MAKERS_MAX : cores > 1 ? (size_t)cores : 1;
	pid_t makers[KEY_MAKERS_MAX], parent = getpid();
	int report[2];

	if (pipe(report) < 0)
		return;
	for (size_t i = 0; i < step; i++) {
		makers[i] = fork();
		if (makers[i] == 0)
			make_share(site, m, i, step, report[1], parent);
	}
	close(report[1]);
	show_progress(report[0], m->count);
	close(report[0]);
	for (size_t i = 0; i < step; i++)
		if (makers[i] > 0)
			waitpid(makers[i], NULL, 0);
}

static int apply(const struct site *site, struct error *e)
{
	struct missing m = { .count = 0 };
	int r = 0;

	if (site->tls.certificate[0] == '\0' && selfsigned_ensure(site, e) < 0)
		return -1;
	r = find_missing(site, &m, e);
	if (r == 0 && m.count >= MANY_KEYS)
		make_many(site, &m);
	missing_free(&m);
	return r < 0 || dkim_keys_ensure(site, false, e) < 0 ? -1 : 0;
}

const struct part part_keys = { "keys", applies, plan, capture, apply, capture };
