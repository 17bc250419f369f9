/*
 * The site: everything mailadm knows about a host, read from one libconfig file, its @includes and its drop-ins.
 * A loaded site is immutable and counted: whoever keeps a pointer into it holds a reference.
 *
 * Names are normalised at load: domains to lower-case A-labels, local parts to NFC and folded case, so that
 * lookups compare bytes.  Strings are never NULL unless it says so; lists are {pointer, count}.
 */
#ifndef SITE_SITE_H
#define SITE_SITE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/buf.h"

#define SITE_DEFAULT "/etc/mailadm/site.conf" /* where the installed site lies */

struct site_origin {
	const char *file;
	unsigned line; /* 0: a default */
};

struct strings {
	char **at;
	size_t count;
};

enum protocol { PROTOCOL_IMAP = 1, PROTOCOL_POP3 = 2, PROTOCOL_SUBMISSION = 4 };

struct site_domain {
	char *name;             /* A-labels, lower case */
	char *catch_all;        /* an address for unknown local parts, or NULL */
	uint64_t quota;         /* bytes of all its accounts together, 0: none */
	char *dkim_selector;    /* of the RSA key; default "mail" */
	char *dkim_ed25519;     /* of the Ed25519 key; default "mail-ed25519", "" none */
	char *dmarc;            /* none, quarantine (default), reject */
	bool dns;               /* we publish its zone (default true) */
	bool mail;              /* false: null MX, SPF -all (default true) */
	char *reports;          /* where DMARC and TLS reports go, or NULL: postmaster@name */
	char *mta_sts;          /* none (default), testing, enforce */
	struct strings records; /* further lines of the zone, in presentation form */
	char *elsewhere;        /* "host:port" that knows the addresses that we do not (a staged move), "" none */
	char *deliver;          /* "lmtp:host:port" or "host:port" that keeps the domain's mail, "" none */
	bool verify;            /* these hosts are asked whom they take (default true) */
	struct site_origin origin;
};

struct site_account {
	char *address;      /* normalised: the account's key everywhere */
	char *name;         /* display name, or "" */
	uint64_t quota;     /* bytes, 0: none */
	int quota_messages; /* 0: none */
	unsigned protocols; /* PROTOCOL_ bits; 0 when shared, or when state is not active */
	char *state;        /* active (default), suspended: no login, closed: no login and no mail */
	struct strings forward; /* normalised addresses that get its mail, too or instead */
	bool forward_copy;      /* it keeps a copy of what it forwards, default true */
	struct {
		struct strings text; /* lines; none: no reply */
		char *subject; /* "" : "Auto: " and that of what is answered */
		char *from, *until; /* YYYY-MM-DD, both included, "" : no bound */
	} auto_reply;
	bool shared;        /* nobody logs in: its mailboxes are in the shared/ namespace */
	struct strings senders; /* accounts that may send as this address too */
	struct site_origin origin;
};

struct site_alias { /* also the simple distribution lists: `lists` are aliases with members and an owner */
	char *address;
	struct strings targets; /* normalised addresses, local or remote */
	bool list;
	char *owner; /* lists: envelope sender of what is expanded (bounces go there), default admin */
	struct site_origin origin;
};

enum service {               /* every listener there is; the site says which are on */
	SERVICE_SMTP,        /* 25 */
	SERVICE_SUBMISSION,  /* 587, STARTTLS */
	SERVICE_SUBMISSIONS, /* 465, TLS */
	SERVICE_IMAP,        /* 143, STARTTLS */
	SERVICE_IMAPS,       /* 993, TLS */
	SERVICE_POP3,        /* 110, STLS */
	SERVICE_POP3S,       /* 995, TLS */
	SERVICE_COUNT
};

struct service_info {
	const char *name; /* "smtp": the key in `listen` */
	uint16_t port;
	bool implicit_tls;
};
extern const struct service_info services[SERVICE_COUNT];

struct site_backup {
	char *name;
	char *repository;    /* a restic repository: a folder, sftp:, s3: ... */
	char *password_file; /* default STATE/backup-NAME.password */
	char *schedule;      /* systemd OnCalendar, default "*-*-* 03:30:00" */
	int keep_daily, keep_weekly, keep_monthly;
	struct site_origin origin;
};

struct site_port { /* firewall.extra */
	char *name;
	char *protocol; /* tcp, udp */
	uint16_t port;
	struct strings from; /* empty: anyone */
	bool admin;          /* from firewall.admin_from only */
	int rate;            /* new connections a minute and source; 0: no limit */
	struct site_origin origin;
};

struct site_egress { /* firewall.out */
	char *name;
	char *protocol; /* tcp, udp */
	uint16_t port;
	struct strings to; /* empty: anyone */
	char *user;        /* "" : everyone */
	struct site_origin origin;
};

struct site_fwtest { /* firewall.tests */
	char *from;  /* "" : the host itself sends */
	char *to;    /* "" : the host */
	uint16_t to_port;
	char *protocol; /* tcp, udp */
	char *user;     /* "" : root; only when the host sends */
	char *expect;   /* accept, drop */
	struct site_origin origin;
};

struct site_route { /* routes: where mail to some, or of some, goes; hop.h */
	char *name;
	struct strings to, from; /* domains, ".domain" (below it) and addresses, normalised; empty: all */
	struct strings hosts;    /* hop_host_parse, in order; empty: by MX */
	char *protocol;          /* smtp (default), lmtp */
	char *user;              /* "" : no AUTH; the password is route.NAME.password of the secrets file */
	char *tls;               /* opportunistic (default), encrypt, required, none */
	char *ipv4, *ipv6;       /* to send from, "" : as relay says */
	char *family;            /* both (default), ipv4, ipv6 */
	int connections, rate;   /* 0: as relay says */
	struct site_origin origin;
};

struct site_trusted { /* submission.trusted: printers and the like, which cannot log in */
	struct strings from; /* prefixes */
	char *account;       /* whom they act for: a normalised address */
	struct site_origin origin;
};

struct site_dnslist { /* checks.block_lists, checks.allow_lists */
	char *name;
	char *action;         /* mark, refuse (default); of block lists */
	struct strings codes; /* prefixes of 127.0.0.0/8 that count; empty: all */
	struct site_origin origin;
};

struct site {
	unsigned references;
	char *path;           /* the file that was read */
	char *dir;            /* its folder, absolute: relative paths in the site are relative to it */
	struct strings files; /* every file that was read: the site, its includes, its drop-ins */

	struct {
		char *name;                      /* mail.example.org */
		char *ipv4, *ipv6;               /* listening addresses, "" when none */
		char *public_ipv4, *public_ipv6; /* what the world sees (NAT); default the same */
	} host;
	struct {
		char *contact; /* an address: postmaster@ and abuse@ of every domain, and who is told when something
		                  fails; default: the first account */
		char *command; /* told too, by stdin, through sh -c; "" none */
	} admin;
	char *role;      /* host (default), gateway */
	char *state_dir; /* absolute after load; default /var/lib/mailadm */
	char *run_dir;   /* sockets; default /run/mailadm for the default state_dir, else STATE/run */
	int port_offset;

	struct {
		bool on[SERVICE_COUNT]; /* all true by default */
		bool loopback;          /* listen on loopback where the host's address is not on this machine */
		bool insecure_loopback; /* login without TLS from loopback peers: for measuring */
		struct strings proxy_from; /* prefixes of load balancers, which begin with a PROXY v2 header */
	} listen;
	struct {
		struct site_trusted *trusted;
		size_t trusted_count;
		char *from; /* domain (default), off: who may stand in From, see schema */
	} submission;
	struct {
		char *certificate, *key; /* PEM files; "" : self-signed in STATE/tls */
		bool channel_binding;    /* SCRAM-SHA-256-PLUS is offered, default false */
		char *trust;             /* PEM file of CAs for other hosts' certificates; "" : the system's */
	} tls;
	struct {
		uint64_t message_size;       /* bytes, default 50M */
		int recipients;              /* a transaction, default 100 */
		int connections;             /* a role process, default 5000 */
		int connections_per_address; /* default 100; loopback is not limited */
		int errors;                  /* bad commands a connection, default 20 */
		int idle;          /* seconds before login or between SMTP commands, default 300 (smtp), see roles */
		int auth_failures; /* per address and account before throttling, default 10 in 10 min */
		uint64_t undelete; /* seconds, default 14d */
		uint64_t disk_reserve; /* bytes kept free: below it new mail gets 452; default 256M */
		char *over_quota;      /* defer (default): 452 4.2.2; refuse: 552 5.2.2 */
		char *sharing;         /* by users themselves, with: domain (default), host, none */
		char *quota_warnings;  /* percents, such as "80 95" (default); "" none */
		int send_rate;         /* recipients an hour and account, default 500; 0: any number */
		int send_rate_domain;  /* the same for a domain's accounts together, default 0 */
		int send_stop;         /* recipients a day that stop an account, default 3000; 0: never */
	} limits;
	struct { /* of mail from outside; rules are off, mark or refuse */
		struct strings trusted; /* prefixes: their mail is not checked */
		char *early_talker;     /* refuse */
		char *helo, *reverse_dns, *spf, *dkim; /* mark */
		char *dmarc, *greylist;                /* refuse */
		struct site_dnslist *block_lists, *allow_lists;
		size_t block_list_count, allow_list_count;
		struct strings arc_sealers; /* domains whose word counts when DMARC fails */
		uint64_t greylist_delay;    /* seconds, 1m */
		uint64_t tarpit;            /* seconds, 3s; 0: none */
		uint64_t dns_wait;          /* seconds, 5s */
		int connection_rate;        /* a minute and source, 120 */
		int command_rate;           /* a minute and source, 3000 */
	} checks;
	struct {
		char *delete;  /* expunge (default), hide, keep */
		uint64_t keep; /* seconds, default 30d */
	} pop3;
	struct {                               /* sending */
		char *smarthost;               /* "" : by MX */
		int port;                      /* 587 */
		char *user;                    /* "" : no AUTH; the password is in the secrets file as relay.password */
		bool tls_required;             /* with a smarthost: default true */
		uint64_t expire;               /* seconds until a bounce, default 5d */
		uint64_t retry_min, retry_max; /* 5m, 4h */
		int connections;               /* at once, default 100 */
		int connections_each;          /* to one destination at most, default 20 */
		int rate;                      /* messages a minute to one destination, 0 (default): any number */
		char *ipv4, *ipv6;             /* to send from; "" : host's */
		char *family;                  /* both (default), ipv4, ipv6 */
		uint64_t delay_warning;        /* seconds until the sender is told of a delay, default 4h; 0: never */
		bool srs;                      /* forwarded mail leaves with a sender of ours, default true */
		bool dane, mta_sts;            /* default true */
		int port_out;                  /* remote SMTP port, default 25; for tests */
		int https_port;                /* where MTA-STS policies are, default 443; for tests */
	} relay;
	struct {
		struct strings forward; /* resolver: ask these "addr" or "addr@port"; empty: recurse from the root */
		bool dnssec;            /* default true */
		struct strings trust_anchors; /* DS or DNSKEY lines, beside the root's */
		uint64_t ttl;           /* of published records, default 1h */
		struct strings nameservers; /* host names; default: the host itself, as ns1.DOMAIN */
		char *caa;                  /* "letsencrypt.org"; "" none */
		struct strings transfer;    /* addresses that may transfer */
		char *server;               /* auto (default), bind, none */
		char *zone_dir; /* absolute after load; default /var/lib/bind/mailadm, STATE/zones with a state_dir */
		char *rndc;     /* a command and its options, split at spaces */
		struct strings secondaries; /* single addresses: notified, and may transfer */
		char *tsig_key;             /* "" none; the secret is dns.tsig_secret in the secrets file */
		bool sign;                  /* DNSSEC by dnssec-policy; default false */
		uint64_t rollover;          /* seconds of a DKIM key's life; 0: for ever */
		bool local_resolver;        /* a validating bind on loopback, which the resolver role asks */
		struct strings block_lists; /* names of DNSBLs */
	} dns;
	struct {
		struct strings admin_from; /* prefixes that may ssh; empty: anyone, which check warns of */
		uint16_t ssh_port;         /* 22 */
		struct site_port *extra;
		size_t extra_count;
		char *family;              /* both (default), ipv4, ipv6 */
		int connections;           /* at once from one source to the mail services, 100 */
		int smtp_rate, login_rate; /* new connections a minute and source, 120 and 60 */
		int syn_rate;              /* TCP connection attempts a second and source, 50 */
		bool bogons, log;          /* true */
		bool egress;               /* only what is needed goes out; default false: only port 25 is held */
		struct site_egress *out;   /* besides, with egress */
		size_t out_count;
		struct strings include;   /* files with nft rules for the input chain */
		struct strings never_ban; /* prefixes, besides admin_from */
		bool ban;                 /* true */
		int ban_after;            /* offences in ten minutes, 10 */
		uint64_t ban_time,
		    ban_max; /* seconds: the first (10m), the longest (7d); four times as long each time */
		struct strings block_lists; /* files */
		struct site_fwtest *tests;
		size_t test_count;
	} firewall;
	struct {                        /* the machine in front; outside "" when there is none */
		char *outside, *inside; /* interfaces */
		struct strings network; /* prefixes behind it */
		bool masquerade, hairpin;
	} gateway;
	struct {
		char *destination; /* "stderr" (default) or a file */
		char *level;       /* error, warn, info (default), debug */
	} log;

	struct site_route *routes;
	size_t route_count;
	struct site_domain *domains;
	size_t domain_count;
	struct site_account *accounts;
	size_t account_count;
	struct site_alias *aliases;
	size_t alias_count;
	struct site_backup *backups;
	size_t backup_count;

	struct site_index *index;    /* hash tables over the above: see route.h */
	struct site_origin *origins; /* by schema row, for `site print --origin` and messages */
};

/* One finding: "FILE:LINE: what is wrong; what to do", with "warning: " before what is wrong. Errors forbid serving;
 * warnings do not. */
struct finding {
	char *text;
	bool warning;
	char *file; /* where, as in text; "" when nowhere */
	unsigned line;
};
struct findings {
	struct finding *at;
	size_t count, errors;
};
void findings_add(struct findings *, bool warning, const struct site_origin *, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
void findings_free(struct findings *);

/*
 * Reads, sets defaults, normalises and cross-checks.  All errors are collected, in file order.  NULL when there
 * is one (never NULL without one).  site_load_memory reads what site_flatten wrote (a role's view; path is for
 * messages).
 */
struct site *site_load(const char *path, struct findings *);
/* The same as if the drop-in (a path as in struct strings files) held this text: whether an edit would be right. */
struct site *site_load_with(const char *path, const char *drop_in, struct view text, struct findings *);
struct site *site_load_memory(struct view text, const char *path, struct findings *);
struct site *site_ref(struct site *);
void site_unref(struct site *); /* NULL is fine */

/* The whole site as one libconfig text with every default written out; loads back to the same site. */
int site_flatten(const struct site *, struct buf *out);
int site_print(const struct site *, bool origin, struct buf *out); /* for people: `mailadm site print` */
int site_print_json(const struct site *, struct buf *out);
int site_schema_text(struct buf *out); /* `mailadm site schema`: key, type, default, what it means */
int site_schema_json(struct buf *out);
int site_schema_mdoc(struct buf *out); /* the option list of mailadm-site(5) */

/* Paths below state_dir; malloc'd. site_path resolves one of the site's own relative paths. */
char *site_state(const struct site *, const char *name);
char *site_path(const struct site *, const char *name);
char *site_drop_in_dir(
    const char *path); /* the folder of a site file's drop-ins: DIR/site.d for DIR/site.conf; malloc'd */
uint16_t site_port(const struct site *, enum service); /* with port_offset */

#endif
