/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#pragma once
/*
 * Which bucket a duration falls in: one implementation for the kernel side and
 * for src/model/hist.c. Geometry in tcp_types.h.
 */
#include "bpf/tcp/tcp_types.h"

#define SONDE_HIST_DECADE_STEPS 90

/* Of struct sonde_tcp_age, from the bucket of the same number in a struct sonde_tcp_hist. */
static inline __u32 sonde_age_bucket(__u32 bucket)
{
	if (bucket < 10)
		return bucket;
	bucket -= 10;
	return 10 + bucket / SONDE_HIST_DECADE_STEPS * 9 + bucket % SONDE_HIST_DECADE_STEPS / 10;
}

/* The first of the ten buckets that it stands for. */
static inline __u32 sonde_age_hist_bucket(__u32 bucket)
{
	if (bucket < 10)
		return bucket;
	bucket -= 10;
	return 10 + bucket / 9 * SONDE_HIST_DECADE_STEPS + bucket % 9 * 10;
}

static inline __u32 sonde_hist_bucket(__u64 us)
{
	__u32 v, base = 10;

	if (us < 10)
		return (__u32)us;
	if (us >= 99999999)
		return SONDE_HIST_BUCKETS - 1;
	v = (__u32)us;
	/* At most seven steps; a division by a constant is cheaper than a table in a BPF map. */
	if (v >= 10000) {
		if (v >= 1000000) {
			base += 4 * SONDE_HIST_DECADE_STEPS;
			v /= 10000;
		} else {
			base += 3 * SONDE_HIST_DECADE_STEPS;
			v /= 1000;
		}
	}
	if (v >= 1000) {
		base += 2 * SONDE_HIST_DECADE_STEPS;
		v /= 100;
	} else if (v >= 100) {
		base += SONDE_HIST_DECADE_STEPS;
		v /= 10;
	}
	return base + v - 10;
}

/*
 * Coarser, for what is counted on every call and in every cell: of the 90 buckets
 * of a decade 10 to 19 stay, from 20 on they are joined by fives, from 50 on by
 * tens. All of SkyWalking's bounds are edges of this one too.
 */
#define SONDE_COARSE_DECADE_STEPS 21
#define SONDE_COARSE_BUCKETS (10 + SONDE_COARSE_DECADE_STEPS * SONDE_HIST_DECADES) /* 157 */

static inline __u32 sonde_coarse_bucket(__u64 value)
{
	__u32 bucket = sonde_hist_bucket(value), decade, digits;

	if (bucket < 10)
		return bucket;
	decade = (bucket - 10) / SONDE_HIST_DECADE_STEPS;
	digits = 10 + (bucket - 10) % SONDE_HIST_DECADE_STEPS;
	bucket = 10 + decade * SONDE_COARSE_DECADE_STEPS;
	if (digits < 20)
		return bucket + digits - 10;
	if (digits < 50)
		return bucket + 10 + (digits - 20) / 5;
	return bucket + 16 + (digits - 50) / 10;
}

/* The fine bucket with the same lower bound. */
static inline __u32 sonde_coarse_to_fine(__u32 bucket)
{
	__u32 decade, step, digits;

	if (bucket < 10)
		return bucket;
	decade = (bucket - 10) / SONDE_COARSE_DECADE_STEPS;
	step = (bucket - 10) % SONDE_COARSE_DECADE_STEPS;
	if (step < 10)
		digits = step + 10;
	else if (step < 16)
		digits = 20 + (step - 10) * 5;
	else
		digits = 50 + (step - 16) * 10;
	return 10 + decade * SONDE_HIST_DECADE_STEPS + digits - 10;
}
