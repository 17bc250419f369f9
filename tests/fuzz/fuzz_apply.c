/* What apply reads of state files and of other users' processes: SSH_CONNECTION, kept lists of timers, schedules, and
 * diffs. */
#include <stdint.h>
#include <stdlib.h>

#include "apply/diff.h"
#include "apply/sockets.h"
#include "apply/timers.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct view v = { (const char *)data, size };
	char *text = view_dup(v), fields[64];
	struct timers timers = { NULL, 0 }, again = { NULL, 0 };
	struct tcp_socket socket;
	struct buf out = BUF_INIT(1u << 20), diff = BUF_INIT(1u << 20);
	struct error e;

	socket_parse_ssh(text, &socket);
	timers_cron_fields(text, fields);
	if (size < 65536 && timers_parse(v, &timers, &e) == 0) {
		timers_text(&timers, &out);
		if (timers_parse(buf_view(&out), &again, &e) < 0 || timers_differ(&timers, &again, &diff))
			abort();
	}
	diff_lines(v, buf_view(&out), 10, &diff);
	timers_free(&timers);
	timers_free(&again);
	buf_free(&out);
	buf_free(&diff);
	free(text);
	return 0;
}
