/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Batch: the MeterDataCollection messages of one report, written as they come
 * so that a report of a thousand peers needs no tree of them in memory. One
 * collection holds one (service, instance); the three fields that OAP takes
 * from any element stand on element 0 only. One thread.
 */

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

#define SONDE_BATCH_COLLECTION_MAX (1024UL * 1024) /* bytes; then another one begins */
#define SONDE_BATCH_COLLECTIONS_MAX 64
#define SONDE_BATCH_LABELS_MAX 8
#define SONDE_BATCH_LABELS_BYTES 1024

/*
 * The labels of a meter, as they stand in its message: an edge's dozens of meters carry the same ones,
 * which are serialised once. {0} is no label.
 */
struct sonde_batch_labels {
	size_t n;
	struct {
		const char *name; /* borrowed */
		size_t end;	  /* of its bytes */
	} label[SONDE_BATCH_LABELS_MAX];
	uint8_t bytes[SONDE_BATCH_LABELS_BYTES];
};

/*
 * One label behind the others; @name is borrowed. Return: 0, -EINVAL (the name stands already: it would cost
 * the whole collection at an OAP), -ENOSPC (SONDE_BATCH_LABELS_MAX or _BYTES).
 */
int sonde_batch_labels_add(struct sonde_batch_labels *l, const char *name,
			   const char *value) _must_check_;
/* The first @n stay. */
void sonde_batch_labels_cut(struct sonde_batch_labels *l, size_t n);

struct sonde_batch_bucket {
	double lower; /* bound */
	int64_t count;
};

struct sonde_batch {
	int64_t wall_ms;
	struct sonde_buf messages[SONDE_BATCH_COLLECTIONS_MAX];
	struct {
		const char *service, *instance; /* borrowed while meters are written */
	} names[SONDE_BATCH_COLLECTIONS_MAX];
	size_t n;			/* none of them is empty */
	size_t at;			/* the message that is being written; n: the next one */
	const char *service, *instance; /* of what is being written; borrowed */
	size_t meters;			/* elements in all */
};

#define SONDE_BATCH_INIT(now_wall_ms) ((struct sonde_batch){.wall_ms = (now_wall_ms)})

void sonde_batch_done(struct sonde_batch *b);

/*
 * What follows is of this (service, instance), both borrowed until the last meter is written: goes on
 * with its collection, or with its first meter opens one.
 */
void sonde_batch_begin(struct sonde_batch *b, const char *service, const char *instance);

/* One meter. Return: 0, -ENOSPC (SONDE_BATCH_COLLECTIONS_MAX are full), -ENOMEM. */
int sonde_batch_single(struct sonde_batch *b, const char *name,
		       const struct sonde_batch_labels *labels, double value) _must_check_;
int sonde_batch_histogram(struct sonde_batch *b, const char *name,
			  const struct sonde_batch_labels *labels,
			  const struct sonde_batch_bucket *buckets, size_t n_buckets) _must_check_;

/* @sum / @n to a sixteenth, 0 for an @n of 0: a long fraction does not compress, and MAL keeps whole numbers. */
double sonde_batch_mean(uint64_t sum, uint64_t n);

/* Of all messages: the last part of sonde-report-id. */
uint64_t sonde_batch_hash(const struct sonde_batch *b);
