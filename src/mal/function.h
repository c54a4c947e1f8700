/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Storage functions: what one (metric, entity, time bucket) remembers, and the number shown for it.
 * An accumulator takes emitted values, adds up with another of the same function (10 s into a
 * minute, minute into an hour) and survives as bytes. Sums and counts are kept apart until the end, so
 * combining never rounds. Values are what SkyWalking's functions give, but for two of its bugs: there max and
 * min keep the first arrival in a merge, and sumHistogram ignores one with other buckets. Not shared between threads.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/cleanup.h"

#define SONDE_MAL_RANKS_MAX 16	/* percentiles of one rule */
#define SONDE_MAL_KEYS_MAX 4096 /* keys (or buckets times label groups) of one accumulator */
#define SONDE_MAL_STORED_BYTES (1U << 20) /* of one serialised accumulator */

enum sonde_mal_downsampling {
	SONDE_MAL_AVG,
	SONDE_MAL_SUM,
	SONDE_MAL_LATEST,
	SONDE_MAL_SUM_PER_MIN,
	SONDE_MAL_MAX,
	SONDE_MAL_MIN,
	_SONDE_MAL_DOWNSAMPLING_MAX,
};

enum sonde_mal_kind {
	SONDE_MAL_SINGLE,
	SONDE_MAL_LABELED,
	SONDE_MAL_HISTOGRAM,
	SONDE_MAL_HISTOGRAM_PERCENTILE,
	_SONDE_MAL_KIND_MAX,
};

struct sonde_mal_function {
	enum sonde_mal_downsampling downsampling;
	enum sonde_mal_kind kind;
	int32_t ranks[SONDE_MAL_RANKS_MAX]; /* HISTOGRAM_PERCENTILE only, ascending as written */
	size_t n_ranks;
};

/* False for combinations that SkyWalking lacks (latestHistogram, maxHistogramPercentile, …). */
bool sonde_mal_function_exists(const struct sonde_mal_function *f);

/* "sumPerMinLabeled". Writes at most 48 bytes. */
void sonde_mal_function_name(const struct sonde_mal_function *f, char buf[static 48]);

/*
 * One emitted number. @key: `{code=200}` for labelled metrics, the label group of a histogram (`{}`
 * if none), "" for single ones. @bucket: a histogram's bound, else 0.
 */
struct sonde_mal_point {
	const char *key;
	int64_t bucket;
	int64_t value;
};

/* A number to show. @key as above, with `p=99` added for percentiles: `{p=99}`, `{code=200,p=99}`. */
struct sonde_mal_result {
	const char *key;
	int64_t bucket; /* kind HISTOGRAM only */
	int32_t rank;	/* kind HISTOGRAM_PERCENTILE only, else 0 */
	int64_t value;
	int64_t nearest; /* of a percentile: by the nearest rank, where OAP rounds the rank */
};

/* The raw content: what was summed and how often, before any division. */
struct sonde_mal_total {
	const char *key;
	int64_t bucket;
	int64_t sum;
	int64_t count;
};

/* Strings are borrowed for the call. Return < 0 ends the walk, which then returns it. */
typedef int (*sonde_mal_result_fn)(void *ctx, const struct sonde_mal_result *r);
typedef int (*sonde_mal_total_fn)(void *ctx, const struct sonde_mal_total *t);

struct sonde_mal_accumulator;

/* Return: 0, -EOPNOTSUPP (no such function), -ENOMEM. */
int sonde_mal_accumulator_new(const struct sonde_mal_function *f,
			      struct sonde_mal_accumulator **ret) _must_check_;
struct sonde_mal_accumulator *sonde_mal_accumulator_free(struct sonde_mal_accumulator *a);
SONDE_DEFINE_CLEANUP(struct sonde_mal_accumulator *, sonde_mal_accumulator_free)

const struct sonde_mal_function *sonde_mal_accumulator_function(
	const struct sonde_mal_accumulator *a);

/*
 * Takes the points of one emission (all of one entity and rule run). Return: 0, -E2BIG (the keys would pass
 * SONDE_MAL_KEYS_MAX), -EINVAL (more than one point for a single metric), -ENOMEM. Unchanged on failure.
 */
int sonde_mal_accumulator_accept(struct sonde_mal_accumulator *a,
				 const struct sonde_mal_point *points, size_t n) _must_check_;

/* Adds @later, which arrived after, to @a. Return: 0, -EINVAL (another function), -E2BIG, -ENOMEM. */
int sonde_mal_accumulator_combine(struct sonde_mal_accumulator *a,
				  const struct sonde_mal_accumulator *later) _must_check_;

/* The numbers to show. @minutes: length of the time bucket (1, 60, 1440), used by sumPerMin; at least 1. */
int sonde_mal_accumulator_value(const struct sonde_mal_accumulator *a, uint32_t minutes,
				sonde_mal_result_fn fn, void *ctx) _must_check_;

/* Sums and counts as they are held, keys ascending, then buckets. */
int sonde_mal_accumulator_totals(const struct sonde_mal_accumulator *a, sonde_mal_total_fn fn,
				 void *ctx) _must_check_;

/* Appends a versioned little-endian form. Return: 0, -EMSGSIZE, -ENOMEM. */
int sonde_mal_accumulator_store(const struct sonde_mal_accumulator *a,
				struct sonde_buf *out) _must_check_;

/* Return: 0, -EBADMSG (not such bytes), -ENOMEM. */
int sonde_mal_accumulator_load(const void *data, size_t len,
			       struct sonde_mal_accumulator **ret) _must_check_;
