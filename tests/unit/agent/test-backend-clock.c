/* SPDX-License-Identifier: Apache-2.0 */
#include "sonde-test.h"

#include "agent/backend-clock.h"

#define NOW 1700000000000LL
#define MINUTE 60000LL

static void equal_clocks_prove_nothing(void **state)
{
	struct sonde_backend_clock c = {0};

	assert_int_equal(sonde_backend_clock_ahead_ms(&c), 0);
	sonde_backend_clock_saw(&c, 1, NOW - 4000, NOW - 10000,
				NOW); /* changed between two queries */
	assert_int_equal(sonde_backend_clock_ahead_ms(&c), 0);
	sonde_backend_clock_saw(&c, 2, NOW - 60 * MINUTE, 0,
				NOW); /* of long ago, told to a new agent */
	assert_int_equal(sonde_backend_clock_ahead_ms(&c), 0);
	assert_int_equal(sonde_backend_clock_local_ms(&c, NOW), NOW);
}

static void a_change_that_is_yet_to_come_proves_it_ahead(void **state)
{
	struct sonde_backend_clock c = {0};

	sonde_backend_clock_saw(&c, 3, NOW + 5 * MINUTE, 0, NOW);
	assert_int_equal(sonde_backend_clock_ahead_ms(&c), 5 * MINUTE);
	assert_int_equal(sonde_backend_clock_local_ms(&c, NOW + 5 * MINUTE), NOW);
	sonde_backend_clock_saw(&c, 4, NOW + 4 * MINUTE, 0, NOW + 1000); /* proves less */
	assert_int_equal(sonde_backend_clock_ahead_ms(&c), 5 * MINUTE);
}

static void a_change_that_the_last_query_would_have_told_proves_it_behind(void **state)
{
	struct sonde_backend_clock c = {0};

	sonde_backend_clock_saw(&c, 5, NOW - 20 * MINUTE, NOW - 10000, NOW);
	assert_int_equal(sonde_backend_clock_ahead_ms(&c), -20 * MINUTE + 10000);
	/* A task that began then began at the earliest when that query was sent. */
	assert_int_equal(sonde_backend_clock_local_ms(&c, NOW - 20 * MINUTE), NOW - 10000);
}

static void a_clock_that_was_set_is_learned_anew(void **state)
{
	struct sonde_backend_clock c = {0};

	sonde_backend_clock_saw(&c, 6, NOW + 60 * MINUTE, NOW - 10000, NOW);
	assert_int_equal(sonde_backend_clock_ahead_ms(&c), 60 * MINUTE);
	sonde_backend_clock_saw(&c, 7, NOW + 55000, NOW + 50000, NOW + 60000);
	assert_int_equal(sonde_backend_clock_ahead_ms(&c), 0);
	sonde_backend_clock_saw(&c, 8, NOW - 60 * MINUTE, NOW + 60000, NOW + 70000);
	assert_int_equal(sonde_backend_clock_ahead_ms(&c), -61 * MINUTE);
	sonde_backend_clock_saw(&c, 9, NOW + 75000, NOW + 70000, NOW + 80000);
	assert_int_equal(sonde_backend_clock_ahead_ms(&c), 0);
}

/* One node's clock was 2 h ahead for a moment; its row is told again by every answer until that time comes. */
static void a_row_of_the_future_holds_for_no_later_one(void **state)
{
	const int64_t future = NOW + 120 * MINUTE;
	struct sonde_backend_clock c = {0};

	sonde_backend_clock_saw(&c, 1, future, 0, NOW);
	assert_int_equal(sonde_backend_clock_ahead_ms(&c), 120 * MINUTE);
	assert_false(sonde_backend_clock_is_new(&c, 1));
	assert_true(sonde_backend_clock_is_new(&c, 2));
	/* The next answer, with a row of the clock that was set right; it is later than no row before it. */
	sonde_backend_clock_saw(&c, 1, future, 0, NOW + 10000);
	sonde_backend_clock_saw(&c, 2, NOW + 5000, NOW, NOW + 10000);
	assert_int_equal(sonde_backend_clock_ahead_ms(&c), 0);
	sonde_backend_clock_saw(&c, 1, future, NOW + 10000, NOW + 20000);
	assert_int_equal(sonde_backend_clock_ahead_ms(&c), 0);
}

static void a_time_that_is_none_is_no_proof(void **state)
{
	struct sonde_backend_clock c = {0};

	sonde_backend_clock_saw(&c, 1, 0, NOW - 10000, NOW);
	sonde_backend_clock_saw(&c, 2, INT64_MAX, 0, NOW);
	sonde_backend_clock_saw(&c, 3, NOW + 25 * 60 * MINUTE, NOW - 10000, NOW);
	sonde_backend_clock_saw(&c, 4, 1, NOW - 10000, NOW);
	assert_int_equal(sonde_backend_clock_ahead_ms(&c), 0);
	assert_int_equal(sonde_backend_clock_local_ms(&c, INT64_MAX), INT64_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(equal_clocks_prove_nothing),
		cmocka_unit_test(a_change_that_is_yet_to_come_proves_it_ahead),
		cmocka_unit_test(a_change_that_the_last_query_would_have_told_proves_it_behind),
		cmocka_unit_test(a_clock_that_was_set_is_learned_anew),
		cmocka_unit_test(a_row_of_the_future_holds_for_no_later_one),
		cmocka_unit_test(a_time_that_is_none_is_no_proof),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
