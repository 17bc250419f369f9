/*
 * Mail from elsewhere.  A source (a Maildir, an mbox, a server) is read by a process of its own with reduced rights,
 * the reader, which parses what it finds and offers message by message to the importer, who alone may talk to store.
 * They speak over a socket pair: the importer takes nothing on trust but bytes.
 *
 * Each message has a key, its name at its source.  Store remembers keys, so the reader asks first and reads only what
 * store does not have: a run that was cut off is begun again and goes on.
 */
#ifndef MAILSVC_MIGRATE_MIGRATE_H
#define MAILSVC_MIGRATE_MIGRATE_H

#include <openssl/ssl.h>

#include "mailsvc/store/client.h"

#define MIGRATE_BATCH 500                /* messages that are asked for at once */
#define MIGRATE_UNANSWERED (64ull << 20) /* bytes of messages that the reader lets wait */
#define MIGRATE_FOLDERS_MAX 10000
#define MIGRATE_MESSAGES_MAX 20000000 /* of one folder */
#define MIGRATE_TEXT_MAX 400          /* bytes of a problem's text */

/* Folders -------------------------------------------------------------------------------------------------- */

struct migrate_item {
	uint32_t uid;      /* 0: none at its source */
	uint32_t flags;    /* FLAGS_SETTABLE bits */
	uint64_t keywords; /* bits of the folder's */
	int64_t date;
	uint64_t size; /* about */
	uint8_t key[IMPORT_KEY_LEN];
	char *locator;  /* the source's own, or NULL */
	uint64_t place; /* the source's own */
};
struct migrate_folder {
	char name[MAILBOX_NAME_MAX + 1]; /* UTF-8, "/" between levels */
	char *locator;                   /* the source's own */
	uint32_t uid_validity;           /* 0: none */
	bool selectable;
	char *keywords[KEYWORDS_MAX];
	unsigned keyword_count;
	struct migrate_item *items; /* by uid; those without one last */
	size_t count, size;
};
struct migrate_item *migrate_item_add(struct migrate_folder *); /* zeroed */
void migrate_items_free(struct migrate_folder *);               /* and its keywords */
void migrate_items_sort(struct migrate_folder *);
/* The bit of this keyword, made when it is new; 0: no keyword, or too many. */
uint64_t migrate_keyword(struct migrate_folder *, struct view name);
/* A system flag's bit, by its letter in Maildir names ("S") and by its IMAP name ("\Seen", any case); 0. */
uint32_t migrate_flag_letter(char c);
uint32_t migrate_flag_name(struct view name);
/* Who a message is: label is what --label says, kind and the rest what the source knows. */
void migrate_key(uint8_t key[IMPORT_KEY_LEN], const char *label, const char *kind, struct view a, struct view b);
void migrate_key_uid(
    uint8_t key[IMPORT_KEY_LEN], const char *label, const char *folder, uint32_t uid_validity, uint32_t uid);
/* "INBOX" in any case is INBOX; characters that no mailbox name of ours has become "_". false: nothing is left. */
bool migrate_name(struct view utf8, char out[MAILBOX_NAME_MAX + 1]);
/* The levels of a name in modified UTF-7 (or, where it is none, in UTF-8), split at separator (0: none). */
bool migrate_name_levels(struct view name, char separator, char out[MAILBOX_NAME_MAX + 1]);
/*
 * As store keeps mail: every line ends in CRLF, a NUL becomes 0x80.  Appended; -1 when out is full.
 */
int migrate_crlf(struct view in, struct buf *out);

/* Sources --------------------------------------------------------------------------------------------------- */

struct reader;
struct migrate_source {
	const char *label;
	/* Folders, each with its name and locator; -1: cannot go on, with a reason. */
	int (*folders)(struct migrate_source *, struct reader *, struct error *);
	/* Fills items and keywords of one of them.  -1: this folder cannot be read; -2: nor can any other. */
	int (*list)(struct migrate_source *, struct reader *, struct migrate_folder *, struct error *);
	/*
	 * Reads those of count items of the folder for which want is set and offers each with reader_offer, or tells of
	 * a problem.  -1: the source is gone.
	 */
	int (*fetch)(struct migrate_source *, struct reader *, struct migrate_folder *, struct migrate_item *,
	    const bool *want, size_t count, struct error *);
	struct migrate_folder *at; /* what folders found */
	size_t count;
	char **subscribed; /* names; NULL: the source does not know */
	size_t subscribed_count;
	bool knows_subscriptions;
};
/* NULL: there are too many, which is told. */
struct migrate_folder *migrate_folder_add(
    struct migrate_source *, struct reader *, const char *name, const char *locator);
void migrate_subscribe(struct migrate_source *, const char *name);

/* A Maildir (Maildir++ or with folders as folders), of Dovecot, Courier or anybody. dir stays the caller's. */
struct migrate_source *migrate_maildir(int dir, const char *label);
/* One mbox file (name: the folder it becomes) or, with a folder's descriptor, every file in and below it. */
struct migrate_source *migrate_mbox(int fd, const char *name, const char *label);
/* A server. fd: connected; tls: NULL for a plain connection. */
struct migrate_server {
	int fd;
	SSL_CTX *tls;
	bool starttls, verify, oauth, plain_allowed;
	const char *host, *user, *password, *label;
};
struct migrate_source *migrate_imap(const struct migrate_server *);
void migrate_imap_free(struct migrate_source *); /* not the descriptor */

/* The reader's side ------------------------------------------------------------------------------------------- */

struct reader_options {
	bool dry_run;
	const char *const *map;     /* OLD, NEW, OLD, NEW, ..., NULL */
	const char *const *exclude; /* patterns (* and %), NULL-terminated */
};
struct reader *reader_new(int channel, const struct reader_options *); /* freed with free */
/* Reads all of a source; channel is a blocking descriptor. The exit status of the process. */
int reader_run(struct migrate_source *, int channel, const struct reader_options *);
/* For sources: a whole message as the source has it. -1: the importer is gone. */
int reader_offer(struct reader *, struct migrate_folder *, const struct migrate_item *, struct view message);
void reader_problem(struct reader *, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* The wire -------------------------------------------------------------------------------------------------------- */

enum migrate_message {         /* from the reader; payloads as proto.h's (head, mime, body) */
	MIGRATE_FOLDER = 1,    /* {str name, u32 uid_validity, u64 messages, u64 bytes}; id 0 */
	MIGRATE_TOTAL,         /* {u64 folders} */
	MIGRATE_ASK,           /* message without a body: answered STORE_EXISTS or STORE_OK */
	MIGRATE_OFFER,         /* message */
	MIGRATE_PROBLEM,       /* {str text} */
	MIGRATE_SUBSCRIBED,    /* {str name}: of the source's subscriptions */
	MIGRATE_SUBSCRIPTIONS, /* {}: they are known */
	MIGRATE_DONE,          /* {} */
	MIGRATE_FAILED,        /* {str text}: cannot go on */
	MIGRATE_ANSWER = 32,   /* from the importer: {u8 store_status}, id of what it answers */
};
struct migrate_wire { /* ASK and OFFER: of the folder told last */
	uint32_t uid, flags;
	uint8_t key[IMPORT_KEY_LEN];
	int64_t date;
	struct view keywords[KEYWORDS_MAX];
	size_t keyword_count;
	struct view mime, body;
};
void migrate_wire_put(struct buf *payload, const struct migrate_wire *);
int migrate_wire_get(struct migrate_wire *, struct view payload); /* -1: malformed */

#endif
