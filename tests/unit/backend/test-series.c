/* SPDX-License-Identifier: Apache-2.0 */
#include "backend-fixture.h"

#include <errno.h>
#include <string.h>

#include "backend/ingest/series.h"

#define T0 1700000040000 /* a whole minute */

static const struct sonde_mal_function sum = {.downsampling = SONDE_MAL_SUM,
					      .kind = SONDE_MAL_LABELED};

static int add(struct sonde_series_table *st, struct sonde_series_set *set, int64_t ts,
	       int64_t value, int64_t serial)
{
	const struct sonde_mal_point p = {.key = "{k=v}", .value = value};

	return sonde_series_add(st, set, "m", "e", &sum, ts, &p, 1, serial);
}

static int on_value(void *ctx, const struct sonde_mal_result *r)
{
	*(int64_t *)ctx = r->value;
	return 0;
}

static int64_t total(struct sonde_series_set *set)
{
	_cleanup_(sonde_mal_accumulator_freep) struct sonde_mal_accumulator *acc = NULL;
	int64_t v = -1;

	assert_non_null(set->series);
	assert_ok(sonde_series_total(set->series, &acc));
	assert_ok(sonde_mal_accumulator_value(acc, 1, on_value, &v));
	return v;
}

static struct sonde_series_table *make(struct fixture *f, size_t max, struct sonde_series_set **set)
{
	struct sonde_series_table *st = NULL;

	assert_ok(sonde_series_table_new(
		&(struct sonde_series_config){.store = f->store, .max_buckets = max}, &st));
	assert_ok(sonde_series_table_get(st, "t", T0, set));
	return st;
}

static void write_all(struct fixture *f, struct sonde_series_table *st)
{
	int r;

	sonde_series_checkpoint_begin(st);
	do {
		r = sonde_series_checkpoint(st, 1);
		if (r == -ENOBUFS)
			sonde_store_flush(f->store);
	} while (r > 0 || r == -ENOBUFS);
	assert_ok(r);
}

static void totals_are_exact_over_buckets(void **state)
{
	struct fixture *f = *state;
	struct sonde_series_set *set;

	fixture_open(f);
	_cleanup_(sonde_series_table_freep) struct sonde_series_table *st = make(f, 1000, &set);

	for (int i = 0; i < 150; i++)
		assert_ok(add(st, set, T0 + i * 1000, i, i + 1));
	assert_ok(add(st, set, T0 + 1000, 7, 151)); /* late */
	assert_int_equal(total(set), 149 * 150 / 2 + 7);
	assert_int_equal(set->series->step[SONDE_SERIES_10S].n, 15);
	assert_int_equal(set->series->step[SONDE_SERIES_1M].n, 3);
	for (size_t i = 1; i < 15; i++)
		assert_int_equal(set->series->step[SONDE_SERIES_10S].bucket[i].start_ms,
				 T0 + (int64_t)i * 10000);
}

static void a_replay_adds_what_the_checkpoint_has_not(void **state)
{
	struct fixture *f = *state;
	struct sonde_series_set *set;
	struct sonde_series_table *st;

	fixture_open(f);
	st = make(f, 1000, &set);
	assert_ok(add(st, set, T0, 1, 1));
	assert_ok(add(st, set, T0, 10, 2));
	write_all(f, st);
	assert_ok(add(st, set, T0, 100, 3)); /* lost with the process, but stored as a report */
	(void)sonde_series_table_free(st);
	st = make(f, 1000, &set);
	assert_int_equal(total(set), 11);
	for (int64_t serial = 1; serial <= 3; serial++) /* all reports come again */
		assert_ok(add(st, set, T0, serial == 1 ? 1 : serial == 2 ? 10 : 100, serial));
	assert_int_equal(total(set), 111);
	(void)sonde_series_table_free(st);
}

static void one_report_may_add_to_a_bucket_twice(void **state)
{
	struct fixture *f = *state;
	struct sonde_series_set *set;

	fixture_open(f);
	_cleanup_(sonde_series_table_freep) struct sonde_series_table *st = make(f, 1000, &set);

	assert_ok(add(st, set, T0, 1, 1));
	assert_ok(add(st, set, T0, 1, 1));
	write_all(f, st);
	assert_ok(add(st, set, T0, 1, 2));
	assert_ok(add(st, set, T0, 1, 2));
	assert_int_equal(total(set), 4);
}

static void without_room_the_minutes_go_on(void **state)
{
	struct sonde_series_stats stats;
	struct fixture *f = *state;
	struct sonde_series_set *set;
	int r = 0;

	fixture_open(f);
	_cleanup_(sonde_series_table_freep) struct sonde_series_table *st = make(f, 16, &set);

	for (int i = 0; i < 1000 && r == 0; i++)
		r = add(st, set, T0 + i * 10000, 1, i + 1);
	assert_err(r, ENOSPC);
	sonde_series_table_get_stats(st, &stats);
	assert_true(stats.fine_refused > 0);
	assert_int_equal(stats.refused, 1);
	assert_int_equal(stats.buckets, 16);
}

static void a_pass_is_complete_only_once_it_is_on_disk(void **state)
{
	struct fixture *f = *state;
	struct sonde_series_set *set;

	fixture_open(f);
	_cleanup_(sonde_series_table_freep) struct sonde_series_table *st = make(f, 1000, &set);

	assert_ok(add(st, set, T0, 1, 1));
	sonde_series_checkpoint_begin(st);
	assert_int_equal(sonde_series_checkpoint(st, 1000), 1);
	assert_err(sonde_series_checkpoint(st, 1000), ENOBUFS); /* nobody has asked the writer */
	sonde_store_flush(f->store);
	assert_ok(sonde_series_checkpoint(st, 1000));
}

static void a_series_without_room_does_not_stay(void **state)
{
	const struct sonde_mal_point p = {.key = "", .value = 1};
	struct fixture *f = *state;
	struct sonde_series_set *set;
	char entity[16];

	fixture_open(f);
	_cleanup_(sonde_series_table_freep) struct sonde_series_table *st = make(f, 4, &set);

	for (int i = 0; i < 100; i++) {
		(void)snprintf(entity, sizeof(entity), "e%d", i);
		(void)!sonde_series_add(st, set, "m", entity, &sum, T0, &p, 1, i + 1);
	}
	assert_true(HASH_COUNT(set->series) <= 4);
}

static void a_bucket_that_is_too_large_to_store_holds_up_no_other(void **state)
{
	struct sonde_mal_point *points = calloc(SONDE_MAL_KEYS_MAX, sizeof(*points));
	struct sonde_series_stats stats;
	struct fixture *f = *state;
	struct sonde_series_set *set;
	char *keys = calloc(SONDE_MAL_KEYS_MAX, 512);

	fixture_open(f);
	_cleanup_(sonde_series_table_freep) struct sonde_series_table *st = make(f, 1000, &set);

	assert_non_null(points);
	assert_non_null(keys);
	for (size_t i = 0; i < SONDE_MAL_KEYS_MAX; i++) {
		(void)snprintf(keys + i * 512, 512, "{k=%0400zu}", i);
		points[i] = (struct sonde_mal_point){.key = keys + i * 512, .value = 1};
	}
	assert_ok(sonde_series_add(st, set, "large", "e", &sum, T0, points, SONDE_MAL_KEYS_MAX, 1));
	assert_ok(add(st, set, T0, 5, 2));
	write_all(f, st);
	sonde_series_table_get_stats(st, &stats);
	assert_int_equal(stats.dirty, 0);
	assert_int_equal(stats.refused, 3); /* of all steps */
	st = sonde_series_table_free(st);
	st = make(f, 1000, &set);
	assert_int_equal(HASH_COUNT(set->series), 1);
	assert_int_equal(total(set), 5);
	free(points);
	free(keys);
}

static void remembers_reports_and_forgets_the_oldest(void **state)
{
	struct sonde_series_stats stats;
	struct sonde_series_seen *seen;
	struct fixture *f = *state;
	struct sonde_series_set *set;
	char key[32];

	fixture_open(f);
	_cleanup_(sonde_series_table_freep) struct sonde_series_table *st = make(f, 1000, &set);

	for (unsigned i = 0; i <= SONDE_SERIES_SEEN_MAX; i++) {
		(void)snprintf(key, sizeof(key), "%u/h", i);
		assert_ok(sonde_series_set_add_seen(set, key, &seen));
	}
	sonde_series_table_get_stats(st, &stats);
	assert_int_equal(stats.sets, 1);
	assert_null(sonde_series_set_find_seen(set, "0/h"));
	assert_non_null(sonde_series_set_find_seen(set, "1/h"));
	assert_non_null(sonde_series_set_find_seen(set, key));
}

static void a_clean_idle_set_leaves_memory_and_comes_back(void **state)
{
	struct sonde_series_stats stats;
	struct fixture *f = *state;
	struct sonde_series_set *set;

	fixture_open(f);
	_cleanup_(sonde_series_table_freep) struct sonde_series_table *st = make(f, 1000, &set);

	assert_ok(add(st, set, T0, 5, 1));
	sonde_series_table_tick(st, T0 + 100000, 1000);
	sonde_series_table_get_stats(st, &stats);
	assert_int_equal(stats.sets, 1); /* dirty */
	write_all(f, st);
	sonde_series_table_tick(st, T0 + 100000, 1000);
	sonde_series_table_get_stats(st, &stats);
	assert_int_equal(stats.sets, 0);
	assert_int_equal(stats.buckets, 0);
	assert_ok(sonde_series_table_get(st, "t", T0, &set));
	assert_int_equal(total(set), 5);
}

static void a_set_that_is_read_back_takes_the_room_of_an_older_one(void **state)
{
	struct sonde_series_set *set, *other = NULL;
	struct fixture *f = *state;

	fixture_open(f);
	_cleanup_(sonde_series_table_freep) struct sonde_series_table *st = make(f, 4, &set);

	for (int i = 0; i < 3; i++)
		assert_ok(add(st, set, T0 + i * 60000, 1, i + 1));
	assert_ok(sonde_series_table_get(st, "u", T0 + 1, &other));
	assert_non_null(sonde_series_table_find(st, "t")); /* not written yet */
	write_all(f, st);
	sonde_series_table_drop(st, "u");
	assert_ok(sonde_series_table_get(st, "u", T0 + 2, &other));
	assert_null(sonde_series_table_find(st, "t"));
	assert_ok(sonde_series_table_get(st, "t", T0 + 3, &set));
	assert_int_equal(total(set), 3);
}

static void a_metric_keeps_its_function(void **state)
{
	const struct sonde_mal_function last = {.downsampling = SONDE_MAL_LATEST,
						.kind = SONDE_MAL_LABELED};
	const struct sonde_mal_point p = {.key = "{k=v}", .value = 1};
	struct fixture *f = *state;
	struct sonde_series_set *set;

	fixture_open(f);
	_cleanup_(sonde_series_table_freep) struct sonde_series_table *st = make(f, 1000, &set);

	assert_ok(add(st, set, T0, 5, 1));
	assert_err(sonde_series_add(st, set, "m", "e", &last, T0, &p, 1, 2), EINVAL);
}

int main(void)
{
#define with_store(t) cmocka_unit_test_setup_teardown(t, fixture_setup, fixture_teardown)
	const struct CMUnitTest tests[] = {
		with_store(totals_are_exact_over_buckets),
		with_store(a_replay_adds_what_the_checkpoint_has_not),
		with_store(one_report_may_add_to_a_bucket_twice),
		with_store(without_room_the_minutes_go_on),
		with_store(a_pass_is_complete_only_once_it_is_on_disk),
		with_store(a_series_without_room_does_not_stay),
		with_store(a_bucket_that_is_too_large_to_store_holds_up_no_other),
		with_store(remembers_reports_and_forgets_the_oldest),
		with_store(a_clean_idle_set_leaves_memory_and_comes_back),
		with_store(a_set_that_is_read_back_takes_the_room_of_an_older_one),
		with_store(a_metric_keeps_its_function),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
