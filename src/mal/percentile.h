/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Percentiles of a histogram: number for number as OAP's, float32 where it uses float, and by nearest rank. Pure. */

#include <stddef.h>
#include <stdint.h>

struct sonde_mal_bin {
	int64_t bound;
	int64_t count;
};

/*
 * @v ascending by bound. @values[i] gets the bound at which ranks[i] is reached. Ranks are resolved in
 * their order, so the walk stops at the first that is not reached. Returns how many were.
 */
size_t sonde_mal_percentiles(const struct sonde_mal_bin *v, size_t n, const int32_t *ranks,
			     size_t n_ranks, int64_t *values);

/* The bound of the bucket in which the nearest rank (the ceiling of its share) lies; 0 when there is nothing. */
int64_t sonde_mal_nearest_rank(const struct sonde_mal_bin *v, size_t n, int32_t percent);
