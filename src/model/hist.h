/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Histogram geometry for user space: bucket index <-> microseconds. The kernel
 * side uses the same function (bpf/tcp/tcp_hist.h), so an observation is never
 * moved across an edge. Pure functions.
 */

#include <stdint.h>

/* The bucket that @us falls in; the last one takes everything larger. */
uint32_t sonde_hist_bucket_of(uint64_t us);

/* Smallest number of microseconds of @bucket (below SONDE_HIST_BUCKETS; beyond: the last one's). */
uint64_t sonde_hist_lower_us(uint32_t bucket);
