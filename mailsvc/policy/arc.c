/*
 * Verifying an ARC chain (RFC 8617 5.2).  What can be found wrong without DNS is, and then nothing is looked up; else
 * all keys are looked up at once, each name once.  Older message signatures, which most often no longer match, only
 * tell since when the message is as it is.
 */
#include "arc.h"

#include <openssl/evp.h>
#include <stdlib.h>

#include "arc_sets.h"
#include "authres.h"
#include "dkim_verify_field.h"
#include "lib/log.h"
#include "name.h"

#define WORK_MAX (8u << 20)      /* bytes of header that older message signatures may have hashed */
#define CANONICAL_MAX (4u << 20) /* the header is at most 1 MiB */

struct arc_verify {
	arc_verify_fn fn;
	void *arg;
	struct dkim_lookups *lookups;
	struct arc_verdict verdict;
	struct dkim_field *fields; /* message signatures, then seals; each kind from instance 1 */
	unsigned count;            /* of each */
};

const char *arc_result_name(enum arc_result r)
{
	static const char *const names[] = { "none", "pass", "fail" };

	return names[r];
}

bool arc_vouches(const struct arc_verdict *v, bool (*trusted)(void *arg, struct view sealer), void *arg)
{
	const char *sealer = v->sealers;

	for (unsigned i = v->instance; v->result == ARC_PASS && i > 0 && sealer[0] != '\0'; i--) {
		uint64_t bit = UINT64_C(1) << (i - 1);
		size_t len = strcspn(sealer, ":");

		if (!trusted(arg, (struct view){ sealer, len }))
			return false;
		if ((v->dmarc_said & bit) == 0 || (v->dmarc_passed & bit) != 0)
			return true;
		sealer += len + (sealer[len] == ':');
	}
	return false;
}

static struct dkim_field *message_signature(const struct arc_verify *v, unsigned instance)
{
	return &v->fields[instance - 1];
}

static struct dkim_field *seal(const struct arc_verify *v, unsigned instance)
{
	return &v->fields[v->count + instance - 1];
}

void arc_verify_cancel(struct arc_verify *v)
{
	if (v == NULL)
		return;
	dkim_lookups_free(v->lookups);
	for (unsigned i = 0; i < 2 * v->count; i++)
		dkim_field_free(&v->fields[i]);
	free(v->fields);
	free(v);
}

static void fail(struct arc_verify *v, const char *what, unsigned instance, const char *why)
{
	v->verdict.result = ARC_FAIL;
	if (instance > 0)
		policy_say(v->verdict.reason, sizeof(v->verdict.reason), "%s %u: %s", what, instance, why);
	else
		policy_say(v->verdict.reason, sizeof(v->verdict.reason), "%s", why);
}

/* The verdict of a field that the chain needs; false: the chain has failed. */
static bool passes(struct arc_verify *v, struct dkim_field *f, const char *what, unsigned instance)
{
	if (dkim_field_open(f))
		dkim_field_judge(f, dkim_lookups_get(v->lookups, f->key));
	if (f->result.verdict == DKIM_PASS)
		return true;
	v->verdict.temporary = f->result.verdict == DKIM_TEMPERROR;
	fail(v, what, instance, f->result.reason);
	return false;
}

/* The newest that no longer matches ends it: one above it is the oldest that does (5.2 step 5). */
static unsigned oldest_pass(struct arc_verify *v)
{
	for (unsigned i = v->count - 1; i > 0; i--) {
		struct dkim_field *f = message_signature(v, i);
		if (dkim_field_open(f))
			dkim_field_judge(f, dkim_lookups_get(v->lookups, f->key));
		if (f->result.verdict != DKIM_PASS)
			return i + 1;
	}
	return 0;
}

static void judge(struct arc_verify *v)
{
	if (!passes(v, message_signature(v, v->count), "ARC-Message-Signature", v->count))
		return;
	for (unsigned i = v->count; i > 0; i--)
		if (!passes(v, seal(v, i), "ARC-Seal", i))
			return;
	v->verdict.result = ARC_PASS;
	v->verdict.oldest_pass = oldest_pass(v);
	policy_say(v->verdict.reason, sizeof(v->verdict.reason), "ok");
}

static void done(void *arg)
{
	struct arc_verify *v = arg;

	if (v->verdict.reason[0] == '\0')
		judge(v);
	v->fn(v->arg, &v->verdict);
	arc_verify_cancel(v);
}

/* What each seal signs (5.1.1): all sets up to it, in order, and itself. */
static void hash_seals(struct arc_verify *v, const struct arc_sets *sets)
{
	EVP_MD_CTX *ctx = dkim_hash_new();
	struct buf canonical = BUF_INIT(CANONICAL_MAX);

	for (unsigned i = 1; i <= v->count; i++) {
		arc_set_hash(&sets->sets[i - 1], ctx, &canonical);
		if (dkim_field_open(seal(v, i))) {
			buf_reset(&canonical);
			dkim_field_put(seal(v, i), &canonical);
			dkim_hash_so_far(ctx, buf_view(&canonical), seal(v, i)->hash);
		}
		buf_reset(&canonical);
		dkim_header(DKIM_RELAXED, sets->sets[i - 1].seal.field, &canonical);
		dkim_hash_add(ctx, buf_view(&canonical));
	}
	buf_free(&canonical);
	EVP_MD_CTX_free(ctx);
}

static void hash_messages(struct arc_verify *v, struct dkim_header *header, size_t header_len, struct view body)
{
	struct dkim_field *list[ARC_INSTANCES_MAX];
	size_t work = 0;

	for (unsigned i = v->count; i > 0; i--) {
		struct dkim_field *f = list[i - 1] = message_signature(v, i);
		work += header_len;
		if (dkim_field_open(f) && work > WORK_MAX && i < v->count)
			dkim_field_fail(f, DKIM_POLICY, "the header is too large to look at all signatures");
		if (dkim_field_open(f))
			dkim_header_hash(header, f);
	}
	dkim_fields_body(list, v->count, body);
}

static void read_fields(struct arc_verify *v, const struct arc_sets *sets, int64_t now)
{
	struct buf names = BUF_INIT(sizeof(v->verdict.sealers) - 1);
	bool room = true;

	v->count = sets->count;
	v->fields = xcalloc(2 * (size_t)v->count, sizeof(*v->fields));
	for (unsigned i = v->count; i > 0; i--) {
		const struct arc_set *set = &sets->sets[i - 1];
		dkim_field_read(message_signature(v, i), DKIM_FIELD_ARC_MESSAGE, &set->message_signature, now);
		dkim_field_read(seal(v, i), DKIM_FIELD_ARC_SEAL, &set->seal, now);
		const char *domain = seal(v, i)->result.domain;
		room = room && domain[0] != '\0' && names.len + 1 + strlen(domain) <= names.max;
		if (room)
			buf_printf(&names, "%s%s", names.len > 0 ? ":" : "", domain);
	}
	view_copy(buf_view(&names), v->verdict.sealers, sizeof(v->verdict.sealers));
	view_copy(view_of(seal(v, v->count)->result.domain), v->verdict.sealer, sizeof(v->verdict.sealer));
	view_copy(view_of(seal(v, v->count)->result.selector), v->verdict.selector, sizeof(v->verdict.selector));
	buf_free(&names);
}

/* Does the chain stand as far as can be told without keys?  Fails it, or wants its keys. */
static void prepare(struct arc_verify *v, const struct arc_sets *sets, struct dkim_header *header, struct view message)
{
	size_t header_len = mime_header_len(message);

	hash_messages(v, header, header_len, dkim_body_of(message, header_len));
	hash_seals(v, sets);
	if (!dkim_field_open(message_signature(v, v->count))) {
		passes(v, message_signature(v, v->count), "ARC-Message-Signature", v->count);
		return;
	}
	for (unsigned i = v->count; i > 0; i--) {
		if (!dkim_field_open(seal(v, i))) {
			passes(v, seal(v, i), "ARC-Seal", i);
			return;
		}
	}
	for (unsigned i = 0; i < 2 * v->count; i++)
		dkim_field_want(&v->fields[i], v->lookups);
}

static void check(struct arc_verify *v, const struct arc_sets *sets, struct view message, int64_t now)
{
	struct dkim_header *header = dkim_header_new((struct view){ message.ptr, mime_header_len(message) });

	if (sets->problem != NULL)
		fail(v, "", 0, sets->problem);
	else if (dkim_header_problem(header) != NULL)
		fail(v, "", 0, dkim_header_problem(header));
	else
		read_fields(v, sets, now);
	if (v->verdict.reason[0] == '\0' && view_eq(sets->sets[sets->count - 1].cv, "fail"))
		fail(v, "ARC-Seal", sets->count, "it says cv=fail");
	if (v->verdict.reason[0] == '\0')
		prepare(v, sets, header, message);
	dkim_header_free(header);
}

static void begin(struct arc_verify *v, struct view message, int64_t now)
{
	struct arc_sets *sets = xcalloc(1, sizeof(*sets));
	const struct arc_set *newest;

	arc_sets_read(sets, (struct view){ message.ptr, mime_header_len(message) });
	newest = &sets->sets[sets->count > 0 ? sets->count - 1 : 0];
	v->verdict.instance = sets->count;
	v->verdict.authres = newest->authres;
	v->verdict.closed = sets->count == ARC_INSTANCES_MAX || view_eq(newest->cv, "fail");
	for (unsigned i = 0; i < sets->count; i++) {
		enum authres_word word = authres_says(sets->sets[i].authres, "dmarc");
		v->verdict.dmarc_said |= word != AUTHRES_ABSENT ? UINT64_C(1) << i : 0;
		v->verdict.dmarc_passed |= word == AUTHRES_PASS ? UINT64_C(1) << i : 0;
	}
	if (sets->any)
		check(v, sets, message, now);
	else
		policy_say(v->verdict.reason, sizeof(v->verdict.reason), "there is no ARC set");
	free(sets);
}

struct arc_verify *arc_verify_start(
    const struct policy_dns *dns, struct view message, int64_t now, arc_verify_fn fn, void *arg)
{
	struct arc_verify *v = xcalloc(1, sizeof(*v));

	v->fn = fn;
	v->arg = arg;
	v->lookups = dkim_lookups_new(dns, done, v);
	begin(v, message, now);
	dkim_lookups_start(v->lookups);
	return v;
}
