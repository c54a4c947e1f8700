/* SPDX-License-Identifier: Apache-2.0 */
#include "sonde-test.h"

#include "base/clock.h"
#include "probe/keeper.h"

#define SECOND SONDE_NS_PER_S

static void gives_up_at_the_fifth_death_within_a_minute(void **state)
{
	struct sonde_keeper_deaths d = {0};
	uint64_t delay, last = 0;

	for (unsigned int i = 0; i < 4; i++) {
		assert_true(sonde_keeper_note_death(&d, (100 + i) * SECOND, &delay));
		assert_true(delay > last && delay <= SONDE_KEEPER_DELAY_MAX_NS);
		last = delay;
	}
	assert_false(sonde_keeper_note_death(&d, 104 * SECOND, &delay));
}

static void goes_on_while_deaths_are_rare(void **state)
{
	struct sonde_keeper_deaths d = {0};
	uint64_t delay;

	for (unsigned int i = 0; i < 1000; i++) {
		assert_true(sonde_keeper_note_death(&d, (100 + 15 * (uint64_t)i) * SECOND, &delay));
		assert_true(delay <= SONDE_KEEPER_DELAY_MAX_NS);
	}
	assert_int_equal(d.n, 1000);
}

static void forgets_what_is_older_than_the_window(void **state)
{
	struct sonde_keeper_deaths d = {0};
	uint64_t delay;

	for (unsigned int i = 0; i < 4; i++)
		assert_true(sonde_keeper_note_death(&d, (100 + i) * SECOND, &delay));
	/* those of 100 s and 101 s do not count any more */
	assert_true(sonde_keeper_note_death(&d, 161 * SECOND, &delay));
	assert_true(sonde_keeper_note_death(&d, 161 * SECOND, &delay));
	assert_false(sonde_keeper_note_death(&d, 161 * SECOND, &delay));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(gives_up_at_the_fifth_death_within_a_minute),
		cmocka_unit_test(goes_on_while_deaths_are_rare),
		cmocka_unit_test(forgets_what_is_older_than_the_window),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
