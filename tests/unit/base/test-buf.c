/* SPDX-License-Identifier: Apache-2.0 */
#include "sonde-test.h"

#include <errno.h>
#include <string.h>

#include "base/buf.h"

static void appends_and_keeps_a_nul_behind(void **state)
{
	_cleanup_buf_ struct sonde_buf b = SONDE_BUF_INIT(1000);

	assert_string_equal(sonde_buf_str(&b), "");
	assert_ok(sonde_buf_append(&b, "ab", 2));
	assert_ok(sonde_buf_printf(&b, "%d-%s", 7, "x"));
	assert_string_equal(sonde_buf_str(&b), "ab7-x");
	assert_int_equal(b.len, 5);
	sonde_buf_consume(&b, 2);
	assert_string_equal(sonde_buf_str(&b), "7-x");
	sonde_buf_consume(&b, 3);
	assert_int_equal(b.len, 0);
}

static void refuses_past_its_limit_and_keeps_the_content(void **state)
{
	_cleanup_buf_ struct sonde_buf b = SONDE_BUF_INIT(4);

	assert_ok(sonde_buf_append(&b, "abcd", 4));
	assert_err(sonde_buf_append(&b, "e", 1), EMSGSIZE);
	assert_err(sonde_buf_printf(&b, "%s", "e"), EMSGSIZE);
	assert_err(sonde_buf_reserve(&b, SIZE_MAX), EMSGSIZE);
	assert_string_equal(sonde_buf_str(&b), "abcd");
}

static void grows_in_small_steps_to_a_large_content(void **state)
{
	_cleanup_buf_ struct sonde_buf b = SONDE_BUF_INIT(1 << 20);

	for (int i = 0; i < 100000; i++)
		assert_ok(sonde_buf_append(&b, "0123456789", 10));
	assert_int_equal(b.len, 1000000);
	assert_int_equal(b.data[999999], '9');
	assert_int_equal(b.data[1000000], 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(appends_and_keeps_a_nul_behind),
		cmocka_unit_test(refuses_past_its_limit_and_keeps_the_content),
		cmocka_unit_test(grows_in_small_steps_to_a_large_content),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
