/* SPDX-License-Identifier: Apache-2.0 */
/* What goes by age, by bytes and with its task, and that nothing else does; what is refused, by name. */
#include "backend-fixture.h"

#include <errno.h>
#include <sqlite3.h>
#include <string.h>

#include "backend/ingest/retention.h"
#include "backend/json.h"
#include "backend/query/window.h"
#include "backend/tasks/refusals.h"
#include "backend/tasks/table.h"

#define HOUR_MS 3600000LL
#define NOW (1699999200000 + 100 * HOUR_MS) /* a whole hour */
#define STEPS_MAX 5000			    /* of retention: many times what any test here needs */

static const struct sonde_mal_function sum = {.downsampling = SONDE_MAL_SUM,
					      .kind = SONDE_MAL_LABELED};

struct rig {
	struct fixture *f;
	struct sonde_registry *registry;
	struct sonde_task_table *tasks;
	struct sonde_series_table *series;
	struct sonde_retention *retention;
	struct sonde_refusals refusals;
	int64_t serial;
};

static void on_refused(void *ctx, const char *task, const char *metric,
		       enum sonde_series_bound bound)
{
	struct rig *rig = ctx;

	assert_string_equal(task, "t");
	sonde_refusals_add(&rig->refusals, metric, sonde_series_bound_name(bound), 1);
}

static void rig_open(struct rig *rig, struct fixture *f, struct sonde_series_config series,
		     uint64_t max_bytes)
{
	struct sonde_task_table_config tasks = {.store = NULL};
	struct sonde_retention_config retention = {
		.keep_ms = {6 * HOUR_MS, 48 * HOUR_MS, 168 * HOUR_MS}, .max_bytes = max_bytes};

	*rig = (struct rig){.f = f};
	fixture_open(f);
	series.store = tasks.store = retention.store = f->store;
	series.on_refused = on_refused;
	series.ctx = rig;
	assert_ok(sonde_registry_new(f->store, &rig->registry));
	tasks.registry = rig->registry;
	assert_ok(sonde_task_table_new(&tasks, &rig->tasks));
	assert_ok(sonde_series_table_new(&series, &rig->series));
	retention.series = rig->series;
	retention.tasks = rig->tasks;
	assert_ok(sonde_retention_new(&retention, &rig->retention));
}

static void rig_close(struct rig *rig)
{
	(void)sonde_retention_free(rig->retention);
	(void)sonde_series_table_free(rig->series);
	(void)sonde_task_table_free(rig->tasks);
	(void)sonde_registry_free(rig->registry);
	sonde_refusals_done(&rig->refusals);
	fixture_close(rig->f);
}

static uint64_t refused(const struct rig *rig, const char *metric, const char *bound)
{
	for (size_t i = 0; i < rig->refusals.n; i++) {
		if (strcmp(rig->refusals.v[i].metric, metric) == 0 &&
		    strcmp(rig->refusals.v[i].bound, bound) == 0)
			return rig->refusals.v[i].count;
	}
	return 0;
}

static int add(struct rig *rig, const char *task, const char *metric, const char *entity,
	       int64_t ts_ms)
{
	const struct sonde_mal_point p = {.key = "{k=v}", .value = 1};
	struct sonde_series_set *set = NULL;

	assert_ok(sonde_series_table_get(rig->series, task, NOW, &set));
	return sonde_series_add(rig->series, set, metric, entity, &sum, ts_ms, &p, 1,
				++rig->serial);
}

static void write_all(struct rig *rig)
{
	int r;

	sonde_series_checkpoint_begin(rig->series);
	do {
		r = sonde_series_checkpoint(rig->series, 1000);
		sonde_store_flush(rig->f->store);
	} while (r > 0 || r == -ENOBUFS);
	assert_ok(r);
}

/* Until it rests. Return: how many steps it took. */
static unsigned run(struct rig *rig, int64_t now_ms)
{
	unsigned n = 0;

	while (sonde_retention_tick(rig->retention, now_ms)) {
		sonde_store_flush(rig->f->store);
		assert_true(++n < STEPS_MAX);
	}
	return n;
}

static int count(void *ctx, int64_t start_ms, const struct sonde_mal_accumulator *acc)
{
	(void)start_ms;
	(void)acc;
	++*(unsigned *)ctx;
	return 0;
}

/* In the store alone: the set is not in memory. */
static unsigned stored(struct rig *rig, const char *task, const char *entity, unsigned step)
{
	unsigned n = 0;

	sonde_series_table_drop(rig->series, task);
	assert_ok(sonde_series_table_read(rig->series, task, "m", entity, step, 0, INT64_MAX, count,
					  &n));
	return n;
}

static void each_step_goes_by_its_own_age(void **state)
{
	const struct sonde_series_config config = {.max_buckets = 100000};
	struct sonde_series_stats stats;
	struct rig rig;

	rig_open(&rig, *state, config, 0);
	for (unsigned h = 0; h < 200; h++) /* the newest hour begins an hour ago */
		assert_ok(add(&rig, "t", "m", "e", NOW - (int64_t)(h + 1) * HOUR_MS));
	write_all(&rig);
	run(&rig, NOW);
	sonde_series_table_trim(rig.series, NOW);
	sonde_series_table_get_stats(rig.series, &stats);
	assert_int_equal(stats.buckets, 6 + 48 + 168);
	assert_int_equal(stored(&rig, "t", "e", SONDE_SERIES_10S), 6);
	assert_int_equal(stored(&rig, "t", "e", SONDE_SERIES_1M), 48);
	assert_int_equal(stored(&rig, "t", "e", SONDE_SERIES_1H), 168);
	/* What is late for a step is in the coarser ones alone: a rest of it would be shown as all of it. */
	assert_ok(add(&rig, "t", "m", "e", NOW - 20 * HOUR_MS));
	assert_ok(add(&rig, "t", "m", "late", NOW - 20 * HOUR_MS));
	write_all(&rig);
	assert_int_equal(stored(&rig, "t", "e", SONDE_SERIES_10S), 6);
	assert_int_equal(stored(&rig, "t", "late", SONDE_SERIES_10S), 0);
	assert_int_equal(stored(&rig, "t", "late", SONDE_SERIES_1M), 1);
	rig_close(&rig);
}

static enum sonde_series_step finest(struct rig *rig, int64_t since_ms, int64_t until_ms)
{
	struct sonde_series_set *set = NULL;
	struct sonde_window w;

	assert_ok(sonde_series_table_get(rig->series, "t", NOW, &set));
	sonde_window_choose(set, since_ms, until_ms, _SONDE_SERIES_STEP_MAX, &w);
	return w.step;
}

/* A minute that is left of an hour, or 10 s of a minute, would be taken for all of it. */
static void what_goes_by_age_goes_in_wholes(void **state)
{
	const struct sonde_series_config config = {.max_buckets = 100000};
	struct rig rig;

	rig_open(&rig, *state, config, 0);
	for (unsigned i = 0; i < 180; i++) /* 30 minutes, from 10 past */
		assert_ok(add(&rig, "t", "m", "e", NOW + 600000 + (int64_t)i * 10000));
	write_all(&rig);
	run(&rig, NOW + 6 * HOUR_MS + 1230000);
	assert_int_equal(stored(&rig, "t", "e", SONDE_SERIES_10S), 20 * 6); /* from 20 past */
	assert_int_equal(finest(&rig, 0, 0), SONDE_SERIES_1M);
	assert_int_equal(finest(&rig, NOW + 1200000, 0), SONDE_SERIES_10S);
	run(&rig, NOW + 48 * HOUR_MS + 2340000);
	assert_int_equal(stored(&rig, "t", "e", SONDE_SERIES_1M), 30);
	assert_int_equal(finest(&rig, 0, 0), SONDE_SERIES_1M);
	run(&rig, NOW + 49 * HOUR_MS);
	assert_int_equal(stored(&rig, "t", "e", SONDE_SERIES_1M), 0);
	assert_int_equal(finest(&rig, 0, 0), SONDE_SERIES_1H);
	rig_close(&rig);
}

static void a_window_is_whole_only_where_nothing_was_refused(void **state)
{
	const struct sonde_series_config config = {.max_buckets = 1000, .max_task_buckets = 16};
	struct rig rig;
	unsigned i;

	rig_open(&rig, *state, config, 0);
	for (i = 0; refused(&rig, "m", "buckets_1m") == 0; i++)
		assert_ok(add(&rig, "t", "m", "e", NOW + (int64_t)i * 60000));
	assert_int_equal(refused(&rig, "m", "buckets_10s"), 4);
	assert_int_equal(finest(&rig, 0, NOW + (int64_t)(i - 4) * 60000), SONDE_SERIES_10S);
	assert_int_equal(finest(&rig, 0, NOW + (int64_t)(i - 1) * 60000), SONDE_SERIES_1M);
	assert_int_equal(finest(&rig, 0, 0), SONDE_SERIES_1H);
	rig_close(&rig);
}

static int add_total(void *ctx, const struct sonde_mal_total *t)
{
	*(int64_t *)ctx -= t->sum;
	return 0;
}

/* In the window: how many were added, and what a rate is over. */
static void assert_window(struct rig *rig, const char *entity, int64_t since_ms, int64_t until_ms,
			  int64_t n, uint32_t seconds)
{
	_cleanup_(sonde_mal_accumulator_freep) struct sonde_mal_accumulator *total = NULL;
	struct sonde_series_set *set = NULL;
	const struct sonde_series *s;
	struct sonde_window w;
	uint32_t got = 0;

	assert_ok(sonde_series_table_get(rig->series, "t", NOW, &set));
	s = sonde_series_set_find(set, "m", entity);
	assert_non_null(s);
	sonde_window_choose(set, since_ms, until_ms, SONDE_SERIES_10S, &w);
	assert_ok(sonde_window_total(s, &w, &total, &got));
	assert_int_equal(got, seconds);
	assert_ok(sonde_mal_accumulator_totals(total, add_total, &n));
	assert_int_equal(n, 0);
}

static void a_rate_is_over_the_windows_part_of_its_minutes(void **state)
{
	const struct sonde_series_config config = {.max_buckets = 1000};
	struct rig rig;

	rig_open(&rig, *state, config, 0);
	for (unsigned i = 0; i < 18; i++)
		assert_ok(add(&rig, "t", "m", "often", NOW + (int64_t)i * 10000));
	for (unsigned i = 0; i < 3; i++) /* what comes once a minute is of all of it */
		assert_ok(add(&rig, "t", "m", "seldom", NOW + (int64_t)i * 60000 + 50000));
	assert_window(&rig, "often", NOW + 30000, NOW + 90000, 6, 60);
	assert_window(&rig, "seldom", NOW + 30000, NOW + 90000, 1, 30);
	assert_window(&rig, "seldom", NOW, NOW + 120000, 2, 120);
	assert_window(&rig, "often", NOW + 30001, 0, 14, 140);
	assert_window(&rig, "often", 0, 0, 18, 180);
	rig_close(&rig);
}

static void on_stored(void *ctx, int error)
{
	(void)ctx;
	assert_int_equal(error, 0);
}

/* @imported_ms 0: one of our own, which still runs. */
static void put_task(struct rig *rig, const char *id, int64_t created_ms, int64_t imported_ms)
{
	_cleanup_json_ json_t *spec_json = json_pack("{s:s, s:[{s:s}], s:i}", "id", id, "targets",
						     "service", "web", "durationMs", 60000);
	struct sonde_store_job *job = sonde_store_job_new();
	struct sonde_problem problem = {0};
	struct sonde_task *t, *in;
	struct sonde_spec *spec;

	assert_non_null(spec_json);
	assert_non_null(job);
	assert_ok(sonde_spec_parse(spec_json, 0, 0, true, &spec, &problem));
	assert_ok(sonde_task_new(&spec, created_ms, &t));
	t->state = imported_ms ? SONDE_TASK_DONE : SONDE_TASK_RUNNING;
	t->ended_ms = imported_ms ? created_ms + 60000 : 0;
	t->imported_ms = imported_ms;
	assert_ok(sonde_task_table_import(rig->tasks, &t, &job, on_stored, NULL, &in, &problem));
	sonde_store_flush(rig->f->store);
}

/* Its task is kept from the import on: totals that shrink meanwhile would be taken for all. */
static void an_imported_task_keeps_its_hours(void **state)
{
	const struct sonde_series_config config = {.max_buckets = 1000};
	struct rig rig;

	rig_open(&rig, *state, config, 0);
	put_task(&rig, "t", NOW - 160 * HOUR_MS, NOW);
	assert_ok(add(&rig, "t", "m", "e", NOW - 160 * HOUR_MS));
	write_all(&rig);
	run(&rig, NOW + 100 * HOUR_MS);
	assert_int_equal(stored(&rig, "t", "e", SONDE_SERIES_1H), 1);
	assert_int_equal(stored(&rig, "t", "e", SONDE_SERIES_1M), 0);
	sonde_task_table_forget(rig.tasks, sonde_task_table_find(rig.tasks, "t"));
	run(&rig, NOW + 100 * HOUR_MS);
	assert_int_equal(stored(&rig, "t", "e", SONDE_SERIES_1H), 0);
	rig_close(&rig);
}

/* 100 series of 24 hours: about 100,000 buckets, of which none is too old. */
static void fill(struct rig *rig)
{
	char entity[16];

	for (unsigned e = 0; e < 100; e++) {
		(void)snprintf(entity, sizeof(entity), "e%u", e);
		for (unsigned m = 1; m <= 240; m++)
			assert_ok(add(rig, "t", "m", entity, NOW - (int64_t)m * 6 * 60000));
	}
	write_all(rig);
}

static void beyond_its_bytes_the_oldest_go_first_and_the_file_shrinks(void **state)
{
	const struct sonde_series_config config = {.max_buckets = 1000000};
	struct sonde_retention_stats before, after;
	struct rig rig;
	unsigned n;

	rig_open(&rig, *state, config, 0);
	fill(&rig);
	run(&rig, NOW);
	sonde_retention_get_stats(rig.retention, &before);
	assert_false(before.pressed);
	rig_close(&rig);
	rig_open(&rig, *state, config, before.bytes / 2);
	n = run(&rig, NOW);
	assert_true(n > 3); /* in steps */
	sonde_retention_get_stats(rig.retention, &after);
	assert_true(after.bytes <= before.bytes / 2);
	assert_false(after.over);
	assert_true(after.rows_deleted > 0);
	/* Both windows are shorter, and begin later than the age limit says. */
	assert_true(after.kept_since_ms[SONDE_SERIES_10S] > NOW - 6 * HOUR_MS);
	assert_true(after.kept_since_ms[SONDE_SERIES_1M] > NOW - 24 * HOUR_MS);
	n = stored(&rig, "t", "e7", SONDE_SERIES_1M);
	assert_true(n > 0 && n < 240);
	assert_int_equal(stored(&rig, "t", "e7", SONDE_SERIES_1H), 24); /* hours stay */
	assert_true(after.free_bytes <= 4U << 20 || after.free_bytes <= after.bytes / 8);
	rig_close(&rig);
}

/* As an older server made it, where there was no room to write it anew. */
static void a_file_that_cannot_shrink_is_left_alone(void **state)
{
	static const char sql[] = "PRAGMA auto_vacuum = NONE; VACUUM; CREATE TABLE x (y); "
				  "INSERT INTO x VALUES (zeroblob(8 << 20)); DROP TABLE x";
	const struct sonde_series_config config = {.max_buckets = 1000};
	struct sonde_retention_stats stats;
	struct fixture *f = *state;
	struct rig rig;
	sqlite3 *db;

	rig_open(&rig, f, config, 0);
	assert_int_equal(sqlite3_open(f->path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_close(db), SQLITE_OK);
	assert_true(run(&rig, NOW) > 0);
	sonde_retention_get_stats(rig.retention, &stats);
	assert_true(stats.free_bytes > 4U << 20);
	assert_int_equal(stats.given_back, 0);
	rig_close(&rig);
}

static void what_is_too_new_to_go_is_said(void **state)
{
	const struct sonde_series_config config = {.max_buckets = 1000};
	struct sonde_retention_stats stats;
	struct rig rig;

	rig_open(&rig, *state, config, 4096);
	assert_ok(add(&rig, "t", "m", "e", NOW - 60000));
	write_all(&rig);
	run(&rig, NOW);
	sonde_retention_get_stats(rig.retention, &stats);
	assert_true(stats.pressed);
	assert_true(stats.over);
	assert_int_equal(stored(&rig, "t", "e", SONDE_SERIES_10S), 1);
	rig_close(&rig);
}

static void what_a_running_task_needs_stays(void **state)
{
	const struct sonde_series_config config = {.max_buckets = 1000};
	struct sonde_retention_stats stats;
	struct rig rig;

	rig_open(&rig, *state, config, 4096);
	put_task(&rig, "t", NOW - 1235000, 0); /* 25 s after a minute, 5 s after its third 10 s */
	assert_ok(add(&rig, "t", "m", "e", NOW - 1235000));
	assert_ok(add(&rig, "t", "m", "older", NOW - 1265000));
	write_all(&rig);
	run(&rig, NOW);
	sonde_retention_get_stats(rig.retention, &stats);
	assert_true(stats.over);
	assert_int_equal(stored(&rig, "t", "e", SONDE_SERIES_10S), 1);
	assert_int_equal(stored(&rig, "t", "e", SONDE_SERIES_1M), 1);
	assert_int_equal(stored(&rig, "t", "older", SONDE_SERIES_10S), 0);
	assert_int_equal(stored(&rig, "t", "older", SONDE_SERIES_1M), 0);
	rig_close(&rig);
}

static void one_task_goes_at_a_time(void **state)
{
	const struct sonde_series_config config = {.max_buckets = 1000};
	struct sonde_retention_stats stats;
	struct rig rig;

	rig_open(&rig, *state, config, 4096);
	put_task(&rig, "t", NOW - 20 * HOUR_MS, NOW - 10 * HOUR_MS);
	put_task(&rig, "u", NOW - 30 * HOUR_MS, NOW - 10 * HOUR_MS);
	for (unsigned i = 0; i < 3; i++) /* while it is not known to be stored */
		assert_true(sonde_retention_tick(rig.retention, NOW));
	sonde_retention_get_stats(rig.retention, &stats);
	assert_int_equal(stats.tasks_forgotten, 1);
	assert_null(sonde_task_table_find(rig.tasks, "u"));
	assert_non_null(sonde_task_table_find(rig.tasks, "t"));
	run(&rig, NOW);
	assert_null(sonde_task_table_find(rig.tasks, "t"));
	rig_close(&rig);
}

static int count_row(void *ctx, const struct sonde_store_row *row)
{
	(void)row;
	++*(unsigned *)ctx;
	return 0;
}

static void a_dropped_task_leaves_nothing_and_takes_nothing_else(void **state)
{
	const struct sonde_series_config config = {.max_buckets = 100000};
	struct sonde_store_job *job;
	struct rig rig;
	char entity[16];
	unsigned n = 0;

	rig_open(&rig, *state, config, 0);
	for (unsigned e = 0; e < 50; e++) {
		(void)snprintf(entity, sizeof(entity), "e%u", e);
		for (unsigned i = 0; i < 30; i++) {
			assert_ok(add(&rig, "t", "m", entity, NOW - (int64_t)i * 60000));
			assert_ok(add(&rig, "other", "m", entity, NOW - (int64_t)i * 60000));
		}
	}
	write_all(&rig);
	job = sonde_store_job_new();
	assert_non_null(job);
	assert_ok(sonde_store_job_add(job, SONDE_STORE_PUT_REPORT, "ititiib", (int64_t)1, "t",
				      (int64_t)1, "h", (int64_t)NOW, (int64_t)1, "x", (size_t)1));
	assert_ok(sonde_store_job_add(job, SONDE_STORE_DROP_TASK, "t", "t"));
	assert_ok(sonde_store_submit(rig.f->store, &job, NULL, NULL));
	sonde_store_flush(rig.f->store);
	sonde_series_table_drop(rig.series, "t");
	run(&rig, NOW);
	assert_ok(sonde_store_query(rig.f->store, SONDE_STORE_GET_SET, "t", count_row, &n));
	assert_ok(sonde_store_query(rig.f->store, SONDE_STORE_GET_REPORT_IDS, "t", count_row, &n));
	assert_ok(sonde_store_query(rig.f->store, SONDE_STORE_GET_DROPPED, NULL, count_row, &n));
	for (unsigned step = 0; step < _SONDE_SERIES_STEP_MAX; step++) {
		assert_ok(sonde_store_select(
			rig.f->store, SONDE_STORE_GET_BUCKETS, count_row, &n, "iiiiii",
			(int64_t)step, (int64_t)(NOW - 2 * HOUR_MS) / 10000, (int64_t)NOW / 10000,
			(int64_t)1 << 24, ((int64_t)2 << 24) - 1, (int64_t)1));
	}
	assert_int_equal(n, 0);
	assert_int_equal(stored(&rig, "other", "e49", SONDE_SERIES_1M), 30);
	assert_int_equal(stored(&rig, "other", "e0", SONDE_SERIES_10S), 30);
	rig_close(&rig);
}

/* --- refusals --- */

static void what_a_bound_refuses_is_counted_by_name(void **state)
{
	const struct sonde_series_config config = {
		.max_buckets = 1000, .max_task_series = 6, .max_task_entities = 4};
	struct rig rig;
	char entity[16];

	rig_open(&rig, *state, config, 0);
	for (unsigned e = 0; e < 10; e++) {
		(void)snprintf(entity, sizeof(entity), "e%u", e);
		(void)!add(&rig, "t", "bytes", entity, NOW);
	}
	assert_int_equal(refused(&rig, "bytes", "task_entities"), 6);
	assert_ok(add(&rig, "t", "rtt", "e0", NOW));
	assert_ok(add(&rig, "t", "rtt", "e1", NOW));
	assert_err(add(&rig, "t", "rtt", "e2", NOW), ENOSPC);
	assert_int_equal(refused(&rig, "rtt", "task_series"), 1);
	assert_ok(add(&rig, "t", "rtt", "e0", NOW)); /* known ones go on */
	rig_close(&rig);
}

static void a_task_has_a_share_of_the_buckets(void **state)
{
	const struct sonde_series_config config = {.max_buckets = 1000, .max_task_buckets = 16};
	struct sonde_series_stats stats;
	struct rig rig;
	int r = 0;

	rig_open(&rig, *state, config, 0);
	for (unsigned i = 0; i < 1000 && r == 0; i++)
		r = add(&rig, "t", "m", "e", NOW + (int64_t)i * 600000);
	assert_err(r, ENOSPC);
	sonde_series_table_get_stats(rig.series, &stats);
	assert_int_equal(stats.buckets, 16);
	assert_int_equal(refused(&rig, "m", "task_buckets"), 1);
	assert_true(refused(&rig, "m", "buckets_10s") > refused(&rig, "m", "buckets_1m"));
	assert_true(refused(&rig, "m", "buckets_1m") > 0);
	rig_close(&rig);
}

static void names_are_bounded_and_come_back(void **state)
{
	struct sonde_refusals r = {0}, again = {0};
	_cleanup_json_ json_t *rows = json_array();
	char name[2 * SONDE_REFUSALS_NAME_MAX];

	(void)state;
	for (unsigned i = 0; i < 100; i++) {
		(void)snprintf(name, sizeof(name), "%03u%0120u", i,
			       0); /* longer than what is kept */
		for (unsigned k = 0; k < 3; k++)
			sonde_refusals_add(&r, name, "task_series", 1);
	}
	assert_int_equal(r.n, SONDE_REFUSALS_MAX);
	assert_int_equal(r.v[0].count, 3);
	assert_int_equal(r.other, 3 * (100 - SONDE_REFUSALS_MAX));
	assert_ok(sonde_refusals_append(&r, NULL, rows));
	sonde_refusals_read(&again, rows);
	assert_int_equal(again.n, r.n);
	assert_int_equal(again.other, r.other);
	assert_string_equal(again.v[31].metric, r.v[31].metric);
	sonde_refusals_done(&r);
	sonde_refusals_done(&again);
}

int main(void)
{
#define with_store(t) cmocka_unit_test_setup_teardown(t, fixture_setup, fixture_teardown)
	const struct CMUnitTest tests[] = {
		with_store(each_step_goes_by_its_own_age),
		with_store(what_goes_by_age_goes_in_wholes),
		with_store(a_window_is_whole_only_where_nothing_was_refused),
		with_store(an_imported_task_keeps_its_hours),
		with_store(a_rate_is_over_the_windows_part_of_its_minutes),
		with_store(beyond_its_bytes_the_oldest_go_first_and_the_file_shrinks),
		with_store(a_file_that_cannot_shrink_is_left_alone),
		with_store(what_is_too_new_to_go_is_said),
		with_store(what_a_running_task_needs_stays),
		with_store(one_task_goes_at_a_time),
		with_store(a_dropped_task_leaves_nothing_and_takes_nothing_else),
		with_store(what_a_bound_refuses_is_counted_by_name),
		with_store(a_task_has_a_share_of_the_buckets),
		cmocka_unit_test(names_are_bounded_and_come_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
