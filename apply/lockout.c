/*
 * lockout.h: the first packet of the administrator's connection against the new rules, without a kernel.  Rules of
 * firewall.include are beyond it: --confirm is for those.
 */
#include "apply/lockout.h"

#include <arpa/inet.h>
#include <string.h>

#include "fwgen/fwgen.h"

int lockout_check(const struct site *site, const struct caller *c, struct error *e)
{
	struct fw_packet packet = { .ipv6 = c->ipv6, .from_port = c->from_port, .to_port = c->to_port };
	struct fw_decision decision;
	struct fw_model *model;
	char from[INET6_ADDRSTRLEN];

	if (!caller_is_remote(c))
		return 0;
	model = fw_model_of(site, e);
	if (model == NULL)
		return -1;
	memcpy(packet.from, c->from, sizeof(packet.from));
	memcpy(packet.to, c->to, sizeof(packet.to));
	fw_decide(model, &packet, &decision);
	fw_model_free(model);
	if (decision.accept)
		return 0;
	caller_from(c, from, sizeof(from));
	error_set(e,
	    "the new rules would refuse your own ssh connection, from %s to port %u (chain %s, rule \"%s\"); add %s to "
	    "firewall.admin_from, or take the risk with --force-lockout and --confirm",
	    from, c->to_port, decision.chain, decision.rule, from);
	return 1;
}
