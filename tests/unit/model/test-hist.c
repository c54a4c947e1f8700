/* SPDX-License-Identifier: Apache-2.0 */
#include "sonde-test.h"

#include "base/cleanup.h"
#include "bpf/tcp/tcp_hist.h"
#include "bpf/tcp/tcp_types.h"
#include "model/hist.h"
#include "model/meters.h"

static void an_edge_falls_in_its_own_bucket_and_one_less_in_the_one_below(void **state)
{
	for (uint32_t i = 0; i < SONDE_HIST_BUCKETS; i++) {
		uint64_t lower = sonde_hist_lower_us(i);

		assert_int_equal(sonde_hist_bucket_of(lower), i);
		if (i > 0)
			assert_int_equal(sonde_hist_bucket_of(lower - 1), i - 1);
	}
}

static void everything_larger_goes_into_the_last(void **state)
{
	assert_int_equal(sonde_hist_bucket_of(99999999), SONDE_HIST_BUCKETS - 1);
	assert_int_equal(sonde_hist_bucket_of(100000000), SONDE_HIST_BUCKETS - 1);
	assert_int_equal(sonde_hist_bucket_of(1ULL << 32), SONDE_HIST_BUCKETS - 1);
	assert_int_equal(sonde_hist_bucket_of(UINT64_MAX), SONDE_HIST_BUCKETS - 1);
	assert_int_equal(sonde_hist_lower_us(SONDE_HIST_BUCKETS + 5), 99000000);
}

static void a_coarse_bucket_begins_at_an_edge_of_the_fine_ones(void **state)
{
	for (uint32_t i = 0; i < SONDE_COARSE_BUCKETS; i++) {
		uint64_t lower = sonde_hist_lower_us(sonde_coarse_to_fine(i));

		assert_int_equal(sonde_coarse_bucket(lower), i);
		if (i > 0)
			assert_int_equal(sonde_coarse_bucket(lower - 1), i - 1);
		if (i > 10 && i + 1 < SONDE_COARSE_BUCKETS) /* at most a quarter wide */
			assert_true(
				4 * (sonde_hist_lower_us(sonde_coarse_to_fine(i + 1)) - lower) <=
				lower);
	}
	for (size_t i = 0; i < SONDE_SKYWALKING_BOUNDS; i++) {
		uint32_t bucket = sonde_coarse_bucket(sonde_skywalking_bounds_us[i]);

		assert_int_equal(sonde_hist_lower_us(sonde_coarse_to_fine(bucket)),
				 sonde_skywalking_bounds_us[i]);
	}
	assert_int_equal(sonde_coarse_bucket(UINT64_MAX), SONDE_COARSE_BUCKETS - 1);
}

/* skywalking-wire 4: the bounds of its histograms, in microseconds. */
static void skywalkings_bounds_are_edges(void **state)
{
	static const uint64_t bounds_us[] = {
		1,	2,	5,	 10,	  20,	   50,	    100,      200,    500,
		1000,	1200,	1500,	 2000,	  5000,	   7000,    10000,    13000,  15000,
		20000,	25000,	30000,	 40000,	  45000,   50000,   70000,    100000, 150000,
		200000, 500000, 1000000, 1200000, 2000000, 5000000, 10000000,
	};

	for (size_t i = 0; i < ELEMENTS_OF(bounds_us); i++)
		assert_int_equal(sonde_hist_lower_us(sonde_hist_bucket_of(bounds_us[i])),
				 bounds_us[i]);
}

static void a_reports_bucket_begins_at_an_edge_and_is_at_most_a_tenth_wide(void **state)
{
	uint64_t before = 0;

	for (uint32_t i = 0; i < SONDE_HIST_BUCKETS; i++) {
		uint64_t begin = sonde_hist_report_lower_us(i);

		assert_true(begin <= sonde_hist_lower_us(i));
		assert_int_equal(sonde_hist_lower_us(sonde_hist_bucket_of(begin)), begin);
		assert_true(begin >= before);
		if (begin > before && begin > 10) {
			assert_true((begin - before) * 10 <= before);
			assert_true((begin - before) * 25 >= before);
		}
		if (begin > before)
			assert_int_equal(sonde_hist_report_upper_us(before), begin);
		before = begin;
	}
	assert_int_equal(sonde_hist_report_upper_us(before), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_edge_falls_in_its_own_bucket_and_one_less_in_the_one_below),
		cmocka_unit_test(everything_larger_goes_into_the_last),
		cmocka_unit_test(a_coarse_bucket_begins_at_an_edge_of_the_fine_ones),
		cmocka_unit_test(skywalkings_bounds_are_edges),
		cmocka_unit_test(a_reports_bucket_begins_at_an_edge_and_is_at_most_a_tenth_wide),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
