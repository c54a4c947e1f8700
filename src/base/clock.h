/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Time as numbers with their unit in the name. Code that decides takes now as a parameter. */

#include <stdint.h>
#include <time.h>

#define SONDE_NS_PER_S 1000000000ULL
#define SONDE_NS_PER_MS 1000000ULL
#define SONDE_NS_PER_US 1000ULL

static inline uint64_t sonde_clock_ns(clockid_t clock)
{
	struct timespec ts = {0};

	(void)clock_gettime(clock, &ts);
	return (uint64_t)ts.tv_sec * SONDE_NS_PER_S + (uint64_t)ts.tv_nsec;
}

/* CLOCK_MONOTONIC: for intervals, comparable with bpf_ktime_get_ns(). */
static inline uint64_t sonde_mono_ns(void)
{
	return sonde_clock_ns(CLOCK_MONOTONIC);
}

/* CLOCK_THREAD_CPUTIME_ID: for bounds on work, which others on the machine do not use up. */
static inline uint64_t sonde_work_ns(void)
{
	return sonde_clock_ns(CLOCK_THREAD_CPUTIME_ID);
}

/* CLOCK_REALTIME in milliseconds since 1970: SkyWalking's unit. */
static inline int64_t sonde_wall_ms(void)
{
	return (int64_t)(sonde_clock_ns(CLOCK_REALTIME) / SONDE_NS_PER_MS);
}
