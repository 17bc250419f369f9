/* DS records: of the key-signing keys that named keeps in dns.zone_dir/keys, by dnssec-dsfromkey (SHA-256). */
#include <dirent.h>
#include <stdlib.h>
#include <string.h>

#include "dnsgen/dnsgen.h"
#include "lib/proc.h"

#define KEY_FILE_MAX 65536

/* "Kexample.org.+013+12345.key" of this zone? */
static bool is_key_of(const char *name, const char *zone)
{
	size_t len = strlen(zone), n = strlen(name);
	return name[0] == 'K' && strncmp(name + 1, zone, len) == 0 && strncmp(name + 1 + len, ".+", 2) == 0 && n > 4 &&
	       strcmp(name + n - 4, ".key") == 0;
}

/* Flag 257, and not on its way out. */
static bool signs_keys(const char *path)
{
	struct buf text = BUF_INIT(KEY_FILE_MAX), state = BUF_INIT(KEY_FILE_MAX);
	struct error none;
	char *state_path = xasprintf("%.*s.state", (int)(strlen(path) - 4), path);
	bool found = file_read(path, KEY_FILE_MAX, &text, &none) == 0 && strstr(buf_str(&text), "DNSKEY 257 ") != NULL;
	if (found && file_read(state_path, KEY_FILE_MAX, &state, &none) == 0)
		found = strstr(buf_str(&state), "GoalState: hidden") == NULL;
	free(state_path);
	buf_free(&text);
	buf_free(&state);
	return found;
}

static int put_ds(char *path, struct buf *out, struct error *e)
{
	struct buf err = BUF_INIT(4096);
	char *argv[] = { "dnssec-dsfromkey", "-2", path, NULL };
	int status = proc_run(argv, VIEW_NONE, out, &err, e);
	if (status == 127)
		error_set(e, "dnssec-dsfromkey was not found; install bind9-utils");
	else if (status > 0)
		error_set(e, "dnssec-dsfromkey %s: %s", path, buf_str(&err));
	buf_free(&err);
	return status == 0 ? 0 : -1;
}

int dnssec_ds(const struct site *s, const char *zone, struct buf *out, struct error *e)
{
	char *dir = xasprintf("%s/keys", s->dns.zone_dir);
	struct dirent **names = NULL;
	int count = scandir(dir, &names, NULL, alphasort), result = 0;
	size_t before = out->len;
	for (int i = 0; i < count; i++) {
		char *path = xasprintf("%s/%s", dir, names[i]->d_name);
		if (result == 0 && is_key_of(names[i]->d_name, zone) && signs_keys(path))
			result = put_ds(path, out, e);
		free(path);
		free(names[i]);
	}
	free(names);
	if (result == 0 && out->len == before)
		result = error_set(e,
		    "%s: named has made no key for it in %s; is dns.sign on, and has `mailadm dns push` run?", zone,
		    dir);
	free(dir);
	return result;
}
