/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Histogram: the fine buckets of an answer in as many rows as one takes in at a glance, equal in width on a
 * logarithmic scale: as they are, or joined to 1, 2, 3 … 9, or to 1, 2, 5 of each decade. All of those are edges of
 * fine buckets, so that each observation stays where it belongs. Pure.
 */

#include <jansson.h>
#include <stdint.h>

#include "base/cleanup.h"

#define SONDE_HISTOGRAM_ROWS                                                                       \
	26 /* of the finest scale that is taken; 1, 2, 5 has never more than 40 */
#define SONDE_HISTOGRAM_ROWS_MAX 64

struct sonde_histogram_row {
	int64_t from, below; /* below 0: without an end */
	int64_t count;
};

struct sonde_histogram {
	struct sonde_histogram_row
		row[SONDE_HISTOGRAM_ROWS_MAX]; /* from the first that was hit to the last */
	size_t n;
	int64_t count, most; /* of all, of the fullest row */
};

/* @buckets: [[from, below, count] …], ascending; what is none is passed over. */
void sonde_histogram_make(const json_t *buckets, struct sonde_histogram *ret);
