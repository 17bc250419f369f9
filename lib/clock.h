/* Time.  Wall time for what people and peers see, monotonic time for how long things took. */
#ifndef LIB_CLOCK_H
#define LIB_CLOCK_H

#include <stdint.h>

int64_t clock_wall(void);     /* seconds since 1970 */
int64_t clock_wall_us(void);  /* microseconds since 1970 */
uint64_t clock_mono_ms(void); /* milliseconds since some start */

/* RFC 3339 in local time: "2026-11-24T06:45:48+00:00"; "" when there is no such time. */
void clock_rfc3339(int64_t when, char out[32]);

#endif
