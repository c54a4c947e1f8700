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
