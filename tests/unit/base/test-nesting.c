/* SPDX-License-Identifier: Apache-2.0 */
#include "sonde-test.h"

#include "base/nesting.h"

static void nesting_is_counted_before_parsing(void **state)
{
	assert_true(sonde_json_shallow("{\"a\":[1]}", 9, 2));
	assert_false(sonde_json_shallow("{\"a\":[1]}", 9, 1));
	assert_true(sonde_json_shallow("\"[[[[\"", 6, 1));
	assert_true(sonde_json_shallow("\"\\\"[[[\"", 7, 1));
	assert_true(sonde_json_shallow("[],[],[]", 8, 1));
	assert_true(sonde_json_shallow("]]]\"\\", 5, 1));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nesting_is_counted_before_parsing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
