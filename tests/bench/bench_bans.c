/*
 * Bans in the kernel: COUNT replaced by `nft -f` and by bans_replace, then one added to them.  Alone in a network
 * namespace, as root:  unshare -n bench_bans [COUNT]
 */
#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "fwgen/bans.h"
#include "fwgen/fwgen.h"
#include "lib/buf.h"
#include "lib/proc.h"

#define ROUNDS 5
#define ADDS 200
#define TEXT_MAX (64u << 20)

static struct error e;

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int by_value(const void *a, const void *b)
{
	const double *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static double median(double *v, size_t n)
{
	qsort(v, n, sizeof(*v), by_value);
	return v[n / 2];
}

/* Seconds that nft took. */
static double nft(const struct buf *text)
{
	char path[] = "/tmp/bench-bans-XXXXXX";
	char *argv[] = { "nft", "-f", path, NULL };
	struct buf out = BUF_INIT(65536);
	int fd = mkstemp(path);
	double begun;

	if (fd < 0 || write(fd, text->data, text->len) != (ssize_t)text->len)
		err(2, "%s", path);
	close(fd);
	begun = now();
	if (proc_run(argv, VIEW_NONE, NULL, &out, &e) != 0)
		errx(2, "nft: %s", buf_str(&out));
	begun = now() - begun;
	unlink(path);
	buf_free(&out);
	return begun;
}

static void make_table(void)
{
	struct buf text = BUF_INIT(4096);

	buf_printf(&text,
	    "table inet " FW_TABLE " {\n set " FW_SET_BANS4 " { type ipv4_addr; flags timeout; size %d; }\n"
	    " set " FW_SET_BANS6 " { type ipv6_addr; flags timeout; size %d; }\n}\n",
	    FW_BANS_MAX, FW_BANS_MAX);
	nft(&text);
	buf_free(&text);
}

/* Distinct addresses in no order, each with a time of its own, as bans have; the same for both. */
static void make_bans(struct ban *bans, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		uint32_t a = (uint32_t)i * 2654435761u;

		bans[i] = (struct ban){ .left_ms = (600 + i * 7 % 600000) * 1000 };
		memcpy(bans[i].address, &a, sizeof(a));
	}
}

static void as_text(const struct ban *bans, size_t count, struct buf *text)
{
	buf_puts(
	    text, "flush set inet " FW_TABLE " " FW_SET_BANS4 "\nadd element inet " FW_TABLE " " FW_SET_BANS4 " {\n");
	for (size_t i = 0; i < count; i++)
		buf_printf(text, "%u.%u.%u.%u timeout %us,\n", bans[i].address[0], bans[i].address[1],
		    bans[i].address[2], bans[i].address[3], (unsigned)(bans[i].left_ms / 1000));
	buf_puts(text, "}\n");
}

static void check(struct bans *b, size_t count)
{
	struct ban *there;
	size_t n;

	if (bans_list(b, &there, &n, &e) < 0)
		errx(2, "%s", e.text);
	if (n != count)
		errx(2, "%zu bans are there, not %zu", n, count);
	free(there);
}

int main(int argc, char **argv)
{
	size_t count = argc > 1 ? strtoul(argv[1], NULL, 10) : 100000;
	struct ban *bans = xcalloc(count > 0 ? count : 1, sizeof(*bans));
	struct buf text = BUF_INIT(TEXT_MAX);
	double by_nft[ROUNDS], by_us[ROUNDS], adds[ADDS], begun;
	struct bans *b = bans_open(&e);

	if (b == NULL)
		errx(2, "%s", e.text);
	make_table();
	make_bans(bans, count);
	as_text(bans, count, &text);
	nft(&text); /* so that each round replaces as many */
	for (int i = 0; i < ROUNDS; i++) {
		by_nft[i] = nft(&text);
		check(b, count); /* meanwhile the kernel frees what was replaced: nobody pays for the other */
		begun = now();
		if (bans_replace(b, bans, count, &e) < 0)
			errx(2, "%s", e.text);
		by_us[i] = now() - begun;
		check(b, count);
	}
	for (int i = 0; i < ADDS; i++) {
		struct ban one = { .left_ms = 600000, .ipv6 = false, .address = { 203, 0, 113, (unsigned char)i } };

		begun = now();
		if (bans_add(b, &one, 1, &e) < 0)
			errx(2, "%s", e.text);
		adds[i] = now() - begun;
	}
	qsort(adds, ADDS, sizeof(*adds), by_value);
	printf("{\"count\": %zu, \"nft\": %.6f, \"replace\": %.6f, \"add\": %.6f, \"slowest_add\": %.6f}\n", count,
	    median(by_nft, ROUNDS), median(by_us, ROUNDS), adds[ADDS / 2], adds[ADDS - 1]);
	bans_close(b);
	return 0;
}
