/* Reaching the running host: the control socket, and through it store. */
#include <unistd.h>

#include "cli/cli.h"
#include "mailsvc/control.h"

int cli_control(struct cli *cli, struct error *e)
{
	const struct site *site = cli_site(cli);
	int fd;

	if (site == NULL)
		return error_set(e, "the site has errors");
	fd = control_connect(site, e);
	return fd < 0 ? -1 : fd;
}

int cli_store(struct cli *cli, struct error *e)
{
	int control = cli_control(cli, e), store = -1, r;
	struct buf text = BUF_INIT(CONTROL_TEXT_MAX);

	if (control < 0)
		return -1;
	r = control_ask(control, CONTROL_STORE, CONTROL_TIMEOUT_MS, &text, &store, e);
	if (r == 1)
		error_set(e, "%s", buf_str(&text));
	buf_free(&text);
	close(control);
	return store;
}
