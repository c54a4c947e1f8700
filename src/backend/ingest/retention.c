/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/ingest/retention.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "backend/tasks/table.h"
#include "base/log.h"

#define UNIT_MS 10000 /* of times in the store */
#define ID_BITS 24
#define ROWS 4000	    /* of a step */
#define STARTS_MAX 64	    /* deletes of a step, where each finds little */
#define FLOWS 1000	    /* of a step: each row is in six indexes */
#define GUARD_MS 600000	    /* what is younger never goes for want of bytes */
#define FREE_MIN (4U << 20) /* so much is left free for what comes next */
#define QUEUE_MAX 64	    /* jobs: ingest goes first */
#define WARN_EVERY_MS (10 * 60 * 1000)
#define AGAIN_MS (60 * 60 * 1000) /* where nothing could be given back */

/* What of a forgotten task is being deleted. */
struct sweep {
	char task[SONDE_TASK_ID_MAX]; /* "": nothing */
	bool has_set;
	int64_t no, first, last, ids; /* starts, and how many series it may have */
	unsigned step;
	int64_t at, from_id; /* the next start, and of it the next series */
};

struct sonde_retention {
	struct sonde_retention_config config;
	struct sonde_retention_stats stats;
	int64_t pressed_ms[_SONDE_SERIES_STEP_MAX]; /* floors for want of bytes */
	struct sweep sweep;
	bool with_writer;
	int64_t warned_ms;
	uint64_t free_before; /* of the last give_back; 0: looked at */
	int64_t kept_all_ms;  /* when one gave nothing back */
};

int sonde_retention_new(const struct sonde_retention_config *config, struct sonde_retention **ret)
{
	struct sonde_retention *rt = calloc(1, sizeof(*rt));

	if (!rt)
		return -ENOMEM;
	rt->config = *config;
	rt->stats.max_bytes = config->max_bytes;
	*ret = rt;
	return 0;
}

struct sonde_retention *sonde_retention_free(struct sonde_retention *rt)
{
	if (rt && rt->with_writer)
		sonde_store_flush(rt->config.store);
	free(rt);
	return NULL;
}

static void on_done(void *ctx, int error)
{
	struct sonde_retention *rt = ctx;

	rt->with_writer = false;
	if (error == 0)
		return;
	rt->sweep.task[0] = '\0'; /* from its beginning */
	(void)sonde_log_warn(error, "cannot delete what is too old, will try again");
}

/* Takes *@job on 0. */
static int submit(struct sonde_retention *rt, struct sonde_store_job **job)
{
	int r = sonde_store_submit(rt->config.store, job, on_done, rt);

	rt->with_writer = r == 0;
	return r;
}

static int submit_one(struct sonde_retention *rt, enum sonde_store_statement s, const char *types,
		      int64_t a, int64_t b, int64_t c)
{
	_cleanup_(sonde_store_job_freep) struct sonde_store_job *job = sonde_store_job_new();
	int r = job ? sonde_store_job_add(job, s, types, a, b, c) : -ENOMEM;

	return r < 0 ? r : submit(rt, &job);
}

/* --- a forgotten task --- */

static int read_dropped(void *ctx, const struct sonde_store_row *row)
{
	struct sonde_retention *rt = ctx;
	const char *task = sonde_store_row_text(row, 0);
	_cleanup_(sonde_store_job_freep) struct sonde_store_job *job = NULL;
	enum sonde_store_statement s;
	int r;

	if (sonde_store_row_int(row, 1) == 0 && sonde_store_row_int(row, 2) == 0) {
		(void)snprintf(rt->sweep.task, sizeof(rt->sweep.task), "%s", task);
		return 0;
	}
	s = sonde_store_row_int(row, 1) ? SONDE_STORE_DELETE_SOME_FLOWS
					: SONDE_STORE_DELETE_SOME_REPORTS;
	job = sonde_store_job_new();
	r = job ? sonde_store_job_add(job, s, "ti", task, (int64_t)FLOWS) : -ENOMEM;
	return r < 0 ? r : submit(rt, &job);
}

static int read_set(void *ctx, const struct sonde_store_row *row)
{
	struct sonde_retention *rt = ctx;
	struct sweep *sw = &rt->sweep;

	sw->has_set = true;
	sw->no = sonde_store_row_int(row, 0);
	sw->first = sonde_store_row_int(row, 1);
	sw->last = sonde_store_row_int(row, 2);
	return 0;
}

static int read_ids(void *ctx, const struct sonde_store_row *row)
{
	struct sonde_retention *rt = ctx;

	rt->sweep.ids = sonde_store_row_int(row, 0) + 1 - (rt->sweep.no << ID_BITS);
	return 0;
}

static int64_t step_units(unsigned step)
{
	return sonde_series_step_ms[step] / UNIT_MS;
}

/* Older ones went by age. */
static void begin_step(struct sonde_retention *rt)
{
	struct sweep *sw = &rt->sweep;
	int64_t floor = sonde_series_table_floor(rt->config.series, sw->step) / UNIT_MS;

	sw->at = sw->first > floor ? sw->first : floor;
	sw->at -= sw->at % step_units(sw->step);
	sw->from_id = 0;
}

/* Begins with one that has neither flows nor reports left, if there is one. */
static int find_dropped(struct sonde_retention *rt)
{
	int r;

	rt->sweep = (struct sweep){.task = ""};
	r = sonde_store_query(rt->config.store, SONDE_STORE_GET_DROPPED, NULL, read_dropped, rt);
	if (r < 0 || rt->sweep.task[0] == '\0')
		return r;
	r = sonde_store_query(rt->config.store, SONDE_STORE_GET_SET, rt->sweep.task, read_set, rt);
	if (r == 0 && rt->sweep.has_set)
		begin_step(rt);
	if (r == 0 && rt->sweep.has_set)
		r = sonde_store_select(rt->config.store, SONDE_STORE_GET_LAST_NAME, read_ids, rt,
				       "i", rt->sweep.no);
	if (r < 0)
		rt->sweep.task[0] = '\0';
	return r;
}

static int add_deletes(struct sonde_retention *rt, struct sonde_store_job *job)
{
	struct sweep *sw = &rt->sweep;
	int64_t rows = 0;
	int r = 0;

	for (unsigned n = 0; n < STARTS_MAX && rows < ROWS && sw->at <= sw->last && r == 0; n++) {
		int64_t from = (sw->no << ID_BITS) + sw->from_id, to = from + ROWS - rows - 1;

		r = sonde_store_job_add(job, SONDE_STORE_DELETE_SET_BUCKETS, "iiii",
					(int64_t)sw->step, sw->at, from, to);
		if (sw->from_id + ROWS - rows >= sw->ids) {
			rows += sw->ids - sw->from_id;
			sw->from_id = 0;
			sw->at += step_units(sw->step);
		} else {
			sw->from_id += ROWS - rows;
			rows = ROWS;
		}
	}
	return r;
}

/* Its buckets are gone: a part of its names, or what is left. */
static int add_end(struct sonde_retention *rt, struct sonde_store_job *job)
{
	struct sweep *sw = &rt->sweep;
	int r = 0;

	if (sw->has_set && sw->ids > 0) {
		sw->ids -= ROWS;
		return sonde_store_job_add(job, SONDE_STORE_DELETE_NAMES, "ii", sw->no,
					   (int64_t)ROWS);
	}
	if (sw->has_set)
		r = sonde_store_job_add(job, SONDE_STORE_DELETE_SET, "i", sw->no);
	if (r == 0)
		r = sonde_store_job_add(job, SONDE_STORE_DELETE_DROPPED, "t", sw->task);
	sw->task[0] = '\0';
	return r;
}

static int sweep_on(struct sonde_retention *rt)
{
	_cleanup_(sonde_store_job_freep) struct sonde_store_job *job = sonde_store_job_new();
	struct sweep *sw = &rt->sweep, before = rt->sweep;
	int r = job ? 0 : -ENOMEM;

	while (sw->has_set && sw->step < _SONDE_SERIES_STEP_MAX && sw->at > sw->last) {
		if (++sw->step < _SONDE_SERIES_STEP_MAX)
			begin_step(rt);
	}
	if (r == 0)
		r = sw->has_set && sw->step < _SONDE_SERIES_STEP_MAX ? add_deletes(rt, job)
								     : add_end(rt, job);
	if (r == 0)
		r = submit(rt, &job);
	if (r < 0)
		*sw = before;
	return r;
}

/* --- by age and bytes --- */

static int read_oldest(void *ctx, const struct sonde_store_row *row)
{
	*(int64_t *)ctx = sonde_store_row_int(row, 0) * UNIT_MS;
	return 0;
}

/* *@ret stays where there is none. */
static int find_oldest(struct sonde_retention *rt, unsigned step, int64_t *ret)
{
	return sonde_store_select(rt->config.store, SONDE_STORE_GET_OLDEST_BUCKET, read_oldest, ret,
				  "i", (int64_t)step);
}

/* Where a whole bucket of the next coarser step begins: what is there of a step has all its parts. */
static int64_t whole_floor(int64_t ms, unsigned step)
{
	unsigned coarse = step + 1 < _SONDE_SERIES_STEP_MAX ? step + 1 : step;

	return ms > 0 ? ms - ms % sonde_series_step_ms[coarse] : 0;
}

static int64_t earlier(int64_t a, int64_t b)
{
	return b > 0 && b < a ? b : a;
}

/* A task of another server is kept from its import on, and its hours with it. INT64_MAX: there is none. */
static int64_t find_imported(const struct sonde_retention *rt)
{
	int64_t oldest = INT64_MAX;

	for (struct sonde_task *t = sonde_task_table_first(rt->config.tasks); t; t = t->hh.next) {
		if (t->imported_ms == 0)
			continue;
		oldest = earlier(oldest, t->created_ms);
		oldest = earlier(oldest, t->started_ms);
		oldest = earlier(oldest, t->window_start_ms);
	}
	return oldest;
}

/* What goes by age goes in wholes; what goes for want of bytes may be within an hour that a running task needs. */
void sonde_retention_raise_floors(struct sonde_retention *rt, int64_t now_ms)
{
	int64_t imported = find_imported(rt);

	for (unsigned step = 0; step < _SONDE_SERIES_STEP_MAX; step++) {
		int64_t keep_from = now_ms - rt->config.keep_ms[step];
		int64_t floor = whole_floor(
			step == SONDE_SERIES_1H ? earlier(keep_from, imported) : keep_from, step);
		int64_t pressed = rt->pressed_ms[step];

		pressed -= pressed % sonde_series_step_ms[step];
		sonde_series_table_set_floor(rt->config.series, step,
					     pressed > floor ? pressed : floor);
		rt->stats.kept_since_ms[step] = sonde_series_table_floor(rt->config.series, step);
	}
}

/* Return: 1 some are with the writer, 0 there are none, -errno. */
static int delete_old(struct sonde_retention *rt)
{
	for (unsigned step = 0; step < _SONDE_SERIES_STEP_MAX; step++) {
		int64_t floor = sonde_series_table_floor(rt->config.series, step);
		int64_t oldest = INT64_MAX;
		int r = find_oldest(rt, step, &oldest);

		if (r < 0)
			return r;
		if (oldest >= floor)
			continue;
		r = submit_one(rt, SONDE_STORE_DELETE_OLD_BUCKETS, "iii", (int64_t)step,
			       floor / UNIT_MS, ROWS);
		return r < 0 ? r : 1;
	}
	return 0;
}

static int read_space(void *ctx, const struct sonde_store_row *row)
{
	struct sonde_retention_stats *s = ctx;
	uint64_t page = (uint64_t)sonde_store_row_int(row, 0);
	uint64_t pages = (uint64_t)sonde_store_row_int(row, 1);
	uint64_t unused = (uint64_t)sonde_store_row_int(row, 2);

	s->free_bytes = unused * page;
	s->bytes = (pages - unused) * page;
	return 0;
}

/* By how much of its own age limit it is old, in thousandths; 0: it may not go. */
static int64_t measure(int64_t since_ms, int64_t keep_ms, int64_t now_ms, int64_t guard_ms)
{
	if (since_ms >= guard_ms || keep_ms <= 0)
		return 0;
	return 1 + (now_ms - since_ms) / (keep_ms / 1000 + 1);
}

/* What a running task, or who looks at one that has just ended, needs. */
static int64_t find_guard(struct sonde_retention *rt, int64_t now_ms)
{
	int64_t guard_ms = now_ms - GUARD_MS;

	for (struct sonde_task *t = sonde_task_table_first(rt->config.tasks); t; t = t->hh.next) {
		if (!sonde_task_state_final(t->state) && t->created_ms < guard_ms)
			guard_ms = t->created_ms;
	}
	return guard_ms;
}

/* Until it is stored that the task is to go, its bytes seem to stay: another one would be forgotten for them. */
static int forget_task(struct sonde_retention *rt, struct sonde_task *t)
{
	struct sonde_problem problem;
	int r = sonde_task_table_delete(rt->config.tasks, t, on_done, rt, &problem);

	if (r < 0)
		return r == -EINVAL ? -ENOBUFS : r;
	rt->with_writer = true;
	rt->stats.tasks_forgotten++;
	return 1;
}

/* The buckets that begin from here on stay: what the guard is within is needed whole. */
static int64_t guard_of(int64_t guard_ms, unsigned step)
{
	return guard_ms - guard_ms % sonde_series_step_ms[step];
}

/* Return: 1 something goes before its time, 0 nothing may, -errno. */
static int press(struct sonde_retention *rt, int64_t now_ms)
{
	struct sonde_task *oldest_task = sonde_task_table_oldest_ended(rt->config.tasks);
	int64_t guard_ms = find_guard(rt, now_ms), most = 0, at[_SONDE_SERIES_STEP_MAX];
	unsigned which = SONDE_SERIES_1H; /* a task stands where the hours would */

	for (unsigned step = 0; step < SONDE_SERIES_1H; step++) {
		int64_t m;
		int r;

		at[step] = INT64_MAX;
		r = find_oldest(rt, step, &at[step]);
		if (r < 0)
			return r;
		m = measure(at[step], rt->config.keep_ms[step], now_ms, guard_of(guard_ms, step));
		if (m > most) {
			most = m;
			which = step;
		}
	}
	if (oldest_task && measure(oldest_task->ended_ms, rt->config.keep_ms[SONDE_SERIES_1H],
				   now_ms, guard_ms) > most)
		return forget_task(rt, oldest_task);
	if (which == SONDE_SERIES_1H)
		return 0;
	/* A twentieth of what there is, at least a bucket. */
	rt->pressed_ms[which] =
		at[which] + sonde_series_step_ms[which] + (guard_ms - at[which]) / 20;
	if (rt->pressed_ms[which] > guard_of(guard_ms, which))
		rt->pressed_ms[which] = guard_of(guard_ms, which);
	return 1;
}

static int watch_bytes(struct sonde_retention *rt, int64_t now_ms)
{
	int r;

	rt->stats.over = false;
	rt->stats.pressed = rt->config.max_bytes > 0 && rt->stats.bytes > rt->config.max_bytes;
	if (!rt->stats.pressed)
		return 0;
	r = press(rt, now_ms);
	if (r != 0)
		return r;
	rt->stats.over = true;
	if (now_ms - rt->warned_ms > WARN_EVERY_MS) {
		rt->warned_ms = now_ms;
		(void)sonde_log_warn(0,
				     "the database has %llu bytes, more than limits.database "
				     "(%llu), and what it holds is too new to go",
				     (unsigned long long)rt->stats.bytes,
				     (unsigned long long)rt->config.max_bytes);
	}
	return 0;
}

/* Did the last time leave fewer free pages? A file that could not be written anew gives none back: see store/schema.c. */
static void look_at_gift(struct sonde_retention *rt, int64_t now_ms)
{
	if (rt->free_before == 0)
		return;
	if (rt->stats.free_bytes < rt->free_before)
		rt->stats.given_back++;
	else
		rt->kept_all_ms = now_ms;
	rt->free_before = 0;
}

static int give_back(struct sonde_retention *rt, int64_t now_ms)
{
	_cleanup_(sonde_store_job_freep) struct sonde_store_job *job = NULL;
	int r;

	look_at_gift(rt, now_ms);
	if (rt->stats.free_bytes <= FREE_MIN || rt->stats.free_bytes <= rt->stats.bytes / 8)
		return 0;
	if (rt->kept_all_ms > 0 && now_ms - rt->kept_all_ms < AGAIN_MS)
		return 0;
	job = sonde_store_job_new();
	r = job ? sonde_store_job_add(job, SONDE_STORE_GIVE_BACK, "") : -ENOMEM;
	if (r == 0)
		r = submit(rt, &job);
	if (r < 0)
		return r;
	rt->free_before = rt->stats.free_bytes;
	return 1;
}

static int step(struct sonde_retention *rt, int64_t now_ms)
{
	int r = 0;

	if (rt->sweep.task[0] == '\0')
		r = find_dropped(rt);
	if (r == 0 && !rt->with_writer && rt->sweep.task[0] != '\0')
		r = sweep_on(rt);
	if (r < 0 || rt->with_writer)
		return r;
	r = delete_old(rt);
	if (r != 0)
		return r;
	r = sonde_store_query(rt->config.store, SONDE_STORE_GET_SPACE, NULL, read_space,
			      &rt->stats);
	if (r == 0)
		r = watch_bytes(rt, now_ms);
	return r != 0 ? r : give_back(rt, now_ms);
}

bool sonde_retention_tick(struct sonde_retention *rt, int64_t now_ms)
{
	struct sonde_store_stats stats;
	int r;

	sonde_retention_raise_floors(rt, now_ms);
	sonde_store_get_stats(rt->config.store, &stats);
	rt->stats.rows_deleted = stats.rows_deleted;
	if (rt->with_writer)
		return true;
	if (stats.queued_jobs > QUEUE_MAX) /* reports go first */
		return false;
	r = step(rt, now_ms);
	if (r < 0 && r != -ENOBUFS)
		(void)sonde_log_warn(r, "cannot look for what is too old, will try again");
	return r > 0 || rt->with_writer;
}

void sonde_retention_get_stats(const struct sonde_retention *rt, struct sonde_retention_stats *ret)
{
	*ret = rt->stats;
}
