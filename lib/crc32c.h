/* CRC-32C (Castagnoli, RFC 3720 B.4), by the processor's instruction where it has one. */
#ifndef LIB_CRC32C_H
#define LIB_CRC32C_H

#include <stddef.h>
#include <stdint.h>

uint32_t crc32c(uint32_t crc, const void *data, size_t len);          /* start with 0; chains */
uint32_t crc32c_portable(uint32_t crc, const void *data, size_t len); /* the same without the instruction */

#endif
