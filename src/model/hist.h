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

/*
 * Where @bucket begins in a report: two digits in steps of 1 up to 19, of 2 up to 48, of 5 up to 95, so that each
 * bucket from 10 on is 4 to 10 % wide and a decade has 35 of them instead of 90: no less exact at its worst, and
 * less than half the bytes.
 */
uint64_t sonde_hist_report_lower_us(uint32_t bucket);

/* Where the next bucket of a report begins behind the one that begins at @lower; 0 behind the last, which has no end. */
uint64_t sonde_hist_report_upper_us(uint64_t lower);
