/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Roll-up as a property: whatever comes in whatever order, through restarts and replays, each bucket of each step holds
 * what an accumulator holds that got its raw values alone, in the order of their arrival.
 */
#include "backend-fixture.h"

#include <errno.h>
#include <string.h>

#include "backend/ingest/series.h"
#include "backend/store/check.h"
#include "backend/store/schema.h"

#define T0 1699999200000 /* a whole hour */
#define SPAN_MS (3 * 3600000)
#define VALUES 400
#define KEYS 3

struct value {
	int64_t ts_ms, serial;
	struct sonde_mal_point point[KEYS];
	size_t n;
};

static uint64_t seed;
static char task[8] = "t"; /* each function's own */

static uint64_t next(uint64_t below)
{
	seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
	return (seed >> 33) % below;
}

static const char *const keys[KEYS] = {"{k=a}", "{k=b,port=80}", "{}"};

static void make_values(const struct sonde_mal_function *f, struct value v[static VALUES])
{
	for (unsigned i = 0; i < VALUES; i++) {
		v[i] = (struct value){.ts_ms = T0 + (int64_t)next(SPAN_MS), .serial = i / 3 + 1};
		v[i].n = f->kind == SONDE_MAL_SINGLE ? 1 : 1 + next(KEYS);
		for (size_t k = 0; k < v[i].n; k++) {
			v[i].point[k].key = f->kind == SONDE_MAL_SINGLE ? "" : keys[k];
			v[i].point[k].value = (int64_t)next(1000) - 100;
			if (f->kind == SONDE_MAL_HISTOGRAM ||
			    f->kind == SONDE_MAL_HISTOGRAM_PERCENTILE)
				v[i].point[k].bucket = (int64_t)next(5) * 10;
		}
	}
}

static void assert_same(const struct sonde_mal_accumulator *a,
			const struct sonde_mal_accumulator *b)
{
	_cleanup_buf_ struct sonde_buf x = SONDE_BUF_INIT(1 << 16), y = SONDE_BUF_INIT(1 << 16);

	assert_ok(sonde_mal_accumulator_store(a, &x));
	assert_ok(sonde_mal_accumulator_store(b, &y));
	assert_int_equal(x.len, y.len);
	assert_memory_equal(x.data, y.data, x.len);
}

struct direct {
	const struct sonde_mal_function *function;
	const struct value *v;
	int64_t step_ms;
	size_t buckets;
};

/* The raw values of one bucket, as they came. */
static int check_bucket(void *ctx, int64_t start_ms, const struct sonde_mal_accumulator *acc)
{
	_cleanup_(sonde_mal_accumulator_freep) struct sonde_mal_accumulator *want = NULL;
	struct direct *d = ctx;

	assert_ok(sonde_mal_accumulator_new(d->function, &want));
	for (unsigned i = 0; i < VALUES; i++) {
		if (d->v[i].ts_ms >= start_ms && d->v[i].ts_ms < start_ms + d->step_ms)
			assert_ok(sonde_mal_accumulator_accept(want, d->v[i].point, d->v[i].n));
	}
	assert_same(acc, want);
	d->buckets++;
	return 0;
}

static size_t count_buckets(const struct value *v, int64_t step_ms)
{
	size_t n = 0;

	for (unsigned i = 0; i < VALUES; i++) {
		bool seen = false;

		for (unsigned k = 0; k < i && !seen; k++)
			seen = v[k].ts_ms / step_ms == v[i].ts_ms / step_ms;
		n += !seen;
	}
	return n;
}

static void check_all(struct sonde_series_table *st, const struct sonde_mal_function *f,
		      const struct value *v)
{
	for (unsigned step = 0; step < _SONDE_SERIES_STEP_MAX; step++) {
		struct direct d = {.function = f, .v = v, .step_ms = sonde_series_step_ms[step]};

		assert_ok(sonde_series_table_read(st, task, "m", "e", step, 0, INT64_MAX,
						  check_bucket, &d));
		assert_int_equal(d.buckets, count_buckets(v, d.step_ms));
	}
}

static struct sonde_series_table *make_table(struct fixture *f)
{
	const struct sonde_series_config config = {.store = f->store, .max_buckets = 100000};
	struct sonde_series_table *st = NULL;

	assert_ok(sonde_series_table_new(&config, &st));
	return st;
}

static struct sonde_series_set *get(struct sonde_series_table *st)
{
	struct sonde_series_set *set = NULL;

	assert_ok(sonde_series_table_get(st, task, T0, &set));
	return set;
}

static void add(struct sonde_series_table *st, const struct sonde_mal_function *f,
		const struct value *v)
{
	assert_ok(sonde_series_add(st, get(st), "m", "e", f, v->ts_ms, v->point, v->n, v->serial));
}

/* @slices at most; a pass that is not complete is what a crash in the middle leaves. */
static void write_some(struct fixture *f, struct sonde_series_table *st, unsigned slices)
{
	int r = 1;

	sonde_series_checkpoint_begin(st);
	while (slices-- > 0 && r != 0) {
		r = sonde_series_checkpoint(st, 1);
		sonde_store_flush(f->store);
	}
}

static const struct sonde_mal_function *function_at(unsigned i)
{
	static struct sonde_mal_function f;

	f = (struct sonde_mal_function){.downsampling = i % _SONDE_MAL_DOWNSAMPLING_MAX,
					.kind = i / _SONDE_MAL_DOWNSAMPLING_MAX};
	if (f.kind == SONDE_MAL_HISTOGRAM_PERCENTILE) {
		f.n_ranks = 2;
		f.ranks[0] = 50;
		f.ranks[1] = 99;
	}
	return sonde_mal_function_exists(&f) ? &f : NULL;
}
#define FUNCTIONS (_SONDE_MAL_DOWNSAMPLING_MAX * _SONDE_MAL_KIND_MAX)

static void each_bucket_is_the_sum_of_its_values(void **state)
{
	struct fixture *f = *state;
	struct value v[VALUES];

	fixture_open(f);
	for (unsigned i = 0; i < FUNCTIONS; i++) {
		const struct sonde_mal_function *function = function_at(i);
		struct sonde_series_table *st;

		if (!function)
			continue;
		seed = i + 1;
		make_values(function, v);
		(void)snprintf(task, sizeof(task), "t%u", i);
		st = make_table(f);
		for (unsigned k = 0; k < VALUES; k++)
			add(st, function, &v[k]);
		check_all(st, function, v);
		write_some(f, st, 10);
		(void)sonde_series_table_free(st);
		st = make_table(f); /* from the store, without a set in memory */
		check_all(st, function, v);
		(void)get(st);
		check_all(st, function, v);
		(void)sonde_series_table_free(st);
	}
}

static void a_crash_in_the_middle_adds_nothing_twice(void **state)
{
	struct fixture *f = *state;
	struct value v[VALUES];

	fixture_open(f);
	for (unsigned i = 0; i < FUNCTIONS; i++) {
		const struct sonde_mal_function *function = function_at(i);
		struct sonde_series_table *st;
		unsigned done = 0;

		if (!function)
			continue;
		seed = 1000 + i;
		make_values(function, v);
		(void)snprintf(task, sizeof(task), "t%u", i);
		while (done < VALUES) {
			unsigned until = done + 3 * (unsigned)(1 + next(40));

			until = until > VALUES ? VALUES : until;
			st = make_table(f);
			for (unsigned k = 0; k < until; k++) /* all that came, again */
				add(st, function, &v[k]);
			write_some(f, st, (unsigned)next(3));
			(void)sonde_series_table_free(st); /* with whatever was not written */
			done = until;
		}
		st = make_table(f);
		for (unsigned k = 0; k < VALUES; k++)
			add(st, function, &v[k]);
		check_all(st, function, v);
		(void)sonde_series_table_free(st);
	}
}

/* --- a file of an older server --- */

static void run(sqlite3 *db, const char *sql)
{
	char *words = NULL;

	if (sqlite3_exec(db, sql, NULL, NULL, &words) != SQLITE_OK)
		fail_msg("%s: %s", sql, words);
}

static void put_old(sqlite3 *db, const struct sonde_mal_function *f, const struct value *v,
		    int64_t step_ms, int64_t start_ms)
{
	_cleanup_(sonde_mal_accumulator_freep) struct sonde_mal_accumulator *acc = NULL;
	_cleanup_buf_ struct sonde_buf bytes = SONDE_BUF_INIT(1 << 16);
	sqlite3_stmt *stmt = NULL;

	assert_ok(sonde_mal_accumulator_new(f, &acc));
	for (unsigned i = 0; i < VALUES; i++) {
		if (v[i].ts_ms >= start_ms && v[i].ts_ms < start_ms + step_ms)
			assert_ok(sonde_mal_accumulator_accept(acc, v[i].point, v[i].n));
	}
	assert_ok(sonde_mal_accumulator_store(acc, &bytes));
	assert_int_equal(sqlite3_prepare_v2(db,
					    "INSERT OR IGNORE INTO series VALUES ('t', 'm', 'e', "
					    "?1, ?2, 200, ?3)",
					    -1, &stmt, NULL),
			 SQLITE_OK);
	assert_int_equal(sqlite3_bind_int64(stmt, 1, step_ms), SQLITE_OK);
	assert_int_equal(sqlite3_bind_int64(stmt, 2, start_ms), SQLITE_OK);
	assert_int_equal(sqlite3_bind_blob(stmt, 3, bytes.data, (int)bytes.len, SQLITE_STATIC),
			 SQLITE_OK);
	assert_int_equal(sqlite3_step(stmt), SQLITE_DONE);
	(void)sqlite3_finalize(stmt);
}

static int count_minutes(struct sonde_series_table *st)
{
	const struct sonde_series *s = sonde_series_set_find(get(st), "m", "e");

	assert_non_null(s);
	return (int)sonde_series_minutes(s);
}

static void an_older_file_gets_its_hours(void **state)
{
	const struct sonde_mal_function sum = {.downsampling = SONDE_MAL_SUM,
					       .kind = SONDE_MAL_LABELED};
	struct fixture *f = *state;
	struct value v[VALUES];
	sqlite3 *db = NULL;

	seed = 7;
	(void)snprintf(task, sizeof(task), "t");
	make_values(&sum, v);
	assert_ok(sonde_store_connect(f->path, &db));
	assert_ok(sonde_store_migrate_to(db, 3));
	run(db, "PRAGMA auto_vacuum = NONE; VACUUM");
	for (unsigned i = 0; i < VALUES; i++) {
		put_old(db, &sum, v, 10000, v[i].ts_ms - v[i].ts_ms % 10000);
		put_old(db, &sum, v, 60000, v[i].ts_ms - v[i].ts_ms % 60000);
	}
	assert_int_equal(sqlite3_close(db), SQLITE_OK);
	fixture_open(f);
	_cleanup_(sonde_series_table_freep) struct sonde_series_table *st = make_table(f);

	check_all(st, &sum, v);
	assert_int_equal(count_minutes(st), count_buckets(v, 60000));
	check_all(st, &sum, v);
	add(st, &sum, &v[0]); /* all of it is in: the serials came along */
	check_all(st, &sum, v);
}

/* --- the file of a real older server --- */

#define OLD_TASK "2dcbb964e61c152e"
#define OLD_START 1795326120000
#define OLD_REPORTS 9
#define OLD_BETWEEN_MS 20000

static void load(struct fixture *f, const char *file)
{
	static char text[1 << 16];
	FILE *in = fopen(file, "r");
	sqlite3 *db = NULL;
	size_t n;

	assert_non_null(in);
	n = fread(text, 1, sizeof(text) - 1, in);
	assert_true(feof(in));
	(void)fclose(in);
	text[n] = '\0';
	assert_int_equal(sqlite3_open(f->path, &db), SQLITE_OK);
	run(db, text);
	assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

struct old {
	int64_t step_ms;
	bool is_rtt;
	size_t buckets;
	int64_t bytes, fast, slow; /* of one bucket; round trips of 250 and 500 us */
};

static int on_old_total(void *ctx, const struct sonde_mal_total *t)
{
	struct old *o = ctx;

	o->bytes += o->is_rtt ? 0 : t->sum;
	o->fast += o->is_rtt && t->bucket == 250 ? t->sum : 0;
	o->slow += o->is_rtt && t->bucket == 500 ? t->sum : 0;
	return 0;
}

static int check_old(void *ctx, int64_t start_ms, const struct sonde_mal_accumulator *acc)
{
	int64_t reports = 0, sum = 0;
	struct old *o = ctx;

	o->buckets++;
	o->bytes = o->fast = o->slow = 0;
	for (int i = 0; i < OLD_REPORTS; i++) {
		int64_t at = OLD_START + i * OLD_BETWEEN_MS;

		if (at >= start_ms && at < start_ms + o->step_ms) {
			reports++;
			sum += i + 1;
		}
	}
	assert_ok(sonde_mal_accumulator_totals(acc, on_old_total, o));
	assert_int_equal(o->bytes, o->is_rtt ? 0 : 100 * sum);
	assert_int_equal(o->fast, o->is_rtt ? 3 * reports : 0);
	assert_int_equal(o->slow, o->is_rtt ? sum : 0);
	return 0;
}

static void a_real_older_file_keeps_its_numbers(void **state)
{
	static const char entity[] =
		"PROCESS_RELATION\tcccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc"
		"\tc5a3d6c3a4ac67e76f8943d63125720781feb53ebc878d5f3732e4f149bd0eb6\tclient";
	static const char *const metrics[] = {"sonde_net_sent_bytes_total",
					      "sonde_net_rtt_microseconds"};
	static const size_t buckets[_SONDE_SERIES_STEP_MAX] = {OLD_REPORTS, 3, 1};
	struct fixture *f = *state;
	struct sonde_store_verdict v;
	struct sonde_series_set *set = NULL;

	load(f, SONDE_SOURCE_ROOT "/tests/data/store/schema-3.sql");
	sonde_store_check(f->path, 0, &v);
	assert_ok(v.error);
	assert_int_equal(v.version, 3);
	fixture_open(f);
	_cleanup_(sonde_series_table_freep) struct sonde_series_table *st = make_table(f);

	for (size_t m = 0; m < ELEMENTS_OF(metrics); m++) {
		const struct sonde_series *s;

		for (unsigned step = 0; step < _SONDE_SERIES_STEP_MAX; step++) {
			struct old o = {.step_ms = sonde_series_step_ms[step], .is_rtt = m == 1};

			assert_ok(sonde_series_table_read(st, OLD_TASK, metrics[m], entity, step, 0,
							  INT64_MAX, check_old, &o));
			assert_int_equal(o.buckets, buckets[step]);
		}
		assert_ok(sonde_series_table_get(st, OLD_TASK, OLD_START, &set));
		s = sonde_series_set_find(set, metrics[m], entity);
		assert_non_null(s);
		assert_int_equal(sonde_series_minutes(s), 3);
	}
}

int main(void)
{
#define with_store(t) cmocka_unit_test_setup_teardown(t, fixture_setup, fixture_teardown)
	const struct CMUnitTest tests[] = {
		with_store(each_bucket_is_the_sum_of_its_values),
		with_store(a_crash_in_the_middle_adds_nothing_twice),
		with_store(an_older_file_gets_its_hours),
		with_store(a_real_older_file_keeps_its_numbers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
