/*
 * The part `firewall`: the rules in the kernel.  What the boot unit loads, STATE/firewall.nft, is compared too, but
 * written only when an apply is confirmed (generation.h), so that a reboot before that comes back with the old rules.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "apply/internal.h"
#include "fwgen/kernel.h"
#include "lib/proc.h"

#define NO_TABLE "no-table"

char *firewall_boot_path(const char *state_dir)
{
	return xasprintf("%s/firewall.nft", state_dir);
}

int firewall_boot_text(const struct site *site, struct buf *text, struct error *e)
{
	struct fw_model *model = fw_model_of(site, e);
	int r = model != NULL ? fw_model_text(model, text) : -1;

	if (model != NULL && r < 0)
		error_set(e, "the firewall is larger than %zu bytes", text->max);
	fw_model_free(model);
	return r;
}

static int plan_boot(const struct site *site, struct changes *changes, struct error *e)
{
	struct buf has = BUF_INIT(FIREWALL_TEXT_MAX), want = BUF_INIT(FIREWALL_TEXT_MAX);
	char *path = firewall_boot_path(site->state_dir);
	int r = firewall_boot_text(site, &want, e);

	if (r == 0 && access(path, F_OK) == 0)
		r = file_read(path, FIREWALL_TEXT_MAX, &has, e);
	if (r == 0 && (has.len != want.len || memcmp(has.data, want.data, has.len) != 0))
		changes_add(changes, "firewall", VIEW_NONE, "%s, which is loaded at boot, %s", path,
		    has.len > 0 ? "has other rules" : "is not there");
	buf_free(&has);
	buf_free(&want);
	free(path);
	return r;
}

static int plan_kernel(const struct site *site, struct changes *changes, struct error *e)
{
	int there = fw_kernel_present(e), r = -1;
	struct buf diff = BUF_INIT(FIREWALL_TEXT_MAX);
	struct fw_model *model;

	if (there < 0)
		return -1;
	model = fw_model_of(site, e);
	if (model != NULL)
		r = fw_kernel_compare(model, &diff, e);
	if (r > 0 && there == 0)
		changes_add(changes, "firewall", buf_view(&diff), "table inet " FW_TABLE " is not loaded");
	else if (r > 0)
		changes_add(changes, "firewall", buf_view(&diff), "the loaded rules differ");
	fw_model_free(model);
	buf_free(&diff);
	return r < 0 ? -1 : 0;
}

/* While an apply waits for its confirmation the old rules are what a boot is to load. */
static bool is_pending(const struct site *site)
{
	char *path = site_state(site, "apply/pending");
	bool there = access(path, F_OK) == 0;

	free(path);
	return there;
}

static int plan(const struct site *site, struct changes *changes, struct error *e)
{
	if (fw_is_recent(e) < 0 || plan_kernel(site, changes, e) < 0)
		return -1;
	return is_pending(site) ? 0 : plan_boot(site, changes, e);
}

static int capture_boot(const struct site *site, const char *dir, struct error *e)
{
	char *path = firewall_boot_path(site->state_dir);
	struct buf text = BUF_INIT(FIREWALL_TEXT_MAX);
	int r = 0;

	if (access(path, F_OK) == 0)
		r = file_read(path, FIREWALL_TEXT_MAX, &text, e) < 0
		        ? -1
		        : capture_put(dir, FIREWALL_CAPTURED_BOOT, buf_view(&text), e);
	buf_free(&text);
	free(path);
	return r;
}

static int capture(const struct site *site, const char *dir, struct error *e)
{
	struct buf text = BUF_INIT(FIREWALL_TEXT_MAX);
	int r = fw_kernel_save(&text, e);

	if (r == 0)
		r = capture_put(dir, text.len > 0 ? FIREWALL_CAPTURED : NO_TABLE, buf_view(&text), e);
	buf_free(&text);
	return r < 0 ? -1 : capture_boot(site, dir, e);
}

static int apply(const struct site *site, struct error *e)
{
	struct fw_model *model = fw_model_of(site, e);
	int r = model != NULL ? fw_kernel_load(model, e) : -1;

	fw_model_free(model);
	return r;
}

/* No file at all is a capture that was cut off, before anything was changed: there is nothing to put back. */
static int restore(const struct site *site, const char *dir, struct error *e)
{
	struct buf text = BUF_INIT(FIREWALL_TEXT_MAX);
	int r = capture_take(dir, FIREWALL_CAPTURED, FIREWALL_TEXT_MAX, &text, e);

	(void)site;
	if (r == 0)
		r = capture_take(dir, NO_TABLE, FIREWALL_TEXT_MAX, &text, e);
	if (r > 0)
		r = fw_kernel_restore(buf_view(&text), e);
	buf_free(&text);
	return r;
}

const struct part part_firewall = { "firewall", machine_is_ours, plan, capture, apply, restore };
