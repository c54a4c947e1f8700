/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Series: what the rules emitted, by task, metric and entity, in buckets of 10 s, of a minute and of an hour. An
 * emission goes into all three as it arrives, so a minute and an hour hold exactly what their parts hold, late ones too.
 * One set a task, read from the store when first asked for and dropped from memory when idle. Written behind: the
 * reports themselves are stored before they are acknowledged, so a bucket carries the serial of the last report in it
 * and a replay after a crash adds each report exactly once. The task "-", which never ends, has its newest buckets in
 * memory only; an older one is read back when something late belongs to it.
 * Bounded over all sets by a number of buckets, which one set that is read back may exceed (sets that are all written
 * make room for it), and a set by its series, entities and buckets. Loop thread only.
 */

#include <stdbool.h>
#include <stdint.h>

#include "backend/hash.h"
#include "backend/store/store.h"
#include "mal/function.h"
#include "model/task.h"

#define SONDE_SERIES_KEY_MAX 2048   /* bytes of metric, NUL and entity */
#define SONDE_SERIES_SEEN_MAX 65536 /* report ids remembered a task; the oldest make room */
#define SONDE_SERIES_REPORT_KEY_MAX 192
#define SONDE_SERIES_NO_TASK "-" /* what came without a task */

enum sonde_series_step {
	SONDE_SERIES_10S = 0,
	SONDE_SERIES_1M = 1,
	SONDE_SERIES_1H = 2,
	_SONDE_SERIES_STEP_MAX,
};
extern const int64_t sonde_series_step_ms[_SONDE_SERIES_STEP_MAX];
extern const char *const sonde_series_step_names[_SONDE_SERIES_STEP_MAX]; /* "10s", "1m", "1h" */

struct sonde_series_bucket {
	int64_t start_ms;
	int64_t serial;			   /* last report that is in */
	struct sonde_mal_accumulator *acc; /* owned */
	/* Of an hour its minutes, of a minute its 10 s, that got a value: a bit each. 0: unknown. */
	uint64_t parts;
	bool dirty;
};

struct sonde_series {
	const char *metric, *entity; /* into key */
	struct sonde_mal_function function;
	struct {
		struct sonde_series_bucket *bucket; /* by start, ascending */
		size_t n, cap;
	} step[_SONDE_SERIES_STEP_MAX];
	int64_t id; /* in the store; -1: none yet */
	bool named; /* its name has been written */
	bool typed; /* its function is known: a value came, or a bucket was read */
	struct sonde_series_entity *of; /* owned by the set */
	size_t dirty;			/* buckets */
	uint64_t pass;			/* of the checkpoint that has seen it */
	UT_hash_handle hh;
	char key[];
};

/* A report id that has come: "sequence/hash". */
struct sonde_series_seen {
	bool stored; /* false: applied, but its row could not be written */
	UT_hash_handle hh;
	char key[];
};

struct sonde_series_entity;

struct sonde_series_set {
	char task[SONDE_TASK_ID_MAX];
	struct sonde_series *series;
	struct sonde_series_entity *entities;
	struct sonde_series_seen *seen;
	size_t buckets, dirty;
	int64_t used_ms;
	uint64_t pass;
	bool whole;   /* all steps are in memory; else the hours only, and nothing is dirty */
	bool partial; /* of "-": from_ms on only */
	bool lost;    /* the store has names of series that are not in memory */
	int64_t from_ms[_SONDE_SERIES_STEP_MAX];
	int64_t no, next_id;	   /* in the store; no 0: it has none yet */
	int64_t first_ms, last_ms; /* span of the starts of all its buckets; last < first: none */
	int64_t stored_first_ms, stored_last_ms;
	void *engine; /* struct sonde_mal_engine of the ingest, freed by on_drop */
	UT_hash_handle hh;
};

struct sonde_series_table;

/* What refuses a value, or a part of its detail. */
enum sonde_series_bound {
	SONDE_SERIES_BOUND_SERIES = 0,	 /* limits.task_series */
	SONDE_SERIES_BOUND_ENTITIES,	 /* limits.task_entities */
	SONDE_SERIES_BOUND_TASK_BUCKETS, /* limits.task_buckets */
	SONDE_SERIES_BOUND_BUCKETS,	 /* limits.buckets */
	SONDE_SERIES_BOUND_BYTES,	 /* a key or a bucket too large */
	SONDE_SERIES_BOUND_VALUE,	 /* another function than the series has, too many labels */
	_SONDE_SERIES_BOUND_LOST,	 /* from here on the totals have it */
	SONDE_SERIES_BOUND_MINUTES =
		_SONDE_SERIES_BOUND_LOST, /* no room for its minute, or its 10 s */
	SONDE_SERIES_BOUND_FINE,
	_SONDE_SERIES_BOUND_MAX,
};
const char *sonde_series_bound_name(enum sonde_series_bound b); /* "task_series", "buckets_10s" */

struct sonde_series_stats {
	size_t sets, series, buckets, dirty;
	uint64_t
		fine_refused; /* 10 s buckets not made for want of room; the minutes have the data */
	uint64_t minutes_refused; /* minute buckets likewise; the hours have it */
	uint64_t refused;	  /* emissions lost for want of room, buckets too large to store */
	uint64_t
		expired; /* parts of emissions that belong to buckets which are not kept any more */
};

struct sonde_series_config {
	struct sonde_store *store; /* borrowed */
	size_t max_buckets;	   /* of all sets */
	size_t max_task_buckets, max_task_series,
		max_task_entities;     /* of one; 0: as many as there is room for */
	void (*on_drop)(void *engine); /* frees a set's engine; may be NULL */
	/* Something of @metric was refused; strings are borrowed for the call. May be NULL. */
	void (*on_refused)(void *ctx, const char *task, const char *metric,
			   enum sonde_series_bound bound);
	void *ctx;
};

/* Return: 0, -errno of the store. */
int sonde_series_table_new(const struct sonde_series_config *config,
			   struct sonde_series_table **ret) _must_check_;
/* Waits for the slices that are under way: the store is freed before it, or lives on. */
struct sonde_series_table *sonde_series_table_free(struct sonde_series_table *st);
SONDE_DEFINE_CLEANUP(struct sonde_series_table *, sonde_series_table_free)

/* The task's set, from memory or the store. Borrowed until the loop's next turn. Return: 0, -errno. */
int sonde_series_table_get(struct sonde_series_table *st, const char *task, int64_t now_ms,
			   struct sonde_series_set **ret) _must_check_;
/* The same for who needs its hours alone: totals. Much less to read where it is not in memory. */
int sonde_series_table_get_totals(struct sonde_series_table *st, const char *task, int64_t now_ms,
				  struct sonde_series_set **ret) _must_check_;

/* If it is in memory, else NULL. */
struct sonde_series_set *sonde_series_table_find(struct sonde_series_table *st, const char *task);

/* Return: the seen report, NULL if it is new. */
struct sonde_series_seen *sonde_series_set_find_seen(struct sonde_series_set *s, const char *key);
int sonde_series_set_add_seen(struct sonde_series_set *s, const char *key,
			      struct sonde_series_seen **ret) _must_check_;
void sonde_series_set_remove_seen(struct sonde_series_set *s, struct sonde_series_seen *seen);

/*
 * Adds one emission to all steps. A bucket that holds @serial already is left alone (replay).
 * Return: 0, -ENOSPC (no room, counted), -EINVAL (another function than the series has), -E2BIG, -ENOMEM.
 */
int sonde_series_add(struct sonde_series_table *st, struct sonde_series_set *s, const char *metric,
		     const char *entity, const struct sonde_mal_function *function, int64_t ts_ms,
		     const struct sonde_mal_point *points, size_t n, int64_t serial) _must_check_;

/*
 * One bucket as another store had it; bucket->acc is taken and NULL then, unless its time is past, or 1 is returned.
 * Return: 0, 1 (one of its serial or later is there: a replay), -ENOSPC, -EINVAL (another function than the series has), -EEXIST, -E2BIG,
 * -ENOMEM, -errno of the store.
 */
int sonde_series_restore(struct sonde_series_table *st, struct sonde_series_set *set,
			 const char *metric, const char *entity, enum sonde_series_step step,
			 struct sonde_series_bucket *bucket) _must_check_;

/* NULL if it has none. Borrowed as the set is. */
const struct sonde_series *sonde_series_set_find(const struct sonde_series_set *s,
						 const char *metric, const char *entity);

/* All hours combined: exact over the task. Return: 0, -ENODATA, -ENOMEM. */
int sonde_series_total(const struct sonde_series *s,
		       struct sonde_mal_accumulator **ret) _must_check_;
/* How many minutes have a value: what a rate's total is divided by. */
uint32_t sonde_series_minutes(const struct sonde_series *s);

/* @acc is borrowed for the call. Return < 0 ends the walk, which then returns it. */
typedef int (*sonde_series_bucket_fn)(void *ctx, int64_t start_ms,
				      const struct sonde_mal_accumulator *acc);
/*
 * The buckets of one series that begin from @from_ms and before @to_ms, ascending: from memory, and what is not there
 * from the store, without reading the rest of the set. Return: 0, -errno.
 */
int sonde_series_table_read(struct sonde_series_table *st, const char *task, const char *metric,
			    const char *entity, enum sonde_series_step step, int64_t from_ms,
			    int64_t to_ms, sonde_series_bucket_fn fn, void *ctx) _must_check_;

/*
 * A checkpoint writes every bucket that is dirty when it begins, in slices, so that the loop goes on.
 * sonde_series_checkpoint() writes at least one series and stops behind @max_buckets.
 * Return: 1 there is more, 0 the pass is complete and none of it is with the writer any more, -ENOBUFS (the
 * writer is busy: try later), -ENOMEM.
 */
void sonde_series_checkpoint_begin(struct sonde_series_table *st);
int sonde_series_checkpoint(struct sonde_series_table *st, size_t max_buckets) _must_check_;
/* Grows when a slice could not be stored: then the pass does not count, and all is dirty again. */
uint64_t sonde_series_failed_writes(const struct sonde_series_table *st);

/* Drops a set from memory, written or not: its task is forgotten. */
void sonde_series_table_drop(struct sonde_series_table *st, const char *task);

/* Drops sets that are clean and not used for @idle_ms. */
void sonde_series_table_tick(struct sonde_series_table *st, int64_t now_ms, int64_t idle_ms);

/*
 * Buckets of @step that begin before @before_ms are not kept any more: nothing is added to them, none is answered from
 * memory. Only grows. The store's go by retention.h.
 */
void sonde_series_table_set_floor(struct sonde_series_table *st, enum sonde_series_step step,
				  int64_t before_ms);
int64_t sonde_series_table_floor(const struct sonde_series_table *st, enum sonde_series_step step);

/* Drops from memory what is written and kept, but begins before its set needs it: see SONDE_SERIES_NO_TASK. */
void sonde_series_table_trim(struct sonde_series_table *st, int64_t now_ms);

void sonde_series_table_get_stats(const struct sonde_series_table *st,
				  struct sonde_series_stats *ret);
