/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Series in memory (series.c) and in the store (series-store.c). Folder-private. */

#include "backend/ingest/series.h"

#define SONDE_SERIES_UNIT_MS 10000 /* of times in the store */
#define SONDE_SERIES_ID_BITS 24	   /* of an id, those of the series within its set */

struct sonde_series_table {
	struct sonde_series_config config;
	struct sonde_series_set *sets;
	size_t buckets, dirty;
	int64_t floor_ms[_SONDE_SERIES_STEP_MAX];
	int64_t next_no;
	uint64_t fine_refused, minutes_refused, refused, expired;
	uint64_t pass, failed_writes;
	unsigned unwritten; /* slices that are with the writer */
};

/* One of the set's entities; its series share its bound. */
struct sonde_series_entity {
	size_t series;
	UT_hash_handle hh;
	char key[];
};

/* "metric\0entity" with its length less the last NUL. Return: 0, -E2BIG. */
int sonde_series_key(const char *metric, const char *entity, char ret[static SONDE_SERIES_KEY_MAX],
		     size_t *ret_n) _must_check_;
struct sonde_series *sonde_series_set_find_key(const struct sonde_series_set *set, const char *key,
					       size_t n);
/* Without any bucket, and of no bound. Return: 0, -ENOMEM. */
int sonde_series_make(struct sonde_series_set *set, const char *key, size_t n,
		      struct sonde_series **ret) _must_check_;
void sonde_series_remove(struct sonde_series_set *set, struct sonde_series *s);

/* Index of the first bucket that begins at or behind @start_ms. */
size_t sonde_series_place(const struct sonde_series *s, unsigned step, int64_t start_ms);
/* Takes bucket.acc on 0. Return: 0, -ENOMEM. */
int sonde_series_insert(struct sonde_series_table *st, struct sonde_series_set *set,
			struct sonde_series *s, unsigned step, size_t at,
			struct sonde_series_bucket bucket) _must_check_;
void sonde_series_set_dirty(struct sonde_series_table *st, struct sonde_series_set *set,
			    struct sonde_series *s, struct sonde_series_bucket *b, bool dirty);
void sonde_series_set_free(struct sonde_series_table *st, struct sonde_series_set *set);
void sonde_series_refused(struct sonde_series_table *st, const struct sonde_series_set *set,
			  const char *metric, enum sonde_series_bound bound);

/* --- series-store.c --- */

/* @set, which is new, gets its number, its names and its hours. Return: 0, -errno. */
int sonde_series_load(struct sonde_series_table *st, struct sonde_series_set *set) _must_check_;
/* And the other steps. Return: 0, -errno. */
int sonde_series_load_rest(struct sonde_series_table *st,
			   struct sonde_series_set *set) _must_check_;
/* A series that a partial set does not hold: the id that it has in the store, -1 for none. Return: 0, -errno. */
int sonde_series_find_id(struct sonde_series_table *st, const struct sonde_series_set *set,
			 const char *metric, const char *entity, int64_t *ret) _must_check_;
/* The bucket of @start_ms is read into @s if the store has it. Return: 0, -errno. */
int sonde_series_page_in(struct sonde_series_table *st, struct sonde_series_set *set,
			 struct sonde_series *s, unsigned step, int64_t start_ms) _must_check_;
