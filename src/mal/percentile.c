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

size_t mal_percentiles(const struct mal_bucket *v, size_t n, const int32_t *ranks, size_t n_ranks,
		       int64_t *values)
{
	int64_t total = 0, reached = 0;
	size_t next = 0;

	for (size_t i = 0; i < n; i++)
		if (__builtin_add_overflow(total, v[i].count, &total))
			total = INT64_MAX;
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
