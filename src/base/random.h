/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Random: for spreading things out, not for secrets. Any thread. */

#include <stdint.h>
#include <sys/random.h>

#include "base/clock.h"

/* 0 to @n - 1; @n > 0. */
static inline uint32_t sonde_random_below(uint32_t n)
{
	uint32_t random = 0;

	if (getrandom(&random, sizeof(random), GRND_NONBLOCK) != (ssize_t)sizeof(random))
		random = (uint32_t)sonde_mono_ns();
	return random % n;
}
