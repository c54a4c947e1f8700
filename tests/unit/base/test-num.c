/* SPDX-License-Identifier: Apache-2.0 */
#include "sonde-test.h"

#include <errno.h>

#include "base/num.h"

static void reads_whole_numbers_in_range(void **state)
{
	uint64_t u = 99;
	int64_t i = 99;

	assert_ok(sonde_parse_u64("18446744073709551615", 0, UINT64_MAX, &u));
	assert_true(u == UINT64_MAX);
	assert_err(sonde_parse_u64("18446744073709551616", 0, UINT64_MAX, &u), ERANGE);
	assert_err(sonde_parse_u64("5", 6, 9, &u), ERANGE);
	assert_err(sonde_parse_u64("", 0, 9, &u), EINVAL);
	assert_err(sonde_parse_u64(" 5", 0, 9, &u), EINVAL);
	assert_err(sonde_parse_u64("+5", 0, 9, &u), EINVAL);
	assert_err(sonde_parse_u64("-5", 0, 9, &u), EINVAL);
	assert_err(sonde_parse_u64("5x", 0, 9, &u), EINVAL);
	assert_true(u == UINT64_MAX); /* written on success only */

	assert_ok(sonde_parse_i64("-9223372036854775808", INT64_MIN, INT64_MAX, &i));
	assert_true(i == INT64_MIN);
	assert_err(sonde_parse_i64("9223372036854775808", INT64_MIN, INT64_MAX, &i), ERANGE);
	assert_err(sonde_parse_i64("--1", -9, 9, &i), EINVAL);
}

static void wants_a_unit_on_durations(void **state)
{
	uint64_t ns = 1;

	assert_ok(sonde_parse_duration_ns("250ms", &ns));
	assert_true(ns == 250000000);
	assert_ok(sonde_parse_duration_ns("2h", &ns));
	assert_true(ns == 7200000000000);
	assert_ok(sonde_parse_duration_ns("0", &ns));
	assert_true(ns == 0);
	assert_err(sonde_parse_duration_ns("10", &ns), EINVAL);
	assert_err(sonde_parse_duration_ns("10 s", &ns), EINVAL);
	assert_err(sonde_parse_duration_ns("99999999999999h", &ns), ERANGE);
}

static void reads_bytes_and_fractions(void **state)
{
	uint64_t bytes = 0;
	double d = 0;

	assert_ok(sonde_parse_bytes("64KiB", &bytes));
	assert_true(bytes == 65536);
	assert_ok(sonde_parse_bytes("4096", &bytes));
	assert_true(bytes == 4096);
	assert_err(sonde_parse_bytes("64kb", &bytes), EINVAL);
	assert_ok(sonde_parse_double("-1.5", &d));
	assert_true(d == -1.5);
	assert_err(sonde_parse_double("nan", &d), EINVAL);
	assert_err(sonde_parse_double("1.5x", &d), EINVAL);
}

static void sums_end_at_the_ends_of_the_range(void **state)
{
	assert_int_equal(sonde_add_i64(INT64_MAX, 1), INT64_MAX);
	assert_int_equal(sonde_add_i64(INT64_MIN, -1), INT64_MIN);
	assert_int_equal(sonde_add_i64(5, -7), -2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_whole_numbers_in_range),
		cmocka_unit_test(wants_a_unit_on_durations),
		cmocka_unit_test(reads_bytes_and_fractions),
		cmocka_unit_test(sums_end_at_the_ends_of_the_range),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
