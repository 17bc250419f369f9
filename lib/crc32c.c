/*
 * crc32c.h: three ways to the same sum.  With SSE4.2 three independent streams of CRC_BLOCK bytes hide the
 * instruction's latency of three cycles, and are joined by a table that appends CRC_BLOCK zero bytes to a sum;
 * without it, slicing by eight.  The tables are computed once, at load, before any thread exists.
 */
#include "crc32c.h"

#include <string.h>
#if defined(__x86_64__)
#include <nmmintrin.h>
#endif

#define POLY 0x82f63b78u         /* reflected 0x1EDC6F41 */
#define CRC_BLOCK ((size_t)1024) /* bytes a stream; a multiple of 8 */

static uint32_t slice[8][256]; /* slice[k][b]: byte b followed by k zero bytes */

static void make_slices(void)
{
	for (uint32_t b = 0; b < 256; b++) {
		uint32_t crc = b;
		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? POLY : 0);
		slice[0][b] = crc;
	}
	for (uint32_t b = 0; b < 256; b++) {
		for (int k = 1; k < 8; k++)
			slice[k][b] = slice[k - 1][b] >> 8 ^ slice[0][slice[k - 1][b] & 255];
	}
}

static uint32_t crc_table(uint32_t crc, const unsigned char *p, size_t len)
{
	for (; len >= 8; p += 8, len -= 8) {
		uint32_t lo =
		    crc ^ ((uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24);
		crc = slice[7][lo & 255] ^ slice[6][lo >> 8 & 255] ^ slice[5][lo >> 16 & 255] ^ slice[4][lo >> 24] ^
		      slice[3][p[4]] ^ slice[2][p[5]] ^ slice[1][p[6]] ^ slice[0][p[7]];
	}
	for (; len > 0; p++, len--)
		crc = crc >> 8 ^ slice[0][(crc ^ *p) & 255];
	return crc;
}

#if defined(__x86_64__)

static uint32_t skip[4][256]; /* skip[k][b]: the sum b << 8k after CRC_BLOCK zero bytes */
static int have_sse42;

static void make_skips(void)
{
	static const unsigned char zeros[CRC_BLOCK];

	for (int k = 0; k < 4; k++) {
		for (uint32_t b = 0; b < 256; b++)
			skip[k][b] = crc_table(b << (8 * k), zeros, sizeof(zeros));
	}
}

static uint32_t skip_block(uint32_t crc)
{
	return skip[0][crc & 255] ^ skip[1][crc >> 8 & 255] ^ skip[2][crc >> 16 & 255] ^ skip[3][crc >> 24];
}

static uint64_t load64(const unsigned char *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

__attribute__((target("sse4.2"))) static uint32_t crc_sse42(uint32_t crc, const unsigned char *p, size_t len)
{
	for (; len >= 3 * CRC_BLOCK; p += 3 * CRC_BLOCK, len -= 3 * CRC_BLOCK) {
		uint64_t a = crc, b = 0, c = 0;

		for (size_t i = 0; i < CRC_BLOCK; i += 8) {
			a = _mm_crc32_u64(a, load64(p + i));
			b = _mm_crc32_u64(b, load64(p + CRC_BLOCK + i));
			c = _mm_crc32_u64(c, load64(p + 2 * CRC_BLOCK + i));
		}
		crc = skip_block(skip_block((uint32_t)a) ^ (uint32_t)b) ^ (uint32_t)c;
	}
	for (; len >= 8; p += 8, len -= 8)
		crc = (uint32_t)_mm_crc32_u64(crc, load64(p));
	for (; len > 0; p++, len--)
		crc = _mm_crc32_u8(crc, *p);
	return crc;
}

#endif

__attribute__((constructor)) static void crc32c_init(void)
{
	make_slices();
#if defined(__x86_64__)
	make_skips();
	__builtin_cpu_init();
	have_sse42 = __builtin_cpu_supports("sse4.2");
#endif
}

uint32_t crc32c_portable(uint32_t crc, const void *data, size_t len)
{
	return ~crc_table(~crc, data, len);
}

uint32_t crc32c(uint32_t crc, const void *data, size_t len)
{
#if defined(__x86_64__)
	if (have_sse42)
		return ~crc_sse42(~crc, data, len);
#endif
	return crc32c_portable(crc, data, len);
}
