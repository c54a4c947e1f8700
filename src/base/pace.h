/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Pace: one each step, and a burst of them ahead of time. Pure. */

#include <stdint.h>

#include "base/clock.h"

struct sonde_pace {
	uint64_t step_ns, early_ns; /* early: how far ahead of its step one may come */
	uint64_t due_ns;	    /* the next one's step */
};

/* @burst at once, @per_s a second; both > 0. */
static inline struct sonde_pace sonde_pace_of(unsigned burst, unsigned per_s)
{
	uint64_t step_ns = SONDE_NS_PER_S / per_s;

	return (struct sonde_pace){.step_ns = step_ns, .early_ns = (burst - 1) * step_ns};
}

/* How long the next one has to wait; 0: it may come now. */
static inline uint64_t sonde_pace_wait_ns(const struct sonde_pace *p, uint64_t now_ns)
{
	return p->due_ns > now_ns + p->early_ns ? p->due_ns - now_ns - p->early_ns : 0;
}

/* One came. */
static inline void sonde_pace_take(struct sonde_pace *p, uint64_t now_ns)
{
	p->due_ns = (p->due_ns > now_ns ? p->due_ns : now_ns) + p->step_ns;
}
