/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/ingest/series-internal.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

const int64_t sonde_series_step_ms[_SONDE_SERIES_STEP_MAX] = {
	[SONDE_SERIES_10S] = 10000,
	[SONDE_SERIES_1M] = 60000,
	[SONDE_SERIES_1H] = 3600000,
};
const char *const sonde_series_step_names[_SONDE_SERIES_STEP_MAX] = {"10s", "1m", "1h"};

/* Of the task "-" in memory: what comes late may be read back, and what is asked for longer is read from the store. */
static const int64_t partial_ms[_SONDE_SERIES_STEP_MAX] = {
	[SONDE_SERIES_10S] = 120000,
	[SONDE_SERIES_1M] = 600000,
	[SONDE_SERIES_1H] = 3600000,
};

const char *sonde_series_bound_name(enum sonde_series_bound b)
{
	static const char *const names[] = {"task_series", "task_entities", "task_buckets",
					    "buckets",	   "bytes",	    "value",
					    "buckets_1m",  "buckets_10s"};

	_Static_assert(ELEMENTS_OF(names) == _SONDE_SERIES_BOUND_MAX, "every bound needs its name");
	return names[b];
}

static int read_next_no(void *ctx, const struct sonde_store_row *row)
{
	*(int64_t *)ctx = sonde_store_row_int(row, 0) + 1;
	return 0;
}

int sonde_series_table_new(const struct sonde_series_config *config,
			   struct sonde_series_table **ret)
{
	_cleanup_(sonde_series_table_freep) struct sonde_series_table *st = calloc(1, sizeof(*st));
	int r;

	if (!st)
		return -ENOMEM;
	st->config = *config;
	r = sonde_store_query(config->store, SONDE_STORE_GET_SET_MAX, NULL, read_next_no,
			      &st->next_no);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(st);
	return 0;
}

static void buckets_free(struct sonde_series *s)
{
	for (unsigned step = 0; step < _SONDE_SERIES_STEP_MAX; step++) {
		for (size_t i = 0; i < s->step[step].n; i++)
			(void)sonde_mal_accumulator_free(s->step[step].bucket[i].acc);
		free(s->step[step].bucket);
	}
}

static void leave_entity(struct sonde_series_set *set, struct sonde_series_entity *e)
{
	assert(e);

	if (--e->series > 0)
		return;
	HASH_DEL(set->entities, e);
	free(e);
}

/* The buckets that it still has are not counted any more by the caller. */
void sonde_series_remove(struct sonde_series_set *set, struct sonde_series *s)
{
	HASH_DEL(set->series, s);
	leave_entity(set, s->of);
	buckets_free(s);
	free(s);
}

void sonde_series_set_free(struct sonde_series_table *st, struct sonde_series_set *set)
{
	struct sonde_series *s, *s_next;
	struct sonde_series_seen *seen, *seen_next;

	HASH_ITER (hh, set->series, s, s_next)
		sonde_series_remove(set, s);
	HASH_ITER (hh, set->seen, seen, seen_next) {
		HASH_DEL(set->seen, seen);
		free(seen);
	}
	if (st->config.on_drop && set->engine)
		st->config.on_drop(set->engine);
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
		sonde_store_flush(st->config.store);
	HASH_ITER (hh, st->sets, set, next) {
		HASH_DEL(st->sets, set);
		sonde_series_set_free(st, set);
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
	sonde_series_set_free(st, set);
}

void sonde_series_table_tick(struct sonde_series_table *st, int64_t now_ms, int64_t idle_ms)
{
	struct sonde_series_set *set, *next;

	if (st->unwritten > 0) /* what is with the writer cannot be read back yet */
		return;
	HASH_ITER (hh, st->sets, set, next) {
		if (set->dirty == 0 && now_ms - set->used_ms > idle_ms) {
			HASH_DEL(st->sets, set);
			sonde_series_set_free(st, set);
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

int sonde_series_key(const char *metric, const char *entity, char ret[static SONDE_SERIES_KEY_MAX],
		     size_t *ret_n)
{
	size_t m = strlen(metric), e = strlen(entity);

	if (m >= SONDE_SERIES_KEY_MAX || e >= SONDE_SERIES_KEY_MAX - m - 1)
		return -E2BIG;
	memcpy(ret, metric, m + 1);
	memcpy(ret + m + 1, entity, e + 1);
	*ret_n = m + 1 + e;
	return 0;
}

struct sonde_series *sonde_series_set_find_key(const struct sonde_series_set *set, const char *key,
					       size_t n)
{
	struct sonde_series *s;

	HASH_FIND(hh, set->series, key, (unsigned)n, s);
	return s;
}

static struct sonde_series_entity *find_entity(const struct sonde_series_set *set,
					       const char *entity)
{
	struct sonde_series_entity *e;

	HASH_FIND_STR(set->entities, entity, e);
	return e;
}

static int get_entity(struct sonde_series_set *set, const char *entity,
		      struct sonde_series_entity **ret)
{
	size_t n = strlen(entity) + 1;
	struct sonde_series_entity *e = find_entity(set, entity);

	if (!e) {
		e = calloc(1, sizeof(*e) + n);
		if (!e)
			return -ENOMEM;
		memcpy(e->key, entity, n);
		HASH_ADD_STR(set->entities, key, e);
		if (!SONDE_HASH_ADDED(e)) {
			free(e);
			return -ENOMEM;
		}
	}
	e->series++;
	*ret = e;
	return 0;
}

int sonde_series_make(struct sonde_series_set *set, const char *key, size_t n,
		      struct sonde_series **ret)
{
	struct sonde_series *s = calloc(1, sizeof(*s) + n + 1);
	int r;

	if (!s)
		return -ENOMEM;
	memcpy(s->key, key, n + 1);
	s->metric = s->key;
	s->entity = s->key + strlen(s->key) + 1;
	s->id = -1;
	r = get_entity(set, s->entity, &s->of);
	if (r < 0) {
		free(s);
		return r;
	}
	HASH_ADD_KEYPTR(hh, set->series, s->key, (unsigned)n, s);
	if (!SONDE_HASH_ADDED(s)) {
		leave_entity(set, s->of);
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
	size_t n;

	return sonde_series_key(metric, entity, key, &n) == 0
		       ? sonde_series_set_find_key(set, key, n)
		       : NULL;
}

/* Mostly the last one: looked for from the end. */
size_t sonde_series_place(const struct sonde_series *s, unsigned step, int64_t start_ms)
{
	size_t i = s->step[step].n;

	while (i > 0 && s->step[step].bucket[i - 1].start_ms >= start_ms)
		i--;
	return i;
}

int sonde_series_insert(struct sonde_series_table *st, struct sonde_series_set *set,
			struct sonde_series *s, unsigned step, size_t at,
			struct sonde_series_bucket bucket)
{
	size_t n = s->step[step].n;

	if (n == s->step[step].cap) {
		size_t cap = n ? 2 * n : 2;
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

/* The hours may use what the minutes must leave, an eighth, and these what the 10 s buckets must leave, another. */
static size_t share(size_t of, unsigned step)
{
	return step == SONDE_SERIES_1H ? of : step == SONDE_SERIES_1M ? of - of / 8 : of - of / 4;
}

static int check_room(const struct sonde_series_table *st, const struct sonde_series_set *set,
		      unsigned step, enum sonde_series_bound *bound)
{
	if (st->buckets >= share(st->config.max_buckets, step))
		*bound = SONDE_SERIES_BOUND_BUCKETS;
	else if (st->config.max_task_buckets > 0 &&
		 set->buckets >= share(st->config.max_task_buckets, step))
		*bound = SONDE_SERIES_BOUND_TASK_BUCKETS;
	else
		return 0;
	return -ENOSPC;
}

static void note_span(struct sonde_series_set *set, int64_t start_ms)
{
	if (set->last_ms < set->first_ms) {
		set->first_ms = set->last_ms = start_ms;
		return;
	}
	set->first_ms = start_ms < set->first_ms ? start_ms : set->first_ms;
	set->last_ms = start_ms > set->last_ms ? start_ms : set->last_ms;
}

static int get_bucket(struct sonde_series_table *st, struct sonde_series_set *set,
		      struct sonde_series *s, unsigned step, int64_t start_ms,
		      struct sonde_series_bucket **ret, enum sonde_series_bound *bound)
{
	size_t at = sonde_series_place(s, step, start_ms);
	struct sonde_mal_accumulator *acc;
	int r;

	if (at == s->step[step].n || s->step[step].bucket[at].start_ms != start_ms) {
		r = check_room(st, set, step, bound);
		if (r == 0 && start_ms < set->from_ms[step]) {
			r = sonde_series_page_in(st, set, s, step, start_ms);
			at = sonde_series_place(s, step, start_ms);
		}
		if (r < 0)
			return r;
	}
	if (at < s->step[step].n && s->step[step].bucket[at].start_ms == start_ms) {
		*ret = &s->step[step].bucket[at];
		return 0;
	}
	r = sonde_mal_accumulator_new(&s->function, &acc);
	if (r < 0)
		return r;
	r = sonde_series_insert(st, set, s, step, at,
				(struct sonde_series_bucket){.start_ms = start_ms, .acc = acc});
	if (r < 0) {
		(void)sonde_mal_accumulator_free(acc);
		return r;
	}
	note_span(set, start_ms);
	*ret = &s->step[step].bucket[at];
	return 0;
}

void sonde_series_set_dirty(struct sonde_series_table *st, struct sonde_series_set *set,
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

struct addition {
	struct sonde_series_table *st;
	struct sonde_series_set *set;
	struct sonde_series *series;
	int64_t ts_ms, serial;
	const struct sonde_mal_point *points;
	size_t n;
};

static int add_to_step(const struct addition *a, unsigned step, enum sonde_series_bound *bound)
{
	int64_t start_ms = a->ts_ms - a->ts_ms % sonde_series_step_ms[step];
	struct sonde_series_bucket *b;
	int r;

	if (start_ms < a->st->floor_ms[step]) { /* what is left of it would be shown as all of it */
		a->st->expired++;
		return 0;
	}
	r = get_bucket(a->st, a->set, a->series, step, start_ms, &b, bound);
	if (r < 0)
		return r;
	if (b->serial > a->serial || (b->serial == a->serial && !b->dirty))
		return 0; /* loaded with this report in it */
	r = sonde_mal_accumulator_accept(b->acc, a->points, a->n);
	if (r < 0)
		return r;
	b->serial = a->serial;
	if (step > 0)
		b->parts |= 1ULL << ((a->ts_ms - start_ms) / sonde_series_step_ms[step - 1]);
	sonde_series_set_dirty(a->st, a->set, a->series, b, true);
	return 0;
}

void sonde_series_refused(struct sonde_series_table *st, const struct sonde_series_set *set,
			  const char *metric, enum sonde_series_bound bound)
{
	if (bound == SONDE_SERIES_BOUND_FINE)
		st->fine_refused++;
	else if (bound == SONDE_SERIES_BOUND_MINUTES)
		st->minutes_refused++;
	else
		st->refused++;
	if (st->config.on_refused)
		st->config.on_refused(st->config.ctx, set->task, metric, bound);
}

static int get_series(struct sonde_series_table *st, struct sonde_series_set *set,
		      const char *metric, const char *entity,
		      const struct sonde_mal_function *function, struct sonde_series **ret,
		      enum sonde_series_bound *bound)
{
	char key[SONDE_SERIES_KEY_MAX];
	struct sonde_series *s;
	int64_t id = -1;
	size_t n;
	int r;

	*bound = SONDE_SERIES_BOUND_BYTES;
	r = sonde_series_key(metric, entity, key, &n);
	if (r < 0)
		return r;
	s = sonde_series_set_find_key(set, key, n);
	if (!s) {
		*bound = SONDE_SERIES_BOUND_SERIES;
		if (st->config.max_task_series > 0 &&
		    HASH_COUNT(set->series) >= st->config.max_task_series)
			return -ENOSPC;
		*bound = SONDE_SERIES_BOUND_ENTITIES;
		if (st->config.max_task_entities > 0 &&
		    HASH_COUNT(set->entities) >= st->config.max_task_entities &&
		    !find_entity(set, entity))
			return -ENOSPC;
		r = set->lost ? sonde_series_find_id(st, set, metric, entity, &id) : 0;
		if (r == 0)
			r = sonde_series_make(set, key, n, &s);
		if (r < 0)
			return r;
		s->id = id;
		s->named = id >= 0;
	}
	if (!s->typed) {
		s->function = *function;
		s->typed = true;
	}
	*ret = s;
	return 0;
}

static bool is_empty(const struct sonde_series *s)
{
	return s->step[SONDE_SERIES_10S].n + s->step[SONDE_SERIES_1M].n +
		       s->step[SONDE_SERIES_1H].n ==
	       0;
}

/* Hours first: what they have no room for is lost, what the others have none for is missing in detail only. */
static int add_to_all(const struct addition *a)
{
	enum sonde_series_bound bound = SONDE_SERIES_BOUND_VALUE;
	int r = add_to_step(a, SONDE_SERIES_1H, &bound);

	if (r < 0) {
		sonde_series_refused(a->st, a->set, a->series->metric, bound);
		/* Buckets are what bounds the series: one that got none must not stay. */
		if (is_empty(a->series) && !a->series->named)
			sonde_series_remove(a->set, a->series);
		return r;
	}
	r = add_to_step(a, SONDE_SERIES_1M, &bound);
	if (r < 0)
		sonde_series_refused(a->st, a->set, a->series->metric, SONDE_SERIES_BOUND_MINUTES);
	r = add_to_step(a, SONDE_SERIES_10S, &bound);
	if (r < 0)
		sonde_series_refused(a->st, a->set, a->series->metric, SONDE_SERIES_BOUND_FINE);
	return 0;
}

int sonde_series_add(struct sonde_series_table *st, struct sonde_series_set *set,
		     const char *metric, const char *entity,
		     const struct sonde_mal_function *function, int64_t ts_ms,
		     const struct sonde_mal_point *points, size_t n, int64_t serial)
{
	struct addition a = {
		.st = st, .set = set, .ts_ms = ts_ms, .serial = serial, .points = points, .n = n};
	enum sonde_series_bound bound = SONDE_SERIES_BOUND_VALUE;
	int r;

	assert(set->whole);

	r = get_series(st, set, metric, entity, function, &a.series, &bound);
	if (r == 0 && !same_function(&a.series->function, function)) {
		bound = SONDE_SERIES_BOUND_VALUE;
		r = -EINVAL;
	}
	if (r < 0) {
		sonde_series_refused(st, set, metric, bound);
		return r;
	}
	return add_to_all(&a);
}

int sonde_series_restore(struct sonde_series_table *st, struct sonde_series_set *set,
			 const char *metric, const char *entity, enum sonde_series_step step,
			 struct sonde_series_bucket *bucket)
{
	const struct sonde_mal_function *function = sonde_mal_accumulator_function(bucket->acc);
	enum sonde_series_bound bound;
	struct sonde_series *series;
	size_t at;
	int r;

	assert(set->whole);

	if (bucket->start_ms < st->floor_ms[step]) {
		st->expired++;
		return 0;
	}
	r = check_room(st, set, step, &bound);
	if (r == 0)
		r = get_series(st, set, metric, entity, function, &series, &bound);
	if (r < 0)
		return r;
	if (!same_function(&series->function, function))
		return -EINVAL;
	at = sonde_series_place(series, step, bucket->start_ms);
	if (at < series->step[step].n && series->step[step].bucket[at].start_ms == bucket->start_ms)
		return series->step[step].bucket[at].serial >= bucket->serial ? 1 : -EEXIST;
	r = sonde_series_insert(st, set, series, step, at, *bucket);
	if (r < 0)
		return r;
	bucket->acc = NULL;
	note_span(set, series->step[step].bucket[at].start_ms);
	sonde_series_set_dirty(st, set, series, &series->step[step].bucket[at], true);
	return 0;
}

int sonde_series_total(const struct sonde_series *s, struct sonde_mal_accumulator **ret)
{
	_cleanup_(sonde_mal_accumulator_freep) struct sonde_mal_accumulator *sum = NULL;
	int r;

	if (s->step[SONDE_SERIES_1H].n == 0)
		return -ENODATA;
	r = sonde_mal_accumulator_new(&s->function, &sum);
	for (size_t i = 0; i < s->step[SONDE_SERIES_1H].n && r == 0; i++)
		r = sonde_mal_accumulator_combine(sum, s->step[SONDE_SERIES_1H].bucket[i].acc);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(sum);
	return 0;
}

uint32_t sonde_series_minutes(const struct sonde_series *s)
{
	uint32_t n = 0;

	for (size_t i = 0; i < s->step[SONDE_SERIES_1H].n; i++)
		n += (uint32_t)__builtin_popcountll(s->step[SONDE_SERIES_1H].bucket[i].parts);
	return n;
}

/* --- room --- */

/* Sets that are looked at once, of old tasks, must not add up until they are idle. */
static void make_room(struct sonde_series_table *st, int64_t now_ms)
{
	while (st->buckets >= st->config.max_buckets && st->unwritten == 0) {
		struct sonde_series_set *oldest = NULL;

		for (struct sonde_series_set *set = st->sets; set; set = set->hh.next) {
			if (set->dirty == 0 && set->used_ms < now_ms &&
			    (!oldest || set->used_ms < oldest->used_ms))
				oldest = set;
		}
		if (!oldest)
			return;
		HASH_DEL(st->sets, oldest);
		sonde_series_set_free(st, oldest);
	}
}

int sonde_series_table_get_totals(struct sonde_series_table *st, const char *task, int64_t now_ms,
				  struct sonde_series_set **ret)
{
	struct sonde_series_set *set;
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
	set->first_ms = 0;
	set->last_ms = -1;
	set->stored_last_ms = -1;
	set->partial = strcmp(task, SONDE_SERIES_NO_TASK) == 0;
	for (unsigned step = 0; set->partial && step < _SONDE_SERIES_STEP_MAX; step++)
		set->from_ms[step] = now_ms - partial_ms[step];
	r = sonde_series_load(st, set);
	if (r < 0) {
		sonde_series_set_free(st, set);
		return r;
	}
	HASH_ADD_STR(st->sets, task, set);
	if (!SONDE_HASH_ADDED(set)) {
		sonde_series_set_free(st, set);
		return -ENOMEM;
	}
	*ret = set;
	return 0;
}

int sonde_series_table_get(struct sonde_series_table *st, const char *task, int64_t now_ms,
			   struct sonde_series_set **ret)
{
	struct sonde_series_set *set = NULL;
	int r;

	r = sonde_series_table_get_totals(st, task, now_ms, &set);
	if (r == 0 && !set->whole) {
		r = sonde_series_load_rest(st, set);
		if (r < 0) /* nothing of it is dirty: it is read again when next asked for */
			sonde_series_table_drop(st, task);
	}
	if (r == 0)
		*ret = set;
	return r;
}

void sonde_series_table_set_floor(struct sonde_series_table *st, enum sonde_series_step step,
				  int64_t before_ms)
{
	if (before_ms > st->floor_ms[step])
		st->floor_ms[step] = before_ms;
}

int64_t sonde_series_table_floor(const struct sonde_series_table *st, enum sonde_series_step step)
{
	return st->floor_ms[step];
}

static void trim_step(struct sonde_series_table *st, struct sonde_series_set *set,
		      struct sonde_series *s, unsigned step)
{
	int64_t before_ms =
		set->from_ms[step] > st->floor_ms[step] ? set->from_ms[step] : st->floor_ms[step];
	struct sonde_series_bucket *b = s->step[step].bucket;
	size_t gone = 0;

	while (gone < s->step[step].n && b[gone].start_ms < before_ms && !b[gone].dirty)
		(void)sonde_mal_accumulator_free(b[gone++].acc);
	if (gone == 0)
		return;
	s->step[step].n -= gone;
	memmove(b, b + gone, s->step[step].n * sizeof(*b));
	set->buckets -= gone;
	st->buckets -= gone;
}

void sonde_series_table_trim(struct sonde_series_table *st, int64_t now_ms)
{
	if (st->unwritten > 0) /* what is with the writer cannot be read back yet */
		return;
	for (struct sonde_series_set *set = st->sets; set; set = set->hh.next) {
		struct sonde_series *s, *next;

		for (unsigned step = 0; set->partial && step < _SONDE_SERIES_STEP_MAX; step++) {
			int64_t from_ms = now_ms - partial_ms[step];

			set->from_ms[step] =
				from_ms > set->from_ms[step] ? from_ms : set->from_ms[step];
		}
		HASH_ITER (hh, set->series, s, next) {
			for (unsigned step = 0; step < _SONDE_SERIES_STEP_MAX; step++)
				trim_step(st, set, s, step);
			if (!is_empty(s))
				continue;
			set->lost = set->lost || s->named;
			sonde_series_remove(set, s);
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
		.minutes_refused = st->minutes_refused,
		.refused = st->refused,
		.expired = st->expired,
	};
	for (const struct sonde_series_set *set = st->sets; set; set = set->hh.next)
		ret->series += HASH_COUNT(set->series);
}
