/* SPDX-License-Identifier: Apache-2.0 */
#include "sonde-test.h"

#include <string.h>

#include "collect/collector.h"

static void every_collector_is_whole_and_has_its_own_name_and_bit(void **state)
{
	uint32_t bits = 0;
	size_t n = 0;

	for (; sonde_collectors[n]; n++) {
		const struct sonde_collector *c = sonde_collectors[n];

		assert_true(c->name && c->name[0]);
		assert_int_equal(__builtin_popcount(c->bit), 1);
		assert_int_equal(bits & c->bit, 0);
		bits |= c->bit;
		assert_true(c->plan && c->start && c->stop && c->target_add && c->task_remove &&
			    c->seed && c->snapshot);
		for (size_t i = 0; i < n; i++)
			assert_string_not_equal(c->name, sonde_collectors[i]->name);
	}
	assert_true(n >= 1);
}

static void stopping_nothing_is_fine(void **state)
{
	for (size_t n = 0; sonde_collectors[n]; n++)
		assert_null(sonde_collectors[n]->stop(NULL, NULL));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_collector_is_whole_and_has_its_own_name_and_bit),
		cmocka_unit_test(stopping_nothing_is_fine),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
