/*
 * Accounts that store lately had no room for.  Store takes a message for all its recipients or for none, and says once
 * "over quota" for all: a client that comes again with the same recipients would have the same answer until it gives
 * up, and one full mailbox would keep mail from everybody else.  So the accounts of such a message are taken one
 * recipient a transaction for a while; the others get 452 4.5.3, come by themselves, and only the full one waits.
 */
#include <stdlib.h>
#include <string.h>

#include "lib/clock.h"
#include "mailsvc/smtp/smtp.h"

#define FULL_MS (3600u * 1000)

static struct smtp_full *find(struct smtp_server *server, const char *account)
{
	uint64_t now = clock_mono_ms();

	for (size_t i = 0; i < SMTP_FULL_MAX; i++) {
		struct smtp_full *f = &server->full[i];

		if (f->account != NULL && now < f->until && strcmp(f->account, account) == 0)
			return f;
	}
	return NULL;
}

/* The one that ends first makes place. */
static void note(struct smtp_server *server, const char *account)
{
	struct smtp_full *f = find(server, account);

	if (f == NULL) {
		f = &server->full[0];
		for (size_t i = 1; i < SMTP_FULL_MAX; i++)
			if (server->full[i].until < f->until)
				f = &server->full[i];
		free(f->account);
		f->account = xstrdup(account);
	}
	f->until = clock_mono_ms() + FULL_MS;
}

static void forget(struct smtp_server *server, const char *account)
{
	struct smtp_full *f = find(server, account);

	if (f == NULL)
		return;
	free(f->account);
	*f = (struct smtp_full){ NULL, 0 };
}

void smtp_full_learn(struct smtp_session *s, bool full)
{
	for (size_t i = 0; i < s->tx.recipient_count; i++) {
		const struct route *route = &s->tx.recipients[i].route;

		for (size_t j = 0; j < route->count; j++)
			if (route->targets[j].account != NULL)
				(full ? note : forget)(s->server, route->targets[j].account->address);
	}
}

static bool holds_full(struct smtp_session *s, const struct route *route)
{
	for (size_t j = 0; j < route->count; j++)
		if (route->targets[j].account != NULL && find(s->server, route->targets[j].account->address) != NULL)
			return true;
	return false;
}

bool smtp_full_must_wait(struct smtp_session *s, const struct route *route)
{
	return s->tx.recipient_count > 0 && (holds_full(s, &s->tx.recipients[0].route) || holds_full(s, route));
}
