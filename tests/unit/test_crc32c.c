/* lib/crc32c.h: the vectors of RFC 3720 B.4, chaining, and the instruction against the table at every length. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lib/buf.h"
#include "lib/clock.h"
#include "lib/crc32c.h"

static void vectors(void **state)
{
	unsigned char b[32];

	(void)state;
	assert_int_equal(crc32c(0, "", 0), 0);
	assert_int_equal(crc32c(0, "123456789", 9), 0xe3069283);
	memset(b, 0, sizeof(b));
	assert_int_equal(crc32c(0, b, sizeof(b)), 0x8a9136aa);
	memset(b, 0xff, sizeof(b));
	assert_int_equal(crc32c(0, b, sizeof(b)), 0x62a8ab43);
	for (unsigned i = 0; i < 32; i++)
		b[i] = (unsigned char)i;
	assert_int_equal(crc32c(0, b, sizeof(b)), 0x46dd794e);
}

static void agrees_with_the_table(void **state)
{
	size_t size = 20000;
	unsigned char *b = xmalloc(size);
	uint32_t x = 1;

	(void)state;
	for (size_t i = 0; i < size; i++) {
		x = x * 1664525 + 1013904223;
		b[i] = (unsigned char)(x >> 24);
	}
	for (size_t len = 0; len < size; len += len < 600 ? 1 : 251) {
		size_t from = len % 7;
		if (len + from > size)
			break;
		assert_int_equal(crc32c(7, b + from, len), crc32c_portable(7, b + from, len));
		assert_int_equal(crc32c(crc32c(0, b, len / 3), b + len / 3, len - len / 3), crc32c(0, b, len));
	}
	free(b);
}

/* The figure is printed, not held against a limit: machines differ. */
static void speed(void **state)
{
	size_t size = 1 << 20;
	unsigned char *b = xcalloc(1, size);
	uint64_t start = clock_mono_ms(), spent;
	uint32_t crc = 0;
	unsigned rounds = 0;

	(void)state;
	do {
		for (int i = 0; i < 16; i++)
			crc = crc32c(crc, b, size);
		rounds += 16;
		spent = clock_mono_ms() - start;
	} while (spent < 100);
	print_message("# crc32c: %.1f GB/s (%08x)\n", rounds * (double)size / (double)spent / 1e6, crc);
	free(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(vectors),
		cmocka_unit_test(agrees_with_the_table),
		cmocka_unit_test(speed),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
