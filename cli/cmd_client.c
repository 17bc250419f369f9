/* client: what to type into a mail program. */
#include <stdio.h>
#include <string.h>

#include "cli.h"
#include "site/address.h"
#include "site/route.h"

struct setting {
	enum service service;
	enum protocol protocol;
	const char *use;
	const char *security;
};

static const struct setting settings[] = {
	/* the better of two first */
	{ SERVICE_IMAPS, PROTOCOL_IMAP, "imap", "TLS" },
	{ SERVICE_IMAP, PROTOCOL_IMAP, "imap", "STARTTLS" },
	{ SERVICE_POP3S, PROTOCOL_POP3, "pop3", "TLS" },
	{ SERVICE_POP3, PROTOCOL_POP3, "pop3", "STARTTLS" },
	{ SERVICE_SUBMISSIONS, PROTOCOL_SUBMISSION, "submission", "TLS" },
	{ SERVICE_SUBMISSION, PROTOCOL_SUBMISSION, "submission", "STARTTLS" },
};

static bool offered(const struct site *site, const struct setting *s, const struct site_account *account)
{
	return site->listen.on[s->service] && (!account || account->protocols & s->protocol);
}

json_t *client_settings(const struct site *site, const char *address)
{
	const struct site_account *account = address ? site_find_account(site, address) : NULL;
	json_t *array = json_array();
	for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]); i++) {
		const struct setting *s = &settings[i];
		if (offered(site, s, account))
			json_array_append_new(
			    array, json_pack("{s:s, s:s, s:i, s:s, s:s}", "use", s->use, "server", site->host.name,
				       "port", (int)site_port(site, s->service), "security", s->security, "user",
				       address ? address : "the whole address"));
	}
	return array;
}

void client_print(struct cli *cli, const char *address)
{
	const struct site *site = cli->site;
	const struct site_account *account = address ? site_find_account(site, address) : NULL;
	const char *const columns[] = { "use", "server", "port", "security", "user", NULL };
	struct cli_table *t = cli_table_new(cli, columns);
	for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]); i++) {
		const struct setting *s = &settings[i];
		char port[8];
		if (!offered(site, s, account))
			continue;
		snprintf(port, sizeof(port), "%u", site_port(site, s->service));
		cli_table_add(t, (const char *[]){ s->use, site->host.name, port, s->security,
				     address ? address : "the whole address" });
	}
	cli_table_print(t);
}

static int run(struct cli *cli, int argc, char **argv)
{
	char address[ADDRESS_MAX];
	if (cli_wants_help(cli, &cmd_client, argc, argv))
		return EXIT_YES;
	if (argc > 2)
		return cli_usage(&cmd_client);
	if (!cli_site(cli))
		return EXIT_USAGE;
	if (argc == 2 && address_normalise(view_of(argv[1]), address, sizeof(address)) < 0)
		return cli_error("%s is no mail address; write it like alice@example.org", argv[1]);
	if (argc == 2 && !site_find_account(cli->site, address)) {
		cli_error("there is no account %s; mailadm account list shows them", address);
		return EXIT_NO;
	}
	if (cli->json)
		cli_json_print(client_settings(cli->site, argc == 2 ? address : NULL));
	else
		client_print(cli, argc == 2 ? address : NULL);
	return EXIT_YES;
}

const struct command cmd_client = {
	.name = "client",
	.synopsis = "[ADDRESS]",
	.summary = "connection settings to hand to a user",
	.help = "Servers, ports, security and user name for reading and sending mail; with an address only what the "
	        "account may use.\n"
		"Of two lines for the same use take the first (TLS).\n\n"
		"Example: mailadm client alice@example.org\n",
	.run = run,
};
