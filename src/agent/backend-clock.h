/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Backend clock: how far an OAP's clock is from this machine's, as far as its
 * tasks prove it. It tells no time of its own, but a task cannot have been changed
 * after the answer that told it, nor before the query whose answer did not. Within
 * what is proved the two are taken as equal. Pure; one thread.
 */

#include <stdbool.h>
#include <stdint.h>

/* Zeroed: nothing is proved. Both bounds are of the backend's clock minus this machine's. */
struct sonde_backend_clock {
	int64_t least_ms, most_ms;
	bool has_least, has_most;
};

/*
 * An answer that came at @now_ms told of a change at @update_ms, by the backend's clock. @missed_ms: when an
 * earlier query was sent whose answer would have told it had it been there, 0 = there is none. A bound that
 * contradicts an older one replaces it: one of the clocks was set.
 */
void sonde_backend_clock_saw(struct sonde_backend_clock *c, int64_t update_ms, int64_t missed_ms,
			     int64_t now_ms);

/* The difference of what is proved that is nearest to none. */
int64_t sonde_backend_clock_ahead_ms(const struct sonde_backend_clock *c);

/* A time of the backend's by this machine's clock. */
int64_t sonde_backend_clock_local_ms(const struct sonde_backend_clock *c, int64_t backend_ms);
