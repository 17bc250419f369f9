/*
 * Kernel and jail.  Rules may be loaded anew at any time, by us or others, and with them a set may be empty: the
 * generation of the rules is asked for every few seconds, and only when it is another one the sets are read.
 */
#include <stdlib.h>
#include <string.h>

#include "lib/clock.h"
#include "mailsvc/guard/guard.h"

#define APART_MS 10000 /* a difference of times that matters */
#define REST 20        /* after reading, times as long without */

static int64_t wall_ms(void)
{
	return clock_wall_us() / 1000;
}

void guard_ban_of(const struct jail_ban *b, int64_t now_ms, struct ban *out)
{
	int64_t left = b->until * 1000 - now_ms;

	*out = (struct ban){ .ipv6 = b->who.family == 6, .left_ms = left > 0 ? (uint64_t)left : 1 };
	memcpy(out->address, b->who.address, sizeof(out->address));
}

static void source_of(const struct ban *b, struct guard_source *out)
{
	*out = (struct guard_source){ .family = b->ipv6 ? 6 : 4 };
	memcpy(out->address, b->address, b->ipv6 ? 8 : 4);
}

static void kernel_is(struct guard *g, const char *why)
{
	if (strcmp(g->kernel_why, why) == 0)
		return;
	if (why[0] == '\0')
		log_info("event=firewall result=ok bans=%zu", jail_count(g->jail));
	else
		log_info("event=firewall result=unavailable reason=\"%s\"", why);
	view_copy(view_of(why), g->kernel_why, sizeof(g->kernel_why));
}

/* After a change of our own: the next look is only for what others did besides. */
static void own_change(struct guard *g)
{
	struct error e;
	uint32_t now;

	if (bans_generation(g->kernel, &now, &e) == 0 && g->generation_known && now == g->generation + 1)
		g->generation = now;
}

static int kernel_known(const struct guard *g, struct error *e)
{
	return g->kernel_why[0] == '\0' ? 0 : error_set(e, "%s", g->kernel_why);
}

int guard_kernel_add(struct guard *g, const struct jail_ban *b, struct error *e)
{
	struct ban one;

	if (kernel_known(g, e) < 0)
		return -1;
	guard_ban_of(b, wall_ms(), &one);
	if (bans_add(g->kernel, &one, 1, e) < 0) {
		g->generation_known = false;
		return -1;
	}
	own_change(g);
	return 0;
}

int guard_kernel_remove(struct guard *g, const struct guard_source *who, struct error *e)
{
	struct jail_ban b = { .who = *who };
	struct ban one;

	if (g->kernel == NULL || g->aside)
		return 0;
	guard_ban_of(&b, wall_ms(), &one);
	if (bans_remove(g->kernel, &one, 1, e) < 0) {
		g->generation_known = false;
		return -1;
	}
	own_change(g);
	return 0;
}

/* Comparing ----------------------------------------------------------------------------------------------------------
 */

struct many {
	struct ban *at;
	size_t count, room;
};

static void push(struct many *m, const struct ban *b)
{
	if (m->count == m->room) {
		m->room = m->room > 0 ? 2 * m->room : 64;
		m->at = xreallocarray(m->at, m->room, sizeof(*m->at));
	}
	m->at[m->count++] = *b;
}

struct comparing {
	struct many kernel; /* by address */
	struct many missing;
	int64_t now_ms;
};

static void look_for(const struct jail_ban *b, void *arg)
{
	struct comparing *c = arg;
	const struct ban *there;
	struct ban want;

	guard_ban_of(b, c->now_ms, &want);
	there = c->kernel.count > 0 ? bsearch(&want, c->kernel.at, c->kernel.count, sizeof(want), ban_order) : NULL;
	if (there != NULL && there->left_ms < want.left_ms + APART_MS && want.left_ms < there->left_ms + APART_MS)
		return;
	if (there != NULL || want.left_ms > 1000)
		push(&c->missing, &want);
}

/* Elements that the jail does not have: taken over, or taken out. */
static void look_at_kernel(struct guard *g, struct comparing *c, struct many *wrong)
{
	for (size_t i = 0; i < c->kernel.count; i++) {
		const struct ban *b = &c->kernel.at[i];
		int64_t now = c->now_ms / 1000;
		struct jail_ban known = { .since = now, .times = 1, .why = "found in the firewall" };

		source_of(b, &known.who);
		if (b->left_ms == UINT64_MAX || jail_find(g->jail, &known.who, now, &known))
			continue; /* without an end: the administrator's own, who can take it out */
		known.until =
		    b->left_ms / 1000 < JAIL_LONGEST ? now + (int64_t)(b->left_ms / 1000) : now + JAIL_LONGEST;
		if (never_find(&g->never, &known.who) != NULL)
			push(wrong, b);
		else if (known.until > now && (g->compared ? jail_put : jail_resume)(g->jail, &known, now) == 0)
			guard_changed(g);
		else if (b->left_ms > APART_MS) /* over, by a clock that was set since */
			push(wrong, b);
	}
}

static void compare(struct guard *g, struct comparing *c)
{
	struct many wrong = { NULL, 0, 0 };
	struct error e = { "" };

	if (c->kernel.count > 0)
		qsort(c->kernel.at, c->kernel.count, sizeof(*c->kernel.at), ban_order);
	look_at_kernel(g, c, &wrong);
	jail_each(g->jail, false, c->now_ms / 1000, look_for, c);
	if (wrong.count > 0 && bans_remove(g->kernel, wrong.at, wrong.count, &e) == 0)
		own_change(g);
	if (c->missing.count > 0 && bans_add(g->kernel, c->missing.at, c->missing.count, &e) == 0) {
		log_info("event=bans-restored count=%zu", c->missing.count);
		own_change(g);
	}
	kernel_is(g, e.text);
	if (e.text[0] == '\0')
		g->compared = true;
	else
		g->generation_known = false; /* it may pass without a change of the rules: look again */
	free(wrong.at);
	free(c->missing.at);
}

void guard_sync(struct guard *g, bool forced)
{
	struct comparing c = { .now_ms = wall_ms() };
	uint64_t begun = clock_mono_ms();
	uint32_t generation;
	struct error e;

	if (g->kernel == NULL)
		return;
	if (g->aside) {
		g->generation_known = false;
		kernel_is(g, GUARD_ASIDE);
		return;
	}
	if (bans_generation(g->kernel, &generation, &e) < 0) {
		g->generation_known = false;
		kernel_is(g, e.text);
		return;
	}
	if (!forced && ((g->generation_known && generation == g->generation) || begun < g->look_again))
		return;
	g->generation = generation;
	g->generation_known = true;
	if (bans_list(g->kernel, &c.kernel.at, &c.kernel.count, &e) < 0) {
		g->generation_known = false;
		kernel_is(g, e.text);
		return;
	}
	compare(g, &c);
	free(c.kernel.at);
	g->look_again = begun + REST * (clock_mono_ms() - begun);
}
