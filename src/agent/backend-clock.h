/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Backend clock: how far an OAP's clock is from this machine's, as far as its
 * tasks prove it. It tells no time of its own, but a task cannot have been changed
 * after the answer that told it, nor before the query whose answer did not. Within
 * what is proved the two are taken as equal. Pure; one thread.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SONDE_BACKEND_CLOCK_SEEN_MAX 1024
#define SONDE_BACKEND_CLOCK_LEAD_MAX_MS                                                            \
	(24LL * 3600 * 1000) /* either way; a time beyond it is no clock's */

/* Zeroed: nothing is proved. Both bounds are of the backend's clock minus this machine's. */
struct sonde_backend_clock {
	int64_t least_ms, most_ms;
	bool has_least, has_most;
	uint64_t seen[SONDE_BACKEND_CLOCK_SEEN_MAX]; /* changes; 0 = none */
	size_t seen_at;
};

/* Was @change (a hash of the task and its update) not seen among the last SONDE_BACKEND_CLOCK_SEEN_MAX? */
bool sonde_backend_clock_is_new(const struct sonde_backend_clock *c, uint64_t change);

/*
 * An answer that came at @now_ms told of @change, made at @update_ms by the backend's clock. @missed_ms: when an
 * earlier query was sent whose answer would have told it had it been there, 0 = there is none. A bound that
 * contradicts an older one replaces it: one of the clocks was set. A change proves something when it is first
 * seen alone: what is told again says how that clock was, not how it is.
 */
void sonde_backend_clock_saw(struct sonde_backend_clock *c, uint64_t change, int64_t update_ms,
			     int64_t missed_ms, int64_t now_ms);

/* The difference of what is proved that is nearest to none. */
int64_t sonde_backend_clock_ahead_ms(const struct sonde_backend_clock *c);

/* A time of the backend's by this machine's clock. */
int64_t sonde_backend_clock_local_ms(const struct sonde_backend_clock *c, int64_t backend_ms);
