/* SPDX-License-Identifier: Apache-2.0 */
#include "sonde-test.h"

#include <jansson.h>

#include "ctl/histogram.h"
#include "model/hist.h"

static void make(const char *text, struct sonde_histogram *ret)
{
	json_t *json = json_loads(text, 0, NULL);

	assert_non_null(json);
	sonde_histogram_make(json, ret);
	json_decref(json);
}

static int64_t sum(const struct sonde_histogram *h)
{
	int64_t n = 0;

	for (size_t i = 0; i < h->n; i++)
		n += h->row[i].count;
	return n;
}

static void few_buckets_stay_as_they_are(void **state)
{
	struct sonde_histogram h;

	make("[[10, 11, 3], [11, 12, 1], [14, 15, 2]]", &h);
	assert_int_equal(h.n, 5); /* with the two between, which were not hit */
	assert_int_equal(h.row[0].from, 10);
	assert_int_equal(h.row[4].from, 14);
	assert_int_equal(h.row[4].below, 15);
	assert_int_equal(h.row[2].count, 0);
	assert_int_equal(h.count, 6);
	assert_int_equal(h.most, 3);
}

static void many_are_joined_at_bounds_of_theirs(void **state)
{
	struct sonde_histogram h;

	make("[[10, 11, 3], [19, 20, 1], [20, 22, 5], [95, 100, 2], [100, 110, 7]]", &h);
	assert_int_equal(h.n, 10); /* 10, 20 … 90, 100 */
	assert_int_equal(h.row[0].count, 4);
	assert_int_equal(h.row[1].count, 5);
	assert_int_equal(h.row[8].count, 2);
	assert_int_equal(h.row[9].count, 7);
	make("[[10, 11, 3], [19, 20, 1], [40, 42, 5], [1000000, 1100000, 2]]", &h);
	assert_true(h.n <= SONDE_HISTOGRAM_ROWS);
	assert_int_equal(h.row[0].from, 10);
	assert_int_equal(h.row[1].from, 20);
	assert_int_equal(h.row[2].from, 50);
	assert_int_equal(h.row[0].count, 4);
	assert_int_equal(h.row[1].count, 5);
	assert_int_equal(h.row[h.n - 1].from, 1000000);
	for (size_t i = 0; i < h.n; i++)
		assert_int_equal(sonde_hist_lower_us(sonde_hist_bucket_of((uint64_t)h.row[i].from)),
				 h.row[i].from);
}

static void what_a_server_may_say_breaks_nothing(void **state)
{
	static const char *const hostile[] = {
		"[]",
		"[1, null, {}, [], [\"a\", 1, 2]]",
		"[[10, 11, 0], [12, 13, -5]]",
		"[[-10, 11, 5]]",
		"[[0, 1, 1], [9223372036854775807, null, 1]]",
		"[[9223372036854775807, null, 9223372036854775807], [5, 6, 9223372036854775807]]",
	};
	struct sonde_histogram h;

	for (size_t i = 0; i < ELEMENTS_OF(hostile); i++) {
		make(hostile[i], &h);
		assert_true(h.n <= SONDE_HISTOGRAM_ROWS_MAX);
		assert_true(h.count >= 0 && h.most >= 0);
	}
	make("[[0, 1, 4], [9, 10, 1], [100000000, null, 2]]", &h);
	assert_int_equal(sum(&h), 7);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(few_buckets_stay_as_they_are),
		cmocka_unit_test(many_are_joined_at_bounds_of_theirs),
		cmocka_unit_test(what_a_server_may_say_breaks_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
