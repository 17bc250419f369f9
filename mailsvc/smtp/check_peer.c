/*
 * What is known of a peer by its address alone: how often it connects, whether it waits for the greeting, its name by
 * reverse DNS (iprev), and lists of addresses.  All look-ups run at once while the greeting waits; a peer that turns
 * out doubtful is greeted late, since programs that only send spam do not wait long.
 */
#include "mailsvc/smtp/check_impl.h"

#include <ctype.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "lib/clock.h"
#include "lib/ip.h"
#include "lib/text.h"
#include "site/prefix.h"

#define COMMANDS_COUNTED 16 /* commands are counted so many at a time */

/* Rates ---------------------------------------------------------------------------------------------------------- */

static unsigned take(struct smtp_session *s, char what, int limit, unsigned n)
{
	const unsigned char *v4 = ip_v4(&s->peer.sa);
	size_t len = v4 != NULL ? 4 : 8;
	char key[9] = { what };

	memcpy(key + 1, v4 != NULL ? v4 : s->peer.in6.sin6_addr.s6_addr, len);
	return shared_table_rate(
	    s->server->sources, (struct view){ key, 1 + len }, (unsigned)limit, 60, n, clock_wall_us() / 1000);
}

const char *smtp_check_rate(struct smtp_session *s)
{
	if (s->checks == NULL || take(s, 'c', s->site->checks.connection_rate, 1) == 0)
		return NULL;
	return "Too many connections a minute from your address";
}

void smtp_check_command(struct smtp_session *s)
{
	unsigned wait;

	if (s->checks == NULL || ++s->commands % COMMANDS_COUNTED != 0)
		return;
	wait = take(s, 'm', s->site->checks.command_rate, COMMANDS_COUNTED);
	if (wait == 0)
		return;
	if (s->commands == COMMANDS_COUNTED || s->commands % 1024 == 0)
		log_info("id=%s event=slowed reason=\"more commands a minute than checks.command_rate\"", s->id);
	smtp_check_pause(s, wait < 10 ? wait : 10);
}

void smtp_check_early(struct smtp_session *s)
{
	if (s->checks != NULL) {
		if (s->checks->early)
			return;
		s->checks->early = true;
	}
	log_info("id=%s event=early-talker", smtp_log_id(s));
}

/* What makes doubtful -------------------------------------------------------------------------------------------- */

const struct smtp_list_check *smtp_check_listed(const struct smtp_checks *c, bool refuse)
{
	for (size_t i = 0; i < c->list_count; i++)
		if (c->lists[i].listed && !c->lists[i].allow &&
		    (smtp_rule_of(c->lists[i].list->action) == SMTP_RULE_REFUSE) == refuse)
			return &c->lists[i];
	return NULL;
}

bool smtp_check_allowed(const struct smtp_checks *c)
{
	for (size_t i = 0; i < c->list_count; i++)
		if (c->lists[i].listed && c->lists[i].allow)
			return true;
	return false;
}

/* Is there the number, not as a part of a longer one? */
static bool has_number(const char *name, unsigned n)
{
	char text[8];
	size_t len = (size_t)snprintf(text, sizeof(text), "%u", n);

	for (const char *p = strstr(name, text); p != NULL; p = strstr(p + 1, text)) {
		const char *before = p;

		while (before > name && before[-1] == '0') /* "007" */
			before--;
		if ((before == name || !isdigit((unsigned char)before[-1])) && !isdigit((unsigned char)p[len]))
			return true;
	}
	return false;
}

static bool has_address(const char *name, const unsigned char a[4])
{
	char hex[16];
	unsigned found = 0;

	snprintf(hex, sizeof(hex), "%02x%02x%02x%02x", a[0], a[1], a[2], a[3]);
	if (strcasestr(name, hex) != NULL)
		return true;
	for (int i = 0; i < 4; i++)
		found += has_number(name, a[i]);
	return found >= 3;
}

bool smtp_name_dynamic(const char *name, const struct sockaddr *sa)
{
	static const char *const words[] = { "dyn", "dynamic", "dynip", "dsl", "adsl", "vdsl", "xdsl", "ppp", "pppoe",
		"pool", "dhcp", "dial", "dialup", "dialin", "cable", "cust", "customer", "client", "broadband", "ftth",
		"gpon", "mobile", "res", "residential", "catv", "unassigned", NULL };
	const unsigned char *v4 = ip_v4(sa);

	for (const char *p = name; *p != '\0';) {
		size_t n = strspn(p, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ");

		for (size_t i = 0; n > 0 && words[i] != NULL; i++)
			if (strlen(words[i]) == n && strncasecmp(p, words[i], n) == 0)
				return true;
		p += n;
		p += *p != '\0';
	}
	return v4 != NULL && has_address(name, v4);
}

static void doubt(struct buf *out, const char *word)
{
	buf_printf(out, "%s%s", out->len > 0 ? "," : "", word);
}

void smtp_check_doubts(const struct smtp_checks *c, struct buf *out)
{
	if (smtp_check_allowed(c))
		return;
	if (c->iprev_done && (c->iprev.result == IPREV_FAIL || c->iprev.result == IPREV_PERMERROR))
		doubt(out, "no-reverse-dns");
	if (c->iprev_done && c->iprev.result == IPREV_PASS && smtp_name_dynamic(c->iprev.name, &c->session->peer.sa))
		doubt(out, "dynamic-name");
	if (smtp_check_listed(c, false) != NULL || smtp_check_listed(c, true) != NULL)
		doubt(out, "listed");
	if (c->early)
		doubt(out, "early-talker");
}

/* Look-ups ------------------------------------------------------------------------------------------------------- */

bool smtp_check_peer_pending(const struct smtp_checks *c)
{
	return c->iprev_running != NULL || c->lists_running > 0 || clock_mono_ms() < c->greet_at;
}

void smtp_check_peer_cancel(struct smtp_checks *c)
{
	iprev_cancel(c->iprev_running);
	c->iprev_running = NULL;
	for (size_t i = 0; i < c->list_count; i++) {
		c->lists[i].failed |= c->lists[i].running != NULL;
		dnsbl_cancel(c->lists[i].running);
		c->lists[i].running = NULL;
	}
	c->lists_running = 0;
}

/* One look-up has ended.  After the last: a doubtful peer waits some more. */
static void answered(struct smtp_checks *c)
{
	struct buf doubts = BUF_INIT(256);
	uint64_t tarpit = c->session->site->checks.tarpit;

	if (c->iprev_running == NULL && c->lists_running == 0) {
		smtp_check_doubts(c, &doubts);
		if (doubts.len > 0 && tarpit > 0)
			c->greet_at = clock_mono_ms() + tarpit * 1000;
		buf_free(&doubts);
	}
	smtp_check_done(c);
}

static void on_iprev(void *arg, const struct iprev_verdict *verdict)
{
	struct smtp_checks *c = arg;

	c->iprev_running = NULL;
	c->iprev = *verdict;
	c->iprev_done = true;
	answered(c);
}

static bool code_counts(const struct site_dnslist *list, uint32_t code)
{
	char text[16];

	snprintf(text, sizeof(text), "%u.%u.%u.%u", code >> 24, code >> 16 & 255, code >> 8 & 255, code & 255);
	return list->codes.count == 0 || prefix_in(&list->codes, text);
}

static void on_list(void *arg, const struct dnsbl_verdict *verdict)
{
	struct smtp_list_check *l = arg;

	l->running = NULL;
	l->checks->lists_running--;
	l->failed = verdict->failed;
	for (size_t i = 0; verdict->listed && i < verdict->count && !l->listed; i++)
		if (code_counts(l->list, verdict->codes[i])) {
			l->listed = true;
			l->code = verdict->codes[i];
		}
	if (l->listed)
		l->text = xstrdup(verdict->text);
	if (l->failed)
		log_info("id=%s event=list-failed list=%s", l->checks->session->id, l->list->name);
	answered(l->checks);
}

static void start_list(struct smtp_checks *c, const struct site_dnslist *list, bool allow)
{
	struct smtp_list_check *l = &c->lists[c->list_count++];

	*l = (struct smtp_list_check){ .checks = c, .list = list, .allow = allow };
	l->running = dnsbl_start(&c->session->server->policy, &c->session->peer.sa, list->name, on_list, l);
	c->lists_running += l->running != NULL;
}

void smtp_check_peer(struct smtp_session *s)
{
	struct smtp_checks *c = s->checks;
	const struct site *site = s->site;
	bool names;

	if (c == NULL)
		return;
	names = smtp_rule_of(site->checks.reverse_dns) != SMTP_RULE_OFF ||
	        smtp_rule_of(site->checks.greylist) != SMTP_RULE_OFF;
	c->lists = xcalloc(site->checks.block_list_count + site->checks.allow_list_count + 1, sizeof(*c->lists));
	c->iprev_begun = names;
	if (names)
		c->iprev_running = iprev_start(&s->server->policy, &s->peer.sa, on_iprev, c);
	for (size_t i = 0; i < site->checks.block_list_count; i++)
		start_list(c, &site->checks.block_lists[i], false);
	for (size_t i = 0; i < site->checks.allow_list_count; i++)
		start_list(c, &site->checks.allow_lists[i], true);
	smtp_check_wait(c);
}
