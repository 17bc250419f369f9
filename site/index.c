/*
 * Hash tables over a loaded site: domains by name, accounts and aliases by address.  Open addressing at most half full,
 * built once; the keys are the site's own strings.
 */
#include <stdlib.h>
#include <string.h>

#include "index.h"

enum kind { KIND_NONE, KIND_DOMAIN, KIND_ACCOUNT, KIND_ALIAS };

struct slot {
	const char *key;
	enum kind kind;
	size_t at; /* in the site's array */
};

struct table {
	struct slot *slots;
	size_t mask;
};

struct site_index {
	struct table domains, addresses;
};

static uint64_t hash(const char *s)
{
	uint64_t h = UINT64_C(0xcbf29ce484222325); /* FNV-1a */
	for (; *s; s++)
		h = (h ^ (unsigned char)*s) * UINT64_C(0x100000001b3);
	return h ^ h >> 32;
}

static void table_init(struct table *t, size_t entries)
{
	size_t size = 16;
	while (size < entries * 2)
		size *= 2;
	t->slots = xcalloc(size, sizeof(*t->slots));
	t->mask = size - 1;
}

/* The slot of key, or the empty one where it would stand. */
static struct slot *table_slot(const struct table *t, const char *key)
{
	size_t i = hash(key) & t->mask;
	while (t->slots[i].key && strcmp(t->slots[i].key, key) != 0)
		i = (i + 1) & t->mask;
	return &t->slots[i];
}

static const struct site_origin *slot_origin(const struct site *site, const struct slot *slot)
{
	if (slot->kind == KIND_DOMAIN)
		return &site->domains[slot->at].origin;
	return slot->kind == KIND_ACCOUNT ? &site->accounts[slot->at].origin : &site->aliases[slot->at].origin;
}

static const char *slot_word(const struct site *site, const struct slot *slot)
{
	if (slot->kind == KIND_DOMAIN)
		return "domain";
	if (slot->kind == KIND_ACCOUNT)
		return "account";
	return site->aliases[slot->at].list ? "list" : "alias";
}

static void add(const struct site *site, const struct table *t, struct slot entry, struct findings *f)
{
	if (!entry.key)
		return; /* its own error was reported when it was read */
	struct slot *slot = table_slot(t, entry.key);
	if (!slot->key) {
		*slot = entry;
		return;
	}
	const struct site_origin *first = slot_origin(site, slot);
	findings_add(f, false, slot_origin(site, &entry), "%s %s is already the %s of %s:%u; remove one of the two",
	    slot_word(site, &entry), entry.key, slot_word(site, slot), first->file, first->line);
}

void index_build(struct site *site, struct findings *f)
{
	struct site_index *index = xcalloc(1, sizeof(*index));
	table_init(&index->domains, site->domain_count);
	table_init(&index->addresses, site->account_count + site->alias_count);
	for (size_t i = 0; i < site->domain_count; i++)
		add(site, &index->domains, (struct slot){ site->domains[i].name, KIND_DOMAIN, i }, f);
	for (size_t i = 0; i < site->account_count; i++)
		add(site, &index->addresses, (struct slot){ site->accounts[i].address, KIND_ACCOUNT, i }, f);
	for (size_t i = 0; i < site->alias_count; i++)
		add(site, &index->addresses, (struct slot){ site->aliases[i].address, KIND_ALIAS, i }, f);
	site->index = index;
}

void index_free(struct site_index *index)
{
	if (!index)
		return;
	free(index->domains.slots);
	free(index->addresses.slots);
	free(index);
}

const struct site_account *site_find_account(const struct site *site, const char *normalised)
{
	const struct slot *slot = table_slot(&site->index->addresses, normalised);
	return slot->kind == KIND_ACCOUNT ? &site->accounts[slot->at] : NULL;
}

const struct site_alias *index_alias(const struct site *site, const char *normalised)
{
	const struct slot *slot = table_slot(&site->index->addresses, normalised);
	return slot->kind == KIND_ALIAS ? &site->aliases[slot->at] : NULL;
}

const struct site_domain *site_find_domain(const struct site *site, const char *normalised)
{
	const struct slot *slot = table_slot(&site->index->domains, normalised);
	return slot->kind == KIND_DOMAIN ? &site->domains[slot->at] : NULL;
}

const struct site_domain *site_zone_of(const struct site *site, const char *name)
{
	while (name) {
		const struct site_domain *d = site_find_domain(site, name);
		if (d)
			return d;
		const char *dot = strchr(name, '.');
		name = dot ? dot + 1 : NULL;
	}
	return NULL;
}

bool site_is_local_domain(const struct site *site, const char *normalised)
{
	return site_find_domain(site, normalised) || (site->host.name && strcmp(site->host.name, normalised) == 0);
}
