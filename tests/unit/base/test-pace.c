/* SPDX-License-Identifier: Apache-2.0 */
#include "sonde-test.h"

#include "base/pace.h"

#define STEP_NS (SONDE_NS_PER_S / 10)

static uint64_t take(struct sonde_pace *p, unsigned n, uint64_t now_ns)
{
	for (unsigned i = 0; i < n; i++) {
		assert_int_equal(sonde_pace_wait_ns(p, now_ns), 0);
		sonde_pace_take(p, now_ns);
	}
	return sonde_pace_wait_ns(p, now_ns);
}

static void a_burst_comes_at_once_and_then_one_each_step(void **state)
{
	struct sonde_pace p = sonde_pace_of(3, 10);
	uint64_t now_ns = 7 * SONDE_NS_PER_S;

	assert_int_equal(take(&p, 3, now_ns), STEP_NS);
	assert_int_equal(sonde_pace_wait_ns(&p, now_ns + STEP_NS - 1), 1);
	assert_int_equal(take(&p, 1, now_ns + STEP_NS), STEP_NS);
}

static void who_was_quiet_has_a_burst_again_and_no_more(void **state)
{
	struct sonde_pace p = sonde_pace_of(3, 10);

	(void)take(&p, 3, SONDE_NS_PER_S);
	assert_int_equal(take(&p, 3, 3600 * SONDE_NS_PER_S), STEP_NS);
}

static void a_burst_of_one_is_one_each_step(void **state)
{
	struct sonde_pace p = sonde_pace_of(1, 10);

	assert_int_equal(take(&p, 1, SONDE_NS_PER_S), STEP_NS);
	assert_int_equal(take(&p, 1, SONDE_NS_PER_S + STEP_NS), STEP_NS);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_burst_comes_at_once_and_then_one_each_step),
		cmocka_unit_test(who_was_quiet_has_a_burst_again_and_no_more),
		cmocka_unit_test(a_burst_of_one_is_one_each_step),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
