/* Inside site/: the cross-checks, after every value has been read. */
#ifndef SITE_CHECK_H
#define SITE_CHECK_H

#include "site.h"

/* How a row's setting is found again for a message: its place, or the site's file when it is a default. */
struct site_origin check_origin(const struct site *, const char *path);

/* Is there an error at this place already?  Then what follows from it is not said too. */
bool check_said(const struct findings *, const struct site_origin *);

/* Is path (absolute) dir, or below it? By their texts alone. */
bool check_inside(const char *path, const char *dir);

/* A list that names the same twice. */
void check_twice(const struct strings *, const char *path, const struct site_origin *, struct findings *);

void check_routes(const struct site *, struct findings *);  /* addresses: domains, aliases, loops, catch-all, admin */
void check_machine(const struct site *, struct findings *); /* host, ports, relay, limits, backup */
void check_firewall(const struct site *, struct findings *);
void check_gateway(const struct site *, struct findings *);
void check_dns(const struct site *, struct findings *);
void check_lists(const struct site *, struct findings *); /* of addresses in DNS, and who is not checked */
void check_files(const struct site *, struct findings *); /* certificate and key, what the firewall reads, secrets */
/* Warnings that help once all else is right. */
void check_dns_advice(const struct site *, struct findings *);
void check_advice(const struct site *, bool files, struct findings *);

#endif
