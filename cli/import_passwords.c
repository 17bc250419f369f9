/*
 * mailadm import passwords: hashes of another server for accounts of this site.  Whoever has a password here already
 * keeps it, so that the command can be given again.  At the next login auth makes yescrypt of each.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "import.h"
#include "lib/proc.h"
#include "lib/text.h"
#include "mailsvc/migrate/passwords.h"
#include "site/address.h"
#include "site/route.h"

#define DUMP_MAX (256u << 20)

struct passwords {
	struct cli *cli;
	char *path; /* of the credentials */
	const char *from;
	struct credentials there;
	json_t *problems;
	uint64_t imported, present;
};

static void problem(struct passwords *p, size_t line, struct view user, const char *why)
{
	struct buf b = BUF_INIT(2048);

	buf_printf(&b, "%s:%zu: ", p->from, line);
	text_escape(&b, user, 200);
	buf_printf(&b, ": %s", why);
	json_array_append_new(p->problems, json_string(buf_str(&b)));
	if (!p->cli->json)
		cli_error("%s", buf_str(&b));
	buf_free(&b);
}

/* A bare name belongs to the only domain. */
static int name_account(const struct site *site, struct view user, char out[ADDRESS_MAX])
{
	struct buf b = BUF_INIT(2 * ADDRESS_MAX);
	int rc;

	buf_addv(&b, user);
	if (user.len > 0 && memchr(user.ptr, '@', user.len) == NULL && site->domain_count == 1)
		buf_printf(&b, "@%s", site->domains[0].name);
	rc = b.full ? -1 : address_normalise(buf_view(&b), out, ADDRESS_MAX);
	buf_free(&b);
	return rc;
}

static int set(struct passwords *p, const char *address, const struct password_entry *entry, struct error *e)
{
	char hash[CREDENTIALS_HASH_MAX];
	enum password_kind kind;
	int rc = password_take_over(entry->hash, &kind, hash, e);

	if (rc == 0 && kind == PASSWORD_PLAIN)
		rc = credentials_set_password(p->path, address, view_of(hash), e);
	else if (rc == 0)
		rc = credentials_set(p->path, address, hash, e);
	explicit_bzero(hash, sizeof(hash));
	return rc;
}

static void take(struct passwords *p, const struct password_entry *entry, size_t line)
{
	char address[ADDRESS_MAX];
	struct error e;

	if (name_account(p->cli->site, entry->user, address) < 0)
		problem(p, line, entry->user, "is no mail address; nor is it in the only domain");
	else if (!site_find_account(p->cli->site, address))
		problem(p, line, entry->user, "there is no such account; mailadm account add makes it");
	else if (credentials_find(&p->there, address) != NULL)
		p->present++;
	else if (set(p, address, entry, &e) < 0)
		problem(p, line, entry->user, e.text);
	else
		p->imported++;
}

static int report(struct passwords *p)
{
	size_t problems = json_array_size(p->problems);

	if (p->cli->json)
		cli_json_print(json_pack("{s:I,s:I,s:O}", "imported", (json_int_t)p->imported, "present",
		    (json_int_t)p->present, "problems", p->problems));
	else
		printf("%llu passwords taken over, %llu accounts had one, %zu problems\n",
		    (unsigned long long)p->imported, (unsigned long long)p->present, problems);
	return problems ? EXIT_NO : EXIT_YES;
}

int import_passwords(struct cli *cli, const char *path)
{
	struct passwords p = { .cli = cli, .from = path };
	struct buf text = BUF_INIT(DUMP_MAX);
	struct password_entry entry;
	size_t pos = 0, line = 0;
	struct error e;
	int status;

	if (!cli_site(cli))
		return EXIT_USAGE;
	p.path = site_state(cli->site, "credentials");
	if (file_read(path, DUMP_MAX, &text, &e) < 0 || file_mkdirs(cli->site->state_dir, 0711, &e) < 0 ||
	    credentials_load(p.path, &p.there, &e) < 0)
		return cli_error("%s", e.text);
	p.problems = json_array();
	while (passwords_next(buf_view(&text), &pos, &line, &entry))
		take(&p, &entry, line);
	status = report(&p);
	if (p.imported > 0 && cli_reload_if_running(cli) != EXIT_YES)
		status = EXIT_USAGE;
	if (text.data != NULL)
		explicit_bzero(text.data, text.cap);
	buf_free(&text);
	credentials_free(&p.there);
	json_decref(p.problems);
	free(p.path);
	return status;
}
