/* SPDX-License-Identifier: Apache-2.0 */
/* Accumulators: each storage function, percentiles to the last bit, and their life as bytes. */
#include <errno.h>

#include "mal/emit.h"
#include "mal/function.h"

#include "mal-test.h"

static struct sonde_mal_accumulator *make(enum sonde_mal_downsampling d, enum sonde_mal_kind kind)
{
	const struct sonde_mal_function f = {
		d, kind, {50, 75, 90, 95, 99}, kind == SONDE_MAL_HISTOGRAM_PERCENTILE ? 5 : 0};
	struct sonde_mal_accumulator *a = NULL;

	assert_ok(sonde_mal_accumulator_new(&f, &a));
	return a;
}

static void accept(struct sonde_mal_accumulator *a, const char *key, int64_t bucket, int64_t value)
{
	const struct sonde_mal_point p = {key, bucket, value};

	assert_ok(sonde_mal_accumulator_accept(a, &p, 1));
}

static int print_result(void *ctx, const struct sonde_mal_result *r)
{
	return sonde_buf_printf(ctx, "%s@%lld=%lld ", r->key, (long long)r->bucket,
				(long long)r->value);
}

static void assert_shows(const struct sonde_mal_accumulator *a, uint32_t minutes, const char *want)
{
	_cleanup_buf_ struct sonde_buf out = SONDE_BUF_INIT(1 << 16);

	assert_ok(sonde_mal_accumulator_value(a, minutes, print_result, &out));
	assert_string_equal(sonde_buf_str(&out), want);
}

static void single_functions_accept_and_combine(void **state)
{
	static const struct {
		enum sonde_mal_downsampling d;
		uint32_t minutes;
		const char *one, *both;
	} cases[] = {
		{SONDE_MAL_AVG, 1, "@0=10 ", "@0=8 "},
		{SONDE_MAL_SUM, 1, "@0=32 ", "@0=33 "},
		{SONDE_MAL_SUM_PER_MIN, 10, "@0=3 ", "@0=3 "},
		{SONDE_MAL_LATEST, 1, "@0=11 ", "@0=1 "},
		{SONDE_MAL_MAX, 1, "@0=11 ", "@0=11 "},
		{SONDE_MAL_MIN, 1, "@0=10 ", "@0=1 "},
	};

	for (size_t i = 0; i < ELEMENTS_OF(cases); i++) {
		_cleanup_(sonde_mal_accumulator_freep) struct sonde_mal_accumulator *a =
			make(cases[i].d, SONDE_MAL_SINGLE);
		_cleanup_(sonde_mal_accumulator_freep) struct sonde_mal_accumulator *b =
			make(cases[i].d, SONDE_MAL_SINGLE);

		accept(a, "", 0, 10);
		accept(a, "", 0, 11);
		accept(a, "", 0, 11);
		assert_shows(a, cases[i].minutes, cases[i].one);
		accept(b, "", 0, 1);
		assert_ok(sonde_mal_accumulator_combine(a, b));
		assert_shows(a, cases[i].minutes, cases[i].both);
	}
}

static void a_small_average_is_one_and_not_zero(void **state)
{
	_cleanup_(sonde_mal_accumulator_freep) struct sonde_mal_accumulator *a =
		make(SONDE_MAL_AVG, SONDE_MAL_SINGLE);

	accept(a, "", 0, 1);
	accept(a, "", 0, 0);
	accept(a, "", 0, 0);
	assert_shows(a, 1, "@0=1 ");
}

static void labelled_functions_work_by_key(void **state)
{
	_cleanup_(sonde_mal_accumulator_freep) struct sonde_mal_accumulator *sum =
		make(SONDE_MAL_SUM, SONDE_MAL_LABELED);
	_cleanup_(sonde_mal_accumulator_freep) struct sonde_mal_accumulator *max =
		make(SONDE_MAL_MAX, SONDE_MAL_LABELED);
	_cleanup_(sonde_mal_accumulator_freep) struct sonde_mal_accumulator *last =
		make(SONDE_MAL_LATEST, SONDE_MAL_LABELED);
	const struct sonde_mal_point twice[] = {{"{a=1}", 0, 5}, {"{a=1}", 0, 7}};

	accept(sum, "{a=2}", 0, 3);
	accept(sum, "{a=1}", 0, 1);
	accept(sum, "{a=2}", 0, 4);
	assert_shows(sum, 1, "{a=1}@0=1 {a=2}@0=7 ");
	assert_ok(
		sonde_mal_accumulator_accept(sum, twice, 2)); /* in one emission the last counts */
	assert_shows(sum, 1, "{a=1}@0=8 {a=2}@0=7 ");
	accept(max, "{a=1}", 0, 9);
	accept(max, "{a=1}", 0, 4);
	assert_shows(max, 1, "{a=1}@0=9 ");
	accept(last, "{a=1}", 0, 9);
	accept(last, "{a=2}", 0, 4);
	assert_shows(last, 1, "{a=2}@0=4 "); /* the newest table is all there is */
}

static void fill_histogram(struct sonde_mal_accumulator *a, const char *key, const int64_t (*v)[2],
			   size_t n)
{
	struct sonde_mal_point points[8];

	assert_true(n <= ELEMENTS_OF(points));
	for (size_t i = 0; i < n; i++)
		points[i] = (struct sonde_mal_point){key, v[i][0], v[i][1]};
	assert_ok(sonde_mal_accumulator_accept(a, points, n));
}

static void percentiles_are_oaps(void **state)
{
	_cleanup_(sonde_mal_accumulator_freep) struct sonde_mal_accumulator *a =
		make(SONDE_MAL_SUM, SONDE_MAL_HISTOGRAM_PERCENTILE);
	static const int64_t v[][2] = {{100, 2}, {10, 3}, {50, 5}};

	fill_histogram(a, "{}", v, ELEMENTS_OF(v));
	assert_shows(a, 1, "{p=50}@0=50 {p=75}@0=50 {p=90}@0=100 {p=95}@0=100 {p=99}@0=100 ");
	accept(a, "{c=x}", 7, 0);
	assert_shows(a, 1,
		     "{c=x,p=50}@0=0 {c=x,p=75}@0=0 {c=x,p=90}@0=0 {c=x,p=95}@0=0 {c=x,p=99}@0=0 "
		     "{p=50}@0=50 {p=75}@0=50 {p=90}@0=100 {p=95}@0=100 {p=99}@0=100 ");
}

struct nearest {
	int32_t rank;
	int64_t nearest, value;
};

static int take_nearest(void *ctx, const struct sonde_mal_result *r)
{
	*(struct nearest *)ctx = (struct nearest){r->rank, r->nearest, r->value};
	return 0;
}

/* 90 values, the largest alone: the 99th percentile is the 90th of them; OAP rounds 89.1 down. */
static void beside_oaps_percentile_stands_the_nearest_rank(void **state)
{
	const struct sonde_mal_function f = {
		SONDE_MAL_SUM, SONDE_MAL_HISTOGRAM_PERCENTILE, {99}, 1};
	_cleanup_(sonde_mal_accumulator_freep) struct sonde_mal_accumulator *a = NULL;
	static const int64_t v[][2] = {{10, 89}, {4800, 1}};
	struct nearest got = {0};

	assert_ok(sonde_mal_accumulator_new(&f, &a));
	fill_histogram(a, "{}", v, ELEMENTS_OF(v));
	assert_ok(sonde_mal_accumulator_value(a, 1, take_nearest, &got));
	assert_int_equal(got.rank, 99);
	assert_int_equal(got.value, 10);
	assert_int_equal(got.nearest, 4800);
}

static void one_rank(int64_t count, int32_t rank, const int64_t (*v)[2], size_t n, const char *want)
{
	const struct sonde_mal_function f = {
		SONDE_MAL_SUM, SONDE_MAL_HISTOGRAM_PERCENTILE, {rank}, 1};
	_cleanup_(sonde_mal_accumulator_freep) struct sonde_mal_accumulator *a = NULL;

	assert_ok(sonde_mal_accumulator_new(&f, &a));
	fill_histogram(a, "{}", v, n);
	if (count > 0)
		accept(a, "{}", 1000, count);
	assert_shows(a, 1, want);
}

static void ranks_round_as_java_floats_do(void **state)
{
	static const int64_t none[][2] = {{5, 0}, {10, 0}};
	static const int64_t float_low[][2] = {{5, 16609444}};
	static const int64_t float_high[][2] = {{5, 16609445}};
	static const int64_t saturated[][2] = {{5, 2147483646}};
	static const int64_t reached[][2] = {{5, 2147483647}};

	one_rank(1, 10, none, 2, "{p=10}@0=5 "); /* roof 0: the first bucket, though it is empty */
	one_rank(3, 50, none, 2, "{p=50}@0=1000 "); /* 1.5 is 2 */
	one_rank(16777217 - 16609444, 99, float_low, 1, "{p=99}@0=1000 ");
	one_rank(16777217 - 16609445, 99, float_high, 1, "{p=99}@0=5 ");
	one_rank(3000000000 - 2147483646, 99, saturated, 1, "{p=99}@0=1000 ");
	one_rank(3000000000 - 2147483647, 99, reached, 1, "{p=99}@0=5 ");
}

static void the_avg_variant_averages_each_bucket_first(void **state)
{
	_cleanup_(sonde_mal_accumulator_freep) struct sonde_mal_accumulator *a =
		make(SONDE_MAL_AVG, SONDE_MAL_HISTOGRAM_PERCENTILE);
	static const int64_t first[][2] = {{10, 9}, {20, 1}};
	static const int64_t second[][2] = {{10, 0}, {20, 0}};

	fill_histogram(a, "{}", first, 2);
	fill_histogram(a, "{}", second, 2);
	/* 9 / 2 = 4, 1 / 2 = 0 but at least 1: of 5, four are in the first */
	assert_shows(a, 1, "{p=50}@0=10 {p=75}@0=10 {p=90}@0=20 {p=95}@0=20 {p=99}@0=20 ");
}

static void histograms_know_buckets_and_no_labels(void **state)
{
	_cleanup_(sonde_mal_accumulator_freep) struct sonde_mal_accumulator *a =
		make(SONDE_MAL_SUM, SONDE_MAL_HISTOGRAM);

	accept(a, "{a=1}", 10, 1);
	accept(a, "{a=2}", 10, 2);
	accept(a, "{}", 20, 4);
	assert_shows(a, 1, "{}@10=3 {}@20=4 ");
}

static void combining_gives_what_accepting_all_gives(void **state)
{
	_cleanup_(sonde_mal_accumulator_freep) struct sonde_mal_accumulator *all =
		make(SONDE_MAL_SUM, SONDE_MAL_HISTOGRAM_PERCENTILE);
	_cleanup_(sonde_mal_accumulator_freep) struct sonde_mal_accumulator *minute =
		make(SONDE_MAL_SUM, SONDE_MAL_HISTOGRAM_PERCENTILE);
	_cleanup_buf_ struct sonde_buf x = SONDE_BUF_INIT(1 << 20), y = SONDE_BUF_INIT(1 << 20);

	for (int part = 0; part < 6; part++) {
		_cleanup_(sonde_mal_accumulator_freep) struct sonde_mal_accumulator *ten_s =
			make(SONDE_MAL_SUM, SONDE_MAL_HISTOGRAM_PERCENTILE);

		for (int i = 0; i < 50; i++) {
			char key[32];

			(void)snprintf(key, sizeof(key), "{port=%d}", (i + part) % 7);
			accept(ten_s, key, (i * part) % 11, i);
			accept(all, key, (i * part) % 11, i);
		}
		assert_ok(sonde_mal_accumulator_combine(minute, ten_s));
	}
	assert_ok(sonde_mal_accumulator_store(minute, &x));
	assert_ok(sonde_mal_accumulator_store(all, &y));
	assert_int_equal(x.len, y.len);
	assert_memory_equal(x.data, y.data, x.len);
}

static int add_totals(void *ctx, const struct sonde_mal_total *t)
{
	int64_t *v = ctx;

	v[0] += t->sum;
	v[1] += t->count;
	return 0;
}

static int stop_at_once(void *ctx, const struct sonde_mal_total *t)
{
	(void)ctx;
	(void)t;
	return -ECANCELED;
}

static void totals_are_not_divided(void **state)
{
	_cleanup_(sonde_mal_accumulator_freep) struct sonde_mal_accumulator *a =
		make(SONDE_MAL_AVG, SONDE_MAL_LABELED);
	int64_t v[2] = {0, 0};

	accept(a, "{a=1}", 0, 10);
	accept(a, "{a=1}", 0, 11);
	accept(a, "{a=2}", 0, 1);
	assert_ok(sonde_mal_accumulator_totals(a, add_totals, v));
	assert_int_equal(v[0], 22);
	assert_int_equal(v[1], 3);
	assert_err(sonde_mal_accumulator_totals(a, stop_at_once, NULL), ECANCELED);
}

static void bytes_come_back_and_bad_ones_are_refused(void **state)
{
	_cleanup_(sonde_mal_accumulator_freep) struct sonde_mal_accumulator *a =
		make(SONDE_MAL_SUM, SONDE_MAL_LABELED);
	_cleanup_(sonde_mal_accumulator_freep) struct sonde_mal_accumulator *b = NULL, *c = NULL;
	_cleanup_buf_ struct sonde_buf out = SONDE_BUF_INIT(1 << 16);

	accept(a, "{a=1}", 0, 10);
	accept(a, "{a=2}", 0, -3);
	assert_ok(sonde_mal_accumulator_store(a, &out));
	assert_ok(sonde_mal_accumulator_load(out.data, out.len, &b));
	assert_shows(b, 1, "{a=1}@0=10 {a=2}@0=-3 ");
	for (size_t n = 0; n < out.len; n++)
		assert_err(sonde_mal_accumulator_load(out.data, n, &c), EBADMSG);
	out.data[0] = 9;
	assert_err(sonde_mal_accumulator_load(out.data, out.len, &c), EBADMSG);
	assert_null(c);
}

/* As the server before wrote it, by hand: sumLabeled {a=1} 10 of 1, {a=2} 3 of 2. */
static void bytes_of_an_older_server_are_read(void **state)
{
	static const uint8_t old[] = {1,   1,	1,   0,	  2,   0, 0, 0, 5, 0, 0,  0, '{', 'a', '=',
				      '1', '}', 0,   0,	  0,   0, 0, 0, 0, 0, 10, 0, 0,	  0,   0,
				      0,   0,	0,   1,	  0,   0, 0, 0, 0, 0, 0,  5, 0,	  0,   0,
				      '{', 'a', '=', '2', '}', 0, 0, 0, 0, 0, 0,  0, 0,	  3,   0,
				      0,   0,	0,   0,	  0,   0, 2, 0, 0, 0, 0,  0, 0,	  0};
	_cleanup_(sonde_mal_accumulator_freep) struct sonde_mal_accumulator *a = NULL, *b = NULL;
	int64_t v[2] = {0, 0};

	assert_ok(sonde_mal_accumulator_load(old, sizeof(old), &a));
	assert_shows(a, 1, "{a=1}@0=10 {a=2}@0=3 ");
	assert_ok(sonde_mal_accumulator_totals(a, add_totals, v));
	assert_int_equal(v[1], 3);
	for (size_t n = 0; n < sizeof(old); n++)
		assert_err(sonde_mal_accumulator_load(old, n, &b), EBADMSG);
}

/* What does not fit into a byte, and what overflows as a difference. */
static void bounds_and_sums_of_any_size_come_back(void **state)
{
	static const int64_t buckets[] = {INT64_MIN, -1, 0, 63, 64, 128, INT64_MAX - 1, INT64_MAX};
	_cleanup_(sonde_mal_accumulator_freep) struct sonde_mal_accumulator *a =
		make(SONDE_MAL_SUM, SONDE_MAL_HISTOGRAM);
	_cleanup_(sonde_mal_accumulator_freep) struct sonde_mal_accumulator *b = NULL;
	_cleanup_buf_ struct sonde_buf x = SONDE_BUF_INIT(1 << 16), y = SONDE_BUF_INIT(1 << 16);

	for (size_t i = 0; i < ELEMENTS_OF(buckets); i++)
		accept(a, "{}", buckets[i], i % 2 ? INT64_MAX : -(int64_t)i);
	assert_ok(sonde_mal_accumulator_store(a, &x));
	assert_ok(sonde_mal_accumulator_load(x.data, x.len, &b));
	assert_ok(sonde_mal_accumulator_store(b, &y));
	assert_int_equal(x.len, y.len);
	assert_memory_equal(x.data, y.data, x.len);
	assert_shows(b, 1,
		     "{}@-9223372036854775808=0 {}@-1=9223372036854775807 {}@0=-2 "
		     "{}@63=9223372036854775807 {}@64=-4 {}@128=9223372036854775807 "
		     "{}@9223372036854775806=-6 {}@9223372036854775807=9223372036854775807 ");
}

static void limits_refuse_and_change_nothing(void **state)
{
	_cleanup_(sonde_mal_accumulator_freep) struct sonde_mal_accumulator *a =
		make(SONDE_MAL_SUM, SONDE_MAL_LABELED);
	_cleanup_(sonde_mal_accumulator_freep) struct sonde_mal_accumulator *one =
		make(SONDE_MAL_SUM, SONDE_MAL_SINGLE);
	const struct sonde_mal_point two[] = {{"", 0, 1}, {"", 0, 2}};
	const struct sonde_mal_function none = {SONDE_MAL_MAX, SONDE_MAL_HISTOGRAM, {0}, 0};
	struct sonde_mal_accumulator *never = NULL;
	char key[32];

	for (int i = 0; i < SONDE_MAL_KEYS_MAX; i++) {
		(void)snprintf(key, sizeof(key), "{k=%04d}", i);
		accept(a, key, 0, 1);
	}
	assert_err(sonde_mal_accumulator_accept(a, &(struct sonde_mal_point){"{x}", 0, 1}, 1),
		   E2BIG);
	accept(a, "{k=0000}", 0, 1);
	assert_err(sonde_mal_accumulator_accept(one, two, 2), EINVAL);
	assert_shows(one, 1, "");
	assert_err(sonde_mal_accumulator_combine(a, one), EINVAL);
	assert_err(sonde_mal_accumulator_new(&none, &never), EOPNOTSUPP);
}

static void values_are_stored_rounded(void **state)
{
	static const struct {
		double in;
		int64_t out;
	} cases[] = {{-3, 0},	      {-0.0, 0},     {0.2, 1},		 {1.49, 1},
		     {1.5, 2},	      {2.5, 3},	     {1e300, INT64_MAX}, {1.0 / 0.0, INT64_MAX},
		     {-1.0 / 0.0, 0}, {0.0 / 0.0, 0}};

	for (size_t i = 0; i < ELEMENTS_OF(cases); i++)
		assert_int_equal(mal_stored_value(cases[i].in), cases[i].out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(single_functions_accept_and_combine),
		cmocka_unit_test(a_small_average_is_one_and_not_zero),
		cmocka_unit_test(labelled_functions_work_by_key),
		cmocka_unit_test(percentiles_are_oaps),
		cmocka_unit_test(beside_oaps_percentile_stands_the_nearest_rank),
		cmocka_unit_test(ranks_round_as_java_floats_do),
		cmocka_unit_test(the_avg_variant_averages_each_bucket_first),
		cmocka_unit_test(histograms_know_buckets_and_no_labels),
		cmocka_unit_test(combining_gives_what_accepting_all_gives),
		cmocka_unit_test(totals_are_not_divided),
		cmocka_unit_test(bytes_come_back_and_bad_ones_are_refused),
		cmocka_unit_test(bytes_of_an_older_server_are_read),
		cmocka_unit_test(bounds_and_sums_of_any_size_come_back),
		cmocka_unit_test(limits_refuse_and_change_nothing),
		cmocka_unit_test(values_are_stored_rounded),
	};

	return cmocka_run_group_tests_name("mal/function", tests, NULL, NULL);
}
