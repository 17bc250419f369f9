/*
 * drift.h: what apply/ would change is what somebody else has changed since; besides, an apply that waits or was taken
 * back, and rules of others that decide about our packets.
 */
#include "doctor/drift.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "apply/generation.h"
#include "apply/part.h"
#include "fwgen/kernel.h"

#define ROWS_MAX 20 /* of one part */
#define OTHERS_MAX 32
#define REMEDY "mailadm plan shows it line by line, mailadm apply makes it as the site says"

/* "zone example.org: 3 records differ": what stands before the colon is the subject. */
static void change_row(const struct change *c, struct check_results *out)
{
	const char *colon = strstr(c->what, ": ");
	char *subject = colon ? xasprintf("%s %.*s", c->part, (int)(colon - c->what), c->what) : xstrdup(c->part);
	check_results_add(out, CHECK_WRONG, "drift", subject, REMEDY, "%s", colon ? colon + 2 : c->what);
	free(subject);
}

/* Does the part differ? */
static bool part_rows(const struct part *p, const struct site *site, struct check_results *out)
{
	struct changes changes = { NULL, 0 };
	struct error e = { "" };
	char *why = NULL;
	if (!part_applies(p, site, &why)) {
		check_results_add(
		    out, CHECK_OK, "drift", p->name, "", "not looked at: %s", why ? why : "not on this machine");
		free(why);
		return false;
	}
	int r = p->plan(site, &changes, &e);
	size_t count = changes.count;
	for (size_t i = 0; i < count && i < ROWS_MAX; i++)
		change_row(&changes.at[i], out);
	if (count > ROWS_MAX) {
		char *subject = xasprintf("%s more", p->name);
		check_results_add(out, CHECK_WRONG, "drift", subject, REMEDY, "%zu more differences", count - ROWS_MAX);
		free(subject);
	}
	if (r < 0)
		check_results_add(
		    out, CHECK_UNKNOWN, "drift", p->name, geteuid() == 0 ? "" : "run it as root", "%s", e.text);
	else if (count == 0)
		check_results_add(out, CHECK_OK, "drift", p->name, "", "as the site says");
	changes_free(&changes);
	return count > 0;
}

static void others_rows(const struct site *site, struct check_results *out)
{
	struct fw_other others[OTHERS_MAX];
	struct error e = { "" };
	size_t count = 0;
	if (!part_applies(&part_firewall, site, NULL))
		return;
	if (fw_kernel_others(others, OTHERS_MAX, &count, &e) < 0) {
		check_results_add(out, CHECK_UNKNOWN, "firewall", "others", "", "%s", e.text);
		return;
	}
	for (size_t i = 0; i < count; i++)
		check_results_add(out, others[i].conflicts ? CHECK_WARNING : CHECK_OK, "firewall", others[i].name,
		    others[i].conflicts ? "mailadm fw status says more" : "", "%s", others[i].text);
}

/* What the rules cannot hold, since the machine has no such user. */
static void notes_rows(const struct site *site, struct check_results *out)
{
	struct error e = { "" };
	struct fw_model *model = part_applies(&part_firewall, site, NULL) ? fw_model_of(site, &e) : NULL;
	const char *note = model != NULL ? fw_model_notes(model) : "";

	for (size_t len; *note != '\0'; note += len + 1) {
		len = strcspn(note, "\n");
		check_results_add(out, CHECK_WARNING, "firewall", "users",
		    "create the users of the roles (make users, or the package), then: mailadm apply", "%.*s", (int)len,
		    note);
	}
	fw_model_free(model);
}

static void pending_row(const struct apply_dir *dir, unsigned number, struct check_results *out)
{
	struct generation g;
	struct error e = { "" };
	char *subject = xasprintf("generation %u", number);
	if (generation_load(dir, number, &g, &e) < 0) {
		check_results_add(out, CHECK_WRONG, "apply", subject, "mailadm apply --recover", "%s", e.text);
	} else {
		check_results_add(out, CHECK_WARNING, "apply", subject,
		    g.state == GEN_PENDING ? "mailadm confirm, or wait until it is taken back"
					   : "wait; if it stays, mailadm apply --recover ends it",
		    g.state == GEN_PENDING ? "waits for mailadm confirm" : "is being applied, or was cut off");
		generation_free(&g);
	}
	free(subject);
}

/* The last one, when it did not stay. */
static void last_row(const struct apply_dir *dir, bool drifted, struct check_results *out)
{
	unsigned *numbers = NULL;
	size_t count = 0;
	struct generation g;
	struct error e = { "" };
	if (generations_list(dir, &numbers, &count, &e) == 0 && count > 0 &&
	    generation_load(dir, numbers[count - 1], &g, &e) == 0) {
		char *subject = xasprintf("generation %u", g.number);
		if (g.state == GEN_ROLLED_BACK || g.state == GEN_FAILED)
			check_results_add(out, drifted ? CHECK_WARNING : CHECK_OK, "apply", subject,
			    drifted ? "correct the site file and mailadm apply again, or put the file back" : "",
			    "%s%s%s", g.state == GEN_FAILED ? "failed and was taken back" : "was taken back",
			    g.reason[0] ? ": " : "", g.reason);
		else
			check_results_add(out, CHECK_OK, "apply", subject, "", "%s", generation_state_name(g.state));
		free(subject);
		generation_free(&g);
	}
	free(numbers);
}

static void apply_rows(const struct site *site, bool drifted, struct check_results *out)
{
	struct apply_dir dir;
	struct error e = { "" };
	unsigned number = 0;
	char *path = site_state(site, "apply");
	bool there = access(path, F_OK) == 0;
	free(path);
	if (!there)
		return; /* nothing was applied yet */
	if (apply_dir_open(site->state_dir, false, &dir, &e) < 0) {
		check_results_add(out, CHECK_UNKNOWN, "apply", "", "run it as root", "%s", e.text);
		return;
	}
	int pending = pending_read(&dir, &number, &e);
	if (pending < 0)
		check_results_add(out, CHECK_WRONG, "apply", "pending", "mailadm apply --recover", "%s", e.text);
	else if (pending > 0)
		pending_row(&dir, number, out);
	else
		last_row(&dir, drifted, out);
	apply_dir_close(&dir);
}

/* Does systemd load the confirmed firewall at boot?  The unit serves the installed site alone. */
static void boot_row(const struct site *site, struct check_results *out)
{
	static const char unit[] = "/etc/systemd/system/sysinit.target.wants/mailadm-firewall.service";
	char *rules = site_state(site, "firewall.nft");
	if (strcmp(site->path, SITE_DEFAULT) == 0 && access("/run/systemd/system", F_OK) == 0 &&
	    access(rules, F_OK) == 0 && access(unit, F_OK) < 0)
		check_results_add(out, CHECK_WARNING, "firewall", "boot", "systemctl enable mailadm-firewall",
		    "the rules would not be loaded after a restart of the machine");
	free(rules);
}

void drift_check(const struct site *site, struct check_results *out)
{
	bool drifted = false;
	for (size_t i = 0; parts[i]; i++)
		drifted = part_rows(parts[i], site, out) || drifted;
	apply_rows(site, drifted, out);
	others_rows(site, out);
	notes_rows(site, out);
	boot_row(site, out);
}
