/* One value of the schema: from a libconfig setting or a default's text into its member, and back. */
#ifndef SITE_VALUE_H
#define SITE_VALUE_H

#include <libconfig.h>

#include "schema.h"

/* Parses into the member (freeing what was there); what is wrong goes to findings. 0, or -1. */
int value_set(
    const struct schema_row *, void *base, const config_setting_t *, struct findings *, const struct site_origin *);
void value_default(const struct schema_row *, void *base);
void value_free(const struct schema_row *, void *base); /* empties the member */

uint64_t value_number(const struct schema_row *, const void *base); /* TYPE_INT, TYPE_SIZE, TYPE_DURATION */
void value_size_text(uint64_t bytes, char out[24]);                 /* "50M": exact, parses back */
extern const char *const protocol_names[];                          /* NULL-terminated, in the order of the bits */

/* "192.0.2.0/24", "2001:db8::1" in canonical form; -1 when v is none or has bits behind its length. */
int prefix_normalise(const char *v, char *out, size_t size);

/* Checks that schema rows name: why a text does not fit (with what to do), or NULL. */
const char *check_fqdn(const char *);
const char *check_host(const char *);
const char *check_hop(const char *); /* hop_host_parse takes it */
#define PERCENTS_MAX 8
const char *check_percents(const char *);
const char *check_ip(const char *);
const char *check_label(const char *);
const char *check_name(const char *);
const char *check_interface(const char *);
const char *check_line(const char *);
const char *check_text(const char *); /* a line of a message */
const char *check_day(const char *);  /* YYYY-MM-DD */
const char *check_log(const char *);
const char *check_forwarder(const char *);
const char *check_anchor(const char *);

#endif
