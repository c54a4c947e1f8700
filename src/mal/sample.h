/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Batch: the samples of one evaluation, by metric name. All text is interned once on the way in,
 * so that the rules compare numbers. Bounded by samples, labels and text; what passes a bound is
 * refused whole and never cut. A batch is filled, run, reset and filled again. Loop thread only.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"

#define SONDE_MAL_LABELS_MAX 64		  /* labels of one sample, added ones included */
#define SONDE_MAL_TEXT_MAX 4096		  /* bytes of one name or label value */
#define SONDE_MAL_SAMPLES_MAX 262144	  /* samples of one batch */
#define SONDE_MAL_BATCH_BYTES (64U << 20) /* text and label memory of one batch and its run */

struct sonde_mal_batch;

struct sonde_mal_label {
	const char *key;
	const char *value;
};

struct sonde_mal_sample {
	const char *name;
	const struct sonde_mal_label *labels; /* any order, no key twice */
	size_t n_labels;
	double value;
	int64_t ts_ms;
};

int sonde_mal_batch_new(struct sonde_mal_batch **ret) _must_check_;
struct sonde_mal_batch *sonde_mal_batch_free(struct sonde_mal_batch *b);
SONDE_DEFINE_CLEANUP(struct sonde_mal_batch *, sonde_mal_batch_free)

/* Empties it and keeps the memory. */
void sonde_mal_batch_reset(struct sonde_mal_batch *b);

/*
 * Copies @s in; NaN values are skipped, as SkyWalking does. Return: 0, -EEXIST (a label key twice),
 * -EINVAL (no name, a NULL key or value), -E2BIG (a bound is reached), -ENOMEM. Nothing is added on failure.
 */
int sonde_mal_batch_add(struct sonde_mal_batch *b, const struct sonde_mal_sample *s) _must_check_;

/* Samples held, NaN ones not counted. */
size_t sonde_mal_batch_count(const struct sonde_mal_batch *b);

/* --- the native meter protocol: one MeterDataCollection is one batch --- */

struct sonde_mal_bucket {
	double lower_bound;
	int64_t count;
	bool negative_infinity; /* lower_bound is then not read */
};

struct sonde_mal_meter {
	const char *name;
	const struct sonde_mal_label *labels; /* in the order of the message */
	size_t n_labels;
	const char *service;  /* NULL or "" where the message has none */
	const char *instance; /* likewise */
	int64_t timestamp_ms; /* 0 where the message has none */
	bool is_histogram;
	double value;				/* !is_histogram */
	const struct sonde_mal_bucket *buckets; /* is_histogram: one sample each, label `le` */
	size_t n_buckets;
};

/* What was wrong with a collection: for the counter and the one log line. */
struct sonde_mal_refusal {
	size_t meter; /* index of the meter */
	char reason[160];
};

/*
 * Adds a whole collection as OAP reads it: the last service, instance and positive timestamp hold
 * for every sample, and become the labels `service` and `instance`. All or nothing.
 * Return: 0; -ENODATA (service, instance or timestamp in none of the meters), -EEXIST (a label twice,
 * or one called service, instance or, on a histogram, le), -EINVAL, -E2BIG, each with *@ret_why
 * (may be NULL) filled; -ENOMEM.
 */
int sonde_mal_batch_add_collection(struct sonde_mal_batch *b, const struct sonde_mal_meter *meters,
				   size_t n_meters, struct sonde_mal_refusal *ret_why) _must_check_;

/* Java's Double.toString(): "10000.0", "1.0E7", "Infinity". @buf takes at most 32 bytes. */
#define SONDE_MAL_DOUBLE_SIZE 32
void sonde_mal_double_text(double v, char buf[static SONDE_MAL_DOUBLE_SIZE]);
