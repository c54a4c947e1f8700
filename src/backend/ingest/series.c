/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/ingest/series.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/log.h"

#define SEPARATOR '\x1f' /* between metric and entity in a key */

const int64_t sonde_series_step_ms[_SONDE_SERIES_STEP_MAX] = {
	[SONDE_SERIES_10S] = 10000,
	[SONDE_SERIES_1M] = 60000,
};

struct sonde_series_table {
	struct sonde_store *store; /* borrowed */
	struct sonde_series_set *sets;
	size_t max_buckets, buckets, dirty;
	uint64_t fine_refused, refused;
	uint64_t pass, failed_writes;
	unsigned unwritten; /* slices that are with the writer */
	void (*on_drop)(void *engine);
};

int sonde_series_table_new(struct sonde_store *store, size_t max_buckets,
			   void (*on_drop)(void *engine), struct sonde_series_table **ret)
{
	struct sonde_series_table *st = calloc(1, sizeof(*st));

	if (!st)
		return -ENOMEM;
	st->store = store;
	st->max_buckets = max_buckets;
	st->on_drop = on_drop;
	*ret = st;
	return 0;
}

static void series_free(struct sonde_series *s)
{
	for (unsigned step = 0; step < _SONDE_SERIES_STEP_MAX; step++) {
		for (size_t i = 0; i < s->step[step].n; i++)
			(void)sonde_mal_accumulator_free(s->step[step].bucket[i].acc);
		free(s->step[step].bucket);
	}
	free(s);
}

static void set_free(struct sonde_series_table *st, struct sonde_series_set *set)
{
	struct sonde_series *s, *s_next;
	struct sonde_series_seen *seen, *seen_next;

	HASH_ITER (hh, set->series, s, s_next) {
		HASH_DEL(set->series, s);
		series_free(s);
	}
	HASH_ITER (hh, set->seen, seen, seen_next) {
		HASH_DEL(set->seen, seen);
		free(seen);
	}
	if (st->on_drop && set->engine)
		st->on_drop(set->engine);
	st->buckets -= set->buckets;
	st->dirty -= set->dirty;
	free(set);
}

struct sonde_series_table *sonde_series_table_free(struct sonde_series_table *st)
{
	struct sonde_series_set *set, *next;

	if (!st)
		return NULL;
	if (st->unwritten > 0) /* their callbacks come here */
		sonde_store_flush(st->store);
	HASH_ITER (hh, st->sets, set, next) {
		HASH_DEL(st->sets, set);
		set_free(st, set);
	}
	free(st);
	return NULL;
}

struct sonde_series_set *sonde_series_table_find(struct sonde_series_table *st, const char *task)
{
	struct sonde_series_set *set;

	HASH_FIND_STR(st->sets, task, set);
	return set;
}

void sonde_series_table_drop(struct sonde_series_table *st, const char *task)
{
	struct sonde_series_set *set;

	HASH_FIND_STR(st->sets, task, set);
	if (!set)
		return;
	HASH_DEL(st->sets, set);
	set_free(st, set);
}

void sonde_series_table_tick(struct sonde_series_table *st, int64_t now_ms, int64_t idle_ms)
{
	struct sonde_series_set *set, *next;

	HASH_ITER (hh, st->sets, set, next) {
		if (set->dirty == 0 && now_ms - set->used_ms > idle_ms) {
			HASH_DEL(st->sets, set);
			set_free(st, set);
		}
	}
}

struct sonde_series_seen *sonde_series_set_find_seen(struct sonde_series_set *s, const char *key)
{
	struct sonde_series_seen *seen;

	HASH_FIND_STR(s->seen, key, seen);
	return seen;
}

int sonde_series_set_add_seen(struct sonde_series_set *s, const char *key,
			      struct sonde_series_seen **ret)
{
	size_t n = strlen(key) + 1;
	struct sonde_series_seen *seen = calloc(1, sizeof(*seen) + n);

	if (!seen)
		return -ENOMEM;
	memcpy(seen->key, key, n);
	HASH_ADD_STR(s->seen, key, seen);
	if (!SONDE_HASH_ADDED(seen)) {
		free(seen);
		return -ENOMEM;
	}
	*ret = seen;
	if (HASH_COUNT(s->seen) > SONDE_SERIES_SEEN_MAX) {
		struct sonde_series_seen *oldest =
			s->seen; /* uthash keeps the order of insertion */

		HASH_DEL(s->seen, oldest);
		free(oldest);
	}
	return 0;
}

void sonde_series_set_remove_seen(struct sonde_series_set *s, struct sonde_series_seen *seen)
{
	HASH_DEL(s->seen, seen);
	free(seen);
}

static int get_series(struct sonde_series_set *set, const char *metric, const char *entity,
		      const struct sonde_mal_function *function, struct sonde_series **ret)
{
	char key[SONDE_SERIES_KEY_MAX];
	int n = snprintf(key, sizeof(key), "%s%c%s", metric, SEPARATOR, entity);
	struct sonde_series *s;

	if (n < 0 || (size_t)n >= sizeof(key))
		return -E2BIG;
	HASH_FIND(hh, set->series, key, (unsigned)n, s);
	if (s) {
		*ret = s;
		return 0;
	}
	s = calloc(1, sizeof(*s) + 2 * ((size_t)n + 1));
	if (!s)
		return -ENOMEM;
	memcpy(s->key, key, (size_t)n + 1);
	/* The second copy is cut in two, so that metric and entity are strings. */
	s->metric = s->key + n + 1;
	memcpy(s->metric, key, (size_t)n + 1);
	s->metric[strlen(metric)] = '\0';
	s->entity = s->metric + strlen(metric) + 1;
	s->function = *function;
	HASH_ADD_KEYPTR(hh, set->series, s->key, (unsigned)n, s);
	if (!SONDE_HASH_ADDED(s)) {
		free(s);
		return -ENOMEM;
	}
	*ret = s;
	return 0;
}

const struct sonde_series *sonde_series_set_find(const struct sonde_series_set *set,
						 const char *metric, const char *entity)
{
	char key[SONDE_SERIES_KEY_MAX];
	int n = snprintf(key, sizeof(key), "%s%c%s", metric, SEPARATOR, entity);
	struct sonde_series *s = NULL;

	if (n >= 0 && (size_t)n < sizeof(key))
		HASH_FIND(hh, set->series, key, (unsigned)n, s);
	return s;
}

/* Index of the first bucket that begins at or behind @start_ms. Mostly the last one: looked for from the end. */
static size_t place(const struct sonde_series *s, unsigned step, int64_t start_ms)
{
	size_t i = s->step[step].n;

	while (i > 0 && s->step[step].bucket[i - 1].start_ms >= start_ms)
		i--;
	return i;
}

/* Takes @acc. */
static int insert(struct sonde_series_table *st, struct sonde_series_set *set,
		  struct sonde_series *s, unsigned step, size_t at,
		  struct sonde_series_bucket bucket)
{
	size_t n = s->step[step].n;

	if (n == s->step[step].cap) {
		size_t cap = n ? 2 * n : 4;
		void *more = realloc(s->step[step].bucket, cap * sizeof(bucket));

		if (!more)
			return -ENOMEM;
		s->step[step].bucket = more;
		s->step[step].cap = cap;
	}
	assert(s->step[step].bucket && at <= n);
	memmove(&s->step[step].bucket[at + 1], &s->step[step].bucket[at],
		(n - at) * sizeof(bucket));
	s->step[step].bucket[at] = bucket;
	s->step[step].n++;
	set->buckets++;
	st->buckets++;
	return 0;
}

static int get_bucket(struct sonde_series_table *st, struct sonde_series_set *set,
		      struct sonde_series *s, unsigned step, int64_t start_ms,
		      struct sonde_series_bucket **ret)
{
	/* The minutes may use what the 10 s buckets must leave: a quarter. */
	size_t room =
		step == SONDE_SERIES_10S ? st->max_buckets - st->max_buckets / 4 : st->max_buckets;
	size_t at = place(s, step, start_ms);
	struct sonde_mal_accumulator *acc;
	int r;

	if (at < s->step[step].n && s->step[step].bucket[at].start_ms == start_ms) {
		*ret = &s->step[step].bucket[at];
		return 0;
	}
	if (st->buckets >= room)
		return -ENOSPC;
	r = sonde_mal_accumulator_new(&s->function, &acc);
	if (r < 0)
		return r;
	r = insert(st, set, s, step, at,
		   (struct sonde_series_bucket){.start_ms = start_ms, .acc = acc});
	if (r < 0) {
		(void)sonde_mal_accumulator_free(acc);
		return r;
	}
	*ret = &s->step[step].bucket[at];
	return 0;
}

static void set_dirty(struct sonde_series_table *st, struct sonde_series_set *set,
		      struct sonde_series *s, struct sonde_series_bucket *b, bool dirty)
{
	if (b->dirty == dirty)
		return;
	b->dirty = dirty;
	if (dirty) {
		s->dirty++;
		set->dirty++;
		st->dirty++;
	} else {
		s->dirty--;
		set->dirty--;
		st->dirty--;
	}
}

static bool same_function(const struct sonde_mal_function *a, const struct sonde_mal_function *b)
{
	return a->downsampling == b->downsampling && a->kind == b->kind &&
	       a->n_ranks == b->n_ranks &&
	       memcmp(a->ranks, b->ranks, a->n_ranks * sizeof(a->ranks[0])) == 0;
}

static int add_to_step(struct sonde_series_table *st, struct sonde_series_set *set,
		       struct sonde_series *s, unsigned step, int64_t ts_ms,
		       const struct sonde_mal_point *points, size_t n, int64_t serial)
{
	struct sonde_series_bucket *b;
	int r;

	r = get_bucket(st, set, s, step, ts_ms - ts_ms % sonde_series_step_ms[step], &b);
	if (r < 0)
		return r;
	if (b->serial > serial || (b->serial == serial && !b->dirty))
		return 0; /* loaded with this report in it */
	r = sonde_mal_accumulator_accept(b->acc, points, n);
	if (r < 0)
		return r;
	b->serial = serial;
	set_dirty(st, set, s, b, true);
	return 0;
}

int sonde_series_add(struct sonde_series_table *st, struct sonde_series_set *s, const char *metric,
		     const char *entity, const struct sonde_mal_function *function, int64_t ts_ms,
		     const struct sonde_mal_point *points, size_t n, int64_t serial)
{
	struct sonde_series *series;
	int r;

	r = get_series(s, metric, entity, function, &series);
	if (r < 0)
		return r;
	if (!same_function(&series->function, function))
		return -EINVAL;
	r = add_to_step(st, s, series, SONDE_SERIES_1M, ts_ms, points, n, serial);
	if (r < 0) {
		st->refused++;
		/* Buckets are what bounds the series: one that got none must not stay. */
		if (series->step[SONDE_SERIES_1M].n == 0) {
			HASH_DEL(s->series, series);
			series_free(series);
		}
		return r;
	}
	r = add_to_step(st, s, series, SONDE_SERIES_10S, ts_ms, points, n, serial);
	if (r == -ENOSPC) {
		st->fine_refused++;
		r = 0;
	}
	return r;
}

int sonde_series_total(const struct sonde_series *s, struct sonde_mal_accumulator **ret)
{
	_cleanup_(sonde_mal_accumulator_freep) struct sonde_mal_accumulator *sum = NULL;
	int r;

	if (s->step[SONDE_SERIES_1M].n == 0)
		return -ENODATA;
	r = sonde_mal_accumulator_new(&s->function, &sum);
	for (size_t i = 0; i < s->step[SONDE_SERIES_1M].n && r == 0; i++)
		r = sonde_mal_accumulator_combine(sum, s->step[SONDE_SERIES_1M].bucket[i].acc);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(sum);
	return 0;
}

/* --- store --- */

struct loader {
	struct sonde_series_table *table;
	struct sonde_series_set *set;
};

static int load_series(void *ctx, const struct sonde_store_row *row)
{
	_cleanup_(sonde_mal_accumulator_freep) struct sonde_mal_accumulator *acc = NULL;
	int64_t step_ms = sonde_store_row_int(row, 2);
	struct sonde_series_bucket b = {.start_ms = sonde_store_row_int(row, 3),
					.serial = sonde_store_row_int(row, 4)};
	struct loader *l = ctx;
	struct sonde_series *s = NULL;
	const void *data;
	size_t n;
	unsigned step;
	int r;

	for (step = 0; step < _SONDE_SERIES_STEP_MAX; step++) {
		if (sonde_series_step_ms[step] == step_ms)
			break;
	}
	data = sonde_store_row_blob(row, 5, &n);
	r = step < _SONDE_SERIES_STEP_MAX ? sonde_mal_accumulator_load(data, n, &acc) : -EBADMSG;
	if (r == 0)
		r = get_series(l->set, sonde_store_row_text(row, 0), sonde_store_row_text(row, 1),
			       sonde_mal_accumulator_function(acc), &s);
	if (r < 0) {
		if (r == -ENOMEM)
			return r;
		(void)sonde_log_warn(r, "a series of task %s in the database is damaged, ignoring",
				     l->set->task);
		return 0;
	}
	assert(s);
	b.acc = acc;
	r = insert(l->table, l->set, s, step, place(s, step, b.start_ms), b);
	if (r == 0)
		acc = NULL;
	return r;
}

static int load_seen(void *ctx, const struct sonde_store_row *row)
{
	char key[SONDE_SERIES_REPORT_KEY_MAX];
	struct sonde_series_seen *seen;
	struct loader *l = ctx;
	int r;

	(void)snprintf(key, sizeof(key), "%lld/%s", (long long)sonde_store_row_int(row, 0),
		       sonde_store_row_text(row, 1));
	if (sonde_series_set_find_seen(l->set, key))
		return 0;
	r = sonde_series_set_add_seen(l->set, key, &seen);
	if (r == 0)
		seen->stored = true;
	return r;
}

/* Sets that are looked at once, of old tasks, must not add up until they are idle. */
static void make_room(struct sonde_series_table *st, int64_t now_ms)
{
	while (st->buckets >= st->max_buckets) {
		struct sonde_series_set *oldest = NULL;

		for (struct sonde_series_set *set = st->sets; set; set = set->hh.next) {
			if (set->dirty == 0 && set->used_ms < now_ms &&
			    (!oldest || set->used_ms < oldest->used_ms))
				oldest = set;
		}
		if (!oldest)
			return;
		HASH_DEL(st->sets, oldest);
		set_free(st, oldest);
	}
}

int sonde_series_table_get(struct sonde_series_table *st, const char *task, int64_t now_ms,
			   struct sonde_series_set **ret)
{
	struct sonde_series_set *set;
	struct loader l;
	int r;

	assert(strlen(task) < sizeof(set->task));
	HASH_FIND_STR(st->sets, task, set);
	if (set) {
		set->used_ms = now_ms;
		*ret = set;
		return 0;
	}
	make_room(st, now_ms);
	set = calloc(1, sizeof(*set));
	if (!set)
		return -ENOMEM;
	memcpy(set->task, task, strlen(task) + 1);
	set->used_ms = now_ms;
	l = (struct loader){.table = st, .set = set};
	r = sonde_store_query(st->store, SONDE_STORE_GET_REPORT_IDS, task, load_seen, &l);
	if (r == 0)
		r = sonde_store_query(st->store, SONDE_STORE_GET_SERIES, task, load_series, &l);
	if (r < 0) {
		set_free(st, set);
		return r;
	}
	HASH_ADD_STR(st->sets, task, set);
	if (!SONDE_HASH_ADDED(set)) {
		set_free(st, set);
		return -ENOMEM;
	}
	*ret = set;
	return 0;
}

struct checkpoint {
	struct sonde_series_table *table;
	struct sonde_store_job *job;
	size_t rows;
};

static int write_bucket(struct checkpoint *c, struct sonde_series_set *set, struct sonde_series *s,
			unsigned step, struct sonde_series_bucket *b)
{
	_cleanup_buf_ struct sonde_buf bytes = SONDE_BUF_INIT(SONDE_MAL_STORED_BYTES);
	int r;

	r = sonde_mal_accumulator_store(b->acc, &bytes);
	if (r == -EMSGSIZE) {
		/* Labels of an absurd length: this bucket lives in memory only, and holds up no other. */
		c->table->refused++;
		set_dirty(c->table, set, s, b, false);
		return 0;
	}
	if (r == 0)
		r = sonde_store_job_add(c->job, SONDE_STORE_PUT_SERIES, "tttiiib", set->task,
					s->metric, s->entity, sonde_series_step_ms[step],
					b->start_ms, b->serial, (const void *)bytes.data,
					bytes.len);
	if (r == 0) {
		set_dirty(c->table, set, s, b, false);
		c->rows++;
	}
	return r;
}

static int write_series(struct checkpoint *c, struct sonde_series_set *set, struct sonde_series *s)
{
	int r = 0;

	for (unsigned step = 0; step < _SONDE_SERIES_STEP_MAX; step++) {
		for (size_t i = s->step[step].n; i > 0 && s->dirty > 0 && r == 0; i--) {
			struct sonde_series_bucket *b = &s->step[step].bucket[i - 1];

			if (b->dirty)
				r = write_bucket(c, set, s, step, b);
		}
	}
	return r;
}

/* Return: 1 the limit was reached, 0 all of the set has been seen, -errno. */
static int write_set(struct checkpoint *c, struct sonde_series_set *set, size_t max_buckets)
{
	uint64_t pass = c->table->pass;
	int r;

	for (struct sonde_series *s = set->series; s && set->dirty > 0; s = s->hh.next) {
		if (s->pass == pass)
			continue;
		if (c->rows >= max_buckets)
			return 1;
		r = write_series(c, set, s);
		if (r < 0)
			return r;
		s->pass = pass;
	}
	set->pass = pass;
	return 0;
}

/* What could not be written is not lost: all is dirty again, and the reports are kept until it is written. */
static void on_written(void *ctx, int error)
{
	struct sonde_series_table *st = ctx;

	st->unwritten--;
	if (error == 0)
		return;
	(void)sonde_log_warn(error, "cannot write series to the database, will try again");
	for (struct sonde_series_set *set = st->sets; set; set = set->hh.next) {
		for (struct sonde_series *s = set->series; s; s = s->hh.next) {
			for (unsigned step = 0; step < _SONDE_SERIES_STEP_MAX; step++) {
				for (size_t i = 0; i < s->step[step].n; i++)
					set_dirty(st, set, s, &s->step[step].bucket[i], true);
			}
		}
	}
	st->failed_writes++;
}

void sonde_series_checkpoint_begin(struct sonde_series_table *st)
{
	st->pass++;
}

int sonde_series_checkpoint(struct sonde_series_table *st, size_t max_buckets)
{
	_cleanup_(sonde_store_job_freep) struct sonde_store_job *job = NULL;
	struct checkpoint c = {.table = st};
	struct sonde_store_stats stats;
	int r = 0, submitted;

	/* Buckets are marked clean as they are copied, so the job must be sure to find room. */
	sonde_store_get_stats(st->store, &stats);
	if (stats.queued_jobs >= SONDE_STORE_JOBS_MAX / 2 ||
	    stats.queued_bytes >= SONDE_STORE_QUEUE_BYTES_MAX / 2)
		return -ENOBUFS;
	c.job = job = sonde_store_job_new();
	if (!job)
		return -ENOMEM;
	for (struct sonde_series_set *set = st->sets; set && r == 0; set = set->hh.next) {
		if (set->pass != st->pass)
			r = write_set(&c, set, max_buckets);
	}
	if (c.rows == 0)
		return r == 0 && st->unwritten > 0 ? -ENOBUFS : r;
	st->unwritten++;
	submitted = sonde_store_submit(st->store, &job, on_written, st);
	if (submitted < 0) {
		on_written(st, submitted);
		return submitted;
	}
	return r < 0 ? r : 1; /* complete once it is known to be on disk */
}

uint64_t sonde_series_failed_writes(const struct sonde_series_table *st)
{
	return st->failed_writes;
}

void sonde_series_set_trim(struct sonde_series_table *st, struct sonde_series_set *set,
			   int64_t before_ms)
{
	struct sonde_series *s, *next;

	HASH_ITER (hh, set->series, s, next) {
		for (unsigned step = 0; step < _SONDE_SERIES_STEP_MAX; step++) {
			struct sonde_series_bucket *b = s->step[step].bucket;
			size_t gone = 0;

			while (gone < s->step[step].n && b[gone].start_ms < before_ms &&
			       !b[gone].dirty)
				(void)sonde_mal_accumulator_free(b[gone++].acc);
			if (gone == 0)
				continue;
			s->step[step].n -= gone;
			memmove(b, b + gone, s->step[step].n * sizeof(*b));
			set->buckets -= gone;
			st->buckets -= gone;
		}
		if (s->step[SONDE_SERIES_10S].n + s->step[SONDE_SERIES_1M].n == 0) {
			HASH_DEL(set->series, s);
			series_free(s);
		}
	}
}

void sonde_series_table_get_stats(const struct sonde_series_table *st,
				  struct sonde_series_stats *ret)
{
	*ret = (struct sonde_series_stats){
		.sets = HASH_COUNT(st->sets),
		.buckets = st->buckets,
		.dirty = st->dirty,
		.fine_refused = st->fine_refused,
		.refused = st->refused,
	};
}
