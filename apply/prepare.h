/* How a generation begins: its folder with everything that the way back needs, on the disk before the first change. */
#ifndef APPLY_PREPARE_H
#define APPLY_PREPARE_H

#include "apply/apply.h"

/* A generation of state applying, named in `pending`, with `serving` set and watchdogs armed. -1: nothing is left of
 * it. */
int generation_begin(struct apply_dir *, const struct apply_request *, struct generation *, struct error *);
/* Names the part in generations/N/touched, before its change begins. */
int touched_add(const struct apply_dir *, const struct generation *, const char *part, struct error *);
bool touched_has(const struct apply_dir *, const struct generation *, const char *part);
/* Gives free the room that was kept for writing the end of a generation down. */
void reserve_release(const struct apply_dir *, const struct generation *);
/* Puts back what was touched (last first), then marks it; keeps going past a part that fails. */
int take_back(struct apply_dir *, struct generation *, enum generation_state, const char *reason, struct error *);
/* What a confirmed generation makes permanent, then it is pending no more.  May be called again. */
int make_permanent(struct apply_dir *, const struct generation *, struct error *);
/* Is previous.conf there and other than site.conf? */
bool previous_differs(const struct apply_dir *, const struct generation *);

#endif
