/* What of the doctor needs no host: how long a backup may take to come by its schedule. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "doctor/doctor.h"

#define DAY (24 * 3600)

static void test_patience(void **state)
{
	static const struct {
		const char *schedule;
		int days;
	} cases[] = { { "*-*-* 03:30:00", 1 }, { "daily", 1 }, { "hourly", 1 }, { "03:30", 1 },
		{ "*-*-* 0/6:00:00", 1 }, { "*-*-* 03:30:00 Europe/Berlin", 1 }, { "weekly", 7 }, { "Sun 03:00", 7 },
		{ "Sun *-*-* 03:00:00", 7 }, { "Mon..Fri 03:30", 7 }, { "Mon,Thu *-*-* 03:30:00", 7 },
		{ "monthly", 31 }, { "*-*-01 03:00:00", 31 }, { "*-*-1,15 03:00", 31 }, { "*-*~1 03:00", 31 },
		{ "*-01-01 03:00", 366 }, { "quarterly", 92 }, { "yearly", 366 }, { "", 1 } };

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		int64_t got = doctor_patience(cases[i].schedule);
		if (got != cases[i].days * DAY + DAY / 2)
			print_message("# %s: %lld days\n", cases[i].schedule, (long long)(got / DAY));
		assert_int_equal(got, cases[i].days * DAY + DAY / 2);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_patience) };
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("doctor", tests, NULL, NULL);
}
