/* internal.h: small files in a part's captured folder, and whether the machine is the site's to change. */
#include <linux/capability.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "apply/internal.h"
#include "lib/proc.h"

int capture_put(const char *dir, const char *name, struct view text, struct error *e)
{
	char *path = xasprintf("%s/%s", dir, name);
	int r = file_write_atomic(path, text, 0600, e);

	free(path);
	return r;
}

int capture_take(const char *dir, const char *name, size_t max, struct buf *text, struct error *e)
{
	char *path = xasprintf("%s/%s", dir, name);
	int r = access(path, F_OK) < 0 ? 0 : file_read(path, max, text, e) < 0 ? -1 : 1;

	free(path);
	return r;
}

bool text_is_json(const char *text)
{
	json_t *j = json_string(text);

	json_decref(j);
	return j != NULL;
}

json_t *json_text(const char *text)
{
	json_t *j = json_string(text);

	if (j == NULL) {
		char *plain = xstrdup(text);

		for (char *s = plain; *s != '\0'; s++)
			*s = (unsigned char)*s < 0x80 ? *s : '?';
		j = json_string(plain);
		free(plain);
	}
	return j;
}

bool is_gateway(const struct site *site)
{
	return strcmp(site->role, "gateway") == 0;
}

char *site_full_path(const struct site *site)
{
	char *full = realpath(site->path, NULL);

	return full != NULL ? full : xstrdup(site->path);
}

static bool may_administer_network(void)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2] = { 0 };

	return syscall(SYS_capget, &head, data) == 0 && (data[0].effective & 1u << CAP_NET_ADMIN) != 0;
}

bool machine_is_ours(const struct site *site, struct buf *why)
{
	if (site->port_offset != 0)
		buf_puts(why, "port_offset is set: a host to try things on leaves the machine alone");
	else if (geteuid() != 0 || !may_administer_network())
		buf_puts(why, "only root may look at and change it");
	else
		return true;
	return false;
}
