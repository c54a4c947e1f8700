/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Series: what the rules emitted, by task, metric and entity, in buckets of 10 s
 * and of a minute. One set a task, read from the store when first asked for and
 * dropped from memory when idle. Written behind: the reports themselves are
 * stored before they are acknowledged, so a bucket carries the serial of the
 * last report in it and a replay after a crash adds each report exactly once.
 * Bounded over all sets by a number of buckets, which one set that is read back may exceed: sets that are all
 * written make room for it. Loop thread only.
 */

#include <stdbool.h>
#include <stdint.h>

#include "backend/hash.h"
#include "backend/store/store.h"
#include "mal/function.h"
#include "model/task.h"

#define SONDE_SERIES_KEY_MAX 2048   /* bytes of metric, separator and entity */
#define SONDE_SERIES_SEEN_MAX 65536 /* report ids remembered a task; the oldest make room */
#define SONDE_SERIES_REPORT_KEY_MAX 192

enum sonde_series_step {
	SONDE_SERIES_10S = 0,
	SONDE_SERIES_1M = 1,
	_SONDE_SERIES_STEP_MAX,
};
extern const int64_t sonde_series_step_ms[_SONDE_SERIES_STEP_MAX];

struct sonde_series_bucket {
	int64_t start_ms;
	int64_t serial;			   /* last report that is in */
	struct sonde_mal_accumulator *acc; /* owned */
	bool dirty;
};

struct sonde_series {
	char *metric, *entity; /* into key */
	struct sonde_mal_function function;
	struct {
		struct sonde_series_bucket *bucket; /* by start, ascending */
		size_t n, cap;
	} step[_SONDE_SERIES_STEP_MAX];
	size_t dirty;  /* buckets */
	uint64_t pass; /* of the checkpoint that has seen it */
	UT_hash_handle hh;
	char key[];
};

/* A report id that has come: "sequence/hash". */
struct sonde_series_seen {
	bool stored; /* false: applied, but its row could not be written */
	UT_hash_handle hh;
	char key[];
};

struct sonde_series_set {
	char task[SONDE_TASK_ID_MAX];
	struct sonde_series *series;
	struct sonde_series_seen *seen;
	size_t buckets, dirty;
	int64_t used_ms;
	uint64_t pass;
	void *engine; /* struct sonde_mal_engine of the ingest, freed by on_drop */
	UT_hash_handle hh;
};

struct sonde_series_table;

struct sonde_series_stats {
	size_t sets, buckets, dirty;
	uint64_t
		fine_refused; /* 10 s buckets not made for want of room; the minutes have the data */
	uint64_t refused;     /* emissions lost for want of room, buckets too large to store */
};

/* @store is borrowed. @on_drop frees a set's engine; may be NULL. */
int sonde_series_table_new(struct sonde_store *store, size_t max_buckets,
			   void (*on_drop)(void *engine),
			   struct sonde_series_table **ret) _must_check_;
/* Waits for the slices that are under way: the store is freed before it, or lives on. */
struct sonde_series_table *sonde_series_table_free(struct sonde_series_table *st);
SONDE_DEFINE_CLEANUP(struct sonde_series_table *, sonde_series_table_free)

/* The task's set, from memory or the store. Borrowed until the loop's next turn. Return: 0, -errno. */
int sonde_series_table_get(struct sonde_series_table *st, const char *task, int64_t now_ms,
			   struct sonde_series_set **ret) _must_check_;

/* If it is in memory, else NULL. */
struct sonde_series_set *sonde_series_table_find(struct sonde_series_table *st, const char *task);

/* Return: the seen report, NULL if it is new. */
struct sonde_series_seen *sonde_series_set_find_seen(struct sonde_series_set *s, const char *key);
int sonde_series_set_add_seen(struct sonde_series_set *s, const char *key,
			      struct sonde_series_seen **ret) _must_check_;
void sonde_series_set_remove_seen(struct sonde_series_set *s, struct sonde_series_seen *seen);

/*
 * Adds one emission to both steps. A bucket that holds @serial already is left alone (replay).
 * Return: 0, -ENOSPC (no room, counted), -EINVAL (another function than the series has), -E2BIG, -ENOMEM.
 */
int sonde_series_add(struct sonde_series_table *st, struct sonde_series_set *s, const char *metric,
		     const char *entity, const struct sonde_mal_function *function, int64_t ts_ms,
		     const struct sonde_mal_point *points, size_t n, int64_t serial) _must_check_;

/* NULL if it has none. Borrowed as the set is. */
const struct sonde_series *sonde_series_set_find(const struct sonde_series_set *s,
						 const char *metric, const char *entity);

/* All minutes combined: exact over the task. Return: 0, -ENODATA, -ENOMEM. */
int sonde_series_total(const struct sonde_series *s,
		       struct sonde_mal_accumulator **ret) _must_check_;

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

/* For the task "-": drops buckets that began before @before_ms from memory (the store's go by SQL). */
void sonde_series_set_trim(struct sonde_series_table *st, struct sonde_series_set *s,
			   int64_t before_ms);

void sonde_series_table_get_stats(const struct sonde_series_table *st,
				  struct sonde_series_stats *ret);
