/* SPDX-License-Identifier: Apache-2.0 */
/* Series in the store: read whole, in part or one by one; written behind in slices. Times there are in units of 10 s. */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "backend/ingest/series-internal.h"
#include "base/log.h"

#define ORDINALS (1LL << SONDE_SERIES_ID_BITS)

static int64_t to_units(int64_t ms)
{
	return ms / SONDE_SERIES_UNIT_MS;
}

static int64_t later(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

static int64_t aligned(int64_t ms, unsigned step)
{
	return ms - ms % sonde_series_step_ms[step];
}

/* --- reading --- */

struct loader {
	struct sonde_series_table *table;
	struct sonde_series_set *set;
	struct sonde_series **by_ordinal; /* owned */
	size_t n_ordinals;
	unsigned step;
};

static void loader_done(struct loader *l)
{
	free(l->by_ordinal);
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

static int load_set(void *ctx, const struct sonde_store_row *row)
{
	struct sonde_series_set *set = ctx;

	set->no = sonde_store_row_int(row, 0);
	set->first_ms = sonde_store_row_int(row, 1) * SONDE_SERIES_UNIT_MS;
	set->last_ms = sonde_store_row_int(row, 2) * SONDE_SERIES_UNIT_MS;
	set->stored_first_ms = set->first_ms;
	set->stored_last_ms = set->last_ms;
	return 0;
}

static int read_int(void *ctx, const struct sonde_store_row *row)
{
	*(int64_t *)ctx = sonde_store_row_int(row, 0);
	return 0;
}

static int load_name(void *ctx, const struct sonde_store_row *row)
{
	int64_t id = sonde_store_row_int(row, 2), ordinal = id % ORDINALS;
	char key[SONDE_SERIES_KEY_MAX];
	struct sonde_series *s = NULL;
	struct loader *l = ctx;
	size_t n;
	int r;

	r = sonde_series_key(sonde_store_row_text(row, 0), sonde_store_row_text(row, 1), key, &n);
	if (r < 0 || ordinal < 0 || (size_t)ordinal >= l->n_ordinals ||
	    sonde_series_set_find_key(l->set, key, n))
		return 0; /* none of ours */
	r = sonde_series_make(l->set, key, n, &s);
	if (r < 0)
		return r;
	s->id = id;
	s->named = true;
	l->by_ordinal[ordinal] = s;
	return 0;
}

static int insert_row(struct loader *l, struct sonde_series *s, const struct sonde_store_row *row)
{
	_cleanup_(sonde_mal_accumulator_freep) struct sonde_mal_accumulator *acc = NULL;
	struct sonde_series_bucket b = {
		.start_ms = sonde_store_row_int(row, 0) * SONDE_SERIES_UNIT_MS,
		.serial = sonde_store_row_int(row, 2),
		.parts = (uint64_t)sonde_store_row_int(row, 3),
	};
	const void *data;
	size_t n, at;
	int r;

	data = sonde_store_row_blob(row, 4, &n);
	r = sonde_mal_accumulator_load(data, n, &acc);
	if (r < 0) {
		if (r == -ENOMEM)
			return r;
		(void)sonde_log_warn(r, "a series of task %s in the database is damaged, ignoring",
				     l->set->task);
		return 0;
	}
	if (!s->typed) {
		s->function = *sonde_mal_accumulator_function(acc);
		s->typed = true;
	}
	at = sonde_series_place(s, l->step, b.start_ms);
	if (at < s->step[l->step].n && s->step[l->step].bucket[at].start_ms == b.start_ms)
		return 0;
	b.acc = acc;
	r = sonde_series_insert(l->table, l->set, s, l->step, at, b);
	if (r == 0)
		acc = NULL;
	return r;
}

static int load_bucket(void *ctx, const struct sonde_store_row *row)
{
	int64_t ordinal = sonde_store_row_int(row, 1) % ORDINALS;
	struct loader *l = ctx;

	if (ordinal < 0 || (size_t)ordinal >= l->n_ordinals || !l->by_ordinal[ordinal])
		return 0;
	return insert_row(l, l->by_ordinal[ordinal], row);
}

static int load_step(struct loader *l, unsigned step)
{
	struct sonde_series_set *set = l->set;
	int64_t from_ms = later(set->first_ms, later(set->from_ms[step], l->table->floor_ms[step]));

	l->step = step;
	return sonde_store_select(l->table->config.store, SONDE_STORE_GET_BUCKETS, load_bucket, l,
				  "iiiiii", (int64_t)step, to_units(aligned(from_ms, step)),
				  to_units(set->last_ms), set->no * ORDINALS,
				  (set->no + 1) * ORDINALS - 1,
				  to_units(sonde_series_step_ms[step]));
}

static void drop_empty(struct sonde_series_set *set)
{
	struct sonde_series *s, *next;

	HASH_ITER (hh, set->series, s, next) {
		if (!s->typed) {
			set->lost = true;
			sonde_series_remove(set, s);
		}
	}
}

int sonde_series_load(struct sonde_series_table *st, struct sonde_series_set *set)
{
	_cleanup_(loader_done) struct loader l = {.table = st, .set = set};
	struct sonde_store *store = st->config.store;
	int64_t last = -1;
	int r;

	r = sonde_store_query(store, SONDE_STORE_GET_REPORT_IDS, set->task, load_seen, &l);
	if (r == 0)
		r = sonde_store_query(store, SONDE_STORE_GET_SET, set->task, load_set, set);
	if (r < 0)
		return r;
	set->whole = set->no == 0; /* the store has nothing of it */
	if (set->whole)
		return 0;
	r = sonde_store_select(store, SONDE_STORE_GET_LAST_NAME, read_int, &last, "i", set->no);
	if (r < 0)
		return r;
	set->next_id = later(last + 1, set->no * ORDINALS);
	l.n_ordinals = (size_t)(set->next_id - set->no * ORDINALS);
	l.by_ordinal = calloc(l.n_ordinals + 1, sizeof(struct sonde_series *));
	if (!l.by_ordinal)
		return -ENOMEM;
	r = sonde_store_select(store, SONDE_STORE_GET_NAMES, load_name, &l, "i", set->no);
	if (r == 0)
		r = load_step(&l, SONDE_SERIES_1H);
	if (r == 0 && set->partial) {
		r = load_step(&l, SONDE_SERIES_1M);
		if (r == 0)
			r = load_step(&l, SONDE_SERIES_10S);
		set->whole = true;
		drop_empty(set);
	}
	return r;
}

int sonde_series_load_rest(struct sonde_series_table *st, struct sonde_series_set *set)
{
	_cleanup_(loader_done) struct loader l = {.table = st, .set = set};
	int r;

	assert(!set->partial && set->no > 0);

	l.n_ordinals = (size_t)(set->next_id - set->no * ORDINALS);
	l.by_ordinal = calloc(l.n_ordinals + 1, sizeof(struct sonde_series *));
	if (!l.by_ordinal)
		return -ENOMEM;
	for (struct sonde_series *s = set->series; s; s = s->hh.next)
		l.by_ordinal[s->id % ORDINALS] = s;
	r = load_step(&l, SONDE_SERIES_1M);
	if (r == 0)
		r = load_step(&l, SONDE_SERIES_10S);
	set->whole = r == 0;
	drop_empty(set);
	return r;
}

int sonde_series_find_id(struct sonde_series_table *st, const struct sonde_series_set *set,
			 const char *metric, const char *entity, int64_t *ret)
{
	*ret = -1;
	if (set->no == 0)
		return 0;
	return sonde_store_select(st->config.store, SONDE_STORE_GET_NAME, read_int, ret, "itt",
				  set->no, metric, entity);
}

struct one {
	struct loader loader;
	struct sonde_series *series;
};

static int load_one(void *ctx, const struct sonde_store_row *row)
{
	struct one *o = ctx;

	return insert_row(&o->loader, o->series, row);
}

int sonde_series_page_in(struct sonde_series_table *st, struct sonde_series_set *set,
			 struct sonde_series *s, unsigned step, int64_t start_ms)
{
	struct one o = {.loader = {.table = st, .set = set, .step = step}, .series = s};

	if (s->id < 0)
		return 0;
	return sonde_store_select(st->config.store, SONDE_STORE_GET_BUCKETS, load_one, &o, "iiiiii",
				  (int64_t)step, to_units(start_ms), to_units(start_ms), s->id,
				  s->id, to_units(sonde_series_step_ms[step]));
}

/* --- one series --- */

struct reading {
	sonde_series_bucket_fn fn;
	void *ctx;
	const char *task;
};

static int give_row(void *ctx, const struct sonde_store_row *row)
{
	_cleanup_(sonde_mal_accumulator_freep) struct sonde_mal_accumulator *acc = NULL;
	struct reading *rd = ctx;
	const void *data;
	size_t n;
	int r;

	data = sonde_store_row_blob(row, 4, &n);
	r = sonde_mal_accumulator_load(data, n, &acc);
	if (r == -EBADMSG) {
		(void)sonde_log_warn(r, "a series of task %s in the database is damaged, ignoring",
				     rd->task);
		return 0;
	}
	if (r == 0)
		r = rd->fn(rd->ctx, sonde_store_row_int(row, 0) * SONDE_SERIES_UNIT_MS, acc);
	return r < 0 ? r : 0;
}

static int read_stored(struct sonde_series_table *st, const char *metric, const char *entity,
		       unsigned step, int64_t from_ms, int64_t to_ms, struct reading *rd)
{
	struct sonde_series_set at = {.last_ms = -1};
	struct sonde_store *store = st->config.store;
	int64_t id = -1;
	int r;

	if (from_ms >= to_ms)
		return 0;
	r = sonde_store_query(store, SONDE_STORE_GET_SET, rd->task, load_set, &at);
	if (r == 0)
		r = sonde_series_find_id(st, &at, metric, entity, &id);
	if (r < 0 || id < 0)
		return r;
	from_ms = later(later(from_ms, aligned(at.first_ms, step)), st->floor_ms[step]);
	from_ms = aligned(from_ms + sonde_series_step_ms[step] - 1, step);
	to_ms = to_ms - 1 < at.last_ms ? to_ms - 1 : at.last_ms;
	return sonde_store_select(store, SONDE_STORE_GET_BUCKETS, give_row, rd, "iiiiii",
				  (int64_t)step, to_units(from_ms), to_units(to_ms), id, id,
				  to_units(sonde_series_step_ms[step]));
}

int sonde_series_table_read(struct sonde_series_table *st, const char *task, const char *metric,
			    const char *entity, enum sonde_series_step step, int64_t from_ms,
			    int64_t to_ms, sonde_series_bucket_fn fn, void *ctx)
{
	struct reading rd = {.fn = fn, .ctx = ctx, .task = task};
	struct sonde_series_set *set = sonde_series_table_find(st, task);
	const struct sonde_series *s = set ? sonde_series_set_find(set, metric, entity) : NULL;
	bool held = set && (set->whole || step == SONDE_SERIES_1H);
	int64_t held_ms = !held ? INT64_MAX : set->partial ? set->from_ms[step] : INT64_MIN;
	int r = 0;

	if (from_ms < held_ms)
		r = read_stored(st, metric, entity, step, from_ms,
				to_ms < held_ms ? to_ms : held_ms, &rd);
	from_ms = later(later(from_ms, held_ms), st->floor_ms[step]);
	for (size_t i = s && held ? sonde_series_place(s, step, from_ms) : SIZE_MAX;
	     r >= 0 && s && i < s->step[step].n && s->step[step].bucket[i].start_ms < to_ms; i++)
		r = fn(ctx, s->step[step].bucket[i].start_ms, s->step[step].bucket[i].acc);
	return r < 0 ? r : 0;
}

/* --- writing --- */

struct checkpoint {
	struct sonde_series_table *table;
	struct sonde_store_job *job;
	size_t rows;  /* buckets */
	size_t heads; /* names and spans */
};

static int write_bucket(struct checkpoint *c, struct sonde_series_set *set, struct sonde_series *s,
			unsigned step, struct sonde_series_bucket *b)
{
	_cleanup_buf_ struct sonde_buf bytes = SONDE_BUF_INIT(SONDE_MAL_STORED_BYTES);
	int r;

	r = sonde_mal_accumulator_store(b->acc, &bytes);
	if (r == -EMSGSIZE) {
		/* Labels of an absurd length: this bucket lives in memory only, and holds up no other. */
		sonde_series_refused(c->table, set, s->metric, SONDE_SERIES_BOUND_BYTES);
		sonde_series_set_dirty(c->table, set, s, b, false);
		return 0;
	}
	if (r == 0)
		r = sonde_store_job_add(c->job, SONDE_STORE_PUT_BUCKET, "iiiiib", (int64_t)step,
					to_units(b->start_ms), s->id, b->serial, (int64_t)b->parts,
					(const void *)bytes.data, bytes.len);
	if (r == 0) {
		sonde_series_set_dirty(c->table, set, s, b, false);
		c->rows++;
	}
	return r;
}

static int write_name(struct checkpoint *c, struct sonde_series_set *set, struct sonde_series *s)
{
	int r;

	if (s->id < 0) {
		if (set->next_id >= (set->no + 1) * ORDINALS)
			return -ENOSPC;
		s->id = set->next_id++;
	}
	r = sonde_store_job_add(c->job, SONDE_STORE_PUT_NAME, "itti", set->no, s->metric, s->entity,
				s->id);
	s->named = r == 0;
	c->heads += r == 0;
	return r;
}

/* No number is left in the set, which takes 16 million names: what it holds stays in memory only. */
static void give_up(struct checkpoint *c, struct sonde_series_set *set, struct sonde_series *s)
{
	sonde_series_refused(c->table, set, s->metric, SONDE_SERIES_BOUND_SERIES);
	for (unsigned step = 0; step < _SONDE_SERIES_STEP_MAX; step++) {
		for (size_t i = 0; i < s->step[step].n; i++)
			sonde_series_set_dirty(c->table, set, s, &s->step[step].bucket[i], false);
	}
}

static int write_series(struct checkpoint *c, struct sonde_series_set *set, struct sonde_series *s)
{
	int r = s->dirty > 0 && !s->named ? write_name(c, set, s) : 0;

	if (r == -ENOSPC) {
		give_up(c, set, s);
		return 0;
	}
	for (unsigned step = 0; step < _SONDE_SERIES_STEP_MAX; step++) {
		for (size_t i = s->step[step].n; i > 0 && s->dirty > 0 && r == 0; i--) {
			struct sonde_series_bucket *b = &s->step[step].bucket[i - 1];

			if (b->dirty)
				r = write_bucket(c, set, s, step, b);
		}
	}
	return r;
}

/* Before its buckets: who reads the set looks for them within its span. */
static int write_span(struct checkpoint *c, struct sonde_series_set *set)
{
	int r;

	if (set->no == 0) {
		set->no = c->table->next_no++;
		set->next_id = set->no * ORDINALS;
	}
	if (set->stored_last_ms >= set->last_ms && set->stored_first_ms <= set->first_ms &&
	    set->stored_last_ms >= 0)
		return 0;
	r = sonde_store_job_add(c->job, SONDE_STORE_PUT_SET, "tiii", set->task, set->no,
				to_units(set->first_ms), to_units(set->last_ms));
	if (r < 0)
		return r;
	set->stored_first_ms = set->first_ms;
	set->stored_last_ms = set->last_ms;
	c->heads++;
	return 0;
}

/* Return: 1 the limit was reached, 0 all of the set has been seen, -errno. */
static int write_set(struct checkpoint *c, struct sonde_series_set *set, size_t max_buckets)
{
	uint64_t pass = c->table->pass;
	int r = set->dirty > 0 ? write_span(c, set) : 0;

	for (struct sonde_series *s = set->series; s && set->dirty > 0 && r == 0; s = s->hh.next) {
		if (s->pass == pass)
			continue;
		if (c->rows >= max_buckets)
			return 1;
		r = write_series(c, set, s);
		if (r < 0)
			return r;
		s->pass = pass;
	}
	if (r == 0)
		set->pass = pass;
	return r;
}

static void write_again(struct sonde_series_table *st, struct sonde_series_set *set)
{
	set->stored_last_ms = -1;
	for (struct sonde_series *s = set->series; s; s = s->hh.next) {
		s->named = false;
		for (unsigned step = 0; step < _SONDE_SERIES_STEP_MAX; step++) {
			for (size_t i = 0; i < s->step[step].n; i++)
				sonde_series_set_dirty(st, set, s, &s->step[step].bucket[i], true);
		}
	}
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
		if (set->whole) /* another has never had anything to write */
			write_again(st, set);
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
	sonde_store_get_stats(st->config.store, &stats);
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
	if (c.rows + c.heads == 0)
		return r == 0 && st->unwritten > 0 ? -ENOBUFS : r;
	st->unwritten++;
	submitted = sonde_store_submit(st->config.store, &job, on_written, st);
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
