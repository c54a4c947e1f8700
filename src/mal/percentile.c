/* SPDX-License-Identifier: Apache-2.0 */
#include "mal/percentile.h"

#include <math.h>
#include <string.h>

/* Math.round(total * rank / 100f) */
static int32_t roof(int64_t total, int32_t rank)
{
	/* long times int wraps in Java; then one rounding to float, and one for the division */
	float product = (float)(int64_t)((uint64_t)total * (uint64_t)rank);
	float share = product / 100.0F;
	double rounded = floor((double)share + 0.5);

	if (rounded >= (double)INT32_MAX)
		return INT32_MAX;
	if (rounded <= (double)INT32_MIN)
		return INT32_MIN;
	return (int32_t)rounded;
}

static int64_t total_of(const struct sonde_mal_bin *v, size_t n)
{
	int64_t total = 0;

	for (size_t i = 0; i < n; i++)
		if (__builtin_add_overflow(total, v[i].count, &total))
			total = INT64_MAX;
	return total;
}

int64_t sonde_mal_nearest_rank(const struct sonde_mal_bin *v, size_t n, int32_t percent)
{
	int64_t total = total_of(v, n), reached = 0, rank;

	if (total <= 0)
		return 0;
	/* ceil(total * percent / 100) without overflow */
	rank = total / 100 * percent + (total % 100 * percent + 99) / 100;
	for (size_t i = 0; i < n; i++) {
		if (__builtin_add_overflow(reached, v[i].count, &reached))
			reached = INT64_MAX;
		if (reached >= rank)
			return v[i].bound;
	}
	return v[n - 1].bound;
}

size_t sonde_mal_percentiles(const struct sonde_mal_bin *v, size_t n, const int32_t *ranks,
			     size_t n_ranks, int64_t *values)
{
	int64_t total = total_of(v, n), reached = 0;
	size_t next = 0;

	if (total <= 0) {
		memset(values, 0, n_ranks * sizeof(*values));
		return n_ranks;
	}
	for (size_t i = 0; i < n && next < n_ranks; i++) {
		if (__builtin_add_overflow(reached, v[i].count, &reached))
			reached = INT64_MAX;
		while (next < n_ranks && reached >= roof(total, ranks[next]))
			values[next++] = v[i].bound;
	}
	return next;
}
