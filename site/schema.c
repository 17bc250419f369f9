/*
 * The schema table.  Rows of a group follow it; the order is the order of `site print` and of mailadm-site(5).
 */
#include <stdlib.h>
#include <string.h>

#include "lib/text.h"
#include "schema.h"
#include "value.h"

#define SITE(member) .offset = offsetof(struct site, member), .size = sizeof(((struct site *)0)->member)
#define IN(type_, member) .offset = offsetof(struct type_, member), .size = sizeof(((struct type_ *)0)->member)
#define LIST(type_, member, count)                                                                                     \
	SITE(member), .count_offset = offsetof(struct site, count), .element_size = sizeof(struct type_),              \
		      .origin_offset = offsetof(struct type_, origin)

#define DAY (UINT64_C(24) * 3600)

static const char *const dmarc_words[] = { "none", "quarantine", "reject", NULL };
static const char *const rule_words[] = { "off", "mark", "refuse", NULL };
static const char *const list_words[] = { "mark", "refuse", NULL };
static const char *const level_words[] = { "error", "warn", "info", "debug", NULL };
static const char *const transport_words[] = { "tcp", "udp", NULL };
static const char *const role_words[] = { "host", "gateway", NULL };
static const char *const family_words[] = { "both", "ipv4", "ipv6", NULL };
static const char *const verdict_words[] = { "accept", "drop", NULL };
static const char *const sts_words[] = { "none", "testing", "enforce", NULL };
static const char *const pop3_words[] = { "expunge", "hide", "keep", NULL };
static const char *const over_quota_words[] = { "defer", "refuse", NULL };
static const char *const from_words[] = { "domain", "off", NULL };
static const char *const sharing_words[] = { "domain", "host", "none", NULL };
static const char *const state_words[] = { "active", "suspended", "closed", NULL };
static const char *const protocol_words[] = { "smtp", "lmtp", NULL };
static const char *const tls_words[] = { "opportunistic", "encrypt", "required", "none", NULL };
static const char *const dns_server_words[] = { "auto", "bind", "none", NULL };

static bool is_alias(const void *element)
{
	return !((const struct site_alias *)element)->list;
}

static bool is_list(const void *element)
{
	return ((const struct site_alias *)element)->list;
}

static void begin_list(void *element)
{
	((struct site_alias *)element)->list = true;
}

/* clang-format off */
const struct schema_row schema[] = {
	{ "host", TYPE_GROUP, .doc = "The machine: its name and addresses." },
	{ "host.name", TYPE_DOMAIN, SITE(host.name), .required = true, .check = check_fqdn,
	  .example = "\"mail.example.org\"",
	  .doc = "The full host name: in the greeting, in MX records and in certificates." },
	{ "host.ipv4", TYPE_IP4, SITE(host.ipv4), .fallback = "", .optional = true,
	  .doc = "The IPv4 address to listen on." },
	{ "host.ipv6", TYPE_IP6, SITE(host.ipv6), .fallback = "", .optional = true,
	  .doc = "The IPv6 address to listen on." },
	{ "host.public_ipv4", TYPE_IP4, SITE(host.public_ipv4), .optional = true, .shown = "host.ipv4",
	  .doc = "What the world sees, when an address translation stands between." },
	{ "host.public_ipv6", TYPE_IP6, SITE(host.public_ipv6), .optional = true, .shown = "host.ipv6",
	  .doc = "The same for IPv6." },

	{ "domains", TYPE_GROUPS, LIST(site_domain, domains, domain_count), .what = "domain",
	  .doc = "The domains that receive mail here." },
	{ "domains[].name", TYPE_DOMAIN, IN(site_domain, name), .required = true,
	  .doc = "The domain; accented names are turned into A-labels." },
	{ "domains[].catch_all", TYPE_ADDRESS, IN(site_domain, catch_all), .shown = "none",
	  .doc = "Where mail to unknown local parts goes; without it they are refused." },
	{ "domains[].quota", TYPE_SIZE, IN(site_domain, quota), .fallback = "0", .max = UINT64_C(1) << 50,
	  .doc = "How much mail the domain's accounts may hold together; 0 is no limit." },
	{ "domains[].dkim_selector", TYPE_STRING, IN(site_domain, dkim_selector), .fallback = "mail", .check = check_label,
	  .doc = "The selector under which the RSA key of DKIM is published." },
	{ "domains[].dkim_ed25519", TYPE_STRING, IN(site_domain, dkim_ed25519), .fallback = "mail-ed25519", .optional = true,
	  .check = check_label,
	  .doc = "The same for the Ed25519 key (RFC 8463), with which mail is signed too once mailadm dns rollover has seen it on "
		 "every name server; \"\" for none." },
	{ "domains[].dmarc", TYPE_ENUM, IN(site_domain, dmarc), .fallback = "quarantine", .words = dmarc_words,
	  .doc = "The policy that the DMARC record asks of receivers." },
	{ "domains[].dns", TYPE_BOOL, IN(site_domain, dns), .fallback = "true",
	  .doc = "Render the domain's zone; false when it is kept elsewhere: its records are then printed as text to enter there." },
	{ "domains[].mail", TYPE_BOOL, IN(site_domain, mail), .fallback = "true",
	  .doc = "Whether the domain has mail. false publishes a null MX and an SPF record that allows nobody to send." },
	{ "domains[].reports", TYPE_ADDRESS, IN(site_domain, reports), .shown = "postmaster of the domain",
	  .doc = "Where DMARC and TLS reports about the domain go." },
	{ "domains[].mta_sts", TYPE_ENUM, IN(site_domain, mta_sts), .fallback = "none", .words = sts_words,
	  .doc = "The MTA-STS mode that is published. The policy file, which mailadm writes beside the zones, must be served by a "
		 "web server as https://mta-sts.DOMAIN/.well-known/mta-sts.txt." },
	{ "domains[].records", TYPE_STRINGS, IN(site_domain, records), .check = check_line,
	  .doc = "Further lines of the zone, in presentation form. An SPF or DMARC record among them stands instead of the one that "
		 "mailadm writes." },
	{ "domains[].elsewhere", TYPE_STRING, IN(site_domain, elsewhere), .fallback = "", .optional = true, .check = check_hop,
	  .example = "\"old.example.net:25\"",
	  .doc = "A host that still has some of the domain's addresses, for a move in stages: mail to addresses that are unknown here "
		 "is sent on to it." },
	{ "domains[].deliver", TYPE_STRING, IN(site_domain, deliver), .fallback = "", .optional = true, .check = check_hop,
	  .example = "\"lmtp:127.0.0.1:8024\"",
	  .doc = "Other software that keeps the domain's mail (Mailman, Sympa, Dovecot), by LMTP or SMTP. Accounts, aliases and lists "
		 "of the domain that stand in this file come first." },
	{ "domains[].verify", TYPE_BOOL, IN(site_domain, verify), .fallback = "true",
	  .doc = "Whether the host of elsewhere or deliver, or of a route, is asked at RCPT if it takes the recipient, so that what it "
		 "refuses is refused to whoever brings it. While it cannot be asked, a stranger's mail is taken only for recipients that "
		 "it took within the last week. false for a host that takes everybody at first, or that cannot be asked: for what it "
		 "refuses later the sender, who may be forged, gets a notification." },

	{ "accounts", TYPE_GROUPS, LIST(site_account, accounts, account_count), .what = "account",
	  .doc = "Who has a mailbox. Passwords are set with mailadm account passwd." },
	{ "accounts[].address", TYPE_ADDRESS, IN(site_account, address), .required = true,
	  .doc = "The address, which is also the user name." },
	{ "accounts[].name", TYPE_STRING, IN(site_account, name), .fallback = "", .optional = true,
	  .doc = "The display name." },
	{ "accounts[].quota", TYPE_SIZE, IN(site_account, quota), .fallback = "0", .max = UINT64_C(1) << 50,
	  .doc = "How much mail the account may hold; 0 is no limit." },
	{ "accounts[].quota_messages", TYPE_INT, IN(site_account, quota_messages), .fallback = "0", .max = 1000000000,
	  .doc = "How many messages the account may hold; 0 is no limit." },
	{ "accounts[].protocols", TYPE_PROTOCOLS, IN(site_account, protocols), .fallback = "imap pop3 submission",
	  .doc = "What the account may use: imap, pop3, submission." },
	{ "accounts[].shared", TYPE_BOOL, IN(site_account, shared), .fallback = "false",
	  .doc = "Nobody logs in to it; its mailboxes are used by those that mailadm account share names, as shared/ADDRESS/NAME." },
	{ "accounts[].senders", TYPE_ADDRESSES, IN(site_account, senders),
	  .doc = "Accounts that may send as this address too, such as those that work with a shared one." },
	{ "accounts[].state", TYPE_ENUM, IN(site_account, state), .fallback = "active", .words = state_words,
	  .doc = "suspended: nobody logs in to it, and its mail keeps coming. closed: mail to it is refused too, or, with forward, "
		 "only sent on." },
	{ "accounts[].forward", TYPE_ADDRESSES, IN(site_account, forward),
	  .doc = "Addresses, here or elsewhere, that its mail goes to." },
	{ "accounts[].forward_copy", TYPE_BOOL, IN(site_account, forward_copy), .fallback = "true",
	  .doc = "Whether the account keeps a copy of what it forwards." },
	{ "accounts[].auto_reply", TYPE_GROUP, .example = "{ text = \"I am back on Monday.\"; until = \"2027-01-03\"; }",
	  .doc = "Answers mail of people (never that of lists and machines), each sender once in seven days." },
	{ "accounts[].auto_reply.text", TYPE_STRINGS, IN(site_account, auto_reply.text), .optional = true, .check = check_text,
	  .doc = "The answer, one text or one a line; without it there is none." },
	{ "accounts[].auto_reply.subject", TYPE_STRING, IN(site_account, auto_reply.subject), .fallback = "", .optional = true,
	  .check = check_line, .doc = "Its subject, else \"Auto: \" and the subject of what is answered." },
	{ "accounts[].auto_reply.from", TYPE_STRING, IN(site_account, auto_reply.from), .fallback = "", .optional = true,
	  .check = check_day, .example = "\"2026-12-24\"", .doc = "The first day it answers." },
	{ "accounts[].auto_reply.until", TYPE_STRING, IN(site_account, auto_reply.until), .fallback = "", .optional = true,
	  .check = check_day, .example = "\"2027-01-03\"", .doc = "The last day it answers." },
	{ "accounts[].password", TYPE_SECRET,
	  .doc = "set it with: mailadm account passwd ADDRESS" },

	{ "aliases", TYPE_GROUPS, LIST(site_alias, aliases, alias_count), .holds = is_alias, .what = "alias",
	  .doc = "Addresses that lead to others, with the sender kept." },
	{ "aliases[].address", TYPE_ADDRESS, IN(site_alias, address), .required = true, .doc = "The alias." },
	{ "aliases[].to", TYPE_ADDRESSES, IN(site_alias, targets), .required = true,
	  .doc = "Where it leads: one address or several, here or elsewhere." },

	{ "lists", TYPE_GROUPS, LIST(site_alias, aliases, alias_count), .holds = is_list, .begin = begin_list, .what = "list",
	  .doc = "Distribution lists: what arrives goes to every member, and bounces go to the owner." },
	{ "lists[].address", TYPE_ADDRESS, IN(site_alias, address), .required = true, .doc = "The list's address." },
	{ "lists[].members", TYPE_ADDRESSES, IN(site_alias, targets), .required = true,
	  .doc = "The members' addresses, here or elsewhere." },
	{ "lists[].owner", TYPE_ADDRESS, IN(site_alias, owner), .shown = "admin",
	  .doc = "The envelope sender of what the list sends on." },

	{ "listen", TYPE_GROUP, .doc = "The services, each with a switch." },
	{ "listen.smtp", TYPE_BOOL, SITE(listen.on[SERVICE_SMTP]), .fallback = "true", .doc = "SMTP from other hosts, port 25." },
	{ "listen.submission", TYPE_BOOL, SITE(listen.on[SERVICE_SUBMISSION]), .fallback = "true",
	  .doc = "Submission with STARTTLS, port 587." },
	{ "listen.submissions", TYPE_BOOL, SITE(listen.on[SERVICE_SUBMISSIONS]), .fallback = "true",
	  .doc = "Submission over TLS, port 465." },
	{ "listen.imap", TYPE_BOOL, SITE(listen.on[SERVICE_IMAP]), .fallback = "true", .doc = "IMAP with STARTTLS, port 143." },
	{ "listen.imaps", TYPE_BOOL, SITE(listen.on[SERVICE_IMAPS]), .fallback = "true", .doc = "IMAP over TLS, port 993." },
	{ "listen.pop3", TYPE_BOOL, SITE(listen.on[SERVICE_POP3]), .fallback = "true", .doc = "POP3 with STLS, port 110." },
	{ "listen.pop3s", TYPE_BOOL, SITE(listen.on[SERVICE_POP3S]), .fallback = "true", .doc = "POP3 over TLS, port 995." },
	{ "listen.loopback", TYPE_BOOL, SITE(listen.loopback), .fallback = "false",
	  .doc = "Listen on loopback where the host's address is not on this machine: for trying a site out." },
	{ "listen.insecure_loopback", TYPE_BOOL, SITE(listen.insecure_loopback), .fallback = "false",
	  .doc = "Allow logins without TLS from loopback: for measuring." },

	{ "listen.proxy_from", TYPE_PREFIXES, SITE(listen.proxy_from), .shown = "none",
	  .doc = "Addresses of load balancers (haproxy with send-proxy-v2) in front of the mail services. What they bring begins with a "
		 "PROXY v2 header that says who the client is; without one it is refused, and nobody else's header is read." },

	{ "submission", TYPE_GROUP, .example = "{ trusted = ( { from = ( \"192.0.2.64/28\" ); account = \"scanner@example.org\"; } ); }",
	  .doc = "Mail that users hand in." },
	{ "submission.trusted", TYPE_GROUPS, LIST(site_trusted, submission.trusted, submission.trusted_count), .what = "trusted range",
	  .doc = "Printers, scanners and machines that cannot log in: they may send, on every SMTP port and without TLS, as an account "
		 "that exists for them." },
	{ "submission.trusted[].from", TYPE_PREFIXES, IN(site_trusted, from), .required = true,
	  .doc = "Their addresses." },
	{ "submission.trusted[].account", TYPE_ADDRESS, IN(site_trusted, account), .required = true,
	  .example = "\"scanner@example.org\"",
	  .doc = "The account that they act for: they may send as its addresses only, and its rates hold for them." },
	{ "submission.from", TYPE_ENUM, SITE(submission.from), .fallback = "domain", .words = from_words,
	  .doc = "domain: an address of ours in the field From must be one that the account may send as. off: From is not looked at." },

	{ "tls", TYPE_GROUP, .doc = "The certificate; without one, a self-signed one is made in STATE/tls." },
	{ "tls.certificate", TYPE_STRING, SITE(tls.certificate), .fallback = "", .optional = true,
	  .doc = "A PEM file with the certificate and its chain." },
	{ "tls.key", TYPE_STRING, SITE(tls.key), .fallback = "", .optional = true, .doc = "A PEM file with its private key." },
	{ "tls.channel_binding", TYPE_BOOL, SITE(tls.channel_binding), .fallback = "false",
	  .doc = "Offer SCRAM-SHA-256-PLUS, a login that nobody in the middle of its TLS connection can use. mutt and neomutt of Debian "
		 "choose it when it is offered and then fail, hence the default." },
	{ "tls.trust", TYPE_STRING, SITE(tls.trust), .fallback = "", .optional = true,
	  .doc = "A PEM file with the CA certificates that other hosts' certificates are checked against; \"\" for the system's." },

	{ "limits", TYPE_GROUP, .doc = "How much is accepted, from whom, for how long." },
	{ "limits.message_size", TYPE_SIZE, SITE(limits.message_size), .fallback = "50M", .min = 65536, .max = 1 << 30,
	  .doc = "The largest message." },
	{ "limits.recipients", TYPE_INT, SITE(limits.recipients), .fallback = "100", .min = 1, .max = 10000,
	  .doc = "Recipients of one transaction." },
	{ "limits.connections", TYPE_INT, SITE(limits.connections), .fallback = "5000", .min = 10, .max = 100000,
	  .doc = "Connections of one process." },
	{ "limits.connections_per_address", TYPE_INT, SITE(limits.connections_per_address), .fallback = "100", .min = 1,
	  .max = 100000, .doc = "Connections from one address; loopback is not limited." },
	{ "limits.errors", TYPE_INT, SITE(limits.errors), .fallback = "20", .min = 1, .max = 1000,
	  .doc = "Bad commands until a connection is closed." },
	{ "limits.idle", TYPE_DURATION, SITE(limits.idle), .fallback = "5m", .min = 10, .max = DAY,
	  .doc = "Silence before login or between SMTP commands until a connection is closed." },
	{ "limits.auth_failures", TYPE_INT, SITE(limits.auth_failures), .fallback = "10", .min = 1, .max = 1000,
	  .doc = "Failed logins in ten minutes, by address and by account, until further ones are put off." },
	{ "limits.undelete", TYPE_DURATION, SITE(limits.undelete), .fallback = "14d", .max = 3650 * DAY,
	  .doc = "How long expunged mail can be brought back." },
	{ "limits.disk_reserve", TYPE_SIZE, SITE(limits.disk_reserve), .fallback = "256M", .max = UINT64_C(1) << 50,
	  .doc = "Disk space kept free: below it new mail is put off." },
	{ "limits.over_quota", TYPE_ENUM, SITE(limits.over_quota), .fallback = "defer", .words = over_quota_words,
	  .doc = "What senders to a full mailbox are told: defer (452, they try again for days) or refuse (552, it bounces)." },
	{ "limits.sharing", TYPE_ENUM, SITE(limits.sharing), .fallback = "domain", .words = sharing_words,
	  .doc = "With whom users may share mailboxes from their mail clients: accounts of their own domain, of the whole host, or "
		 "none. mailadm account share is not bound by it." },
	{ "limits.quota_warnings", TYPE_STRING, SITE(limits.quota_warnings), .fallback = "80 95", .optional = true,
	  .check = check_percents, .example = "\"80 95\"",
	  .doc = "At how many percent of its quota an account gets a message that warns of it, once each; \"\" for never." },
	{ "limits.send_rate", TYPE_INT, SITE(limits.send_rate), .fallback = "500", .max = 10000000,
	  .doc = "Recipients that an account may send to at once, and again in each hour that follows; what goes beyond is told to come "
		 "later (450). 0 is no limit." },
	{ "limits.send_rate_domain", TYPE_INT, SITE(limits.send_rate_domain), .fallback = "0", .max = 100000000,
	  .doc = "The same for all accounts of a domain together." },
	{ "limits.send_stop", TYPE_INT, SITE(limits.send_stop), .fallback = "3000", .max = 100000000,
	  .doc = "Recipients that an account may try at once, those beyond the rate included, and again in each day that follows. With more "
		 "it is stopped as hijacked: it may not send until mailadm account resume, and the administrator is told. 0 is never." },

	{ "relay", TYPE_GROUP, .doc = "How mail leaves." },
	{ "relay.smarthost", TYPE_STRING, SITE(relay.smarthost), .fallback = "", .optional = true, .check = check_host,
	  .doc = "Send everything through this host instead of each domain's MX. The domains' SPF records name it." },
	{ "relay.port", TYPE_INT, SITE(relay.port), .fallback = "587", .min = 1, .max = 65535, .doc = "The smarthost's port." },
	{ "relay.user", TYPE_STRING, SITE(relay.user), .fallback = "", .optional = true,
	  .doc = "The user name at the smarthost; the password is in STATE/secrets as relay.password." },
	{ "relay.password", TYPE_SECRET,
	  .doc = "write it into the secrets file of state_dir (mode 0600), as: relay.password = \"...\"" },
	{ "relay.tls_required", TYPE_BOOL, SITE(relay.tls_required), .fallback = "true",
	  .doc = "Send to the smarthost over TLS only." },
	{ "relay.expire", TYPE_DURATION, SITE(relay.expire), .fallback = "5d", .min = 60, .max = 30 * DAY,
	  .doc = "How long delivery is tried until the message bounces." },
	{ "relay.retry_min", TYPE_DURATION, SITE(relay.retry_min), .fallback = "5m", .min = 1, .max = DAY,
	  .doc = "The first pause between attempts; it doubles." },
	{ "relay.retry_max", TYPE_DURATION, SITE(relay.retry_max), .fallback = "4h", .min = 1, .max = 7 * DAY,
	  .doc = "The longest pause between attempts." },
	{ "relay.connections", TYPE_INT, SITE(relay.connections), .fallback = "100", .min = 1, .max = 5000,
	  .doc = "Connections to other hosts at once." },
	{ "relay.connections_each", TYPE_INT, SITE(relay.connections_each), .fallback = "20", .min = 1, .max = 1000,
	  .doc = "Connections to one destination at most. It begins with few, adds some while mail is taken, and takes back when it is "
		 "not." },
	{ "relay.rate", TYPE_INT, SITE(relay.rate), .fallback = "0", .max = 100000,
	  .doc = "Messages a minute to one destination; 0 is no limit." },
	{ "relay.ipv4", TYPE_IP4, SITE(relay.ipv4), .fallback = "", .optional = true,
	  .doc = "The IPv4 address to send from, when it is not host.ipv4." },
	{ "relay.ipv6", TYPE_IP6, SITE(relay.ipv6), .fallback = "", .optional = true, .doc = "The same for IPv6." },
	{ "relay.family", TYPE_ENUM, SITE(relay.family), .fallback = "both", .words = family_words,
	  .doc = "Which addresses of other hosts mail is sent to: both (IPv6 first), ipv4 or ipv6." },
	{ "relay.delay_warning", TYPE_DURATION, SITE(relay.delay_warning), .fallback = "4h", .max = 30 * DAY,
	  .doc = "After how long without success the sender is told of the delay, once; 0 for never." },
	{ "relay.srs", TYPE_BOOL, SITE(relay.srs), .fallback = "true",
	  .doc = "What is forwarded to other hosts leaves with a sender of this host (SRS), through which bounces find back, so that it "
		 "passes their SPF checks." },
	{ "relay.dane", TYPE_BOOL, SITE(relay.dane), .fallback = "true",
	  .doc = "Hold a host to the TLSA records that DNSSEC proves of it (RFC 7672)." },
	{ "relay.mta_sts", TYPE_BOOL, SITE(relay.mta_sts), .fallback = "true",
	  .doc = "Hold the hosts of a domain to its MTA-STS policy (RFC 8461)." },
	{ "relay.https_port", TYPE_INT, SITE(relay.https_port), .fallback = "443", .min = 1, .max = 65535,
	  .doc = "The port where domains serve their MTA-STS policies: for tests." },
	{ "relay.port_out", TYPE_INT, SITE(relay.port_out), .fallback = "25", .min = 1, .max = 65535,
	  .doc = "The SMTP port of other hosts: for tests." },

	{ "routes", TYPE_GROUPS, LIST(site_route, routes, route_count), .what = "route",
	  .example = "( { name = \"partner\"; to = (\"partner.example\"); hosts = (\"smtp.partner.example:587\"); } )",
	  .doc = "Other ways out, by recipient or sender. The first that fits counts: those that name the recipient, then a domain's own "
		 "deliver or elsewhere, then those for all recipients, then relay.smarthost, then MX." },
	{ "routes[].name", TYPE_STRING, IN(site_route, name), .required = true, .check = check_name, .example = "\"partner\"",
	  .doc = "Its name, for the log and for the password." },
	{ "routes[].to", TYPE_MATCHES, IN(site_route, to), .shown = "all",
	  .doc = "Recipients: domains, \".domain\" for all below it, and addresses. An address in one of our own domains is then "
		 "taken there though it is no account." },
	{ "routes[].from", TYPE_MATCHES, IN(site_route, from), .shown = "all", .doc = "Senders, likewise." },
	{ "routes[].hosts", TYPE_STRINGS, IN(site_route, hosts), .check = check_hop, .shown = "by MX",
	  .example = "( \"smtp.example.net:587\", \"[2001:db8::1]:25\" )",
	  .doc = "Where to, one after the other until one takes the mail." },
	{ "routes[].protocol", TYPE_ENUM, IN(site_route, protocol), .fallback = "smtp", .words = protocol_words,
	  .doc = "How the hosts are spoken to: smtp or lmtp." },
	{ "routes[].user", TYPE_STRING, IN(site_route, user), .fallback = "", .optional = true, .check = check_line,
	  .doc = "The user name at these hosts; the password is in STATE/secrets as route.NAME.password. With it, opportunistic means required." },
	{ "routes[].password", TYPE_SECRET,
	  .doc = "write it into the secrets file of state_dir (mode 0600), as: route.NAME.password = \"...\"" },
	{ "routes[].tls", TYPE_ENUM, IN(site_route, tls), .fallback = "opportunistic", .words = tls_words,
	  .doc = "opportunistic: TLS where the hosts offer it; encrypt: always, with any certificate; required: always, with a "
		 "certificate that is valid for the host's name; none: never." },
	{ "routes[].ipv4", TYPE_IP4, IN(site_route, ipv4), .fallback = "", .optional = true,
	  .doc = "The IPv4 address to send from, when it is not relay.ipv4." },
	{ "routes[].ipv6", TYPE_IP6, IN(site_route, ipv6), .fallback = "", .optional = true, .doc = "The same for IPv6." },
	{ "routes[].family", TYPE_ENUM, IN(site_route, family), .fallback = "both", .words = family_words,
	  .doc = "Which addresses of the hosts are used." },
	{ "routes[].connections", TYPE_INT, IN(site_route, connections), .fallback = "0", .max = 1000,
	  .shown = "relay.connections_each", .doc = "Connections at once at most." },
	{ "routes[].rate", TYPE_INT, IN(site_route, rate), .fallback = "0", .max = 100000, .shown = "relay.rate",
	  .doc = "Messages a minute." },

	{ "dns", TYPE_GROUP, .doc = "How names are asked for, and what the zones say." },
	{ "dns.forward", TYPE_STRINGS, SITE(dns.forward), .check = check_forwarder, .shown = "127.0.0.1 with local_resolver, else none: ask from the root",
	  .doc = "Resolvers to ask, as ADDRESS or ADDRESS@PORT." },
	{ "dns.dnssec", TYPE_BOOL, SITE(dns.dnssec), .fallback = "true", .doc = "Validate answers." },
	{ "dns.trust_anchors", TYPE_STRINGS, SITE(dns.trust_anchors), .check = check_anchor, .example = "[ \"corp.example. DS 12345 13 2 49FD46E6C4B45C55D4AC1BC1D3A2F5E9B1F6B0C7A8D9E0F1A2B3C4D5E6F70819\" ]",
	  .doc = "DS or DNSKEY records of zones that are signed though their parents are not, trusted beside the root's key." },
	{ "dns.ttl", TYPE_DURATION, SITE(dns.ttl), .fallback = "1h", .min = 1, .max = 7 * DAY,
	  .doc = "The time to live of published records." },
	{ "dns.nameservers", TYPE_DOMAINS, SITE(dns.nameservers), .check = check_fqdn, .shown = "this host, as ns1.DOMAIN",
	  .doc = "The name servers that the zones name. One in a domain of this site, unless its records say otherwise, is this "
		 "host." },
	{ "dns.caa", TYPE_STRING, SITE(dns.caa), .fallback = "", .optional = true, .check = check_host,
	  .doc = "The certificate authority that a CAA record allows, such as letsencrypt.org." },
	{ "dns.transfer", TYPE_PREFIXES, SITE(dns.transfer), .doc = "Who may transfer the zones: secondary name servers." },

	{ "dns.server", TYPE_ENUM, SITE(dns.server), .fallback = "auto", .words = dns_server_words,
	  .doc = "Who serves the zones: bind on this host, or none (they are rendered only). auto is bind where named is "
		 "installed." },
	{ "dns.zone_dir", TYPE_STRING, SITE(dns.zone_dir), .shown = "/var/lib/bind/mailadm, or STATE/zones when state_dir is set",
	  .doc = "Where zone files and the named.conf fragment are written." },
	{ "dns.rndc", TYPE_STRING, SITE(dns.rndc), .fallback = "rndc", .check = check_line,
	  .doc = "The command that talks to named, with its options." },
	{ "dns.secondaries", TYPE_PREFIXES, SITE(dns.secondaries),
	  .doc = "Addresses of secondary name servers: they are notified and may transfer." },
	{ "dns.tsig_key", TYPE_STRING, SITE(dns.tsig_key), .fallback = "", .optional = true, .check = check_host,
	  .doc = "The name of the TSIG key (hmac-sha256) that transfers need; its secret is in STATE/secrets as dns.tsig_secret." },
	{ "dns.tsig_secret", TYPE_SECRET,
	  .doc = "write it into the secrets file of state_dir (mode 0600), as: dns.tsig_secret = \"BASE64\"" },
	{ "dns.sign", TYPE_BOOL, SITE(dns.sign), .fallback = "false",
	  .doc = "Sign the zones (DNSSEC) by bind's dnssec-policy; mailadm dns ds prints what the parent needs." },
	{ "dns.rollover", TYPE_DURATION, SITE(dns.rollover), .fallback = "0", .max = 3650 * DAY,
	  .doc = "How old a DKIM key becomes until mailadm dns rollover replaces it; 0 is never." },
	{ "dns.local_resolver", TYPE_BOOL, SITE(dns.local_resolver), .fallback = "false",
	  .doc = "Render bind options for a validating resolver on loopback, and ask it." },
	{ "dns.block_lists", TYPE_DOMAINS, SITE(dns.block_lists), .shown = "zen.spamhaus.org",
	  .doc = "DNS block lists that dns verify and doctor ask about the host's addresses." },

	{ "firewall", TYPE_GROUP, .doc = "What is let in besides the services above." },
	{ "firewall.admin_from", TYPE_PREFIXES, SITE(firewall.admin_from), .shown = "anyone",
	  .doc = "From where ssh is reachable. These addresses are never banned." },
	{ "firewall.ssh_port", TYPE_INT, SITE(firewall.ssh_port), .fallback = "22", .min = 1, .max = 65535,
	  .doc = "The port of ssh." },
	{ "firewall.family", TYPE_ENUM, SITE(firewall.family), .fallback = "both", .words = family_words,
	  .doc = "Which IP families are let in at all." },
	{ "firewall.connections", TYPE_INT, SITE(firewall.connections), .fallback = "100", .min = 1, .max = 100000,
	  .doc = "Connections that one source (an IPv6 /64) may hold to the mail services at once." },
	{ "firewall.smtp_rate", TYPE_INT, SITE(firewall.smtp_rate), .fallback = "120", .min = 1, .max = 1000000,
	  .doc = "New connections a minute from one source to port 25." },
	{ "firewall.login_rate", TYPE_INT, SITE(firewall.login_rate), .fallback = "60", .min = 1, .max = 1000000,
	  .doc = "New connections a minute from one source to submission, IMAP and POP3." },
	{ "firewall.syn_rate", TYPE_INT, SITE(firewall.syn_rate), .fallback = "50", .min = 1, .max = 1000000,
	  .doc = "TCP connection attempts a second from one source, to all ports together." },
	{ "firewall.bogons", TYPE_BOOL, SITE(firewall.bogons), .fallback = "true",
	  .doc = "Drop what comes from addresses that cannot be on the Internet, except where the site itself uses them." },
	{ "firewall.log", TYPE_BOOL, SITE(firewall.log), .fallback = "true",
	  .doc = "Log what is dropped, by rule and at most five lines a minute each." },
	{ "firewall.egress", TYPE_BOOL, SITE(firewall.egress), .fallback = "false",
	  .doc = "Allow only what the site needs to go out; false restricts port 25 alone." },
	{ "firewall.out", TYPE_GROUPS, LIST(site_egress, firewall.out, firewall.out_count), .what = "way out",
	  .doc = "What may go out besides, with egress." },
	{ "firewall.out[].name", TYPE_STRING, IN(site_egress, name), .required = true, .check = check_name, .example = "\"ntp\"",
	  .doc = "What it is for." },
	{ "firewall.out[].protocol", TYPE_ENUM, IN(site_egress, protocol), .fallback = "tcp", .words = transport_words,
	  .doc = "The transport." },
	{ "firewall.out[].port", TYPE_INT, IN(site_egress, port), .required = true, .min = 1, .max = 65535, .example = "123",
	  .doc = "The port." },
	{ "firewall.out[].to", TYPE_PREFIXES, IN(site_egress, to), .shown = "anyone", .doc = "Whereto." },
	{ "firewall.out[].user", TYPE_STRING, IN(site_egress, user), .fallback = "", .optional = true, .check = check_name,
	  .doc = "The local user who may; none is everyone." },
	{ "firewall.include", TYPE_STRINGS, SITE(firewall.include), .check = check_line,
	  .doc = "Files with further nft rules, one a line, that are asked first for what comes in; nft checks them." },
	{ "firewall.never_ban", TYPE_PREFIXES, SITE(firewall.never_ban),
	  .doc = "Addresses that are never banned: proxies, the office." },
	{ "firewall.ban", TYPE_BOOL, SITE(firewall.ban), .fallback = "true",
	  .doc = "Ban sources of failed logins and abuse. Only a host that runs as root can." },
	{ "firewall.ban_after", TYPE_INT, SITE(firewall.ban_after), .fallback = "10", .min = 1, .max = 10000,
	  .doc = "Offences in ten minutes until a source is banned. The same wrong password again counts once." },
	{ "firewall.ban_time", TYPE_DURATION, SITE(firewall.ban_time), .fallback = "10m", .min = 1, .max = 365 * DAY,
	  .doc = "How long a first ban lasts; each further one is four times as long." },
	{ "firewall.ban_max", TYPE_DURATION, SITE(firewall.ban_max), .fallback = "7d", .min = 1, .max = 365 * DAY,
	  .doc = "The longest ban." },
	{ "firewall.block_lists", TYPE_STRINGS, SITE(firewall.block_lists), .check = check_line,
	  .doc = "Files with addresses and prefixes to drop, one a line; # begins a comment." },
	{ "firewall.tests", TYPE_GROUPS, LIST(site_fwtest, firewall.tests, firewall.test_count), .what = "firewall test",
	  .doc = "What must be let in or out, and what must not: mailadm fw test tries it with packets." },
	{ "firewall.tests[].from", TYPE_STRING, IN(site_fwtest, from), .fallback = "", .optional = true, .check = check_ip,
	  .doc = "The source address; none is the host itself, and the packet goes out." },
	{ "firewall.tests[].to", TYPE_STRING, IN(site_fwtest, to), .fallback = "", .optional = true, .check = check_ip,
	  .doc = "The destination address; none is the host." },
	{ "firewall.tests[].to_port", TYPE_INT, IN(site_fwtest, to_port), .required = true, .min = 1, .max = 65535,
	  .example = "5432", .doc = "The destination port." },
	{ "firewall.tests[].protocol", TYPE_ENUM, IN(site_fwtest, protocol), .fallback = "tcp", .words = transport_words,
	  .doc = "The transport." },
	{ "firewall.tests[].user", TYPE_STRING, IN(site_fwtest, user), .fallback = "", .optional = true, .check = check_name,
	  .doc = "The local user who sends, when the packet goes out; none is root." },
	{ "firewall.tests[].expect", TYPE_ENUM, IN(site_fwtest, expect), .required = true, .words = verdict_words,
	  .example = "\"drop\"", .doc = "accept or drop." },
	{ "firewall.extra", TYPE_GROUPS, LIST(site_port, firewall.extra, firewall.extra_count), .what = "firewall port",
	  .doc = "Further ports to open." },
	{ "firewall.extra[].name", TYPE_STRING, IN(site_port, name), .required = true, .check = check_name,
	  .example = "\"web\"",
	  .doc = "What it is for." },
	{ "firewall.extra[].protocol", TYPE_ENUM, IN(site_port, protocol), .fallback = "tcp", .words = transport_words,
	  .doc = "The transport." },
	{ "firewall.extra[].port", TYPE_INT, IN(site_port, port), .required = true, .min = 1, .max = 65535,
	  .example = "443", .doc = "The port." },
	{ "firewall.extra[].from", TYPE_PREFIXES, IN(site_port, from), .shown = "anyone", .doc = "From where." },
	{ "firewall.extra[].admin", TYPE_BOOL, IN(site_port, admin), .fallback = "false",
	  .doc = "For management: reachable from admin_from only." },
	{ "firewall.extra[].rate", TYPE_INT, IN(site_port, rate), .fallback = "0", .max = 1000000,
	  .doc = "New connections a minute from one source; 0 is no limit." },

	{ "gateway", TYPE_GROUP, .doc = "The machine in front of the host, when there is one. It has the same site file, and the firewall of "
		 "the role gateway." },
	{ "gateway.outside", TYPE_STRING, SITE(gateway.outside), .fallback = "", .optional = true, .check = check_interface,
	  .doc = "Its network interface to the Internet." },
	{ "gateway.inside", TYPE_STRING, SITE(gateway.inside), .fallback = "", .optional = true, .check = check_interface,
	  .doc = "Its network interface to the host." },
	{ "gateway.network", TYPE_PREFIXES, SITE(gateway.network),
	  .doc = "The networks behind it, which may connect out." },
	{ "gateway.masquerade", TYPE_BOOL, SITE(gateway.masquerade), .fallback = "true",
	  .doc = "Rewrite the source of what goes out over IPv4 to the gateway's own." },
	{ "gateway.hairpin", TYPE_BOOL, SITE(gateway.hairpin), .fallback = "true",
	  .doc = "Let the networks behind it reach the host by its public address." },

	{ "backup", TYPE_GROUPS, LIST(site_backup, backups, backup_count), .what = "backup",
	  .doc = "Where snapshots go, and when." },
	{ "backup[].name", TYPE_STRING, IN(site_backup, name), .required = true, .check = check_name,
	  .example = "\"nightly\"",
	  .doc = "Its name in mailadm backup run NAME." },
	{ "backup[].repository", TYPE_STRING, IN(site_backup, repository), .required = true,
	  .example = "\"/srv/backup\"",
	  .doc = "A restic repository: a folder, sftp:, s3: and so on." },
	{ "backup[].password_file", TYPE_STRING, IN(site_backup, password_file), .shown = "STATE/backup-NAME.password",
	  .doc = "The file with the repository's password." },
	{ "backup[].schedule", TYPE_STRING, IN(site_backup, schedule), .fallback = "*-*-* 03:30:00",
	  .doc = "When, as systemd's OnCalendar; mailadm backup timer NAME prints it for the timer." },
	{ "backup[].keep_daily", TYPE_INT, IN(site_backup, keep_daily), .fallback = "7", .max = 10000,
	  .doc = "Daily snapshots to keep." },
	{ "backup[].keep_weekly", TYPE_INT, IN(site_backup, keep_weekly), .fallback = "4", .max = 10000,
	  .doc = "Weekly snapshots to keep." },
	{ "backup[].keep_monthly", TYPE_INT, IN(site_backup, keep_monthly), .fallback = "12", .max = 10000,
	  .doc = "Monthly snapshots to keep." },

	{ "checks", TYPE_GROUP, .example = "{ block_lists = ( { name = \"zen.spamhaus.org\"; } ); }",
	  .doc = "How mail from other hosts is checked. A rule is off, mark (named in the field X-Mailadm-Checks and in the log) or "
		 "refuse. Who logs in, this machine itself, submission.trusted and checks.trusted are not checked." },
	{ "checks.trusted", TYPE_PREFIXES, SITE(checks.trusted), .shown = "none",
	  .doc = "Addresses whose mail is taken unchecked: a secondary MX, a filter in front." },
	{ "checks.early_talker", TYPE_ENUM, SITE(checks.early_talker), .fallback = "refuse", .words = rule_words,
	  .doc = "Who speaks before the greeting." },
	{ "checks.helo", TYPE_ENUM, SITE(checks.helo), .fallback = "mark", .words = rule_words,
	  .doc = "A name in EHLO that is ours, has no dot, is another address than the peer's, or is not in DNS." },
	{ "checks.reverse_dns", TYPE_ENUM, SITE(checks.reverse_dns), .fallback = "mark", .words = rule_words,
	  .doc = "An address without a name that leads back to it." },
	{ "checks.block_lists", TYPE_GROUPS, LIST(site_dnslist, checks.block_lists, checks.block_list_count), .what = "block list",
	  .doc = "DNS block lists that are asked about the peer's address." },
	{ "checks.block_lists[].name", TYPE_DOMAIN, IN(site_dnslist, name), .required = true,
	  .example = "\"zen.spamhaus.org\"", .doc = "The list's zone." },
	{ "checks.block_lists[].action", TYPE_ENUM, IN(site_dnslist, action), .fallback = "refuse", .words = list_words,
	  .doc = "What being listed means: refuse, or mark, which also makes the peer doubtful for greylisting." },
	{ "checks.block_lists[].codes", TYPE_PREFIXES, IN(site_dnslist, codes), .shown = "all", .example = "( \"127.0.0.2/31\" )",
	  .doc = "Which answers of the list count." },
	{ "checks.allow_lists", TYPE_GROUPS, LIST(site_dnslist, checks.allow_lists, checks.allow_list_count), .what = "allow list",
	  .doc = "DNS lists of good hosts: who is on one of them is neither greylisted nor kept out by a block list." },
	{ "checks.allow_lists[].name", TYPE_DOMAIN, IN(site_dnslist, name), .required = true, .example = "\"list.dnswl.org\"",
	  .doc = "The list's zone." },
	{ "checks.allow_lists[].codes", TYPE_PREFIXES, IN(site_dnslist, codes), .shown = "all",
	  .doc = "Which answers of the list count." },
	{ "checks.spf", TYPE_ENUM, SITE(checks.spf), .fallback = "mark", .words = rule_words,
	  .doc = "The sender's domain says by SPF that the peer may not send for it. With refuse, mail is put off while DNS has no "
		 "answer." },
	{ "checks.dkim", TYPE_ENUM, SITE(checks.dkim), .fallback = "mark", .words = rule_words,
	  .doc = "Mail with DKIM signatures, none of which is right." },
	{ "checks.dmarc", TYPE_ENUM, SITE(checks.dmarc), .fallback = "refuse", .words = rule_words,
	  .doc = "Mail that the domain in From does not stand by. refuse does what that domain asks: reject it, put it into the mailbox "
		 "for junk, or nothing. While DNS does not say whether it stands by it, mail that would be rejected is put off." },
	{ "checks.arc_sealers", TYPE_DOMAINS, SITE(checks.arc_sealers), .shown = "none",
	  .doc = "Domains of forwarders and lists that are believed: mail that came by one of them with a good ARC seal is not held to "
		 "DMARC, unless the seal says that it failed DMARC there." },
	{ "checks.greylist", TYPE_ENUM, SITE(checks.greylist), .fallback = "refuse", .words = rule_words,
	  .doc = "Doubtful peers (no reverse DNS, a dynamic name, listed, or SPF does not say pass) are to come again once (451)." },
	{ "checks.greylist_delay", TYPE_DURATION, SITE(checks.greylist_delay), .fallback = "1m", .max = DAY,
	  .doc = "How long a greylisted peer has to wait at least." },
	{ "checks.tarpit", TYPE_DURATION, SITE(checks.tarpit), .fallback = "3s", .max = 60,
	  .doc = "How long doubtful peers wait for the greeting, and strangers after each refusal; 0 for not at all." },
	{ "checks.dns_wait", TYPE_DURATION, SITE(checks.dns_wait), .fallback = "5s", .min = 1, .max = 60,
	  .doc = "How long each step waits for DNS; what has no answer then is no reason to refuse for good." },
	{ "checks.connection_rate", TYPE_INT, SITE(checks.connection_rate), .fallback = "120", .min = 1, .max = 1000000,
	  .doc = "New connections a minute from one address (an IPv6 /64)." },
	{ "checks.command_rate", TYPE_INT, SITE(checks.command_rate), .fallback = "3000", .min = 10, .max = 1000000,
	  .doc = "Commands a minute from one address; further ones are answered slowly." },
	{ "pop3", TYPE_GROUP, .doc = "What POP3 does to mailboxes." },
	{ "pop3.delete", TYPE_ENUM, SITE(pop3.delete), .fallback = "expunge", .words = pop3_words,
	  .doc = "What becomes of messages that a POP3 client deletes: expunged at QUIT; hidden from POP3 alone, so that IMAP still has "
		 "them; or hidden, and expunged by a later POP3 session once they have been there for pop3.keep." },
	{ "pop3.keep", TYPE_DURATION, SITE(pop3.keep), .fallback = "30d", .min = 1, .max = 3650 * DAY,
	  .doc = "With pop3.delete = \"keep\": how long after its arrival a deleted message stays." },
	{ "log", TYPE_GROUP, .doc = "Where log lines go." },
	{ "log.destination", TYPE_STRING, SITE(log.destination), .fallback = "stderr", .check = check_log,
	  .doc = "stderr (the journal, under systemd) or the absolute path of a file." },
	{ "log.level", TYPE_ENUM, SITE(log.level), .fallback = "info", .words = level_words, .doc = "The least that is logged." },

	{ "admin", TYPE_GROUP, .example = "{ contact = \"alice@example.org\"; }", .doc = "Who looks after the host." },
	{ "admin.contact", TYPE_ADDRESS, SITE(admin.contact), .shown = "the first account",
	  .doc = "Who gets postmaster and abuse mail of every domain, and is told when something fails." },
	{ "admin.command", TYPE_STRING, SITE(admin.command), .fallback = "", .optional = true, .check = check_line,
	  .doc = "A command that is told too, with the text on its standard input: mail may be what is down." },
	{ "role", TYPE_ENUM, SITE(role), .fallback = "host", .words = role_words,
	  .doc = "What this machine is: the host itself, or the gateway in front of it." },
	{ "state_dir", TYPE_STRING, SITE(state_dir), .fallback = "/var/lib/mailadm",
	  .doc = "Where mail, keys and credentials are; a relative path is relative to the site file." },
	{ "run_dir", TYPE_STRING, SITE(run_dir), .shown = "/run/mailadm, or STATE/run when state_dir is set",
	  .doc = "Where sockets are." },
	{ "port_offset", TYPE_INT, SITE(port_offset), .fallback = "0", .max = 65535,
	  .doc = "Added to every port, so that a whole host runs unprivileged." },
};
/* clang-format on */
const size_t schema_count = sizeof(schema) / sizeof(schema[0]);
_Static_assert(sizeof(schema) / sizeof(schema[0]) < SCHEMA_MAX, "SCHEMA_MAX is too small");

/* Is row below parent?  *rest is then what follows "parent." or "parent[].". */
static bool below(int parent, int row, const char **rest)
{
	const char *path = schema[row].path;
	*rest = path;
	if (parent < 0)
		return true;
	size_t n = strlen(schema[parent].path);
	if (strncmp(path, schema[parent].path, n) != 0)
		return false;
	path += n;
	if (schema[parent].type == TYPE_GROUPS) {
		if (strncmp(path, "[]", 2) != 0)
			return false;
		path += 2;
	}
	*rest = path + 1;
	return *path == '.';
}

int schema_next_child(int parent, int after)
{
	const char *rest;
	for (int row = after + 1; row < (int)schema_count && below(parent, row, &rest); row++)
		if (!strchr(rest, '.'))
			return row;
	return -1;
}

int schema_find(int parent, const char *name)
{
	for (int row = schema_next_child(parent, parent); row >= 0; row = schema_next_child(parent, row))
		if (strcmp(schema_name(row), name) == 0)
			return row;
	return -1;
}

const char *schema_name(int row)
{
	const char *dot = strrchr(schema[row].path, '.');
	return dot ? dot + 1 : schema[row].path;
}

/* Two letters changed places: the commonest slip, and two edits to text_distance. */
static bool swapped(const char *a, const char *b)
{
	while (*a && *a == *b) {
		a++;
		b++;
	}
	return *a && *b && a[1] && a[0] == b[1] && a[1] == b[0] && strcmp(a + 2, b + 2) == 0;
}

const char *schema_nearest(int parent, const char *name)
{
	const char *best = NULL;
	unsigned least = strlen(name) < 4 ? 2 : 3; /* one wrong letter in a short word, two in others */
	for (int row = schema_next_child(parent, parent); row >= 0; row = schema_next_child(parent, row)) {
		unsigned d = swapped(schema_name(row), name) ? 1 : text_distance(schema_name(row), name, 3);
		if (d < least && schema[row].type != TYPE_SECRET) {
			least = d;
			best = schema_name(row);
		}
	}
	return best;
}

static const struct {
	const char *name, *example;
} types[] = {
	[TYPE_GROUP] = { "group", "{ ... }" },
	[TYPE_GROUPS] = { "list of groups", "( { ... } )" },
	[TYPE_SECRET] = { "secret", "" },
	[TYPE_STRING] = { "text", "\"...\"" },
	[TYPE_ADDRESS] = { "mail address", "\"alice@example.org\"" },
	[TYPE_DOMAIN] = { "domain name", "\"example.org\"" },
	[TYPE_IP4] = { "IPv4 address", "\"192.0.2.10\"" },
	[TYPE_IP6] = { "IPv6 address", "\"2001:db8::10\"" },
	[TYPE_ENUM] = { "word", "\"info\"" },
	[TYPE_BOOL] = { "switch", "true or false, without quotes" },
	[TYPE_INT] = { "number", "100, without quotes" },
	[TYPE_SIZE] = { "size", "\"50M\" (suffix k, M, G, T)" },
	[TYPE_DURATION] = { "duration", "\"10m\" (suffix s, m, h, d, w)" },
	[TYPE_PROTOCOLS] = { "list of protocols", "( \"imap\", \"submission\" )" },
	[TYPE_STRINGS] = { "list of texts", "( \"...\", \"...\" )" },
	[TYPE_ADDRESSES] = { "list of mail addresses", "( \"alice@example.org\", \"bob@example.net\" )" },
	[TYPE_DOMAINS] = { "list of domain names", "( \"ns1.example.org\", \"ns2.example.net\" )" },
	[TYPE_PREFIXES] = { "list of addresses and prefixes", "( \"192.0.2.0/24\", \"2001:db8::/32\" )" },
	[TYPE_MATCHES] = { "list of domains and mail addresses", "( \"example.org\", \".example.net\", \"alice@example.com\" )" },
};

const char *schema_type_name(enum schema_type type)
{
	return types[type].name;
}

const char *schema_type_example(enum schema_type type)
{
	return types[type].example;
}

const char *schema_example(const struct schema_row *row)
{
	return row->example ? row->example : schema_type_example(row->type);
}

void schema_default_text(const struct schema_row *row, struct buf *out)
{
	if (row->required)
		buf_puts(out, "required");
	else if (row->shown)
		buf_puts(out, row->shown);
	else if (row->fallback && row->fallback[0])
		buf_puts(out, row->fallback);
	else
		buf_puts(out, "none");
}
