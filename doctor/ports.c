/*
 * Who listens on the host's ports?  Another mail server that is still there takes the port, or the mail.  From
 * /proc/net/tcp and tcp6, and as root the processes behind the sockets.
 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "doctor/doctor.h"
#include "lib/proc.h"

#define TAKEN_MAX 64
#define STATE_LISTEN 0x0a

struct taken {
	unsigned port;
	unsigned long inode;
	char program[32]; /* "" : not known */
};
struct taken_ports {
	struct taken at[TAKEN_MAX];
	size_t count;
};

static bool is_ours(const struct site *site, unsigned port)
{
	for (int s = 0; s < SERVICE_COUNT; s++)
		if (site->listen.on[s] && site_port(site, (enum service)s) == port)
			return true;
	return false;
}

/* "  sl  local_address rem_address st tx:rx tr:tm retrnsmt uid timeout inode" */
static void note_line(const struct site *site, const char *line, struct taken_ports *all)
{
	unsigned port, state;
	unsigned long inode;
	if (sscanf(line, " %*u: %*32[0-9A-F]:%4X %*32[0-9A-F]:%*4X %2X %*s %*s %*s %*u %*u %lu", &port, &state,
		&inode) == 3 &&
	    state == STATE_LISTEN && is_ours(site, port) && all->count < TAKEN_MAX)
		all->at[all->count++] = (struct taken){ .port = port, .inode = inode };
}

static void read_table(const struct site *site, const char *path, struct taken_ports *all)
{
	FILE *in = fopen(path, "re");
	char line[512];
	while (in && fgets(line, sizeof(line), in))
		note_line(site, line, all);
	if (in)
		fclose(in);
}

static void name_of(const char *pid, char out[32])
{
	char *path = xasprintf("/proc/%s/comm", pid);
	struct buf text = BUF_INIT(256);
	struct error e;
	if (file_read(path, 128, &text, &e) == 0)
		snprintf(out, 32, "%.*s", (int)strcspn(buf_str(&text), "\n"), buf_str(&text));
	buf_free(&text);
	free(path);
}

/* The process's open sockets against those that are taken. */
static void look_at(const char *pid, struct taken_ports *all)
{
	char *path = xasprintf("/proc/%s/fd", pid), link[64], name[32] = "";
	DIR *dir = opendir(path);
	const struct dirent *entry;
	while (dir && (entry = readdir(dir)) != NULL) {
		ssize_t n = readlinkat(dirfd(dir), entry->d_name, link, sizeof(link) - 1);
		unsigned long inode;
		link[n < 0 ? 0 : n] = '\0';
		if (sscanf(link, "socket:[%lu]", &inode) != 1)
			continue;
		for (size_t i = 0; i < all->count; i++) {
			if (all->at[i].inode != inode || strcmp(all->at[i].program, "mailsvc") == 0)
				continue;
			if (!name[0])
				name_of(pid, name);
			memcpy(all->at[i].program, name, sizeof(name));
		}
	}
	if (dir)
		closedir(dir);
	free(path);
}

static void find_programs(struct taken_ports *all)
{
	DIR *proc = opendir("/proc");
	const struct dirent *entry;
	while (proc && (entry = readdir(proc)) != NULL)
		if (entry->d_name[0] >= '1' && entry->d_name[0] <= '9')
			look_at(entry->d_name, all);
	if (proc)
		closedir(proc);
}

/* Does the host listen on that port too, on another address? */
static bool host_has(const struct taken_ports *all, unsigned port)
{
	for (size_t i = 0; i < all->count; i++)
		if (all->at[i].port == port && strcmp(all->at[i].program, "mailsvc") == 0)
			return true;
	return false;
}

void doctor_ports(const struct doctor *d, struct check_results *out)
{
	static struct taken_ports all;
	struct error e;
	bool fine = true;
	json_t *status = doctor_host_status(d->site, &e);
	all.count = 0;
	read_table(d->site, "/proc/net/tcp", &all);
	read_table(d->site, "/proc/net/tcp6", &all);
	find_programs(&all);
	for (size_t i = 0; i < all.count; i++) {
		const struct taken *t = &all.at[i];
		char port[16];
		if (strcmp(t->program, "mailsvc") == 0 || (!t->program[0] && status))
			continue;
		fine = false;
		snprintf(port, sizeof(port), "%u", t->port);
		bool too = host_has(&all, t->port);
		check_results_add(out, too ? CHECK_WARNING : CHECK_WRONG, "ports", port,
		    "stop and disable it (systemctl disable --now NAME), or remove its package",
		    too ? "%s listens there too, on another address: what comes to that is not the mail host's"
			: "%s listens there, so the mail host cannot",
		    t->program[0] ? t->program : "another program");
	}
	if (fine)
		check_results_add(out, CHECK_OK, "ports", "", "", "nobody else listens on the host's ports");
	json_decref(status);
}
