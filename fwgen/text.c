/* The rule model as nft text. */
#include "fwgen/model.h"

static void put_set(struct buf *out, const struct strings *s)
{
	buf_puts(out, "{ ");
	for (size_t i = 0; i < s->count; i++)
		buf_printf(out, "%s%s", i ? ", " : "", s->at[i]);
	buf_puts(out, " }");
}

/* nft comments hold at most 128 bytes and no quote. */
static void put_comment(struct buf *out, const char *comment)
{
	buf_puts(out, " comment \"");
	for (size_t i = 0; comment[i] != '\0' && i < 120; i++)
		buf_addc(
		    out, comment[i] == '"' || comment[i] == '\\' || (unsigned char)comment[i] < ' ' ? '_' : comment[i]);
	buf_puts(out, "\"");
}

static void put_rule(const struct fw_rule *r, struct buf *out)
{
	buf_puts(out, "\t\t");
	if (r->loopback)
		buf_puts(out, "iif \"lo\" ");
	if (r->ct_state != NULL)
		buf_printf(out, "ct state %s ", r->ct_state);
	if (r->icmp_types != NULL)
		buf_printf(out, "%s type { %s } ", r->family == FW_IPV4 ? "icmp" : "icmpv6", r->icmp_types);
	if (r->from.count > 0) {
		buf_puts(out, r->family == FW_IPV4 ? "ip saddr " : "ip6 saddr ");
		put_set(out, &r->from);
		buf_addc(out, ' ');
	}
	if (r->protocol != NULL) {
		buf_printf(out, "%s dport { ", r->protocol);
		for (size_t i = 0; i < r->port_count; i++)
			buf_printf(out, "%s%u", i ? ", " : "", (unsigned)r->ports[i]);
		buf_puts(out, " } ");
	}
	buf_puts(out, r->verdict == FW_ACCEPT ? "accept" : "drop");
	put_comment(out, r->comment);
	buf_addc(out, '\n');
}

int fw_model_text(const struct fw_model *m, struct buf *out)
{
	buf_puts(out, "# Written by mailadm from the site file; edit that, not this.\n"
		      "table inet " FW_TABLE "\n"
		      "flush table inet " FW_TABLE "\n"
		      "table inet " FW_TABLE " {\n"
		      "\tchain input {\n"
		      "\t\ttype filter hook input priority filter; policy drop;\n");
	for (size_t i = 0; i < m->count; i++)
		put_rule(&m->input[i], out);
	buf_puts(out, "\t}\n}\n");
	return out->full ? -1 : 0;
}
